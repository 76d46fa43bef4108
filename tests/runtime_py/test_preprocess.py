"""Against torchvision's arithmetic, written out in torch."""

import math
import resource
import struct
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageOps

from runtime_py.manifest import Preprocessing
from runtime_py.preprocess import FORMATS, BadImage, decode_image, to_input

torch = pytest.importorskip("torch", reason="the reference is torch's own arithmetic")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTOS = Path(__file__).parents[2] / "sdk" / "photos"


def how(width: int, height: int, **changes: object) -> Preprocessing:
    fields: dict[str, object] = {
        "mean_values": tuple(255 * value for value in MEAN),
        "scale_values": tuple(255 * value for value in STD),
    }
    return Preprocessing(input="x", width=width, height=height, **fields | changes)  # type: ignore[arg-type]


def normalised(image: Image.Image) -> np.ndarray:
    """ToTensor and Normalize."""
    x = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).to(torch.float32).div(255)
    x = x.sub(torch.tensor(MEAN).view(3, 1, 1)).div(torch.tensor(STD).view(3, 1, 1))
    return x[None].numpy()


def resize_and_crop(image: Image.Image, resized: int, size: int) -> Image.Image:
    """Resize(resized) and CenterCrop(size)."""
    w, h = image.size
    short, long = min(w, h), max(w, h)
    new_long = int(resized * long / short)
    image = image.resize((resized, new_long) if w <= h else (new_long, resized), Image.Resampling.BILINEAR)
    top, left = round((image.height - size) / 2.0), round((image.width - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


@pytest.mark.parametrize("photo", ["chelsea.png", "coffee.png"])
@pytest.mark.parametrize(("size", "fraction"), [(128, 1.0), (224, 0.875), (256, 0.95), (97, 1.0)])
def test_a_photo_becomes_torchvisions_input_to_the_last_bit(photo: str, size: int, fraction: float) -> None:
    image = Image.open(PHOTOS / photo).convert("RGB")
    expected = normalised(resize_and_crop(image, math.floor(size / fraction), size))
    found = to_input(PHOTOS / photo, how(size, size, crop_fraction=fraction))
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_an_upright_photo_too() -> None:
    image = Image.open(PHOTOS / "coffee.png").convert("RGB").rotate(90, expand=True)
    assert np.array_equal(to_input(image, how(128, 128)), normalised(resize_and_crop(image, 128, 128)))


def test_every_value_of_every_channel() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(to_input(pixels, how(16, 16)), normalised(Image.fromarray(pixels)))


def test_bgr_swaps_before_it_normalises() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    swapped = normalised(Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])))
    assert np.array_equal(to_input(pixels, how(16, 16, color="BGR")), swapped)


@pytest.mark.parametrize(("w", "h"), [(64, 48), (48, 64), (640, 33), (33, 640)])
def test_a_non_square_input_is_covered_whole(w: int, h: int) -> None:
    image = Image.new("RGB", (w, h), (255, 255, 255))
    x = to_input(image, Preprocessing(input="x", width=40, height=24))
    assert x.shape == (1, 3, 24, 40)
    assert (x == 1.0).all()


def test_letterbox_centres_and_pads() -> None:
    image = Image.new("RGB", (20, 10), (255, 0, 0))
    x = to_input(image, Preprocessing(input="x", width=10, height=10, resize_type="letterbox", pad_value=51))
    assert (x[0, 0, 2:7] == 1.0).all()
    assert np.allclose(x[0, :, :2], 0.2)
    assert np.allclose(x[0, :, 7:], 0.2)


def test_standard_resizes_both_sides() -> None:
    image = Image.open(PHOTOS / "coffee.png").convert("RGB")
    expected = normalised(image.resize((50, 70), Image.Resampling.BILINEAR))
    assert np.array_equal(to_input(image, how(50, 70, resize_type="standard")), expected)


def test_paths_images_and_arrays_agree() -> None:
    image = Image.open(PHOTOS / "chelsea.png")
    results = [to_input(source, how(64, 64)) for source in (PHOTOS / "chelsea.png", image, np.asarray(image))]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), (10, 200, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode_image(tmp_path / "turned.jpg").size == (20, 40)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", "0 bytes"),
        ("text.jpg", b"this is no image at all", "no image"),
        ("cut.png", None, "damaged"),
    ],
)
def test_files_that_are_no_whole_image(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    path = tmp_path / name
    path.write_bytes((PHOTOS / "coffee.png").read_bytes()[:20_000] if content is None else content)
    with pytest.raises(BadImage, match=words) as caught:
        decode_image(path)
    assert name in str(caught.value)


def test_a_cut_jpeg(tmp_path: Path) -> None:
    Image.open(PHOTOS / "coffee.png").convert("RGB").save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:9000])
    with pytest.raises(BadImage, match="damaged"):
        decode_image(tmp_path / "cut.jpg")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="does not exist"):
        decode_image(tmp_path / "none.jpg")
    with pytest.raises(BadImage, match="is no file"):
        decode_image(tmp_path)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_that_are_no_image(array: np.ndarray) -> None:
    with pytest.raises(BadImage):
        decode_image(array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_orientations_turn_as_pillow_turns_them(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(PHOTOS / "coffee.png").convert("RGB").resize((48, 32)).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(np.asarray(decode_image(tmp_path / "turned.png")), expected)
        assert np.array_equal(np.asarray(decode_image(image)), expected)


def test_sixteen_bits_of_grey_keep_their_shades(tmp_path: Path) -> None:
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    found = np.asarray(decode_image(tmp_path / "grey.png"))
    assert np.abs(found - grey[..., None] / 257).max() <= 0.5


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(BadImage, match="floating-point"):
        decode_image(Image.new("F", (4, 4)))


def test_a_scale_of_one_is_not_rounded() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    expected = torch.arange(256).float().div(255).div(torch.tensor(1 / 255)).reshape(16, 16).numpy()
    found = to_input(pixels, Preprocessing(input="x", width=16, height=16, scale_values=(1.0, 1.0, 1.0)))
    assert np.array_equal(found[0, 0], expected)


def test_a_thread_of_pixels_does_not_fill_the_memory() -> None:
    with pytest.raises(BadImage, match="224 x 22400000"):
        to_input(Image.new("RGB", (1, 100_000)), how(224, 224))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = b"P5 100000 100000 255\n"
    (tmp_path / "bomb.ppm").write_bytes(header + b"x")
    with pytest.raises(BadImage, match="pixels"):
        decode_image(tmp_path / "bomb.ppm")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo"
    Image.new("RGB", (32, 20), (10, 200, 30)).save(path, kind, **({"exif": exif} if kind == "JPEG" else {}))
    whole, random, refused = path.read_bytes(), Random(0), 0
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[random.randrange(min(200, len(whole)))] = random.randrange(256)
        path.write_bytes(damaged[: random.randrange(8, len(whole) + 1)])
        try:
            assert decode_image(path).mode == "RGB"
        except BadImage:
            refused += 1
    assert refused > 0


def test_a_decoded_image_is_not_turned_again(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(PHOTOS / "coffee.png").convert("RGB").resize((48, 32)).save(tmp_path / "turned.jpg", exif=exif)
    once = decode_image(tmp_path / "turned.jpg")
    assert np.array_equal(np.asarray(decode_image(once)), np.asarray(once))


def test_only_what_is_not_as_it_should_be_is_copied() -> None:
    plain = Image.new("RGB", (8, 4))
    assert decode_image(plain) is plain
    tagged = plain.copy()
    tagged.info["comment"] = "kept"
    assert decode_image(tagged) is not tagged
    assert tagged.info == {"comment": "kept"}
    assert decode_image(plain.convert("L")).mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("L", 100, "PNG", (100, 100, 100)),
        ("LA", (100, 7), "PNG", (100, 100, 100)),
        ("1", 1, "PNG", (255, 255, 255)),
        ("RGBA", (10, 200, 30, 0), "PNG", (10, 200, 30)),
        ("CMYK", (255, 0, 0, 0), "JPEG", (0, 255, 255)),
        ("CMYK", (0, 0, 0, 255), "TIFF", (0, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(
    mode: str, colour: object, kind: str, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    Image.new(mode, (24, 16), colour).save(tmp_path / "photo", kind)  # type: ignore[arg-type]
    found = np.asarray(decode_image(tmp_path / "photo"))
    assert found.shape == (16, 24, 3)
    assert np.abs(found.astype(int) - expected).max() <= 2  # JPEG rounds


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 20, 90)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "photo.gif")
    assert np.array_equal(np.asarray(decode_image(tmp_path / "photo.gif"))[0, 0], (200, 20, 90))


@pytest.mark.parametrize("resize_type", ["crop", "letterbox", "standard"])
def test_one_pixel_is_an_image(resize_type: str) -> None:
    given = Preprocessing(input="x", width=32, height=24, resize_type=resize_type, mean_values=(0.0,) * 3)  # type: ignore[arg-type]
    found = to_input(Image.new("RGB", (1, 1), (255, 0, 0)), given)
    assert found.shape == (1, 3, 24, 32)
    assert found[0, 0, 12, 16] == found[0, 0].max()


def test_twenty_thousand_pixels_square_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "huge.png").write_bytes(png_of(20_000, 20_000))
    with pytest.raises(BadImage, match="400000000 pixels"):
        decode_image(tmp_path / "huge.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def png_of(width: int, height: int) -> bytes:
    """A valid PNG of black pixels, RGB, made line by line (W3C PNG specification, section 5)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, lines = zlib.compressobj(1), []
    for _ in range(height):
        lines.append(packer.compress(bytes(1 + 3 * width)))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"".join(lines) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
