"""Where an answer's time goes: decoding a file, preparing the input, the runtime's inference, reading its output.

python tests/benchmarks/pipeline.py BUNDLE IMAGE [IMAGE ...] [--target tflite] [--threads 1] [--runs 30] [--json]
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import runtime_py
from runtime_py.detection import detections
from runtime_py.manifest import Classify, Detect
from runtime_py.preprocess import decode_image, placed
from runtime_py.results import classification


@dataclass(frozen=True)
class Stages:
    """Milliseconds of each stage, the median or the best of all runs, on one image."""

    image: str
    pixels: str
    target: str
    decode_ms: float
    prepare_ms: float
    inference_ms: float
    read_ms: float

    @property
    def outside(self) -> float:
        """The share of an answer to decoded pixels that is not the runtime's own."""
        own = self.prepare_ms + self.read_ms
        return own / (own + self.inference_ms)

    @property
    def outside_from_file(self) -> float:
        """The same of an answer to a file."""
        own = self.decode_ms + self.prepare_ms + self.read_ms
        return own / (own + self.inference_ms)


def measure(session: runtime_py.Session, file: Path, runs: int) -> tuple[Stages, Stages]:
    """Median and best of `runs`, after one that warms up."""
    before, after = session.spec.preprocessing, session.spec.postprocessing
    if before is None or not isinstance(after, Classify | Detect):
        sys.exit(f"a {session.spec.task} bundle takes no photos")
    seconds: list[tuple[float, ...]] = []
    for _ in range(runs + 1):
        marks = [time.perf_counter()]
        image = decode_image(file)
        marks.append(time.perf_counter())
        array, place = placed(image, before)
        marks.append(time.perf_counter())
        output = session.run({before.input: array})[after.output]
        marks.append(time.perf_counter())
        if isinstance(after, Detect):
            detections(output, after, session.spec.labels, place)
        else:
            classification(output, session.spec.labels, after.softmax)
        marks.append(time.perf_counter())
        seconds.append(tuple(end - start for start, end in pairwise(marks)))
    stages = list(zip(*seconds[1:], strict=True))
    pixels = f"{image.width} x {image.height}"
    median, best = (
        Stages(file.name, pixels, session.target, *(round(1e3 * of(stage), 3) for stage in stages))
        for of in (statistics.median, min)
    )
    return median, best


def main() -> None:
    """Print a markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--target", help="which artifact; the best that runs here by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"{options.runs} runs; 1 or more are needed")
    with runtime_py.load(options.bundle, options.target, options.threads) as session:
        pairs = [measure(session, file, options.runs) for file in options.images]
    if options.json:
        print(json.dumps([{"median": asdict(median), "best": asdict(best)} for median, best in pairs], indent=2))
        return
    print(f"{options.bundle}, {pairs[0][0].target}, {options.threads} threads, {options.runs} runs; milliseconds\n")
    print("| image | | decode file | prepare | inference | read output | outside, of pixels | outside, of a file |")
    print("|---|---|---|---|---|---|---|---|")
    for pair in pairs:
        for title, row in zip(("median", "best"), pair, strict=True):
            print(
                f"| {row.image}, {row.pixels} | {title} | {row.decode_ms:.2f} | {row.prepare_ms:.2f} | "
                f"{row.inference_ms:.2f} | {row.read_ms:.2f} | {row.outside:.1%} | {row.outside_from_file:.1%} |"
            )


if __name__ == "__main__":
    main()
