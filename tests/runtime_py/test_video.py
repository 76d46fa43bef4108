"""Tiling against the whole decode, with decoders that look at nothing but their own step, so that both must agree."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_py.errors import MissingExtra, SdkError
from runtime_py.manifest import DecodeVideo
from runtime_py.video import BadLatent, Video, decode_tiles, read_latent

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


def moving(count: int = 5) -> Video:
    return Video(np.random.default_rng(2).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8), fps=24.0)


@pytest.mark.parametrize(("suffix", "within_ms"), [(".gif", 10), (".webp", 1), (".png", 1), (".apng", 1)])
def test_a_clip_lasts_as_long_as_its_frames(tmp_path: Path, suffix: str, within_ms: float) -> None:
    moving(24).save(tmp_path / f"clip{suffix}")
    with Image.open(tmp_path / f"clip{suffix}") as image:
        total = 0.0
        assert image.n_frames == 24  # type: ignore[attr-defined]
        for index in range(24):
            image.seek(index)
            image.load()
            total += image.info["duration"]
    assert abs(total - 1000) <= within_ms


def test_a_name_without_suffix_is_a_folder_of_frames(tmp_path: Path) -> None:
    moving().save(tmp_path / "clip")
    assert [path.name for path in sorted((tmp_path / "clip").iterdir())] == [f"{index:06d}.png" for index in range(5)]
    for frame, path in zip(moving(), sorted((tmp_path / "clip").iterdir()), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), frame)
    with pytest.raises(SdkError, match="exists already"):
        moving().save(tmp_path / "clip")
    assert len(list(tmp_path.iterdir())) == 1


def test_an_mp4_needs_its_package_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"edge-sdk\[video\]"):
        moving().save(tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_mp4_is_read_back_nearly_as_it_was(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV writes and reads .mp4")
    ramp = np.linspace(0, 255, 17, dtype=np.uint8)
    frames = np.stack([np.broadcast_to(np.roll(ramp, n)[None, :, None], (32, 17, 3)) for n in range(6)])
    Video(frames.repeat(4, 2), fps=30.0).save(tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].average_rate == 30
        found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [frame.shape for frame in found] == [(32, 68, 3)] * 6
    assert np.abs(np.stack(found).astype(float) - frames.repeat(4, 2)).mean() < 8


def test_videos_that_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(SdkError, match=r"clip\.avi"):
        moving().save(tmp_path / "clip.avi")
    with pytest.raises(SdkError, match="no frame"):
        moving(0).save(tmp_path / "clip.gif")


def test_pixels_that_are_no_numbers_are_black_and_others_stay_in_range() -> None:
    values = np.array([np.nan, np.inf, -np.inf, -1, 1, 0, 2, -2], np.float32)

    def run(part: np.ndarray) -> np.ndarray:
        video = np.zeros((1, 3, 1, 1, 8), np.float32)
        video[:] = values
        return video

    how = DecodeVideo(input="latent", output="video", scale=(1, 1, 8), causal=True)
    frames = next(decode_tiles(run, np.zeros((1, 1, 1, 1), np.float32), (1, 1, 1, 1, 1), how))
    assert frames[0, 0, :, 0].tolist() == [0, 255, 0, 0, 255, 128, 255, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_latent_with_values_that_are_no_numbers(bad: float) -> None:
    latent = np.zeros((3, 4, 6, 5), np.float32)
    latent[1, 2, 3, 4] = bad
    with pytest.raises(BadLatent, match="no numbers"):
        next(decode_tiles(lambda part: local(part, CAUSAL), latent, TILE, CAUSAL))


def test_latents_are_read_from_files(tmp_path: Path) -> None:
    latent = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    np.save(tmp_path / "a.npy", latent)
    np.savez(tmp_path / "b.npz", z=latent)
    np.savez(tmp_path / "c.npz", latent=latent, video=np.zeros(3))
    for name in ("a.npy", "b.npz", "c.npz"):
        np.testing.assert_array_equal(read_latent(tmp_path / name), latent)


def test_files_that_are_no_latent_say_so(tmp_path: Path) -> None:
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    np.savez(tmp_path / "cut.npz", a=np.arange(1000.0))
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.npz").write_bytes(whole[:500] + b"xxxx" + whole[504:])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_text("hello")
    names = ["pickle.npy", "two.npz", "cut.npz", "flipped.npz", "empty.npy", "text.npy", "none.npy"]
    for name in names:
        with pytest.raises(BadLatent, match=name):
            read_latent(tmp_path / name)
