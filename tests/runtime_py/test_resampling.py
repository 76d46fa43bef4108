"""A crop that is made alone against Pillow's own resize and crop, to the last bit."""

import numpy as np
import pytest
from PIL import Image

from runtime_py import resampling
from runtime_py.manifest import Preprocessing
from runtime_py.preprocess import fit
from runtime_py.resampling import resized_crop

SIZES = [
    (1280, 720),
    (1920, 1080),
    (640, 480),
    (640, 427),
    (720, 1280),
    (1024, 768),
    (100, 900),
    (256, 200),
    (300, 300),
]
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("crop_fraction", [0.5, 0.875, 0.95, 1.0])
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_whole(size: tuple[int, int], name: str, crop_fraction: float) -> None:
    how = Preprocessing(
        input="image", width=224, height=224, resize_type="crop", crop_fraction=crop_fraction,
        mean_values=(0.0, 0.0, 0.0), scale_values=(255.0, 255.0, 255.0),
    )  # fmt: skip
    place, rng = fit(size, how), np.random.default_rng(1)
    box = (-place.left, -place.top, 224 - place.left, 224 - place.top)
    for _ in range(3):  # the first goes the whole way, the others may not
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
        expected = image.resize(place.inner, FILTERS[name]).crop(box)
        assert resized_crop(image, place.inner, box, FILTERS[name]).tobytes() == expected.tobytes()


def test_of_a_camera_s_picture_half_is_spared() -> None:
    across, down = resampling._parts((1280, 720), (455, 256), (116, 16, 340, 240), Image.Resampling.BICUBIC) or ((), ())
    assert across == (256, 1024, 91, 273)  # 256 pixels become 91: three times that is enough
    assert down == (45, 675, 16, 224)  # 45 become 16: exactly what is kept


def test_nothing_is_spared_where_no_part_begins_on_a_pixel() -> None:
    assert resampling._parts((641, 479), (343, 256), (60, 16, 284, 240), Image.Resampling.BILINEAR) is None


@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_weights_are_pillow_s(how: Image.Resampling) -> None:
    """A column of 255 in black comes out as 255 times its weight."""
    size, out = 37, 11
    first, weights = resampling._weights(size, 0.0, float(size), out, how)
    for column in range(size):
        line = np.zeros((1, size), np.uint8)
        line[0, column] = 255
        got = np.asarray(Image.fromarray(line).resize((out, 1), how), np.int64)[0]
        taps = column - first
        inside = (taps >= 0) & (taps < weights.shape[1])
        own = np.where(inside, weights[np.arange(out), np.clip(taps, 0, weights.shape[1] - 1)], 0)
        np.testing.assert_array_equal(got, np.clip((255 * own + (1 << 21)) >> 22, 0, 255))


def test_sizes_that_never_come_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "MOST_SEEN", 3)
    monkeypatch.setattr(resampling, "_seen", {})
    for width in range(20, 40):
        resized_crop(Image.new("RGB", (width, 20)), (10, 10), (2, 2, 8, 8), Image.Resampling.BILINEAR)
    assert len(resampling._seen) <= 4
