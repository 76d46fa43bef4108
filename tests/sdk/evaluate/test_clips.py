"""PSNR and SSIM against closed forms and scikit-image."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime_py.manifest import DecodeVideo
from sdk.evaluate.clips import compare_clip, psnr_db, read_clips, squared_error, ssim
from sdk.evaluate.datasets import BadData

HOW = DecodeVideo(input="x", output="y", scale=(2, 4, 4))


def noise(seed: int, shape: tuple[int, ...] = (24, 31, 3)) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path: Path, **arrays: Any) -> str:
    np.savez_compressed(path, **arrays)
    return str(path)


@pytest.mark.parametrize("step", [1, 16, 255])
def test_psnr_of_a_constant_difference(step: int) -> None:
    flat = np.zeros((2, 12, 12, 3), np.uint8)
    found = psnr_db(squared_error(flat, flat + np.uint8(step)), flat.size)
    assert found == pytest.approx(20 * math.log10(255 / step))


def test_identical_frames_count_as_100_db() -> None:
    assert psnr_db(squared_error(noise(0), noise(0)), noise(0).size) == 100.0


@pytest.mark.parametrize(("a", "b"), [(0, 0), (100, 110), (0, 255)])
def test_ssim_of_constant_frames(a: int, b: int) -> None:
    """Without variance only luminance is left: (2ab + C1) / (a² + b² + C1)."""
    c1 = (0.01 * 255) ** 2
    one, other = (np.full((16, 16, 3), value, np.uint8) for value in (a, b))
    assert ssim(one, other) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1))


@pytest.mark.parametrize("kind", ["noise", "near", "gradient"])
def test_ssim_is_that_of_scikit_image(kind: str) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference")
    one = (
        noise(1)
        if kind != "gradient"
        else np.broadcast_to(np.arange(0, 248, 8, dtype=np.uint8)[None, :, None], (24, 31, 3))
    )
    other = noise(2) if kind == "noise" else (one // 2 + noise(3) // 8).astype(np.uint8)
    expected = metrics.structural_similarity(
        one, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(one, other) == pytest.approx(expected, abs=1e-12)


def chunks(frames: Any, size: int) -> Iterator[Any]:
    return (frames[at : at + size] for at in range(0, len(frames), size))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_clip_is_compared_chunk_by_chunk(tmp_path: Path, size: int) -> None:
    truth = noise(4, (5, 16, 20, 3))
    frames = truth.copy()
    frames[3] = np.where(truth[3] < 200, truth[3] + 20, truth[3] - 20)
    file = save(tmp_path / "a.npz", latent=np.zeros((8, 3, 4, 5), np.float32), video=truth)
    found = compare_clip(file, HOW, lambda latent: chunks(frames, size))
    assert found[0] == pytest.approx(10 * math.log10(255**2 / (20**2 / 5)))
    assert found[1] == pytest.approx((4 + ssim(frames[3], truth[3])) / 5)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"latent": np.zeros((8, 3, 4, 5), np.float32)}, "video"),
        ({"latent": np.zeros((8, 3, 4, 5), np.float32), "video": np.zeros((5, 16, 20, 3), np.float32)}, "float32"),
        ({"latent": np.zeros((8, 3, 4, 5), np.float32), "video": noise(0, (6, 16, 20, 3))}, r"\(6, 16, 20, 3\)"),
        ({"latent": np.zeros((8, 3, 4, 5), np.int32), "video": noise(0, (5, 16, 20, 3))}, "int32"),
        ({"latent": np.zeros((3, 4, 5), np.float32), "video": noise(0, (5, 16, 20, 3))}, r"\(3, 4, 5\)"),
        ({"latent": np.zeros((8, 3, 2, 5), np.float32), "video": noise(0, (5, 8, 20, 3))}, "20 x 8"),
        ({"latent": np.array([{}], object), "video": noise(0, (5, 16, 20, 3))}, "could not be read"),
    ],
)  # fmt: skip
def test_a_clip_that_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(BadData, match=said):
        compare_clip(save(tmp_path / "a.npz", **arrays), HOW, lambda latent: chunks(latent, 1))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
def test_a_damaged_clip_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(BadData, match=r"a\.npz could not be read"):
        compare_clip(str(tmp_path / "a.npz"), HOW, lambda latent: chunks(latent, 1))


def test_a_lone_array_is_no_clip(tmp_path: Path) -> None:
    """numpy.load takes it, whatever its name."""
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BadData, match=r"a\.npz could not be read: it is no \.npz"):
        compare_clip(str(tmp_path / "a.npz"), HOW, lambda latent: chunks(latent, 1))


def test_a_folder_of_clips_is_read_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no \.npz"):
        read_clips(tmp_path, None)
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.npz").touch()
    assert [sample.name for sample in read_clips(tmp_path, None).samples] == ["a.npz", "b.npz", "c.npz"]
    limited = read_clips(tmp_path, 2)
    assert [sample.name for sample in limited.samples] == ["a.npz", "c.npz"]
    assert limited.notes == ("2 of 3 clips, evenly spread",)
    with pytest.raises(BadData, match="is a file"):
        read_clips(tmp_path / "a.npz", None)
