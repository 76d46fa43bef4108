"""Runs a plan: exports what is missing, then measures device by device, and writes each row down at once."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import msgspec

from devices.profiling import FULL, METERED, QUICK, Launch, Profile, Report, There, locally, profile
from devices.reaching import folder_there, python_at, reach_folder
from runtime_py.engines import available
from runtime_py.errors import SdkError
from runtime_py.host import probe
from sdk.bench.database import Database, Run
from sdk.bench.exports import Found, Maker, Unmade, find_or_make, subject_of
from sdk.bench.plan import Cell, Place, Plan, Protocol
from sdk.bench.repeating import repeating
from sdk.bench.results import Result
from sdk.commits import commit_of
from sdk.exporting import versions
from sdk.locking import alone_on
from sdk.progress import Progress
from sdk.pushing import Pushed, push
from sdk.quantize.scheme import SCHEMES

LOCAL = "local"
EXPORT_S, QUANTISE_S, LOADING_S = 30.0, 90.0, 4.0
"""About how long an export takes for each target, and a repeat beside its samples: for the time that is left, alone."""
KEPT = 0.1
"""Of the time of an export: what took less was there already."""
WINDOWS = 5
"""Of an energy measurement, at least."""

Files = dict[tuple[str, str, str], Found | Unmade]
"""By network, precision and target."""
Push = Callable[..., Pushed]


@dataclass(frozen=True)
class Watch:
    """Who is told: in words, of the share of the work that is done and what is being done, and of each result."""

    say: Callable[[str], None] = lambda text: None
    report: Report = lambda share, doing: None
    show: Callable[[Result], None] = lambda result: None


@dataclass(frozen=True)
class Ways:
    """How files are made, and how bundles come to devices and are measured there; tests have ways of their own."""

    make: Maker = find_or_make
    push: Push = push
    launch: Launch | None = None


@dataclass(frozen=True)
class Benched:
    """A run, and the results of the plan's cells, in the plan's order. `kept` of them are of an earlier command."""

    run: Run
    results: tuple[Result, ...]
    kept: int

    @property
    def failed(self) -> tuple[Result, ...]:
        """Cells that should have a valid row and have none."""
        return tuple(one for one in self.results if one.outcome in ("failed", "invalid"))


@dataclass
class _Work:
    """What is going on: how much of the work's seconds are done, and which cells have a result by now."""

    plan: Plan
    database: Database
    run: Run
    watch: Watch
    ways: Ways
    total_s: float = 0.0
    done_s: float = 0.0
    subjects: dict[Cell, str] = field(default_factory=dict)

    @property
    def row_s(self) -> float:
        """About how long a row takes."""
        return row_s(self.plan.protocol)

    def put(self, result: Result) -> None:
        """A result of a step that took `row_s`, or of one that is no longer needed."""
        self.database.put(self.run, result)
        if result.row is None:
            self.total_s -= self.row_s  # else what there was nothing to do for would look like haste
        else:
            self.done_s += self.row_s
        self.tell(0.0, 0.0, str(result.cell))
        self.watch.show(result)

    def tell(self, seconds: float, share: float, doing: str) -> None:
        """So much of a step that takes `seconds` is done."""
        done_s = self.done_s + share * seconds
        self.watch.report(min(1.0, done_s / self.total_s) if self.total_s > 1e-6 else 1.0, doing)


def run_plan(
    plan: Plan, database: Database, exports: Path, *, fresh: bool = False, watch: Watch | None = None,
    ways: Ways | None = None,
) -> Benched:  # fmt: skip
    """Measure what the plan asks for and the database has not yet; `exports` keeps what had to be exported.

    Goes on with the last run of the same file, protocol, commit and SDK, but for `fresh`: cells with a valid row stay,
    all others are tried again. What comes out invalid or failed is measured again after all others, until it was
    measured `plan.attempts` times. A cell that fails leaves the others alone.
    """
    watch, ways = watch or Watch(), ways or Ways()
    run, is_new = _run_of(plan, database, fresh)
    watch.say(f"run {run.id}, {run.name}: {'new' if is_new else 'goes on'}")
    work = _Work(plan, database, run, watch, ways)
    cells = list(plan.cells())
    work.subjects = {cell: subject_of(plan.network(cell.network), cell.precision, cell.target) for cell in cells}
    left = _left(work, cells)
    formats = {(cell.network, cell.precision, cell.target) for cell in left}
    work.total_s = sum(_export_s(plan, *one) for one in formats) + len(left) * work.row_s
    if left:
        files = _files(work, left, exports)
        for place in plan.devices:
            _measure_there(work, place, [cell for cell in left if cell.device == place.name], files)
    known = {one.cell: one for one in database.results(run)}
    database.finish(run, finished=all(cell in known for cell in cells))
    return Benched(run, tuple(known[cell] for cell in cells if cell in known), kept=len(cells) - len(left))


def row_s(protocol: Protocol) -> float:
    """About how long one row is measured."""
    usual = (QUICK if protocol.quick else FULL)[1] if protocol.seconds is None else protocol.seconds
    idle_s, window_s = METERED[protocol.quick]
    return (
        protocol.repeats * LOADING_S
        + usual
        + protocol.sustain_s
        + (idle_s + WINDOWS * window_s if protocol.meter else 0.0)
    )


def _run_of(plan: Plan, database: Database, fresh: bool) -> tuple[Run, bool]:
    """The run to go on with, or a new one, and whether it is."""
    wanted = Run(
        name=plan.name, file=str(plan.path), protocol=msgspec.json.encode(plan.protocol).decode(),
        commit=commit_of(plan.path.parent), sdk=versions(("edge-sdk",))["edge-sdk"], host=probe().to_dict(),
    )  # fmt: skip
    earlier = None if fresh else database.latest(wanted)
    return (earlier, False) if earlier else (database.begin(wanted), True)


def _left(work: _Work, cells: Sequence[Cell]) -> list[Cell]:
    """Without those that have a valid row of the same file."""
    done = {one.cell: one.subject for one in work.database.results(work.run) if one.outcome == "measured"}
    return [cell for cell in cells if cell not in done or done[cell] != work.subjects[cell]]


def _export_s(plan: Plan, network: str, precision: str, target: str) -> float:
    if plan.network(network).bundle:
        return 0.0
    return QUANTISE_S if SCHEMES[precision].calibrated else EXPORT_S


def _files(work: _Work, left: Sequence[Cell], exports: Path) -> Files:
    """Every file that is needed. This machine is nobody else's meanwhile: exporting would disturb them."""
    found: Files = {}
    pairs = dict.fromkeys((cell.network, cell.precision) for cell in left)
    with alone_on(LOCAL, work.watch.say):
        for name, precision in pairs:
            targets = list(
                dict.fromkeys(one.target for one in left if (one.network, one.precision) == (name, precision))
            )
            seconds = sum(_export_s(work.plan, name, precision, target) for target in targets)
            work.tell(seconds, 0.0, f"files of {name} {precision}")
            began = time.monotonic()
            try:
                made = work.ways.make(work.plan.network(name), precision, targets, exports, work.watch.say)
            except SdkError as error:
                made = dict.fromkeys(targets, Unmade("failed", error.given, error.hint))
            found |= {(name, precision, target): made[target] for target in targets}
            if time.monotonic() - began < KEPT * seconds:
                work.total_s -= seconds
            else:
                work.done_s += seconds
    return found


def _measure_there(work: _Work, place: Place, cells: Sequence[Cell], files: Files) -> None:
    """The device's cells, bundle by bundle; nobody else measures there meanwhile."""
    waiting: dict[Cell, Found] = {}
    for cell in cells:
        file = files[cell.network, cell.precision, cell.target]
        if isinstance(file, Found):
            waiting[cell] = file
        else:
            work.put(_without(work, place, cell, file))
    if not waiting:
        return
    try:
        device, _ = reach_folder(place.address, place.ssh_options)
    except SdkError as error:
        for cell, file in waiting.items():
            work.put(_without(work, place, cell, Unmade("failed", error.given, error.hint), file))
        return
    with alone_on(device.name, work.watch.say):
        waiting = {cell: waiting[cell] for cell in _left(work, list(waiting))}  # another bench may have measured them
        again: dict[Cell, tuple[Found, There | None]] = {}
        for bundle, group in groupby(sorted(waiting, key=lambda one: str(waiting[one].bundle)),
                                     lambda one: waiting[one].bundle):  # fmt: skip
            parts = list(group)
            there, lacking = _ready(work, place, bundle, {cell.target for cell in parts})
            for cell in parts:
                if cell.target in lacking:
                    work.put(_without(work, place, cell, lacking[cell.target], waiting[cell]))
                elif not _measured(work, place, cell, waiting[cell], there, 1):
                    again[cell] = (waiting[cell], there)
        for attempt in range(2, work.plan.attempts + 1):
            work.total_s += len(again) * work.row_s
            again = {cell: (file, there) for cell, (file, there) in again.items()
                     if not _measured(work, place, cell, file, there, attempt)}  # fmt: skip


def _ready(work: _Work, place: Place, bundle: Path, targets: set[str]) -> tuple[There | None, dict[str, Unmade]]:
    """The device with the bundle on it, None for this machine; and the targets that it cannot measure, with why."""
    if place.address == LOCAL:
        why_not = {target: available(target) for target in targets}
        return None, {target: Unmade("absent", why) for target, why in why_not.items() if why is not None}
    try:
        device, folder = reach_folder(place.address, place.ssh_options)
        progress = Progress(say=work.watch.say)
        wheels = Path(place.wheels) if place.wheels else None
        pushed = work.ways.push(bundle, device, folder, extras=place.extras, wheels=wheels, python=place.python,
                                allow_failed=True, progress=progress)  # fmt: skip
        if not pushed.in_place:
            whys = [f"{row['target']}: {row['why']}" for row in pushed.rows if row["why"]]
            said = "; ".join(whys) or "nothing could be proven there"
            return None, dict.fromkeys(targets, Unmade("failed", f"{place.name} did not take {bundle.name}: {said}"))
        there = There(device, folder_there(folder), python_at(place.address))
        lacking = {target: Unmade("absent", why) for target, why in there.why_not().items()
                   if why is not None and target in targets}  # fmt: skip
    except SdkError as error:
        return None, dict.fromkeys(targets, Unmade("failed", error.given, error.hint))
    wrong = {row["target"]: Unmade("failed", f"it answers wrongly on {place.name}: {row['why']}")
             for row in pushed.rows if row["status"] == "failed" and row["target"] not in lacking}  # fmt: skip
    return there, lacking | {target: why for target, why in wrong.items() if target in targets}


def _measured(work: _Work, place: Place, cell: Cell, file: Found, there: There | None, attempt: int) -> bool:
    """Measures a cell and writes it down; whether its row is valid."""
    protocol, seconds = work.plan.protocol, work.row_s
    launch = work.ways.launch or (there.launch if there else locally)
    more = "" if attempt == 1 else f", attempt {attempt}"
    try:
        found = profile(
            file.bundle, [cell.target], (cell.threads,), precisions=[cell.precision], quick=protocol.quick,
            samples=protocol.samples, seconds=protocol.seconds, sustain_s=protocol.sustain_s, meter=protocol.meter,
            emulated=place.emulated, keep_samples=True, there=there,
            launch=repeating(launch, protocol.repeats),
            report=lambda share, doing: work.tell(seconds, share, f"{cell}{more}: {doing.partition(': ')[2]}"),
        )  # fmt: skip
    except SdkError as error:
        result = _without(work, place, cell, Unmade("failed", error.given, error.hint), file, attempt)
    else:
        result = _result(work, place, cell, file, found, attempt)
    work.put(result)
    return result.outcome == "measured"


def _result(work: _Work, place: Place, cell: Cell, file: Found, found: Profile, attempt: int) -> Result:
    if not found.rows:
        error: Mapping[str, str] = found.failed[0].error
        return _without(work, place, cell, Unmade("failed", error["given"], error.get("hint", "")), file, attempt)
    (row,) = found.rows
    empty = _without(work, place, cell, Unmade("measured", ""), file, attempt)
    outcome = "measured" if row.valid and row.infer is not None else "invalid"
    return msgspec.structs.replace(empty, outcome=outcome, why=row.why, row=row, created=row.created)


def _without(
    work: _Work, place: Place, cell: Cell, what: Unmade, file: Found | None = None, attempts: int = 0
) -> Result:
    """A result without a row."""
    return Result(
        **cell._asdict(), address=place.address, subject=work.subjects[cell], outcome=what.outcome, why=what.why,
        hint=what.hint, attempts=attempts, made=file.made if file else None,
        created=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    )  # fmt: skip
