"""Whether the profiler's figures are to be trusted: six bars, measured here.

python tests/benchmarks/profiling.py [BUNDLE ...] [--only bare,quick,overhead,stream] [--target tflite,onnx]
    [--threads 1] [--rounds 3] [--samples 250] [--runs 5] [--repeated tflite] [--json]

Prints a table, and exits with 1 where a bar is missed. It wants a quiet machine, and takes a quarter of an hour there.
Without a bundle it exports two: mobilenetv4_conv_small to LiteRT, ONNX, OpenVINO and ExecuTorch, and mcunet_in0 to C.

bare      An inference's p50, as `devices.profiling.profile` gives it, beside a loop around the runtime's own calls
          (profiling_bare.py: a process of its own, the same file, input, threads and number of samples), within 5 %.
          A round is profile, loop, loop, profile, so that a drift cancels; its ratio is that of the geometric means.
          The same beside the programs that come with the runtimes' wheels: benchmark_app of OpenVINO, and litert-
          benchmark of LiteRT, which runs another front of it (CompiledModel, random inputs). Both keep their input
          in place, and count no copy. ONNX Runtime's wheel has no onnxruntime_perf_test and ExecuTorch's no
          executor_runner. `least` is the ratio of the quickest samples, which noise moves less.
quick     `sdk profile --quick`, the whole command: under 20 s for each target. Those of --repeated run --runs times,
          and the p50 of the runs that call themselves valid lie within 5 %. With fewer than two of them nothing is
          shown, and the bar counts as missed: the machine was not quiet.
overhead  At most 20 us an inference: what the profiler, `devices.agent.sampled`, adds to a call of known cost, in the
          figure and beside it; and what `session.run`, which an app calls and the profiler therefore times, adds to
          the runtime's call with its array in and its arrays out, the median of the differences between neighbours,
          with how unsure it is: its few lines of Python, after a network has emptied the caches. README promises 50
          of it to an app; here it is held to what a profile's figure may have on top of the runtime's. How much of
          that call is copies has no bar.
stream    A profile's `end_to_end` beside `Stats.latency` of `runtime_py.stream`, within 7 %. Both are from the encoded
          file to its answer. A profile has one photo under way, so the stream may have one, too: it gets the next
          path when the one before is answered, and nothing waits in a queue. The latency of a stream that overlaps its
          stages holds the time in queues, and 1 / fps is that of the slowest stage: neither is a frame's own work. Told
          without a bar are the sums of the stages' medians: of the same stream, which leaves out how its threads wake
          each other, and of one that overlaps them, where they share cores and the interpreter's lock; and the same
          latency where everything runs on one core. There no core sleeps between frames, which the profile's do not,
          either: what is left is what a stream itself costs.

The energy protocol's bar, 1 % of a simulated sensor with a known curve of power, has no clock in it, and is a test:
tests/devices/test_energy.py::test_every_interface_finds_the_energy_within_one_percent.
"""

import argparse
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from profiling_bare import RUNTIMES, bare
from runtime import HELD, beneath, in_turns

import runtime_py
from devices.agent import sampled
from devices.profiling import profile
from runtime_py.bundle import open_bundle
from runtime_py.engines import available
from runtime_py.golden import GOLDEN, load_golden
from runtime_py.manifest import Artifact
from sdk import export

BARE_BAR, REPEATS_BAR, STREAM_BAR = 0.05, 0.05, 0.07
OVERHEAD_BAR_US, QUICK_BAR_S = 20.0, 20.0
SECTIONS = ("bare", "quick", "overhead", "stream")
HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
NETWORKS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("mobilenetv4_conv_small", "tflite,onnx,openvino,executorch", {}),
    ("mcunet_in0", "mcu", {"precision": "w8a8", "calibration_size": 16}),
)
KINDS = {"float32": "f32", "int8": "i8", "uint8": "u8"}
"""benchmark_app takes pixels for an image's input unless it is told not to."""
PHOTOS = 10
FRAMES = 300
"""Of each stream: its rate is that of its last hundred."""
SPIN_S, SPINS, EMPTY = 1e-3, 500, 20_000


@dataclass(frozen=True)
class Line:
    """A row of the table; `holds` is None where the figure has no bar."""

    what: str
    figure: str
    bar: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Case:
    """An artifact of a bundle, and the folder for what is made from it."""

    bundle: Path
    artifact: Artifact
    work: Path
    threads: int

    @property
    def target(self) -> str:
        return self.artifact.target

    @property
    def title(self) -> str:
        return f"{self.bundle.stem}, {self.target}"

    def job(self, samples: int) -> dict[str, Any]:
        """What profiling_bare.py takes: the input is the one that a profile runs on."""
        manifest = open_bundle(self.bundle).manifest
        (array,) = next(iter(load_golden(self.bundle / GOLDEN, manifest).inputs.values())).values()
        np.save(place := self.work / f"{self.bundle.stem}.npy", np.ascontiguousarray(array))
        job: dict[str, Any] = {
            "target": self.target,
            "path": str(self.bundle / self.artifact.file),
            "array": str(place),
        }
        job |= {"threads": self.threads, "samples": samples}
        if (facts := self.artifact.mcu) is not None:
            outputs = math.prod(manifest.outputs[0].shape)
            job |= {"scale": facts.input.scale, "zero_point": facts.input.zero_point, "outputs": outputs}
        return job


@dataclass(frozen=True)
class Took:
    """Milliseconds of an inference: the median, and the quickest."""

    p50: float
    least: float


def ran(command: list[Any]) -> str:
    """What a command prints; the end of this program where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Ours:
    """What of a profile is looked at."""

    infer: Took
    end_to_end_ms: float | None
    samples: int
    valid: bool


def profiled(case: Case, samples: int) -> Ours:
    """A profile of so many samples."""
    found = profile(case.bundle, [case.target], (case.threads,), samples=samples, seconds=0.0)
    if not found.rows or found.rows[0].infer is None:
        sys.exit(f"{case.title}: {found.failed[0].error if found.failed else found.rows[0].unmeasured}")
    row, infer = found.rows[0], found.rows[0].infer
    whole = row.stages.get("end_to_end")
    return Ours(Took(infer.p50_ms, infer.min_ms), whole.p50_ms if whole else None, infer.samples, row.valid)


def bare_loop(case: Case, samples: int) -> Took:
    """profiling_bare.py."""
    said = json.loads(ran([sys.executable, HERE / "profiling_bare.py", json.dumps(case.job(samples))]).splitlines()[-1])
    return Took(said["p50_ms"], said["least_ms"])


def benchmark_app(case: Case, samples: int) -> Took:
    """OpenVINO's: one request, one stream, in order."""
    job = case.job(samples)
    (report := case.work / "benchmark_app").mkdir(exist_ok=True)
    kind = KINDS[np.load(job["array"]).dtype.name]
    ran([BIN / "benchmark_app", "-m", Path(job["path"]) / "model.xml", "-d", "CPU", "-api", "sync", "-hint", "none",
         "-nstreams", 1, "-nthreads", case.threads, "-infer_precision", "f32", "-ip", kind, "-i", job["array"],
         "-niter", samples, "-report_type", "no_counters", "-json_stats", "-report_folder", report])  # fmt: skip
    said = json.loads((report / "benchmark_report.json").read_text())["execution_results"]
    return Took(float(said["latency (ms)"]), float(said["min latency"]))


def litert_benchmark(case: Case, samples: int) -> Took:
    """LiteRT's."""
    job, report = case.job(samples), case.work / "litert.json"
    ran([BIN / "litert-benchmark", "--model", job["path"], "--num_threads", case.threads, "--num_runs", samples,
         "--warmup_runs", samples, "--result_json", report])  # fmt: skip
    said = json.loads(report.read_text())["latency"]
    return Took(said["median_ms"], said["min_ms"])


TOOLS: dict[str, tuple[str, Callable[[Case, int], Took]]] = {
    "openvino": ("benchmark_app", benchmark_app), "tflite": ("litert-benchmark", litert_benchmark),
}  # fmt: skip


def beside_bare(cases: list[Case], rounds: int, samples: int) -> Iterator[Line]:
    """The section `bare`."""
    for case in cases:
        others: dict[str, Callable[[Case, int], Took]] = {"bare loop": bare_loop}
        if case.target in TOOLS:
            name, tool = TOOLS[case.target]
            if (BIN / name).is_file():
                others[name] = tool
            else:
                yield Line(f"{case.title}: p50 / {name}", "is not installed here")
        yield from compared(case, others, rounds, samples)


def compared(case: Case, others: dict[str, Callable[[Case, int], Took]], rounds: int, samples: int) -> Iterator[Line]:
    """A line for each of the others."""
    rows, took = list[Ours](), {name: list[Took]() for name in others}
    for _ in range(rounds):
        rows.append(profiled(case, samples))
        count = rows[-1].samples
        for name in [*others, *reversed(others)]:
            took[name].append(others[name](case, count))
        rows.append(profiled(case, samples))
    ours = [row.infer for row in rows]
    invalid = sum(not row.valid for row in rows)
    for name, theirs in took.items():
        ratios = of_rounds([one.p50 for one in ours], [one.p50 for one in theirs])
        middle = statistics.median(ratios)
        least = min(one.least for one in ours) / min(one.least for one in theirs)
        yield Line(
            f"{case.title}: p50 / {name}",
            f"{middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f}; least {least:.3f}); "
            f"{statistics.median(one.p50 for one in ours):.3f} ms; {invalid} of {len(rows)} profiles invalid",
            f"1 ± {BARE_BAR}", abs(middle - 1) <= BARE_BAR,
        )  # fmt: skip


def of_rounds(ours: list[float], theirs: list[float]) -> list[float]:
    """The ratio of each round, in which both were measured twice."""
    pairs = [(ours[at : at + 2], theirs[at : at + 2]) for at in range(0, len(ours), 2)]
    return [math.sqrt(math.prod(own) / math.prod(other)) for own, other in pairs]


def quick(cases: list[Case], runs: int, repeated: list[str]) -> Iterator[Line]:
    """The section `quick`."""
    for case in cases:
        rows, walls = list[dict[str, Any]](), list[float]()
        for _ in range(runs if case.target in repeated else 1):
            began = time.perf_counter()
            said = ran([BIN / "sdk", "profile", case.bundle, "--target", case.target, "--quick", "--json",
                        "--threads", case.threads])  # fmt: skip
            walls.append(time.perf_counter() - began)
            rows += json.loads(said)["rows"]
        yield Line(
            f"{case.title}: sdk profile --quick, the longest of {len(walls)}", f"{max(walls):.1f} s",
            f"< {QUICK_BAR_S:.0f} s", max(walls) < QUICK_BAR_S,
        )  # fmt: skip
        if len(rows) > 1:
            yield spread(case, rows)


def spread(case: Case, rows: list[dict[str, Any]]) -> Line:
    """How far the valid runs are apart."""
    medians = [row["infer"]["p50_ms"] for row in rows if row["valid"]]
    whys = sorted({row["why"] for row in rows if not row["valid"]})
    apart = (max(medians) - min(medians)) / statistics.median(medians) if len(medians) > 1 else math.nan
    figure = f"{apart:.1%} apart; {len(rows) - len(medians)} of {len(rows)} invalid"
    if len(medians) < 2:
        figure = f"{len(medians)} of {len(rows)} valid"
    return Line(
        f"{case.title}: p50 of repeated profiles", f"{figure}{f' ({whys[0]})' if whys else ''}",
        f"<= {REPEATS_BAR:.0%}", apart <= REPEATS_BAR,
    )  # fmt: skip


def overheads(cases: list[Case], turns: int) -> Iterator[Line]:
    """The section `overhead`."""
    empty: Callable[[], None] = lambda: None  # noqa: E731  # a call of nothing is the subject
    yield from around("an empty call", empty, cost_s(empty, EMPTY), EMPTY)
    yield from around("a spin of 1 ms", spin, SPIN_S, SPINS)
    for case in cases:  # each in a process of its own: runtimes disturb each other
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            (whole, ours), (network, again) = pool.apply(side_by_side, (case, turns))
        more = [a - b for a, b in zip(ours, whole, strict=True)]
        copies = statistics.median(a - b for a, b in zip(again, network, strict=True))
        what = f"{case.title}: session.run above the runtime's call"
        yield bounded(what, statistics.median(more), notch(more))
        yield Line(f"{case.title}: that call's arrays in and out", f"{copies:.1f} us of {statistics.median(whole):.0f}")


def around(name: str, call: Callable[[], None], own_s: float, runs: int) -> Iterator[Line]:
    """What `sampled` puts into its samples of a call that takes `own_s`, and what it takes beside them."""
    began = time.perf_counter()
    found = sampled(call, runs, 0.0, lambda share: None)
    wall_s = time.perf_counter() - began
    in_sample_us = 1e3 * statistics.median(found) - 1e6 * own_s
    yield bounded(f"sampled, {name}: a sample above the call", in_sample_us)
    between_us = (1e6 * wall_s - 1e3 * sum(found)) / len(found)
    yield bounded(f"sampled, {name}: between samples", between_us)


def bounded(what: str, us: float, unsure_us: float = 0.0) -> Line:
    """Holds where it does with what is unsure, too, and that is less than the bar itself."""
    holds = us + unsure_us <= OVERHEAD_BAR_US and unsure_us <= OVERHEAD_BAR_US
    said = f" ± {unsure_us:.2f}" if unsure_us else ""
    return Line(what, f"{us:.2f}{said} us", f"<= {OVERHEAD_BAR_US:.0f} us", holds)


def notch(values: list[float]) -> float:
    """How unsure a median is: 1.57 times the quartiles' distance over the root of the count (McGill, Tukey and Larsen,
    1978)."""
    low, _, high = statistics.quantiles(values, n=4)
    return 1.57 * (high - low) / math.sqrt(len(values))


def spin() -> None:
    """Busy until SPIN_S have passed."""
    end = time.perf_counter() + SPIN_S
    while time.perf_counter() < end:
        pass


def cost_s(call: Callable[[], None], runs: int) -> float:
    """Of a call, in a loop without a clock, whose own cost is taken away."""
    began = time.perf_counter()
    for _ in range(runs):
        call()
    middle = time.perf_counter()
    for _ in range(runs):
        pass
    return (2 * middle - began - time.perf_counter()) / runs


def side_by_side(case: Case, turns: int) -> tuple[list[list[float]], list[list[float]]]:
    """Microseconds in turns: the runtime's call with arrays in and out, and `session.run`; the runtime's call alone,
    and that with arrays again. In pairs, because of three in turns two have the caches more often than the third."""
    job = case.job(turns)
    array = np.load(job["array"])
    with runtime_py.load(case.bundle, case.target, case.threads) as session:
        own = beneath(session, array) if case.target in HELD else bare(job)
        inputs = {session.spec.inputs[0].name: array}
        return in_turns([own.whole, lambda: session.run(inputs)], turns), in_turns([own.network, own.whole], turns)


def beside_stream(cases: list[Case], rounds: int, samples: int) -> Iterator[Line]:
    """The section `stream`."""
    for case in cases:
        manifest = open_bundle(case.bundle).manifest
        photo = load_golden(case.bundle / GOLDEN, manifest).photo
        if photo is None or manifest.task not in ("classify", "detect"):
            yield Line(f"{case.title}: end_to_end", f"the task {manifest.task} takes no photo")
            continue
        (folder := case.work / f"{case.bundle.stem}-photos").mkdir(exist_ok=True)
        for index in range(PHOTOS):
            Image.fromarray(photo).save(folder / f"{index}.jpg", quality=95)  # as the profiler's own
        command = [sys.executable, HERE / "profiling_stream.py", case.bundle, case.target, case.threads, folder, FRAMES]
        ours, streams = list[float](), list[dict[str, float]]()
        for _ in range(rounds):
            ours.append(end_to_end_ms(case, samples))
            streams += [json.loads(ran(command).splitlines()[-1]) for _ in range(2)]
            ours.append(end_to_end_ms(case, samples))
        yield from against_stream(case, ours, streams)
        with one_core():
            before, stream, after = end_to_end_ms(case, samples), ran(command), end_to_end_ms(case, samples)
        (share,) = of_rounds([before, after], [json.loads(stream.splitlines()[-1])["one_ms"]] * 2)
        yield Line(f"{case.title}: the first of these where all has one core", f"{share:.3f}; {before:.3f} ms")


@contextmanager
def one_core() -> Iterator[None]:
    """For this process and those that it starts: no thread wakes another core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def end_to_end_ms(case: Case, samples: int) -> float:
    """Of a profile."""
    found = profiled(case, samples).end_to_end_ms
    if found is None:
        sys.exit(f"{case.title}: the profile has no end_to_end")
    return found


def against_stream(case: Case, ours: list[float], streams: list[dict[str, float]]) -> Iterator[Line]:
    """The line with the bar, and what a stream that overlaps does."""
    found = of_rounds(ours, [one["one_ms"] for one in streams])
    middle = statistics.median(found)
    yield Line(
        f"{case.title}: end_to_end / a stream's latency, one frame at a time",
        f"{middle:.3f} ({min(found):.3f} to {max(found):.3f}); {statistics.median(ours):.3f} ms",
        f"1 ± {STREAM_BAR}", abs(middle - 1) <= STREAM_BAR,
    )  # fmt: skip
    for name, what in (("one_sum_ms", "that stream's stages"), ("sum_ms", "the stages where they overlap")):
        share = statistics.median(of_rounds(ours, [one[name] for one in streams]))
        theirs = statistics.median(one[name] for one in streams)
        yield Line(f"{case.title}: end_to_end / {what}", f"{share:.3f}; {theirs:.3f} ms")
    frame_ms = statistics.median(one["frame_ms"] for one in streams)
    yield Line(f"{case.title}: a stream that overlaps gives a frame each", f"{frame_ms:.3f} ms")


def exported(folder: Path) -> list[Path]:
    """NETWORKS in a folder."""
    bundles = []
    for name, targets, how in NETWORKS:
        given = dict(how)
        if "calibration_size" in given:
            given["calibration"] = cut_photos(folder / "photos", given["calibration_size"])
        print(f"exporting {name}: {targets}", file=sys.stderr, flush=True)
        done = export(name, targets, out=folder, **given)
        if not done.ok or done.bundle is None:
            sys.exit(json.dumps(done.to_dict(), indent=2))
        bundles.append(done.bundle)
    return bundles


def cut_photos(folder: Path, count: int) -> Path:
    """Parts of the two photos that are packaged, enough to calibrate random weights on."""
    folder.mkdir()
    for path in sorted(Path(runtime_py.__file__).parents[1].glob("sdk/photos/*.png")):
        photo = Image.open(path).convert("RGB")
        for index in range(count):
            left, top = photo.width * (index % 4) // 8, photo.height * (index // 4) // 8
            part = (left, top, left + photo.width // 2, top + photo.height // 2)
            photo.crop(part).save(folder / f"{path.stem}{index:02d}.png")
    return folder


def cases_of(bundles: list[Path], targets: list[str], work: Path, threads: int) -> list[Case]:
    """What of the bundles runs here and takes one input; C runs on one thread, whatever is asked for."""
    found = []
    for bundle in bundles:
        manifest = open_bundle(bundle).manifest
        for one in manifest.artifacts:
            known = one.target in RUNTIMES or one.target == "mcu"
            if one.status == "failed" or not known or available(one.target) is not None:
                print(f"{bundle.stem}, {one.target}: left out, it cannot run here", file=sys.stderr)
            elif len(manifest.inputs) > 1:
                print(f"{bundle.stem}, {one.target}: left out, it takes several inputs", file=sys.stderr)
            elif not targets or one.target in targets:
                found.append(Case(bundle, one, work, 1 if one.target == "mcu" else threads))
    return found


def measured(options: argparse.Namespace, work: Path) -> Iterator[Line]:
    """The sections that were asked for, in order."""
    bundles = [path.resolve() for path in options.bundles] or exported(work)
    cases = cases_of(bundles, options.target.split(",") if options.target else [], work, options.threads)
    if not cases:
        sys.exit("nothing to measure")
    sections: dict[str, Callable[[], Iterator[Line]]] = {
        "bare": lambda: beside_bare(cases, options.rounds, options.samples),
        "quick": lambda: quick(cases, options.runs, options.repeated.split(",")),
        "overhead": lambda: overheads(cases, 4 * options.samples),
        "stream": lambda: beside_stream(cases, options.rounds, options.samples),
    }
    for name in options.only.split(","):
        yield from sections[name]()


def main() -> int:
    """A table or JSON; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--target", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=250)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--repeated", default="tflite")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(SECTIONS):
        parser.error(f"--only {','.join(sorted(unknown))}: {', '.join(SECTIONS)} are known")
    lines = list[Line]()
    if not options.json:
        print("| what | figure | bar | holds |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="edge-sdk-bench-") as work:
        for line in measured(options, Path(work)):
            lines.append(line)
            if not options.json:
                said = {True: "yes", False: "NO", None: ""}[line.holds]
                print(f"| {line.what} | {line.figure} | {line.bar} | {said} |", flush=True)
    if options.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
    return int(any(line.holds is False for line in lines))


if __name__ == "__main__":
    sys.exit(main())
