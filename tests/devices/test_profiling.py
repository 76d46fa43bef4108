"""Profiles of a small bundle on this machine, and what is read out of their rows."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from devices import profiling
from devices.agent import Job
from devices.meters.rpi5_pmic import RAILS
from devices.profiling import Profile, ProfileFailed, There, front, profile, throttled
from devices.ssh import parse
from runtime_py.bundle import check_files, open_bundle
from runtime_py.choice import ranked
from runtime_py.errors import SdkError
from runtime_py.manifest import ProfileRow, Second
from sdk.cli import cli
from sdk.profiles import merged, save_profiles
from tests.devices.sshd import Server
from tests.runtime_py.colours import make_bundle
from tests.runtime_py.test_choice import measured, with_artifacts

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")


def row(**fields: Any) -> ProfileRow:
    return measured(fields.pop("target", "onnx"), fields.pop("p50_ms", 1.0), **fields)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "QUICK", (20, 0.1))


@pytest.mark.usefixtures("short")
def test_a_row_has_what_was_measured_and_why_the_rest_is_not(bundle: Path) -> None:
    seen: list[tuple[float, str]] = []
    found = profile(bundle, threads=(1, 2), quick=True, report=lambda share, doing: seen.append((share, doing)))
    assert [(one.target, one.threads) for one in found.rows] == [("onnx", 1), ("onnx", 2)]
    for one in found.rows:
        assert one.infer is not None
        assert one.infer.samples >= 20
        assert len(one.repeats_p50_ms) == len(one.repeats_pulse_us) == 5
        assert min(one.repeats_pulse_us) > 0
        assert one.load_ms is not None
        assert one.load_ms > one.infer.p50_ms
        assert one.peak_rss_mb is not None
        assert 20 < one.peak_rss_mb < 400
        assert (one.energy_mj, one.unmeasured["energy_mj"]) == (None, "no meter was asked for")
        assert one.valid == (one.why == "")
    assert "stages" in found.rows[0].unmeasured  # its golden inputs hold no photo
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)
    assert not list(Path(bundle).parent.glob("edge-sdk-*"))
    plain = found.to_dict()
    assert json.loads(json.dumps(plain))["rows"][0]["infer"]["p50_ms"] == found.rows[0].infer.p50_ms  # type: ignore[union-attr]


@pytest.mark.usefixtures("short")
def test_a_target_that_fails_fails_alone(tmp_path: Path) -> None:
    bundle = with_artifacts(tmp_path / "x.bundle", "tflite")
    found = profile(bundle, ["tflite", "onnx"], quick=True)
    assert [one.target for one in found.rows] == ["onnx"]
    assert [one.target for one in found.failed] == ["tflite"]
    assert "tflite" in found.failed[0].error["given"]


def test_names_that_the_bundle_lacks(bundle: Path) -> None:
    with pytest.raises(SdkError, match="unknown target"):
        profile(bundle, ["tflit"])


def lines(*messages: Any) -> Any:
    def launch(job: Job) -> Iterator[bytes]:
        yield b"INFO: a runtime says hello\n"
        yield from (msgspec.json.encode(message) + b"\n" for message in messages)

    return launch


def test_a_process_that_ends_is_an_error_with_its_last_words(bundle: Path) -> None:
    found = profile(bundle, launch=lines({"progress": 0.1}, {"ended": -11, "said": "x\nIllegal instruction"}))
    assert "ended with -11" in found.failed[0].error["given"]
    assert found.failed[0].error["hint"] == "Illegal instruction"
    silent = profile(bundle, launch=lines())
    assert "nothing to say" in silent.failed[0].error["given"]


def test_a_process_that_dies_in_earnest(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dies = tmp_path / "agent.py"
    dies.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(profiling, "AGENT", dies)
    assert "ended with -9" in profile(bundle).failed[0].error["given"]


def test_one_that_stops_in_the_middle_leaves_no_process(bundle: Path) -> None:
    import psutil

    before, here = set(psutil.Process().children()), set(Path(tempfile.gettempdir()).glob("edge-sdk-*"))
    running = profiling.locally(Job(str(bundle), "onnx", 1, samples=10**9))
    next(running)
    (child,) = set(psutil.Process().children()) - before
    running.close()
    assert not child.is_running()
    assert not set(Path(tempfile.gettempdir()).glob("edge-sdk-*")) - here


def test_the_front_are_rows_that_none_beats() -> None:
    fast, small = row(p50_ms=1.0, peak_rss_mb=100.0, threads=2), row(p50_ms=2.0, peak_rss_mb=50.0)
    worse = row(p50_ms=2.5, peak_rss_mb=60.0)
    assert front([fast, small, worse]) == (fast, small)
    assert front([msgspec.structs.replace(fast, infer=None)]) == ()


def seconds(*p50: float) -> ProfileRow:
    return row(sustained=tuple(Second(at_s=float(at), runs=10, p50_ms=value) for at, value in enumerate(p50)))


def test_throttling_is_dated_and_measured() -> None:
    assert throttled(seconds(*[10.0] * 100)) is None
    assert throttled(seconds(*[10.0] * 50, *[30.0] * 5, *[10.0] * 50)) is None  # a hiccup
    found = throttled(seconds(*[10.0] * 60, *[15.0] * 60))
    assert found is not None
    assert found[0] == pytest.approx(60.0, abs=profiling.STEADY_S)
    assert found[1] == pytest.approx(1.5)
    assert throttled(row()) is None


@pytest.mark.usefixtures("short")
def test_a_sustained_run_has_its_seconds(bundle: Path) -> None:
    (found,) = profile(bundle, quick=True, sustain_s=2.0).rows
    assert [round(one.at_s) for one in found.sustained] == [0, 1]
    assert all(one.runs > 10 for one in found.sustained)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_energy_is_power_times_time(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power chip that always gives 3 W, by the program that a Raspberry Pi 5 has."""
    monkeypatch.setattr(profiling, "METERED", {True: (2.0, 1.0)})
    volts = "".join(
        f"{rail}_A current(0)=0.25000000A\n{rail}_V volt(1)={3 / 0.25 / len(RAILS):.8f}V\n" for rail in RAILS
    )
    program = tmp_path / "vcgencmd"
    program.write_text(f"#!/bin/sh\n[ $1 = pmic_read_adc ] && cat <<'END' || echo throttled=0x0\n{volts}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (found,) = profile(bundle, quick=True, meter="auto").rows
    assert found.energy is not None
    assert (found.energy.meter, found.energy.kind, found.energy.rail) == ("rpi5_pmic", "measured", "PMIC rails")
    assert found.energy.idle_w == pytest.approx(3.0, rel=1e-3), found.energy.why
    assert found.energy_mj == found.energy.gross_mj
    assert found.energy.gross_mj is not None
    assert found.infer is not None
    assert 3.0 * found.infer.min_ms * 0.9 < found.energy.gross_mj < 3.0 * found.infer.max_ms * 1.1  # mJ = W ms
    assert found.energy.net_mj == pytest.approx(0.0, abs=0.02 * found.energy.gross_mj)
    assert not found.energy.valid  # shorter than the protocol
    assert "energy_mj" not in found.unmeasured


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_without_a_sensor_there_is_no_figure_and_a_reason(bundle: Path) -> None:
    (found,) = profile(bundle, quick=True, meter="csv:path=/nowhere.csv").failed
    assert "/nowhere.csv" in found.error["given"]
    (unknown,) = profile(bundle, quick=True, meter="rappl").failed
    assert "rapl" in unknown.error["hint"]
    for text in ("ina219:0x40", "ina219:watts=3"):
        (wrong,) = profile(bundle, quick=True, meter=text).failed
        assert "meter" in wrong.error["given"]


def test_saved_rows_join_the_bundle_and_are_what_load_goes_by(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "x.bundle")
    first, again = row(p50_ms=5.0), row(p50_ms=4.0)
    assert save_profiles(bundle, [first]) is False
    save_profiles(bundle, [again, row(p50_ms=2.0, threads=2)])
    opened = open_bundle(bundle)
    check_files(opened, complete=True)
    assert [one.infer.p50_ms for one in opened.manifest.profiles if one.infer] == [4.0, 2.0]
    assert ranked(opened.manifest)[0].why.startswith("onnx: 2.0 ms with 2 threads, measured on")
    assert "2.00" in (bundle / "report.html").read_text()
    assert merged([first], [again]) == (again,)
    assert [path.name for path in tmp_path.iterdir()] == ["x.bundle"]


@pytest.mark.usefixtures("short")
def test_the_command(bundle: Path) -> None:
    asked = ["profile", str(bundle), "--quick", "--threads", "1,2", "--save"]
    found = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "photo to answer" in found.output
    assert len(open_bundle(bundle).manifest.profiles) == 2
    plain = CliRunner().invoke(cli, [*asked, "--json"], catch_exceptions=False)
    assert [one["threads"] for one in json.loads(plain.stdout)["rows"]] == [1, 2]


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--threads", "1,,2"], ["--sustain", "10"]])
def test_options_that_mean_nothing(arguments: list[str], bundle: Path) -> None:
    assert CliRunner().invoke(cli, ["profile", str(bundle), *arguments]).exit_code != 0


def test_an_empty_profile_is_plain_data() -> None:
    assert Profile(Path("x"), (), ()).to_dict() == {"bundle": "x", "rows": [], "failed": []}


@pytest.mark.usefixtures("short")
def test_over_ssh_the_agent_runs_there_on_the_bundle_of_that_name(
    listening: Server, bundle: Path, tmp_path: Path
) -> None:
    listening.leads_to(f'cd {Path(profiling.__file__).parents[1]}\nexec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    device = parse(listening.address, listening.options)[0]
    elsewhere = tmp_path / "it's there"
    shutil.copytree(bundle, elsewhere / bundle.name)
    found = profile(bundle, quick=True, emulated=True, there=There(device, str(elsewhere), sys.executable))
    assert [(one.target, one.kind) for one in found.rows] == [("onnx", "emulated")]
    assert ranked(open_bundle(bundle).manifest)[0].threads is None
    shutil.rmtree(elsewhere)
    (failed,) = profile(bundle, quick=True, there=There(device, str(elsewhere), sys.executable)).failed
    assert "does not exist" in failed.error["given"]


def test_where_nothing_was_pushed_it_says_what_to_do(listening: Server, bundle: Path) -> None:
    device = parse(listening.address, listening.options)[0]
    with pytest.raises(ProfileFailed, match="sdk push"):
        profile(bundle, there=There(device, "/nowhere", "/nowhere/python"))


@pytest.mark.parametrize("address", ["ssh://host", "pi5", "rpi5", "ssh://"])
def test_addresses_that_name_no_folder(address: str, bundle: Path) -> None:
    assert CliRunner().invoke(cli, ["profile", str(bundle), "--device", address]).exit_code != 0
