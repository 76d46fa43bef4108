"""Answers drawn on the image they answer, with Pillow alone."""

import colorsys
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from runtime_py.detection import Detections
from runtime_py.results import Classification

GOLDEN = 0.618034
"""Steps of this share of the colour circle keep neighbouring class numbers far apart."""
NOTE_GROUND, LINE_COLOUR = (32, 32, 32), (255, 220, 0)


Picture = Image.Image | npt.NDArray[np.uint8]
"""A Pillow image, or an array (H, W, 3), RGB."""


def draw_answer(image: Picture, found: Any, note: str = "") -> Image.Image:
    """A copy of the image with Detections or a Classification drawn on it, and a note such as "24 fps"."""
    if isinstance(found, Detections):
        canvas = draw_detections(image, found)
    else:
        canvas = draw_classification(image, found) if isinstance(found, Classification) else _canvas(image)
    return draw_note(canvas, note) if note else canvas


def draw_detections(image: Picture, found: Detections) -> Image.Image:
    """A copy of the image with a box and a label an object; the best is drawn last, on top.

    Objects with ids are labelled by them, and each has a colour of its own.
    """
    canvas = _canvas(image)
    pen, width, font = ImageDraw.Draw(canvas), _line(canvas), _font(canvas)
    for one in reversed(list(found)):
        colour = class_colour(one.class_id if one.id is None else one.id)
        pen.rectangle(one.box, outline=colour, width=width)
        text = f"{one.name} {one.score:.0%}" if one.id is None else f"{one.name} #{one.id} {one.score:.0%}"
        _label(pen, canvas.size, one.box[:2], text, colour, font)
    return canvas


def draw_classification(image: Picture, found: Classification, count: int = 3) -> Image.Image:
    """A copy of the image with its best classes in the corner."""
    canvas = _canvas(image)
    pen, font = ImageDraw.Draw(canvas), _font(canvas)
    top = 0.0
    for row in found.top(count):
        top = _label(
            pen, canvas.size, (0, top), f"{row.name} {row.score:.0%}", class_colour(row.index), font, down=True
        )
    return canvas


def draw_note(image: Picture, text: str) -> Image.Image:
    """A copy of the image with text in its lower left corner."""
    canvas = _canvas(image)
    _label(ImageDraw.Draw(canvas), canvas.size, (0, canvas.height), text, NOTE_GROUND, _font(canvas))
    return canvas


def draw_line(image: Picture, start: tuple[float, float], end: tuple[float, float]) -> Image.Image:
    """A copy of the image with a line, such as one that a LineCounter watches."""
    canvas = _canvas(image)
    ImageDraw.Draw(canvas).line((start, end), fill=LINE_COLOUR, width=_line(canvas))
    return canvas


def class_colour(class_id: int) -> tuple[int, int, int]:
    """A class's colour, the same in every image: RGB, 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * GOLDEN % 1, 0.75, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _canvas(image: Picture) -> Image.Image:
    return (Image.fromarray(image) if isinstance(image, np.ndarray) else image).convert("RGB")


def _line(image: Image.Image) -> int:
    return max(2, round(max(image.size) / 300))


def _font(image: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return _font_of(max(10, round(max(image.size) / 42)))


@lru_cache(maxsize=4)
def _font_of(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Parsing the font takes longer than drawing a label."""
    return ImageFont.load_default(size)


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
