"""Profiles of a bundle: the agent runs once for each target and number of threads, each in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec

from devices.agent import Job
from devices.device import Device
from devices.following import followed
from runtime_py.bundle import open_bundle
from runtime_py.choice import AS_CODE
from runtime_py.engines import ENGINES, available
from runtime_py.errors import SdkError, unknown_name
from runtime_py.manifest import Artifact, ProfileRow

AGENT = Path(__file__).with_name("agent.py")
QUICK = (128, 10.0)
FULL = (1024, 60.0)
"""Samples and seconds, of all repeats together."""
METERED = {True: (5.0, 2.0), False: (30.0, 10.0)}
"""Seconds of idling and of each window of work, quick or not."""
THROTTLED = 1.1
"""Of the first half minute's median: above it for good, the board has throttled."""
FIRST_S, STEADY_S = 30.0, 10.0

ENDS_S = 3
"""That the agent has to remove its files, when it is no longer wanted."""

NO_PYTHON_ON_PHONES = (
    "; Android brings no Python: without one the runtimes' own benchmark programs are the way, which this does not run"
)

Report = Callable[[float, str], None]
"""The share of the work that is done, and what is being done."""
Launch = Callable[[Job], Iterator[bytes]]
"""Runs the agent somewhere, and gives its lines as they come."""


class ProfileFailed(SdkError):
    """A profile that could not be made: its process ended, or the device went away."""

    id = "profile-failed"


@dataclass(frozen=True)
class Failed:
    """A target that could not be measured, with the reason."""

    target: str
    threads: int
    error: dict[str, str]


@dataclass(frozen=True)
class Profile:
    """The rows of a bundle on one device, and what failed."""

    bundle: Path
    rows: tuple[ProfileRow, ...]
    failed: tuple[Failed, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; field names carry units."""
        best = front(self.rows)
        rows = [msgspec.to_builtins(row) | {"on_front": row in best} for row in self.rows]
        failed = [{"target": one.target, "threads": one.threads, "error": one.error} for one in self.failed]
        return {"bundle": str(self.bundle), "rows": rows, "failed": failed}


@dataclass(frozen=True)
class There:
    """A device where `sdk push` has put bundles into `folder`, and `python`, which runs them."""

    device: Device
    folder: str
    python: str

    def launch(self, job: Job) -> Iterator[bytes]:
        """The agent there, on the bundle of that name. It ends there when this is closed, or the way breaks."""
        own = msgspec.structs.replace(job, bundle=f"{self.folder}/{Path(job.bundle).resolve().name}")
        yield from followed(self.device, self._script(f"-m devices.agent {quote(_text(own))}"))

    def _script(self, words: str) -> str:
        """By the Python of `sdk push`; where the device's own had all, it made none."""
        return f'p={quote(self.python)}; [ -e "$p" ] || p=python3; "$p" {words}'

    def why_not(self) -> dict[str, str | None]:
        """By target, why the device cannot run it; None where it can. Raises ProfileFailed where nothing was pushed."""
        done = self.device.run(self._script("-m runtime_py info --json"), timeout=120)
        try:
            rows = json.loads(done.out.splitlines()[-1])["runtimes"]
        except (IndexError, KeyError, json.JSONDecodeError) as error:
            said = done.err.strip().splitlines()
            raise ProfileFailed(
                f"{self.device.name} has nothing to measure with: {said[-1] if said else 'no answer'}",
                hint=f"sdk push BUNDLE {self.device.name}/FOLDER first, and name that folder here"
                + (NO_PYTHON_ON_PHONES if self.device.name.startswith("adb:") else ""),
            ) from error
        return {name: row["why_not"] for name, row in rows.items()}


def profile(
    bundle: Path,
    targets: Sequence[str] | None = None,
    threads: Sequence[int] = (1,),
    *,
    precisions: Sequence[str] | None = None,
    quick: bool = False,
    samples: int | None = None,
    seconds: float | None = None,
    sustain_s: float = 0.0,
    meter: str = "",
    emulated: bool = False,
    keep_samples: bool = False,
    operators: bool = False,
    there: There | None = None,
    launch: Launch | None = None,
    report: Report = lambda share, doing: None,
) -> Profile:
    """Measure each of `targets` (all that run there) with each number of threads, one after the other; of `precisions`
    alone, where some are named.

    On this machine, or `there`, where the bundle must have been pushed before. A target that fails, fails alone.
    `samples` and `seconds` of a row, where they should differ from those of `quick` or the full protocol.
    Raises NotABundle, CorruptBundle, UnknownName, DeviceFailed, or ProfileFailed where there is nothing to measure.
    """
    launch = launch or (there.launch if there else locally)
    why_not = there.why_not() if there else {name: available(name) for name in ENGINES}
    artifacts = _of_precision(open_bundle(bundle).manifest.artifacts, precisions)
    chosen = _chosen(artifacts, targets, why_not)
    usual = QUICK if quick else FULL
    samples, seconds = usual[0] if samples is None else samples, usual[1] if seconds is None else seconds
    idle_s, window_s = METERED[quick]
    jobs = [
        Job(
            str(bundle),
            one.target,
            count,
            samples,
            seconds,
            sustain_s=sustain_s,
            emulated=emulated,
            keep_samples=keep_samples,
            operators=operators,
            meter=meter,
            idle_s=idle_s,
            window_s=window_s,
        )
        for one in chosen
        for count in threads
    ]
    rows, failed = list[ProfileRow](), list[Failed]()
    for done, job in enumerate(jobs):

        def tell(share: float, doing: str, done: int = done, job: Job = job) -> None:
            report((done + share) / len(jobs), f"{called(job.target, job.threads)}: {doing}")

        try:
            rows.append(_measured(launch, job, tell))
        except SdkError as error:
            failed.append(Failed(job.target, job.threads, error.to_dict()))
    return Profile(Path(bundle), tuple(rows), tuple(failed))


def called(target: str, threads: int) -> str:
    """A row in words: `tflite, 2 threads`."""
    return f"{target}, {threads} thread{'s' * (threads > 1)}"


def front(rows: Sequence[ProfileRow]) -> tuple[ProfileRow, ...]:
    """The Pareto front: rows that none beats in latency, memory and threads at once (Pareto, 1906)."""
    costs = [(row.infer.p50_ms, row.peak_rss_mb or 0.0, row.threads) if row.infer else None for row in rows]

    def beaten(own: tuple[float, float, int]) -> bool:
        return any(
            other is not None and other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in costs
        )

    return tuple(row for row, own in zip(rows, costs, strict=True) if own is not None and not beaten(own))


def throttled(row: ProfileRow) -> tuple[float, float] | None:
    """When a sustained run became slower for good, and by which factor; None where it kept its speed.

    For good: from there on the median of STEADY_S seconds stays above that of the first FIRST_S seconds by THROTTLED.
    """
    seconds = row.sustained
    start = [one.p50_ms for one in seconds if one.at_s < FIRST_S]
    if not start or len(seconds) < 2:
        return None
    usual = sorted(start)[len(start) // 2]
    slow = [sorted(one.p50_ms for one in seconds if at <= one.at_s < at + STEADY_S) for at in (s.at_s for s in seconds)]
    factors = [part[len(part) // 2] / usual for part in slow]
    since = next((index for index in range(len(factors)) if min(factors[index:]) > THROTTLED), None)
    if since is None or seconds[-1].at_s - seconds[since].at_s < STEADY_S:
        return None
    rest = sorted(factors[since:])
    return seconds[since].at_s, rest[len(rest) // 2]


def locally(job: Job) -> Iterator[bytes]:
    """The agent on this machine."""
    paths = os.pathsep.join(filter(None, [str(AGENT.parents[1]), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, str(AGENT), _text(job)], stdout=subprocess.PIPE, stderr=errors,
            env=os.environ | {"PYTHONPATH": paths},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            yield from process.stdout
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(ENDS_S)
                except subprocess.TimeoutExpired:  # in the middle of a long inference
                    process.kill()
                    process.wait()
        if code:
            errors.seek(0)
            yield msgspec.json.encode({"ended": code, "said": errors.read()[-2000:].decode(errors="replace")})


def _text(job: Job) -> str:
    return msgspec.json.encode(job).decode()


def _of_precision(artifacts: Sequence[Artifact], precisions: Sequence[str] | None) -> list[Artifact]:
    there = sorted({artifact.precision for artifact in artifacts})
    for name in precisions or ():
        if name not in there:
            raise unknown_name("precision of this bundle", name, there)
    return [artifact for artifact in artifacts if not precisions or artifact.precision in precisions]


def _chosen(
    artifacts: Sequence[Artifact], targets: Sequence[str] | None, why_not: Mapping[str, str | None]
) -> list[Artifact]:
    usable = {artifact.target: artifact for artifact in artifacts if artifact.status != "failed"}
    for name in targets or ():
        if name not in usable:
            raise unknown_name("target of this bundle", name, sorted(usable))
    names = targets or [name for name in usable if name not in AS_CODE and why_not.get(name, "unknown") is None]
    if not names:
        raise ProfileFailed("no artifact of the bundle runs there", expected=", ".join(usable), hint="sdk doctor")
    return [usable[name] for name in names]


def _measured(launch: Launch, job: Job, tell: Report) -> ProfileRow:
    last: dict[str, Any] = {}
    for line in launch(job):
        try:
            message = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # what a runtime prints to standard output is none of ours
        if "row" in message:
            return msgspec.convert(message["row"], ProfileRow)
        if "error" in message:
            error = message["error"]
            raise ProfileFailed(error.get("given", ""), expected=error.get("expected", ""), hint=error.get("hint", ""))
        if "progress" in message:
            tell(float(message["progress"]), str(message.get("doing", "")))
        last = message
    said = str(last.get("said", "")).strip().splitlines()
    raise ProfileFailed(
        f"the process that measured {job.target} ended with {last.get('ended', 'nothing to say')}",
        hint=said[-1] if said else "run it again; a signal's number is negative",
    )
