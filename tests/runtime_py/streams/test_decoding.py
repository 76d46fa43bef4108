"""Real containers, whole and damaged: times, turns, and what a cut leaves."""

import logging
import struct
from pathlib import Path

import numpy as np
import pytest

import runtime_py
from runtime_py.streams import BadSource, StreamFailed
from tests.runtime_py.streams.clips import counted, flat, make_clip, values
from tests.runtime_py.streams.squares import picture

av = pytest.importorskip("av", reason="PyAV reads videos")
CLOCKWISE = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 48 << 16, 0, 0x40000000)
"""ISO 14496-12, 8.3.2: the matrix of a track header that moves (x, y) to (48 - y, x)."""


def noisy(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


def test_irregular_times_are_the_files_own(tmp_path: Path, colours: runtime_py.Session) -> None:
    times = [0.0, 0.04, 0.05, 0.3, 0.301, 2.0, 2.02, 7.5]
    clip = make_clip(tmp_path / "clip.mkv", [flat(value) for value in range(8)], times)
    frames = [frame for frame, _ in runtime_py.stream(clip, colours)]
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-3)
    assert values(frame.image for frame in frames) == list(range(8))


def test_irregular_times_with_frames_that_are_stored_out_of_order(tmp_path: Path, colours: runtime_py.Session) -> None:
    if "libx264" not in av.codecs_available:
        pytest.skip("this PyAV has no x264, whose B-frames are stored after those that they depend on")
    times = [0.0, 0.1, 0.15, 0.5, 0.6, 1.5, 1.6, 1.7, 1.75, 3.0]
    clip = make_clip(tmp_path / "clip.mp4", noisy(10), times, "libx264", "yuv420p")
    assert [frame.time_s for frame, _ in runtime_py.stream(clip, colours)] == pytest.approx(times, abs=2e-3)


def test_times_count_from_the_first_frame(tmp_path: Path, colours: runtime_py.Session) -> None:
    clip = make_clip(tmp_path / "clip.mkv", [flat(value) for value in range(3)], [100.0, 100.5, 101.0])
    assert [frame.time_s for frame, _ in runtime_py.stream(clip, colours)] == pytest.approx([0, 0.5, 1.0], abs=1e-3)


def test_a_phones_video_is_upright(tmp_path: Path, colours: runtime_py.Session) -> None:
    clip = make_clip(tmp_path / "clip.mp4", [picture(("red", 0, 0))] * 3, codec="mpeg4", pixels="yuv420p")
    data = bytearray(clip.read_bytes())
    header = data.index(b"tkhd") + 4
    assert struct.unpack_from(">9i", data, header + 40) == (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    data[header + 40 : header + 76] = CLOCKWISE
    clip.write_bytes(data)
    frame, _ = next(runtime_py.stream(clip, colours))
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[4, 44, 0] > 200  # the left upper corner has become the right upper one
    assert frame.image[4, 4].max() < 60
    assert frame.image[60, 44].max() < 60
    assert frame.image.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4"])
@pytest.mark.parametrize("share", [0.35, 0.7])
def test_a_video_cut_in_the_middle(
    tmp_path: Path,
    colours: runtime_py.Session,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    share: float,
) -> None:
    whole = make_clip(tmp_path / f"whole{suffix}", noisy(50), codec="mpeg4", pixels="yuv420p")
    if suffix == ".mp4":
        whole = fast_start(whole)
    expected = [frame for frame, _ in runtime_py.stream(whole, colours)]
    assert len(expected) == 50
    data = whole.read_bytes()
    length = int(share * len(data))
    with av.open(str(whole)) as container:
        left = sum(0 < packet.pos + packet.size <= length for packet in container.demux(video=0) if packet.size)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[:length])
    answers = runtime_py.stream(cut, colours)
    with caplog.at_level(logging.WARNING):
        frames = [frame for frame, _ in answers]
    assert answers.stats.truncated
    assert "it was cut" in caplog.text
    assert left <= len(frames) <= left + 1  # a part of a frame may be decoded, too
    assert 4 < left < 45
    for found, right in zip(frames[:left], expected, strict=False):
        assert np.array_equal(found.image, right.image)
        assert found.time_s == pytest.approx(right.time_s)


def fast_start(path: Path) -> Path:
    """The same frames with the index in front, as for the web."""
    out = path.with_name("fast.mp4")
    with av.open(str(path)) as source, av.open(str(out), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out


def test_a_whole_video_is_not_called_cut(clip: Path, colours: runtime_py.Session) -> None:
    answers = runtime_py.stream(clip, colours)
    assert len(list(answers)) == 20
    assert not answers.stats.truncated


def test_a_video_without_its_index(tmp_path: Path, colours: runtime_py.Session) -> None:
    whole = make_clip(tmp_path / "whole.mp4", noisy(30), codec="mpeg4", pixels="yuv420p")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(StreamFailed, match=r"cut\.mp4 cannot be opened") as caught:
        list(runtime_py.stream(cut, colours))
    assert isinstance(caught.value.__cause__, BadSource)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_bytes_give_frames_or_an_error_and_always_an_end(
    tmp_path: Path, colours: runtime_py.Session, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clip = make_clip(tmp_path / "clip.avi", noisy(20), codec="mpeg4", pixels="yuv420p")
    data = bytearray(clip.read_bytes())
    for place in rng.integers(0, len(data), 40):
        data[place] = rng.integers(0, 256)
    clip.write_bytes(data)
    answers = runtime_py.stream(clip, colours)
    failed: BaseException | None = None
    try:
        count = len(list(answers))
    except StreamFailed as error:
        count, failed = answers.stats.answered, error.__cause__
    assert failed is None or isinstance(failed, BadSource)
    assert count == answers.stats.answered <= 60


def test_frames_that_are_too_large_are_refused_before_they_are_decoded(
    clip: Path, colours: runtime_py.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime_py.streams.decoding.PIXEL_LIMIT", 32 * 24 - 1)
    with pytest.raises(StreamFailed, match="frames of 32 x 24 pixels"):
        list(runtime_py.stream(clip, colours))


def test_a_file_of_sound_only(tmp_path: Path, colours: runtime_py.Session) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(StreamFailed, match="has no video in it"):
        list(runtime_py.stream(tmp_path / "sound.mkv", colours))


def test_a_long_clip_keeps_the_number_of_frames(tmp_path: Path, colours: runtime_py.Session) -> None:
    clip = counted(tmp_path / "long.mkv", 1000)
    answers = runtime_py.stream(clip, colours)
    assert values(frame.image for frame, _ in answers) == [index % 256 for index in range(1000)]
    assert answers.stats.dropped == 0
