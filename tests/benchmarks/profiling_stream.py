"""What an app gets that streams photos: JSON of one folder, in a process of its own.

python tests/benchmarks/profiling_stream.py BUNDLE TARGET THREADS FOLDER FRAMES

`one_ms`: the median of `Stats.latency`, from the encoded file to its answer, while one frame is under way at a time;
`one_sum_ms`: the sum of its stages' medians. `sum_ms`: that sum of a stream over the folder that overlaps its stages;
`frame_ms`: what 1 / fps is there. tests/benchmarks/profiling.py calls it, and says which is comparable with what.
"""

import json
import sys
import threading
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import runtime_py


def one_at_a_time(photos: list[Path], frames: int, free: threading.Semaphore) -> Iterator[Path]:
    """Photos, each only when the one before is answered."""
    for photo in islice(cycle(photos), frames):
        free.acquire()
        yield photo


def measure(session: runtime_py.Session, folder: Path, frames: int) -> dict[str, Any]:
    """Both ways, one after the other."""
    free = threading.Semaphore(1)
    answers = runtime_py.stream(one_at_a_time(sorted(folder.iterdir()), frames, free), session)
    for _ in answers:
        free.release()
    one = answers.stats
    both = runtime_py.stream(folder, session, loop=True, max_frames=frames).into().to_dict()
    assert one.answered == both["answered"] == frames
    assert one.latency is not None
    return {
        "one_ms": one.latency.p50,
        "one_sum_ms": sum(row.p50 for row in (one.stages or {}).values()),
        "sum_ms": sum(row["p50"] for row in both["stages"].values()),
        "frame_ms": 1e3 / both["fps"],
    }


def main() -> None:
    bundle, target, threads, folder, frames = sys.argv[1:]
    with runtime_py.load(bundle, target, int(threads)) as session:
        print(json.dumps(measure(session, Path(folder), int(frames))))


if __name__ == "__main__":
    main()
