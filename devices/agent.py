"""Measures one artifact on the device where it runs, alone in this process: python -m devices.agent JOB

JOB is a `Job` in JSON. `sdk push` brings this file to a device, with runtime_py. It prints JSON lines:
`{"progress": 0.4, "doing": "infer"}` while it works, then `{"row": ...}`, a `ProfileRow`, or `{"error": ...}`.

The protocol is MLPerf Mobile's and LiteRT's benchmark_model's: at least 10 runs and a second to warm up, then so many
repeats of so many samples and seconds, and nothing clipped. A run is invalid where its repeats' medians are further
apart than SPREAD, where others used the processor, or where the board throttled.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any

import msgspec

STARTED = time.perf_counter()
"""Before numpy or a runtime is imported: they are a part of loading."""

SPREAD = 0.05
OTHERS = 0.25
"""Of one core, that other processes may use."""
WARM_UP_RUNS, WARM_UP_S = 10, 1.0
JUMP_S, TICK_S = 0.5, 0.25
WATTS_S = 3.0
"""Sensors give some ten values a second: fewer than so many seconds say little."""
NOT_ASKED_FOR: tuple[dict[str, Any], dict[str, str]] = ({}, {"operators": "were not asked for"})
SLOWED = "the processor's speed changed all the time, by other work of this machine or of its host"
NO_NETWORK = "the bundle does not list the network's operators, as none before schema 1.4 does: export the bundle again"
THERMAL = Path("/sys/class/thermal")
CPU = Path("/sys/devices/system/cpu")
THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of `vcgencmd get_throttled`; 16 higher, what has happened since the board was started."""


class Job(msgspec.Struct, frozen=True):
    """What to measure. `samples` and `seconds` are those of all repeats together, and both are reached."""

    bundle: str
    target: str
    threads: int
    samples: int = 1024
    seconds: float = 60.0
    repeats: int = 5
    stage_samples: int = 30
    sustain_s: float = 0.0
    meter: str = ""
    """`auto`, a meter's name, or NAME:KEY=VALUE,...; empty where energy is not asked for."""
    idle_s: float = 30.0
    window_s: float = 10.0
    emulated: bool = False
    keep_samples: bool = False
    operators: bool = False


@dataclass(frozen=True)
class Moment:
    """What a run is compared with: the clocks, and the processor's time of all and of this process."""

    wall_s: float
    steady_s: float
    all_s: float
    own_s: float

    @staticmethod
    def now() -> "Moment":
        """This one."""
        return Moment(time.time(), time.monotonic(), _busy_s(), time.process_time())


def say(**what: Any) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


def timing(samples_ms: list[float]) -> Any:
    """The numbers of a list of milliseconds; percentiles by the nearest rank."""
    from runtime_py.manifest import Timing

    ordered = sorted(samples_ms)
    p50 = percentile(ordered, 50)
    away = sorted(abs(value - p50) for value in ordered)
    return Timing(
        samples=len(ordered), p50_ms=p50, p90_ms=percentile(ordered, 90), p99_ms=percentile(ordered, 99),
        min_ms=ordered[0], max_ms=ordered[-1], mad_ms=percentile(away, 50),
    )  # fmt: skip


def percentile(ordered: list[float], rank: int) -> float:
    """The least value that `rank` percent of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * rank // 100) - 1)]


def sampled(call: Callable[[], Any], samples: int, seconds: float, tick: Callable[[float], None]) -> list[float]:
    """Milliseconds of each call, until there are so many and so much time has gone; `tick` every TICK_S, untimed."""
    found: list[float] = []
    clock = time.perf_counter
    began = told = clock()
    while True:
        start = clock()
        call()
        end = clock()
        found.append(1e3 * (end - start))
        if end - told >= TICK_S:
            told = end
            tick(min(1.0, (end - began) / seconds) if seconds else 1.0)
        if len(found) >= samples and end - began >= seconds:
            return found


def measure(job: Job) -> Any:
    """The row of one artifact and number of threads."""
    import runtime_py

    session = runtime_py.load(job.bundle, job.target, job.threads, warm_up=False)
    load_ms = 1e3 * (time.perf_counter() - STARTED)
    with tempfile.TemporaryDirectory(prefix="edge-sdk-") as work:
        return _row(job, session, load_ms, Path(work))


def _row(job: Job, session: Any, load_ms: float, work: Path) -> Any:
    from devices.steady import PULSE  # after loading was timed, as it imports numpy
    from runtime_py.engines import version_of
    from runtime_py.host import peak_rss_mb, probe
    from runtime_py.manifest import ProfileRow

    meter, no_energy = meter_of(job)
    call, stages = _calls(session, work)
    start = time.perf_counter()
    call()
    first_ms = 1e3 * (time.perf_counter() - start)
    say(progress=0.0, doing="warming up")
    sampled(call, WARM_UP_RUNS, WARM_UP_S, lambda share: None)
    before, hot = Moment.now(), conditions("start")
    parts, pulses = list[list[float]](), list[list[float]]()
    for repeat in range(job.repeats):
        pulses.append([PULSE.read_us()])

        def tick(share: float, repeat: int = repeat) -> None:
            say(progress=(repeat + share) / (job.repeats + 1), doing=f"infer {repeat + 1}/{job.repeats}")
            pulses[-1].append(PULSE.read_us())

        parts.append(sampled(call, -(-job.samples // job.repeats), job.seconds / job.repeats, tick))
        pulses[-1].append(PULSE.read_us())
    after, cool = Moment.now(), conditions("end")
    say(progress=job.repeats / (job.repeats + 1), doing="stages")
    measured = {
        name: timing(sampled(stage, job.stage_samples, 0.0, lambda share: None)) for name, stage in stages.items()
    }
    seconds = sustained(call, job.sustain_s, meter) if job.sustain_s else ()
    energy = metered(job, meter, call) if meter is not None else None
    peak_mb = peak_rss_mb()  # before a second copy of the network is loaded for its operators
    operators, untimed = operators_of(job, session) if job.operators else NOT_ASKED_FOR
    artifact, host = session.artifact, probe()
    why = invalid(parts, before, after, hot | cool, [sum(part) / len(part) for part in pulses])
    unmeasured = {"energy_mj": no_energy} if energy is None else {}
    if energy is not None and energy.gross_mj is None:
        unmeasured["energy_mj"] = energy.why
    unmeasured |= untimed
    if not stages:
        unmeasured["stages"] = f"the task {session.spec.task!r} takes no image"
    return ProfileRow(
        target=job.target, precision=artifact.precision, threads=job.threads, device=host.cpu,
        kind="emulated" if job.emulated else "measured",
        infer=timing([value for part in parts for value in part]),
        repeats_p50_ms=tuple(percentile(sorted(part), 50) for part in parts),
        repeats_pulse_us=tuple(sum(part) / len(part) for part in pulses),
        samples_ms=tuple(tuple(part) for part in parts) if job.keep_samples else (),
        stages=measured, sustained=seconds, load_ms=load_ms, first_ms=first_ms, peak_rss_mb=peak_mb,
        file_bytes=artifact.bytes,
        energy=energy, energy_mj=energy.gross_mj if energy else None, **operators,
        valid=not why, why="; ".join(why), unmeasured=unmeasured,
        conditions={**host.to_dict(), **hot, **cool, "runtime": version_of(job.target)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def meter_of(job: Job) -> tuple[Any, str]:
    """The meter that was asked for, or None and why there is none. Raises MeterFailed where one of that name fails."""
    if not job.meter:
        return None, "no meter was asked for"
    from devices.meters import find, named
    from devices.meters.samples import MeterFailed

    if job.meter == "auto":
        found, why_not = find()
        return found, f"no sensor: none of {', '.join(why_not)} works here; sdk devices probe says why"
    found = named(job.meter)
    if (reason := found.available()) is not None:
        raise MeterFailed(f"the meter {job.meter!r} cannot be read: {reason}", hint="--meter auto; sdk devices probe")
    return found, ""


def metered(job: Job, meter: Any, call: Callable[[], Any]) -> Any:
    """The `EnergyRow` of a meter. The latency was measured before, without it."""
    from devices.energy import NoSensor, measure
    from devices.meters.samples import MeterFailed
    from runtime_py.manifest import EnergyRow

    say(progress=0.99, doing=f"energy, {meter.rail}")
    found = measure(meter, call, job.idle_s, window_s=job.window_s)
    if isinstance(found, NoSensor):
        raise MeterFailed(f"the meter {meter.name} went away: {found.why}", hint="run it again")
    gross, net = found.gross_mj, found.net_mj
    return EnergyRow(
        meter=found.meter, rail=found.rail, kind=found.kind, idle_w=found.idle_w, windows=len(found.windows),
        gross_mj=gross.median if gross else None, gross_mad_mj=gross.mad if gross else None,
        net_mj=net.median if net else None, net_mad_mj=net.mad if net else None, valid=found.valid, why=found.why,
    )  # fmt: skip


def operators_of(job: Job, session: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A row's `operators`, `whole_ms`, `pulse_us` and `roofline`; and why there are none, or none with a module."""
    from devices.operators import timer
    from devices.operators.matching import rows
    from devices.roofline import roofline
    from devices.steady import LEAST_RUNS, PULSE, SECONDS, undisturbed_ms
    from runtime_py.bundle import open_bundle
    from runtime_py.errors import SdkError

    say(progress=0.99, doing="operators")
    given = _given(session)

    def whole() -> float:
        return undisturbed_ms(lambda: session.run(given), SECONDS / 2, LEAST_RUNS // 2)

    try:
        way = timer(job.target)
        before_ms = whole()
        timed = way.timed(open_bundle(session.path), session.artifact, job.threads, given)
    except SdkError as error:
        return {}, {"operators": "; ".join(filter(None, (error.given, error.hint)))}
    # on both sides of the operators, and the quicker one: what no pulse shows (a neighbour's use of memory) only slows
    whole_ms = min(before_ms, whole())
    roof = roofline(job.threads)
    found = {
        "operators": rows(timed, session.spec.network, roof), "roofline": roof, "pulse_us": PULSE.least_us,
        "whole_ms": whole_ms if PULSE.sound else None,
    }  # fmt: skip
    untold = {} if PULSE.sound else {"whole_ms": SLOWED}
    return found, untold if session.spec.network else untold | {"modules": NO_NETWORK}


def _given(session: Any) -> dict[str, Any]:
    """The first golden input by name."""
    from runtime_py.golden import GOLDEN, load_golden

    given: dict[str, Any] = next(iter(load_golden(session.path / GOLDEN, session.spec).inputs.values()))
    return given


def sustained(call: Callable[[], Any], seconds: float, meter: Any = None) -> tuple[Any, ...]:
    """A `Second` for each second of so many: what the board does when it is asked for all that it has; with a meter
    also the power, the mean of WATTS_S seconds."""
    from runtime_py.manifest import Second

    found: list[Second] = []
    if meter is not None:
        meter.start()
    began = time.monotonic()
    try:
        while (at := time.monotonic() - began) < seconds:
            part = sampled(call, 1, 1.0, lambda share: None)
            celsius, mhz = _celsius(), _mhz()
            found.append(Second(
                at_s=at, runs=len(part), p50_ms=percentile(sorted(part), 50),
                celsius=float(celsius) if celsius else None, mhz=int(mhz) if mhz else None,
            ))  # fmt: skip
            say(progress=min(1.0, at / seconds), doing="sustained")
    finally:
        samples = meter.stop() if meter is not None else None
    if samples is None or samples.relative:  # a logger's own time, which idling before and after would align
        return tuple(found)
    return tuple(
        msgspec.structs.replace(
            one, watts=_watts(samples, began + max(0.0, one.at_s + 1 - WATTS_S), began + one.at_s + 1)
        )
        for one in found
    )


def _watts(samples: Any, start_s: float, end_s: float) -> float | None:
    """The mean power; None where the meter was silent."""
    from devices.meters.samples import WindowRefused, energy_j

    try:
        return float(energy_j(samples, start_s, end_s) / (end_s - start_s))
    except WindowRefused:  # the curve has a gap there
        return None


def _calls(session: Any, work: Path) -> tuple[Callable[[], Any], dict[str, Callable[[], Any]]]:
    """The inference on the bundle's own photo, or random numbers; and the steps around it, where there is a photo."""
    from PIL import Image

    from runtime_py.golden import GOLDEN, load_golden
    from runtime_py.preprocess import decode_image
    from runtime_py.streams.answering import steps_of

    golden = load_golden(session.path / GOLDEN, session.spec)
    inputs = next(iter(golden.inputs.values()))
    call = lambda: session.run(inputs)  # noqa: E731  # the timed call, with nothing around it
    if golden.photo is None or session.spec.task not in ("classify", "detect"):
        return call, {}
    path = work / "photo.jpg"
    Image.fromarray(golden.photo).save(path, quality=95)
    steps = steps_of(session, None, None)
    pixels = decode_image(path)
    array, place = steps.prepare(pixels)
    output = steps.infer(array)
    return call, {
        "decode": lambda: decode_image(path),
        "preprocess": lambda: steps.prepare(pixels),
        "postprocess": lambda: steps.answer(output, place),
        "end_to_end": lambda: session(path),
    }


def invalid(
    parts: list[list[float]], before: Moment, after: Moment, seen: dict[str, str], pulses_us: list[float]
) -> list[str]:
    """Why a run says nothing of the device, in words; empty where it is sound."""
    why, medians = [], [percentile(sorted(part), 50) for part in parts]
    spread = (max(medians) - min(medians)) / percentile(sorted(medians), 50)
    if spread > SPREAD:
        why.append(f"the repeats' medians are {spread:.0%} apart, over {SPREAD:.0%}")
        slower = max(pulses_us) / min(pulses_us)
        if slower > 1 + SPREAD:  # its clock, or other guests of the host that shares it out
            why[-1] += f" (the processor itself was up to {slower:.2f} times slower meanwhile)"
    steady = after.steady_s - before.steady_s
    others = ((after.all_s - before.all_s) - (after.own_s - before.own_s)) / steady if after.all_s else 0.0
    if others > OTHERS:
        why.append(f"other processes used {others:.1f} cores meanwhile")
    jump = (after.wall_s - before.wall_s) - steady
    if abs(jump) > JUMP_S:
        why.append(f"the clock was set by {jump:+.1f} s meanwhile")
    if seen.get("throttled_end"):
        why.append(f"the board says: {seen['throttled_end']}")
    return why


def conditions(when: str) -> dict[str, str]:
    """Governor, clock, temperature and throttling, where the system says; the names end in `when`."""
    found = {
        "governor": _text(CPU / "cpu0/cpufreq/scaling_governor"),
        f"mhz_{when}": _mhz(),
        f"celsius_{when}": _celsius(),
        f"throttled_{when}": throttling(),
        f"load_{when}": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }
    return {name: text for name, text in found.items() if text}


def throttling() -> str:
    """What a Raspberry Pi says holds it back now; empty where nothing does, or where it is none."""
    if which("vcgencmd") is None:
        return ""
    said = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, check=False, timeout=10).stdout
    try:
        bits = int(said.strip().partition("=")[2], 16)
    except ValueError:
        return ""
    return ", ".join(name for bit, name in THROTTLED.items() if bits >> bit & 1)


def _celsius() -> str:
    zones = sorted(THERMAL.glob("thermal_zone*/temp")) if THERMAL.is_dir() else []
    known = [int(text) for text in map(_text, zones) if text.lstrip("-").isdigit()]
    return f"{max(known) / 1000:.1f}" if known else ""


def _mhz() -> str:
    clocks = [_text(path) for path in sorted(CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    known = [int(text) for text in clocks if text.isdigit()]
    return f"{max(known) // 1000}" if known else ""


def _busy_s() -> float:
    """Seconds that all processors have worked since they were started; 0 where the system does not say."""
    line = _text(Path("/proc/stat")).partition("\n")[0].split()
    if len(line) < 9:
        return 0.0
    user, nice, system, _, _, irq, softirq = (int(word) for word in line[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # not every system has every file
        return ""


def main() -> int:
    """Read the job, measure, print the row; 1 with an error's line where it could not be measured."""
    from runtime_py.errors import SdkError

    for name in ("SIGTERM", "SIGHUP"):  # so that folders of its own go too; Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    try:
        say(row=measure(msgspec.json.decode(sys.argv[1], type=Job)))
    except SdkError as error:
        say(error=error.to_dict())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
