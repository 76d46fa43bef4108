"""Tiling against the whole decode, with decoders that look at nothing but their own step, so that both must agree."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_py.manifest import DecodeVideo
from runtime_py.video import BadLatent, Video, decode_tiles

CAUSAL = DecodeVideo(input="latent", output="video", scale=(4, 8, 8), causal=True)
PLAIN = DecodeVideo(input="latent", output="video", scale=(4, 2, 2), causal=False)
TILE = (1, 3, 4, 6, 5)


def local(latent: np.ndarray, how: DecodeVideo) -> np.ndarray:
    """Each step becomes its frames and pixels, times a sawtooth over time that gives every frame its own value."""
    rate, dy, dx = how.scale
    video = latent.repeat(rate, 2).repeat(dy, 3).repeat(dx, 4)
    video = video * np.tile(np.linspace(0.4, 1, rate), latent.shape[2])[None, None, :, None, None]
    return video[:, :, rate - 1 :].astype(np.float32) if how.causal else video.astype(np.float32)


def frames_of(video: np.ndarray) -> np.ndarray:
    return np.clip(np.rint((video[0].transpose(1, 2, 3, 0) + 1) * 127.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("how", [CAUSAL, PLAIN], ids=["causal", "plain"])
@pytest.mark.parametrize("size", [(4, 6, 5), (1, 1, 1), (3, 6, 9), (5, 7, 5), (11, 13, 17)])
@pytest.mark.parametrize("overlap", [None, (0, 0), (1, 1), (2, 2)])
def test_a_local_decoder_is_tiled_without_a_trace(
    how: DecodeVideo, size: tuple[int, ...], overlap: tuple[int, int] | None
) -> None:
    latent = np.random.default_rng(1).uniform(-1, 1, (1, 3, *size)).astype(np.float32)
    shapes = set()
    if how.causal and overlap == (0, 0):
        overlap = (1, 0)  # one step is the least that chunks of a causal decoder share

    def run(part: np.ndarray) -> np.ndarray:
        shapes.add(part.shape)
        return local(part, how)

    found = np.concatenate(list(decode_tiles(run, latent, TILE, how, overlap)))
    expected = frames_of(local(latent, how))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1, "one step of rounding is all that blending may add"
    assert shapes == {TILE}


def test_chunks_come_as_they_are_decoded_and_memory_stays() -> None:
    def peak(steps: int) -> int:
        latent = np.zeros((3, steps, 6, 5), np.float32)
        tracemalloc.start()
        count = sum(len(chunk) for chunk in decode_tiles(lambda part: local(part, CAUSAL), latent, TILE, CAUSAL))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 4 * (steps - 1) + 1
        return size - latent.nbytes

    assert peak(200) < 1.5 * peak(20)


@pytest.mark.parametrize(
    ("latent", "said"),
    [
        (np.zeros((5, 4, 6, 5), np.float32), "(5, 4, 6, 5)"),
        (np.zeros((2, 3, 4, 6, 5), np.float32), "(2, 3, 4, 6, 5)"),
        (np.zeros((3, 0, 6, 5), np.float32), "(3, 0, 6, 5)"),
        (np.zeros((3, 4, 6, 5), np.int64), "int64"),
        ("latent.npy", "str"),
    ],
)
def test_a_wrong_latent_says_what_was_given_and_expected(latent: object, said: str) -> None:
    with pytest.raises(BadLatent) as caught:
        next(decode_tiles(lambda part: local(part, CAUSAL), latent, TILE, CAUSAL))  # type: ignore[arg-type]
    assert said in caught.value.given
    assert "(3, T, H, W)" in caught.value.expected


def test_an_overlap_over_half_a_tile_is_refused() -> None:
    with pytest.raises(BadLatent, match="overlap of 3"):
        list(decode_tiles(lambda p: local(p, CAUSAL), np.zeros((3, 9, 6, 5), np.float32), TILE, CAUSAL, (3, 1)))


def test_chunks_of_a_causal_decoder_must_meet() -> None:
    latent = np.zeros((3, 9, 6, 5), np.float32)
    with pytest.raises(BadLatent) as caught:
        list(decode_tiles(lambda part: local(part, CAUSAL), latent, TILE, CAUSAL, (0, 1)))
    assert "1 to 2 in time" in caught.value.expected
    with pytest.raises(BadLatent) as caught:
        list(decode_tiles(lambda part: local(part, CAUSAL), latent, (1, 3, 1, 6, 5), CAUSAL))
    assert "--input 1,3,3,6,5" in caught.value.hint


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_a_saved_video_is_read_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    frames = np.random.default_rng(2).integers(0, 256, (5, 12, 16, 3), dtype=np.uint8)
    Video(frames).save(tmp_path / f"clip{suffix}")
    with Image.open(tmp_path / f"clip{suffix}") as image:
        assert image.n_frames == 5  # type: ignore[attr-defined]
        for index, frame in enumerate(frames):
            image.seek(index)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), frame)
    assert [path.name for path in tmp_path.iterdir()] == [f"clip{suffix}"]
