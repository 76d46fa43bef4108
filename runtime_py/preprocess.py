"""From a photo to a network's input: Pillow resizes, one look-up table normalises."""

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from runtime_py.errors import SdkError
from runtime_py.integers import whole
from runtime_py.manifest import Preprocessing, Tensor
from runtime_py.resampling import resized_crop

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
PIXEL_LIMIT = 178_956_970
"""Where Pillow itself refuses to go on: twice its MAX_IMAGE_PIXELS."""
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF 2.3's orientation tag, what turns the stored pixels upright."""
DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, struct.error)
"""What Pillow's decoders and its EXIF reader raise on damaged files."""
ImageSource = str | PathLike[str] | Image.Image | npt.NDArray[np.uint8]


class BadImage(SdkError):
    """Something that is no image, or only a part of one."""

    id = "bad-image"


def decode_image(source: ImageSource) -> Image.Image:
    """An RGB image, turned as its EXIF orientation says. Raises BadImage.

    Takes a path, a Pillow image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4), RGB. A Pillow image that is as it
    should be comes back itself; what this decoded once is.
    """
    if isinstance(source, Image.Image):
        return _upright(source, "the image")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, str | PathLike):
        return _from_file(Path(fspath(source)))
    raise BadImage(f"a {type(source).__name__}", expected="a path, a Pillow image, or an HWC uint8 array")


@dataclass(frozen=True)
class Fit:
    """Where an image lies in the network's input: resized to `inner` (width, height), its corner at `left`, `top`.

    `image` is the image's own width and height. Corners are negative where the image is cropped.
    """

    image: tuple[int, int]
    inner: tuple[int, int]
    left: int = 0
    top: int = 0

    def to_image(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes (n, 4), x0, y0, x1, y1, from the input's pixels to the image's, clipped to it."""
        corner = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([own / inner for own, inner in zip(self.image, self.inner, strict=True)] * 2, np.float32)
        limit = np.array(self.image * 2, np.float32)
        clipped: npt.NDArray[np.float32] = np.clip((boxes - corner) * scale, 0, limit)
        return clipped


def fit(size: tuple[int, int], how: Preprocessing) -> Fit:
    """How an image of `size` (width, height) is placed. Raises BadImage where the crop would be absurdly large."""
    if how.resize_type == "standard":
        return Fit(size, (how.width, how.height))
    if how.resize_type == "letterbox":
        ratio = min(how.width / size[0], how.height / size[1])
        inner = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
        return Fit(size, inner, (how.width - inner[0]) // 2, (how.height - inner[1]) // 2)
    return _cover(size, how)


def to_input(source: ImageSource, how: Preprocessing, tensor: Tensor | None = None) -> npt.NDArray[Any]:
    """The network's input (1, 3, H, W), as torchvision's Resize, CenterCrop, ToTensor, Normalize give it.

    float32, but where `tensor`, the manifest's input, says otherwise: int8 by its `quantization`, which takes no
    arithmetic beyond a look-up; or uint8, the pixels themselves, where the network normalises.
    """
    return placed(decode_image(source), how, tensor)[0]


def placed(image: Image.Image, how: Preprocessing, tensor: Tensor | None = None) -> tuple[npt.NDArray[Any], Fit]:
    """The same of a decoded RGB image, with where it lies in the input."""
    place = fit(image.size, how)
    pixels = np.asarray(_resized(image, how, place))
    if how.color == "BGR":
        pixels = pixels[..., ::-1]
    table = _bytes() if how.folded else _table(how.mean_values, how.scale_values, tensor)
    out = np.empty((1, 3, how.height, how.width), table.dtype)
    top, left = max(place.top, 0), max(place.left, 0)  # what is cut off begins at the input's own corner
    inside = (slice(top, top + pixels.shape[0]), slice(left, left + pixels.shape[1]))
    for channel in range(3):
        if pixels.shape[:2] != (how.height, how.width):
            out[0, channel] = table[channel, how.pad_value]
        plane = pixels[..., channel]
        # every byte is inside the table: "clip" only spares numpy a second look at each
        out[0, channel][inside] = plane if how.folded else np.take(table[channel], plane, mode="clip")
    return out, place


def normalised(pixels: npt.NDArray[np.uint8], how: Preprocessing) -> npt.NDArray[np.float32]:
    """What pixels (1, 3, H, W), which lie as in the input already, are for a network that takes floats."""
    table = _table(how.mean_values, how.scale_values, None)
    return np.stack([np.take(row, plane) for row, plane in zip(table, pixels[0], strict=True)])[None]


def pixels_of(array: npt.NDArray[Any], how: Preprocessing) -> npt.NDArray[np.uint8]:
    """The pixels, uint8, nearest to a normalised input (1, 3, H, W)."""
    mean, scale = (np.array(values).reshape(1, 3, 1, 1) for values in (how.mean_values, how.scale_values))
    pixels: npt.NDArray[Any] = np.clip(np.rint(array * scale + mean), 0, 255)
    return pixels.astype(np.uint8)


@lru_cache(maxsize=8)
def _table(mean: tuple[float, ...], scale: tuple[float, ...], tensor: Tensor | None) -> npt.NDArray[Any]:
    """(3, 256): each step rounded to float32, which is what makes the result torchvision's to the last bit; then as
    the integers that `tensor` asks for."""
    unit = np.arange(256, dtype=np.float32) / np.float32(255)
    real = np.stack([(unit - np.float32(m / 255)) / np.float32(s / 255) for m, s in zip(mean, scale, strict=True)])
    return real if tensor is None else whole(real, tensor)


@lru_cache(maxsize=1)
def _bytes() -> npt.NDArray[Any]:
    """(3, 256): every byte as it is."""
    return np.tile(np.arange(256, dtype=np.uint8), (3, 1))


def _resized(image: Image.Image, how: Preprocessing, place: Fit) -> Image.Image:
    """What of the image is inside the input, in the input's pixels."""
    if how.resize_type != "crop":
        return image if image.size == place.inner else image.resize(place.inner, FILTERS[how.interpolation])
    left, top = -place.left, -place.top
    return resized_crop(image, place.inner, (left, top, left + how.width, top + how.height), FILTERS[how.interpolation])


def _cover(size: tuple[int, int], how: Preprocessing) -> Fit:
    """torchvision's Resize of the short side and CenterCrop; a non-square target is covered on both sides."""
    width, height = (math.floor(side / how.crop_fraction) for side in (how.width, how.height))
    if size[0] * height <= size[1] * width:  # the width is the tighter side
        inner = (width, max(height, int(width * size[1] / size[0])))
    else:
        inner = (max(width, int(height * size[0] / size[1])), height)
    if inner[0] * inner[1] > PIXEL_LIMIT:
        raise BadImage(
            f"an image of {size[0]} x {size[1]} pixels would become {inner[0]} x {inner[1]} before the crop",
            expected=f"at most {PIXEL_LIMIT:,} pixels",
            hint="crop the image to a less extreme shape first",
        )
    return Fit(size, inner, -round((inner[0] - how.width) / 2.0), -round((inner[1] - how.height) / 2.0))


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise BadImage(
            f"an array of {array.dtype} with shape {array.shape}",
            expected="uint8 with shape (H, W, 3), RGB",
            hint="(array * 255).astype('uint8') for values in 0..1; session.run for a prepared input",
        )
    if array.size == 0:
        raise BadImage(f"an array with shape {array.shape}", expected="at least one pixel")
    image = Image.fromarray(np.ascontiguousarray(array))
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_file(path: Path) -> Image.Image:
    if not path.exists():
        raise BadImage(f"{path} does not exist", expected="an image file")
    if not path.is_file():
        raise BadImage(f"{path} is no file", expected="an image file")
    if path.stat().st_size == 0:
        raise BadImage(f"{path} is empty (0 bytes)", expected="an image file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise BadImage(f"{path} has {image.width} x {image.height} pixels", expected=f"at most {PIXEL_LIMIT:,}")
            return _upright(image, str(path), ours=True)
    except UnidentifiedImageError as error:
        raise BadImage(f"{path} is no image that can be read", expected=f"one of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"{path} has too many pixels: {error}", expected=f"at most {PIXEL_LIMIT:,} pixels") from error
    except DECODER_ERRORS as error:
        raise _damaged(str(path), error) from error


def _upright(image: Image.Image, name: str, *, ours: bool = False) -> Image.Image:
    """The image itself where it is RGB and upright, and `ours` to strip of its tags, or has none; or else a copy."""
    try:
        image.load()
        turn = TURNS.get(image.getexif().get(EXIF_ORIENTATION, 1))
        if image.mode == "RGB" and turn is None and (ours or not image.info):
            image.info = {}
            return image
        rgb = _eight_bits(image, name).convert("RGB")
    except DECODER_ERRORS as error:
        raise _damaged(name, error) from error
    upright = rgb if turn is None else rgb.transpose(turn)
    upright.info = {}  # Pillow hands the tag on, and whoever decodes the result again would turn it twice
    return upright


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Sixteen bits of grey as eight: Pillow's own conversion would clip them to white."""
    if image.mode == "F":
        raise BadImage(f"{name} holds floating-point pixels", expected="8 or 16 bits a channel")
    if image.mode.startswith("I"):
        return image.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    return image


def _damaged(name: str, error: Exception) -> BadImage:
    return BadImage(f"{name} is damaged: {error}", expected="a whole image", hint="copy or take it again")
