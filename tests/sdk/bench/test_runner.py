"""A run goes on where it stopped, tries again what went wrong, and never lets one cell take others along."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")

from devices.agent import Job
from devices.device import Device, Unreachable
from devices.profiling import There
from runtime_py.bundle import open_bundle, write_bundle
from runtime_py.manifest import ProfileRow
from sdk.bench.database import Database
from sdk.bench.exports import Found, Unmade
from sdk.bench.plan import Network, Plan
from sdk.bench.repeating import MOST
from sdk.bench.results import Made, Result
from sdk.bench.runner import Benched, Watch, Ways, row_s, run_plan
from sdk.locking import lock_of
from sdk.pushing import Pushed
from tests.devices.sshd import missing, sshd
from tests.runtime_py.test_choice import with_artifacts
from tests.sdk.bench.conftest import PlanOf
from tests.sdk.bench.rows import answering, row_of, steady

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Benched]:
    """Runs a plan with an agent that is made up; `seen` collects its jobs, `shown` the results as they come."""

    def run(
        plan: Plan, told: Callable[[Job], Any] = steady, seen: list[Job] | None = None, fresh: bool = False,
        shown: list[Result] | None = None, **ways: Any,
    ) -> Benched:  # fmt: skip
        watch = Watch(show=([] if shown is None else shown).append)
        with Database(tmp_path / "r.sqlite", create=True) as database:
            return run_plan(plan, database, tmp_path / "exports", fresh=fresh, watch=watch,
                            ways=Ways(launch=answering(told, seen), **ways))  # fmt: skip

    return run


def starts(repeats: int) -> tuple[int, int]:
    """How many a row may be of: as many as were asked for, or all, where the processor did not keep its speed."""
    return repeats, MOST * repeats


def counted(seen: Sequence[Job]) -> list[int]:
    """Numbers of threads of the starts, each cell's once."""
    return [job.threads for job in seen][::8]


def test_every_cell_is_measured_in_starts_of_its_own(plan_of: PlanOf, bench: Callable[..., Benched]) -> None:
    seen: list[Job] = []
    found = bench(plan_of("threads = [1, 2]", "samples = 80", "seconds = 8"), seen=seen)
    assert counted(seen) == [1, 2]
    assert {(job.samples, job.seconds, job.repeats, job.keep_samples) for job in seen} == {(10, 1.0, 1, True)}
    assert [one.outcome for one in found.results] == ["measured"] * 2
    assert found.run.finished == ""
    assert found.failed == ()
    assert all(one.row and len(one.row.repeats_p50_ms) == 8 for one in found.results)


def test_an_interrupted_run_goes_on_where_it_stopped(plan_of: PlanOf, bench: Callable[..., Benched]) -> None:
    plan, first, second = plan_of("threads = [1, 2, 3]"), list[Job](), list[Job]()

    def told(job: Job) -> ProfileRow:
        if job.threads == 2:
            raise KeyboardInterrupt
        return steady(job)

    with pytest.raises(KeyboardInterrupt):
        bench(plan, told, first)
    found = bench(plan, seen=second)
    assert counted(second) == [2, 3]
    assert (found.run.id, found.kept, [one.threads for one in found.results]) == (1, 1, [1, 2, 3])
    third: list[Job] = []
    assert bench(plan, seen=third).kept == 3
    assert third == []


def test_fresh_begins_anew(plan_of: PlanOf, bench: Callable[..., Benched]) -> None:
    plan, seen = plan_of(), list[Job]()
    bench(plan)
    assert bench(plan, seen=seen, fresh=True).run.id == 2
    assert counted(seen) == [1]
    assert bench(plan).run.id == 2, "and the new one is gone on with"


def test_a_cell_more_in_the_file_extends_the_run_and_another_protocol_does_not(
    plan_of: PlanOf, bench: Callable[..., Benched]
) -> None:
    seen: list[Job] = []
    bench(plan_of("threads = [1]"))
    more = bench(plan_of("threads = [1, 2]"), seen=seen)
    assert (more.run.id, more.kept, counted(seen)) == (1, 1, [2])
    other = bench(plan_of("threads = [1, 2]", "quick = true"))
    assert (other.run.id, other.kept) == (2, 0)


def test_a_bundle_that_was_exported_again_is_measured_again(
    plan_of: PlanOf, bench: Callable[..., Benched], tmp_path: Path
) -> None:
    plan, seen = plan_of(), list[Job]()
    bench(plan)
    bundle = open_bundle(tmp_path / "colours.bundle")
    (artifact,) = bundle.manifest.artifacts
    write_bundle(bundle.path, msgspec.structs.replace(bundle.manifest, licence="another"))
    assert bench(plan).kept == 1, "the artifact is the same"
    with (bundle.path / artifact.file).open("ab") as file:
        file.write(b"\0")
    changed = msgspec.structs.replace(artifact, sha256="1" * 64)
    write_bundle(bundle.path, msgspec.structs.replace(bundle.manifest, artifacts=(changed,)))
    found = bench(plan, seen=seen)
    assert (found.kept, counted(seen)) == (0, [1])
    assert found.results[0].subject == "1" * 64


def test_failed_and_disturbed_cells_are_tried_again_after_the_others_and_not_for_ever(
    plan_of: PlanOf, bench: Callable[..., Benched]
) -> None:
    seen: list[Job] = []
    shown: list[Result] = []

    def told(job: Job) -> Any:
        if job.threads == 1:
            return {"ended": -11, "said": "Illegal instruction"}
        disturbed = job.threads == 2 and [one.threads for one in shown].count(2) == 0
        return row_of([1.0], threads=job.threads, valid=not disturbed, why="other work" if disturbed else "")

    found = bench(plan_of("threads = [1, 2, 3]", "attempts = 3"), told, seen, shown=shown)
    assert [(one.threads, one.outcome, one.attempts) for one in shown] == [
        (1, "failed", 1), (2, "invalid", 1), (3, "measured", 1), (1, "failed", 2), (2, "measured", 2), (1, "failed", 3)
    ]  # fmt: skip
    assert [one.outcome for one in found.results] == ["failed", "measured", "measured"]
    assert "ended with -11" in found.results[0].why
    assert found.results[0].hint == "Illegal instruction"
    assert [one.threads for one in found.failed] == [1]
    again: list[Job] = []
    bench(plan_of("threads = [1, 2, 3]", "attempts = 1"), seen=again)
    assert counted(again) == [1], "the next command tries it once more, and nothing else"


def test_what_stays_disturbed_is_kept_with_its_row_and_is_a_failure(
    plan_of: PlanOf, bench: Callable[..., Benched]
) -> None:
    found = bench(plan_of(), lambda job: row_of([1.0], valid=False, why="other work"))
    (one,) = found.failed
    assert (one.outcome, one.attempts) == ("invalid", 2)
    assert one.row is not None
    assert "other work" in one.why


def test_a_target_that_this_machine_lacks_is_absent_and_no_failure(
    tmp_path: Path, plan_of: PlanOf, bench: Callable[..., Benched], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_of()
    with_artifacts(tmp_path / "more.bundle", "coreml")
    monkeypatch.setattr("sdk.bench.runner.available", lambda name: "Apple only" if name == "coreml" else None)
    found = bench(plan_of(networks='["more.bundle"]'))
    assert {one.target: (one.outcome, one.why) for one in found.results} == {
        "onnx": ("measured", ""), "coreml": ("absent", "Apple only")
    }  # fmt: skip
    assert found.failed == ()
    coreml = next(one for one in found.results if one.target == "coreml")
    assert coreml.made == Made(sha256=coreml.subject, bytes=6, status="executed")  # the six letters of its name


def test_a_network_that_cannot_be_exported_leaves_the_others_alone(
    plan_of: PlanOf, bench: Callable[..., Benched], tmp_path: Path
) -> None:
    asked: list[tuple[str, str, tuple[str, ...]]] = []

    def make(
        network: Network, precision: str, targets: Sequence[str], folder: Path, say: Callable[[str], None]
    ) -> Mapping[str, Found | Unmade]:
        asked.append((network.name, precision, tuple(targets)))
        if precision == "w8a8":
            return dict.fromkeys(targets, Unmade("refused", "SQNR 3 dB", "another precision"))
        made = Made(sha256="", bytes=1, status="executed")
        return {"onnx": Found(tmp_path / "colours.bundle", made), "tflite": Unmade("failed", "no such operator")}

    plan = plan_of('targets = ["onnx", "tflite"]', 'precisions = ["fp32", "w8a8"]', networks='["mcunet_in0"]')
    found = bench(plan, make=make)
    assert asked == [("mcunet_in0", "fp32", ("onnx", "tflite")), ("mcunet_in0", "w8a8", ("onnx", "tflite"))]
    assert {(one.precision, one.target): one.outcome for one in found.results} == {
        ("fp32", "onnx"): "measured", ("fp32", "tflite"): "failed",
        ("w8a8", "onnx"): "refused", ("w8a8", "tflite"): "refused",
    }  # fmt: skip
    assert [one.target for one in found.failed] == ["tflite"]
    asked.clear()
    bench(plan, make=make)
    assert asked[0] == ("mcunet_in0", "fp32", ("tflite",)), "what has a valid row needs no file"


class Pushing:
    """What comes to a device, as `sdk push` would tell it."""

    def __init__(self, *rows: dict[str, str], error: Exception | None = None) -> None:
        self.rows, self.error, self.bundles = rows, error, list[tuple[str, str, Any]]()

    def __call__(self, bundle: Path, device: Device, place: str, **more: Any) -> Pushed:
        if self.error:
            raise self.error
        self.bundles.append((bundle.name, place, more["extras"]))
        good = any(row["status"] == "executed" for row in self.rows)
        return Pushed("b", device.name, place, "python3", "", 1, 1.0, good, rows=self.rows)


REMOTE = 'devices = [{address = "ssh://pi@board/srv", name = "pi", extras = ["litert"], emulated = true}]'


def test_on_a_device_the_bundle_is_pushed_first(
    plan_of: PlanOf, bench: Callable[..., Benched], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan_of()
    with_artifacts(tmp_path / "more.bundle", "tflite", "openvino")
    asked: dict[str, str | None] = {"onnx": None, "tflite": None, "openvino": "not installed"}
    monkeypatch.setattr(There, "why_not", lambda there: asked)
    pushing = Pushing({"target": "onnx", "status": "executed", "why": ""},
                      {"target": "tflite", "status": "failed", "why": "3 dB"})  # fmt: skip
    seen: list[Job] = []
    found = bench(plan_of(REMOTE, networks='["more.bundle"]'), seen=seen, push=pushing)
    assert pushing.bundles == [("more.bundle", "/srv", ("litert",))]
    assert {one.target: one.outcome for one in found.results} == {
        "onnx": "measured", "tflite": "failed", "openvino": "absent"
    }  # fmt: skip
    assert "answers wrongly on pi: 3 dB" in next(one.why for one in found.results if one.target == "tflite")
    assert {(job.target, job.emulated) for job in seen} == {("onnx", True)}
    assert {one.device for one in found.results} == {"pi"}
    assert {one.address for one in found.results} == {"ssh://pi@board/srv"}


def test_a_device_that_is_away_fails_alone(plan_of: PlanOf, bench: Callable[..., Benched]) -> None:
    away = Unreachable("ssh://pi@board cannot be reached", hint="look whether it has power")
    found = bench(plan_of(REMOTE.replace("[{", '["local", {')), push=Pushing(error=away))
    assert [(one.device, one.outcome) for one in found.results] == [("local", "measured"), ("pi", "failed")]
    assert found.results[1].hint == "look whether it has power"


def test_a_device_that_does_not_take_the_bundle(plan_of: PlanOf, bench: Callable[..., Benched]) -> None:
    pushing = Pushing({"target": "onnx", "status": "failed", "why": "it crashed"})
    (one,) = bench(plan_of(REMOTE), push=pushing).results
    assert (one.outcome, one.why) == ("failed", "pi did not take colours.bundle: onnx: it crashed")


def test_progress_comes_to_its_end_and_never_goes_back(plan_of: PlanOf, tmp_path: Path) -> None:
    shares: list[float] = []
    watch = Watch(report=lambda share, doing: shares.append(share))
    plan = plan_of("threads = [1, 2, 3]")
    with Database(tmp_path / "r.sqlite", create=True) as database:
        run_plan(plan, database, tmp_path, watch=watch, ways=Ways(launch=answering(steady)))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_files_that_were_kept_and_targets_that_are_absent_count_as_no_work(plan_of: PlanOf, tmp_path: Path) -> None:
    """Otherwise half of the work would seem done in no time, and the time that is left much too short."""
    shares: list[float] = []

    def make(
        network: Network, precision: str, targets: Sequence[str], folder: Path, say: Callable[[str], None]
    ) -> dict[str, Found | Unmade]:
        held = Made(sha256="", bytes=1, status="executed")
        return {"onnx": Found(tmp_path / "colours.bundle", held), "tflite": Unmade("absent", "none")}

    plan = plan_of('targets = ["onnx", "tflite"]', "threads = [1, 2]", networks='["mcunet_in0"]')
    watch = Watch(report=lambda share, doing: shares.append(share))
    with Database(tmp_path / "r.sqlite", create=True) as database:
        run_plan(plan, database, tmp_path, watch=watch, ways=Ways(make=make, launch=answering(steady)))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert any(share == pytest.approx(0.5) for share in shares)  # one of two rows
    assert shares.count(0.0) > 1  # the first row begins at nothing


def test_the_time_of_a_row_is_that_of_the_protocol(plan_of: PlanOf) -> None:
    """60 s, and with a meter 30 s of idling and 5 windows of 10 s more."""
    plain, metered = (row_s(plan_of(*more).protocol) for more in ((), ('meter = "auto"',)))
    assert metered - plain == 80.0
    assert row_s(plan_of("seconds = 20").protocol) == plain - 40.0


@pytest.mark.slow
def test_over_ssh_the_real_agent_measures_there(plan_of: PlanOf, tmp_path: Path, repository: Path) -> None:
    """A push that copies alone: what installs things there has tests of its own."""
    if missing():
        pytest.skip(missing())
    there = tmp_path / "there"

    def copied(bundle: Path, device: Device, place: str, **more: Any) -> Pushed:
        shutil.copytree(bundle, Path(place) / bundle.name)
        return Pushed("b", device.name, place, "", "", 1, 1.0, True, rows=({"target": "onnx", "status": "executed"},))

    with sshd(tmp_path / "sshd") as server, Database(tmp_path / "r.sqlite", create=True) as database:
        python = Path(sys.executable).parent
        server.leads_to(f'cd {repository}\nexport PATH={python}:$PATH\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
        options = ", ".join(f'"{option}"' for option in server.options)
        place = f'{{address = "{server.address}{there}", name = "board", emulated = true, ssh_options = [{options}]}}'
        plan = plan_of(f"devices = [{place}]", "samples = 40", "seconds = 0.2", "repeats = 5", "attempts = 1")
        (one,) = run_plan(plan, database, tmp_path / "exports", ways=Ways(push=copied)).results
    assert one.row is not None, one.why
    assert (one.row.kind, one.device) == ("emulated", "board")
    assert len(one.row.repeats_p50_ms) in starts(5)
    assert lock_of(server.address).is_file()


SCRIPT = """
import sys
from pathlib import Path
from sdk.cli import main
main(["bench", sys.argv[1], "--db", sys.argv[2]])
"""


@pytest.mark.slow
def test_a_bench_that_is_killed_in_the_middle_and_begun_again(
    plan_of: PlanOf, tmp_path: Path, repository: Path
) -> None:
    """The real agent, in processes of their own, and SIGKILL while the third cell is measured."""
    plan = plan_of("threads = [1, 2, 3, 4]", "samples = 40", "seconds = 0.4", "repeats = 5", "attempts = 1")
    database = tmp_path / "r.sqlite"
    command = [sys.executable, "-c", SCRIPT, str(plan.path), str(database)]
    running = subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert running.stderr is not None
    done = 0
    for line in running.stderr:
        done += "thread" in line
        if done == 2:
            break
    time.sleep(0.5)
    os.kill(running.pid, signal.SIGKILL)
    running.wait(timeout=60)
    running.stderr.close()
    with Database(database) as opened:
        before = opened.results(opened.run("last"), samples=True)
        assert not opened.run("last").finished
    assert [one.threads for one in before] == [1, 2]
    again = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)
    with Database(database) as opened:
        after = opened.results(opened.run("last"), samples=True)
        assert len(opened.runs()) == 1
        assert opened.run("last").finished
    assert [one.threads for one in after] == [1, 2, 3, 4], again.stderr
    valid = [one for one in before if one.outcome == "measured"]
    assert [one for one in after if one.cell in {old.cell for old in valid}] == valid, "valid rows were left alone"
    for one in after:  # on a busy machine a row may be disturbed, but it is there, of five starts or all that were made
        assert one.row is not None
        assert len(one.row.samples_ms) in starts(5)
        assert all(len(part) >= 8 for part in one.row.samples_ms)
        assert one.row.infer is not None
        assert one.row.infer.samples == sum(map(len, one.row.samples_ms))
    assert again.returncode == (1 if any(one.outcome == "invalid" for one in after) else 0)
