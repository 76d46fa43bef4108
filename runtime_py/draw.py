"""Answers drawn on the image they answer, with Pillow alone."""

import colorsys

from PIL import Image, ImageDraw, ImageFont

from runtime_py.detection import Detections
from runtime_py.results import Classification

GOLDEN = 0.618034
"""Steps of this share of the colour circle keep neighbouring class numbers far apart."""


def draw_detections(image: Image.Image, found: Detections) -> Image.Image:
    """A copy of the image with a box and a label an object; the best is drawn last, on top."""
    canvas = image.convert("RGB")
    pen, width, font = ImageDraw.Draw(canvas), _line(canvas), _font(canvas)
    for one in reversed(list(found)):
        colour = class_colour(one.class_id)
        pen.rectangle(one.box, outline=colour, width=width)
        _label(pen, canvas.size, one.box[:2], f"{one.name} {one.score:.0%}", colour, font)
    return canvas


def draw_classification(image: Image.Image, found: Classification, count: int = 3) -> Image.Image:
    """A copy of the image with its best classes in the corner."""
    canvas = image.convert("RGB")
    pen, font = ImageDraw.Draw(canvas), _font(canvas)
    top = 0.0
    for row in found.top(count):
        top = _label(
            pen, canvas.size, (0, top), f"{row.name} {row.score:.0%}", class_colour(row.index), font, down=True
        )
    return canvas


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A class's colour, the same in every image: RGB, 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * GOLDEN % 1, 0.75, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _line(image: Image.Image) -> int:
    return max(2, round(max(image.size) / 300))


def _font(image: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(10, round(max(image.size) / 42)))


def _label(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    down: bool = False,
) -> float:
    """Text on a filled ground above `corner` (below with `down`), moved so that all of it is inside; its lower edge."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(2.0, (bottom - top) / 6)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(corner[0], 0), max(size[0] - width, 0))
    y = corner[1] if down else corner[1] - height
    y = min(max(y, 0), max(size[1] - height, 0))
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    pen.text((x + pad - left, y + pad - top), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=font)
    return y + height
