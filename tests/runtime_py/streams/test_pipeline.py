"""Frames through the threads: all of them, in order, with `session(image)`'s own answers, or counted as dropped."""

import gc
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py.preprocess import BadImage, Fit
from runtime_py.streams import BadOption, SourceStalled, Stream, StreamFailed
from runtime_py.streams.answering import Steps
from runtime_py.streams.pipeline import Pipeline
from runtime_py.streams.reader import Options
from runtime_py.streams.sources import How, open_source
from tests.runtime_py.streams.clips import flat, values
from tests.runtime_py.streams.conftest import stream_threads
from tests.runtime_py.streams.squares import picture

PLACE = Fit((32, 24), (32, 24))
PATIENCE_S = 30


def plain(infer: Any = lambda array: array, prepare: Any = None) -> Steps:
    """Steps without a network: the answer is the frame's value."""
    return Steps(prepare or (lambda image: (image[:1, :1], PLACE)), infer, lambda array, place: int(array[0, 0, 0]))


def over(source: Any, steps: Steps, **options: Any) -> Stream:
    opened = open_source(source, How())
    pipeline = Pipeline(opened, steps, Options(**{"policy": "all"} | options))
    return Stream(pipeline, opened.name, "all", False)


def test_every_frame_of_a_clip_in_order_with_the_pixels_it_was_made_of(clip: Path, colours: runtime_py.Session) -> None:
    answers = runtime_py.stream(clip, colours)
    frames = [frame for frame, _ in answers]
    assert [frame.index for frame in frames] == list(range(20))
    assert all(np.array_equal(frame.image, flat(index)) for index, frame in enumerate(frames))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(20)])
    stats = answers.stats
    assert (stats.read, stats.answered, stats.dropped, stats.in_flight) == (20, 20, 0, 0)
    assert set(stats.stages or {}) == {"decode", "prepare", "infer", "answer"}
    assert stats.latency is not None
    assert stats.latency.p90 >= stats.latency.p50 > 0
    assert stats.fps == answers.fps > 0


def test_stamps_follow_each_other(clip: Path, colours: runtime_py.Session) -> None:
    for frame, _ in runtime_py.stream(clip, colours):
        stamps = frame.stamps
        order = [stamps.captured, stamps.decoded, stamps.prepared, stamps.inferred, stamps.done]
        assert order == sorted(order)
        assert stamps.latency_s == stamps.done - stamps.captured


def test_a_classifiers_answers_are_the_sessions_own(colours: runtime_py.Session) -> None:
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (*rng.integers(5, 60, 2), 3), np.uint8) for _ in range(60)]
    answers = list(runtime_py.stream(images, colours, queue=4))
    assert len(answers) == len(images)
    for image, (frame, found) in zip(images, answers, strict=True):
        assert np.array_equal(frame.image, image)
        assert np.array_equal(found.scores, colours(image).scores)


@pytest.mark.parametrize("confidence", [None, 0.3])
def test_a_detectors_answers_are_the_sessions_own(squares: runtime_py.Session, confidence: float | None) -> None:
    images = [picture(("red", 3 * n, n), ("blue", 48 - 2 * n, 30), size=(70, 50)) for n in range(20)]
    for frame, found in runtime_py.stream(images, squares, confidence=confidence):
        alone = squares.detect(frame.image, confidence)
        assert np.array_equal(found.boxes, alone.boxes)
        assert np.array_equal(found.scores, alone.scores)
        assert np.array_equal(found.class_ids, alone.class_ids)
        assert len(found) >= 1


def test_agnostic_suppression_can_be_asked_for(squares: runtime_py.Session) -> None:
    image = picture(("red", 16, 16), ("green", 24, 16))  # two windows that overlap by a third
    counts = []
    for agnostic in (None, False, True):
        answers = runtime_py.stream([image], squares, confidence=0.9, agnostic_nms=agnostic)
        counts.append([len(found) for _, found in answers])
    assert counts == [[2], [2], [1]]


def test_a_slow_program_stops_the_source() -> None:
    given: list[int] = []

    def source() -> Iterator[np.ndarray]:
        for value in range(200):
            given.append(value)
            yield flat(value)

    with over(source(), plain(), queue=2) as answers:
        assert next(answers)[1] == 0
        settled = -1
        while settled != len(given):
            settled = len(given)
            time.sleep(0.3)
        # four queues of two, one frame in each thread, and the one that was taken
        assert settled <= 4 * 2 + 4 + 1
        assert [result for _, result in answers] == list(range(1, 200))


def test_latest_drops_the_oldest_and_counts_them_exactly() -> None:
    """The network holds frame 0 until the source has given all: what waits then is known to the frame."""
    prepared, all_given, total = threading.Semaphore(0), threading.Event(), 50
    values_given = iter(range(total))

    def prepare(image: np.ndarray) -> tuple[np.ndarray, Fit]:
        prepared.release()
        return image[:1, :1], PLACE

    def infer(array: np.ndarray) -> np.ndarray:
        assert all_given.wait(PATIENCE_S)
        return array

    def source() -> np.ndarray | None:
        value = next(values_given, None)
        if value in (1, 2):
            assert prepared.acquire(timeout=PATIENCE_S)  # frame 0 is in the network, and 1 before it
        if value is None:
            all_given.set()
            return None
        return flat(value)

    answers = over(source, plain(infer, prepare), policy="latest", queue=2)
    found = [(frame.index, result) for frame, result in answers]
    assert found == [(value, value) for value in (0, 1, total - 2, total - 1)]
    stats = answers.stats
    assert (stats.read, stats.answered, stats.dropped, stats.in_flight) == (total, 4, total - 4, 0)


def test_latest_accounts_for_every_frame_of_a_fast_source() -> None:
    images = iter([flat(value % 256) for value in range(3000)])
    answers = over(lambda: next(images, None), plain(), policy="latest")
    indices = []
    for frame, result in answers:
        assert result == frame.index % 256
        indices.append(frame.index)
    assert all(one < other for one, other in pairwise(indices))
    assert indices[-1] == 2999  # the newest is never dropped
    stats = answers.stats
    assert (stats.read, stats.answered) == (3000, len(indices))
    assert stats.dropped == 3000 - len(indices)


@pytest.mark.parametrize("stage", ["prepare", "infer"])
def test_an_error_comes_out_with_its_frame_after_all_before_it(stage: str) -> None:
    def fail(array: np.ndarray) -> np.ndarray:
        if array[0, 0, 0] == 7:
            raise RuntimeError("the network is on fire")
        return array

    steps = plain(fail) if stage == "infer" else plain(prepare=lambda image: (fail(image)[:1, :1], PLACE))
    answers = over([flat(value) for value in range(20)], steps)
    assert [next(answers)[1] for _ in range(7)] == list(range(7))
    with pytest.raises(StreamFailed, match=f"frame 7, {stage}: RuntimeError: the network is on fire") as caught:
        next(answers)
    assert (caught.value.index, caught.value.stage, caught.value.id) == (7, stage, "stream-failed")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert list(answers) == []  # it is over


def test_answers_before_an_error_are_given() -> None:
    def source() -> Iterator[np.ndarray]:
        yield from (flat(value) for value in range(5))
        raise OSError("the card was pulled out")

    answers = over(source(), plain())
    assert [next(answers)[1] for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(StreamFailed, match="frame 5, decode: OSError: the card was pulled out"):
        next(answers)


def test_an_image_that_cannot_be_used_is_an_error_or_is_skipped(colours: runtime_py.Session) -> None:
    images = [flat(1), np.zeros((4, 4, 3), np.float32), flat(2), np.zeros((0, 4, 3), np.uint8), flat(3)]
    with pytest.raises(StreamFailed, match="frame 1, decode: an array of float32") as caught:
        list(runtime_py.stream(images, colours))
    assert isinstance(caught.value.__cause__, BadImage)
    answers = runtime_py.stream(images, colours, on_error="skip")
    assert [frame.index for frame, _ in answers] == [0, 2, 4]
    stats = answers.stats
    assert (stats.read, stats.answered, stats.skipped, stats.in_flight) == (5, 3, 2, 0)


def test_an_image_that_the_network_cannot_take_is_skipped_too() -> None:
    def prepare(image: np.ndarray) -> tuple[np.ndarray, Fit]:
        if image[0, 0, 0] == 2:
            raise BadImage("far too wide")
        return image[:1, :1], PLACE

    images = [flat(value) for value in range(4)]
    with pytest.raises(StreamFailed, match="frame 2, prepare: far too wide"):
        list(over(images, plain(prepare=prepare)))
    answers = over(images, plain(prepare=prepare), on_error="skip")
    assert [result for _, result in answers] == [0, 1, 3]
    assert (answers.stats.read, answers.stats.skipped, answers.stats.in_flight) == (4, 1, 0)


def test_skipping_hides_no_failure_of_the_network() -> None:
    def infer(array: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    with pytest.raises(StreamFailed, match="out of memory"):
        list(over([flat(0)], plain(infer), on_error="skip"))


def test_a_closed_session_is_an_error_with_the_frames_index(tmp_path: Path) -> None:
    from tests.runtime_py.colours import make_bundle

    session = runtime_py.load(make_bundle(tmp_path / "colours.bundle"), threads=1)
    session.close()
    with pytest.raises(StreamFailed, match="frame 0, infer: the session is closed"):
        next(runtime_py.stream([flat(0)], session))


def test_threads_end_with_the_stream_a_break_an_exception_and_close(colours: runtime_py.Session) -> None:
    list(runtime_py.stream([flat(0)], colours))
    assert stream_threads() == []
    for _frame, _found in runtime_py.stream([flat(0)], colours, loop=True):
        break
    gc.collect()
    assert stream_threads() == []
    with runtime_py.stream([flat(0)], colours, loop=True) as answers:
        next(answers)
        assert len(stream_threads()) == 4
    assert stream_threads() == []
    with pytest.raises(KeyError), runtime_py.stream([flat(0)], colours, loop=True) as answers:
        raise KeyError(next(answers)[0].index)
    assert stream_threads() == []
    answers = runtime_py.stream([flat(0)], colours, loop=True)
    next(answers)
    answers.close()
    answers.close()
    assert stream_threads() == []
    assert list(answers) == []


def test_a_stream_that_was_closed_before_its_first_frame_is_empty(colours: runtime_py.Session) -> None:
    answers = runtime_py.stream([flat(0)], colours)
    answers.close()
    assert list(answers) == []
    assert answers.stats.read == 0


def test_close_does_not_wait_for_a_source_that_blocks() -> None:
    free = threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield flat(1)
        assert free.wait(PATIENCE_S)

    answers = over(source(), plain())
    assert next(answers)[1] == 1
    answers.close()
    assert len(stream_threads()) == 1  # it ends when the source returns
    assert not free.is_set()
    free.set()


def test_a_source_that_blocks_longer_than_it_may() -> None:
    free = threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield flat(1)
        assert free.wait(PATIENCE_S)

    answers = over(source(), plain(), timeout_s=0.3)
    assert next(answers)[1] == 1
    with pytest.raises(SourceStalled, match=r"gave nothing for 0\.3 s"):
        next(answers)
    free.set()


def test_draining_answers_what_was_read_and_ends(colours: runtime_py.Session) -> None:
    answers = runtime_py.stream([flat(0)], colours, loop=True)
    for count, _ in enumerate(answers, 1):
        if count == 10:
            answers.drain()
    stats = answers.stats
    assert stats.read == stats.answered == count >= 10
    assert stats.in_flight == 0


def test_draining_a_source_that_blocks_ends_as_well() -> None:
    free = threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield flat(1)
        assert free.wait(PATIENCE_S)

    answers = over(source(), plain())
    next(answers)
    answers.drain()
    assert list(answers) == []
    free.set()


def test_a_stream_ends_after_so_many_frames(colours: runtime_py.Session) -> None:
    answers = runtime_py.stream([flat(0)], colours, loop=True, max_frames=7)
    assert [frame.index for frame, _ in answers] == list(range(7))
    assert answers.stats.read == 7


def test_a_rate_thins_a_clip_by_its_own_times(clip: Path, colours: runtime_py.Session) -> None:
    answers = runtime_py.stream(clip, colours, fps=5)  # of 25
    assert [frame.index for frame, _ in answers] == [0, 5, 10, 15]
    assert (answers.stats.read, answers.stats.answered, answers.stats.thinned) == (20, 4, 16)


def test_a_loop_goes_on_with_its_times(clip: Path, colours: runtime_py.Session) -> None:
    frames = [frame for frame, _ in runtime_py.stream(clip, colours, loop=True, max_frames=50)]
    assert values(frame.image for frame in frames) == [index % 20 for index in range(50)]
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(50)])


def test_a_loop_of_one_frame_goes_on_as_well(tmp_path: Path, colours: runtime_py.Session) -> None:
    from tests.runtime_py.streams.clips import counted

    answers = runtime_py.stream(counted(tmp_path / "one.mkv", 1), colours, loop=True, max_frames=4, fps=20)
    times = [frame.time_s for frame, _ in answers]
    assert all(one < other for one, other in pairwise(times))


def test_answers_go_into_sinks_and_functions(colours: runtime_py.Session) -> None:
    seen: list[tuple[int, str]] = []

    class Sink:
        def write(self, frame: runtime_py.Frame, result: Any = None, picture: Any = None) -> None:
            seen.append((frame.index, result.label))

        def close(self) -> None:
            seen.append((-1, "closed"))

    red = Image.new("RGB", (12, 8), (255, 0, 0))
    stats = runtime_py.stream([red, red], colours).into(Sink(), lambda frame, result: seen.append((frame.index, "f")))
    assert seen == [(0, "red"), (0, "f"), (1, "red"), (1, "f")]
    assert stats.answered == 2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"policy": "some"}, "policy='some'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"queue": 0}, "queue=0"),
        ({"max_frames": 0}, "max_frames=0"),
        ({"fps": -1}, "fps=-1"),
        ({"fps": float("inf")}, "fps=inf"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
    ],
)
def test_options_that_make_no_sense(colours: runtime_py.Session, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadOption, match=complaint):
        runtime_py.stream([flat(0)], colours, **options)


def test_what_cannot_be_repeated_cannot_be_looped(colours: runtime_py.Session) -> None:
    with pytest.raises(BadOption, match="loop=True for a generator"):
        runtime_py.stream((flat(0) for _ in range(2)), colours, loop=True)
    with pytest.raises(BadOption, match="loop=True for a live source"):
        runtime_py.stream(lambda: None, colours, loop=True)


def test_a_classifier_has_no_thresholds_and_a_detectors_are_checked(
    colours: runtime_py.Session, squares: runtime_py.Session
) -> None:
    with pytest.raises(runtime_py.SdkError, match="for a classifier"):
        runtime_py.stream([flat(0)], colours, confidence=0.5)
    with pytest.raises(runtime_py.SdkError, match=r"a confidence of 1\.5"):
        runtime_py.stream([flat(0)], squares, confidence=1.5)
