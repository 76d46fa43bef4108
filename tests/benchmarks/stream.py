"""A stream's speed beside its slowest stage alone, and what ten thousand frames do to memory and counters.

python tests/benchmarks/stream.py BUNDLE CLIP [--threads 1] [--rounds 5] [--frames 10000] [--json]

Exits with 1 where a bar is missed: 0.90 of the slowest stage, memory within 5 MB, no frame lost, drops counted exactly.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import runtime_py
from runtime_py.streams.answering import Steps, steps_of
from runtime_py.streams.reader import Options, Reader
from runtime_py.streams.sources import How, open_source
from runtime_py.streams.stats import Meter

LEAST_SHARE, MOST_GROWTH_MB = 0.90, 5.0
SAMPLE = 200
"""Frames of the clip that each stage is measured on, and of each round's stream."""
SETTLED = 1000
"""Frames before memory is first looked at: allocators and decoders have their buffers by then."""


@dataclass(frozen=True)
class Speed:
    """Milliseconds a frame, each the best of the rounds: what the machine does while nobody else wants it.

    `share` is the stream's speed over the slowest stage's alone, the median of the rounds' own; `best_share` compares
    the best of both.
    """

    threads: int
    decode_ms: float
    prepare_ms: float
    infer_ms: float
    answer_ms: float
    one_by_one_ms: float
    stream_ms: float
    share: float
    best_share: float


@dataclass(frozen=True)
class Endurance:
    """Many frames: whether each came, in order; memory's lowest and highest, and its growth between the first and the
    last fifth."""

    frames: int
    lost: int
    fps: float
    rss_low_mb: float
    rss_high_mb: float
    growth_mb: float


@dataclass(frozen=True)
class Drops:
    """A source that never waits: what it gave itself, and what the stream says of it."""

    given: int
    read: int
    answered: int
    dropped: int

    @property
    def exact(self) -> bool:
        """Whether nothing is unaccounted for."""
        return self.given == self.read == self.answered + self.dropped


def decoded(clip: Path) -> Iterator[np.ndarray]:
    """The clip's pictures as a stream's reader gets them."""
    source = open_source(clip, How())
    with closing(source.pictures(Reader(source, Options("all"), Meter()))) as pictures:
        yield from (picture.pixels for picture in pictures)


def per_frame_ms(work: Callable[[Any], Any], items: list[Any]) -> float:
    started = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - started) / len(items) * 1e3


def decode_ms(clip: Path) -> float:
    started, count = time.perf_counter(), 0
    for count, _ in enumerate(decoded(clip), 1):  # the last count is looked at
        if count == SAMPLE:
            break
    return (time.perf_counter() - started) / count * 1e3


def stream_ms(session: runtime_py.Session, clip: Path) -> float:
    """Without the start: from the first answer to the last."""
    count, started = -1, 0.0
    with runtime_py.stream(clip, session, max_frames=SAMPLE) as answers:
        for _ in answers:
            started = started or time.perf_counter()
            count += 1
    return (time.perf_counter() - started) / count * 1e3


def alone_ms(session: runtime_py.Session, steps: Steps, images: list[np.ndarray]) -> tuple[float, ...]:
    ready = [steps.prepare(image) for image in images[:40]]
    outputs = [(steps.infer(array), place) for array, place in ready]
    return (
        per_frame_ms(steps.prepare, images),
        per_frame_ms(steps.infer, [array for array, _ in ready] * (len(images) // len(ready))),
        per_frame_ms(lambda pair: steps.answer(*pair), outputs * (len(images) // len(outputs))),
        per_frame_ms(session, images),
    )


def measure_speed(session: runtime_py.Session, clip: Path, threads: int, rounds: int) -> Speed:
    """Stages and stream in turn, so that a busy machine slows both."""
    steps = steps_of(session, None, None)
    images = [image for _, image in zip(range(SAMPLE), decoded(clip), strict=False)]
    rows, shares = [], []
    for _ in range(rounds):
        alone = (decode_ms(clip), *alone_ms(session, steps, images))
        together = stream_ms(session, clip)
        shares.append(max(alone[:4]) / together)
        rows.append((*alone, together))
    best = [round(min(column), 3) for column in zip(*rows, strict=True)]
    return Speed(threads, *best, round(statistics.median(shares), 3), round(max(best[:4]) / best[-1], 3))


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def endure(session: runtime_py.Session, clip: Path, frames: int) -> Endurance:
    """The clip in a loop; an index that does not come counts as lost."""
    seen, memory, last, started = 0, [], -1, time.perf_counter()
    with runtime_py.stream(clip, session, loop=True, max_frames=frames) as answers:
        for frame, _ in answers:
            seen += frame.index == last + 1
            last = frame.index
            if frame.index >= min(SETTLED, frames // 2) and frame.index % 50 == 0:
                memory.append(rss_mb())
    fps = frames / (time.perf_counter() - started)
    fifth = max(1, len(memory) // 5)
    growth = statistics.median(memory[-fifth:]) - statistics.median(memory[:fifth])
    return Endurance(
        frames, frames - seen, round(fps, 1), round(min(memory), 1), round(max(memory), 1), round(growth, 1)
    )


def drop(session: runtime_py.Session, clip: Path, frames: int) -> Drops:
    """Under `latest`, from a function that gives as fast as it is called."""
    image, given = next(decoded(clip)), 0

    def camera() -> np.ndarray | None:
        nonlocal given
        if given == frames:
            return None
        given += 1
        time.sleep(0.001)
        return image

    answers = runtime_py.stream(camera, session, policy="latest")
    answered = sum(1 for _ in answers)
    return Drops(given, answers.stats.read, answered, answers.stats.dropped)


def main() -> int:
    """Print the numbers; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--target")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="threads of the runtime, one run each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=0, help="of the long run; 0 leaves it out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {"speed": []}
    missed = []
    for threads in options.threads:
        with runtime_py.load(options.bundle, options.target, threads) as session:
            speed = measure_speed(session, options.clip, threads, options.rounds)
            found["speed"].append(asdict(speed))
            if threads == options.threads[0]:
                if speed.share < LEAST_SHARE:
                    missed.append(f"{speed.share} of the slowest stage's speed, under {LEAST_SHARE}")
                drops = drop(session, options.clip, 2000)
                found["drops"] = asdict(drops)
                if not drops.exact:
                    missed.append(f"drops are not exact: {drops}")
                if options.frames:
                    run = endure(session, options.clip, options.frames)
                    found["endurance"] = asdict(run)
                    if run.lost or run.rss_high_mb - run.rss_low_mb > 2 * MOST_GROWTH_MB:
                        missed.append(f"lost frames or memory that is not flat: {run}")
    print(json.dumps(found, indent=2) if options.json else "\n".join(lines(found)))
    print("\n".join(f"missed: {what}" for what in missed), end="\n" if missed else "", file=sys.stderr)
    return int(bool(missed))


def lines(found: dict[str, Any]) -> Iterator[str]:
    for row in found["speed"]:
        yield "  ".join(f"{name} {value}" for name, value in row.items())
    for name in ("drops", "endurance"):
        if name in found:
            yield f"{name}: " + "  ".join(f"{key} {value}" for key, value in found[name].items())


if __name__ == "__main__":
    sys.exit(main())
