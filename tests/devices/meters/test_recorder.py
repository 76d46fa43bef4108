import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from devices.meters.access import Access, every, follow, over, run_command, through
from devices.meters.recorder import Polled, Recorder, Streamed
from devices.meters.samples import BadReading, MeterFailed, Reading, WindowRefused, energy_j
from tests.devices.meters.simulated import Board


def polled(access: Access, read: Callable[[], Reading], period_s: float = 0.1) -> Polled:
    return Polled("test", "a wire", "measured", period_s, lambda: read, access)


def test_a_reading_belongs_to_the_middle_of_the_time_that_it_takes() -> None:
    board = Board()

    def slow() -> Reading:
        board.now_s += 0.04
        return Reading(1.0)

    meter = polled(board.access(), slow)
    meter.start()
    assert meter.stop().times_s == (pytest.approx(500.02),)


def test_memory_is_bounded_and_what_was_lost_is_refused() -> None:
    recorder = Recorder(0.1, counts=False, most=150)
    for at in range(400):
        recorder.add(at / 10, Reading(2.0))
    samples = recorder.samples()
    assert len(samples.times_s) == 150
    assert samples.notes == ("the first 250 samples were dropped: 150 are kept",)
    with pytest.raises(WindowRefused, match="no sample for"):
        energy_j(samples, 20.0, 30.0)
    assert energy_j(samples, 26.0, 36.0) == pytest.approx(20.0)


def test_the_devices_own_times_are_moved_by_the_least_delay() -> None:
    recorder = Recorder(0.1, counts=False)
    for own_s, delay_s in ((10.0, 0.3), (10.1, 0.05), (10.1, 0.2), (10.2, 0.4)):
        recorder.add(500.0 + own_s + delay_s, Reading(own_s, own_s))
    samples = recorder.samples()
    assert samples.times_s == pytest.approx((510.05, 510.15, 510.25))
    assert samples.watts == (10.0, 10.1, 10.2)


def test_a_device_that_was_started_anew_spoils_the_recording() -> None:
    recorder = Recorder(0.1, counts=False)
    for at in range(200):
        recorder.add(at / 10, Reading(2.0, at / 10 if at < 100 else at / 10 - 9))
    with pytest.raises(WindowRefused, match=r"the device's clock went back by 8\.9 s"):
        energy_j(recorder.samples(), 0.0, 10.0)


def test_failed_readings_are_counted_and_leave_a_gap() -> None:
    board = Board()

    def read() -> Reading:
        if 505 < board.now_s < 507:
            raise BadReading("missing rails: VDD_CORE")
        return Reading(2.0)

    meter = polled(board.access(), read)
    meter.start()
    board.advance(30.0)
    samples = meter.stop()
    assert samples.notes[0].endswith("readings failed: missing rails: VDD_CORE")
    with pytest.raises(WindowRefused, match=r"no sample for 2.12 s, 2.9 s into the window"):
        energy_j(samples, 502.0, 512.0)
    assert energy_j(samples, 510.0, 520.0) == pytest.approx(20.0)


def test_a_meter_is_started_once_and_stopped_once() -> None:
    meter = polled(Board().access(), lambda: Reading(1.0))
    with pytest.raises(MeterFailed, match="was not started"):
        meter.stop()
    meter.start()
    with pytest.raises(MeterFailed, match="runs already"):
        meter.start()
    meter.stop()
    meter.start()
    meter.stop()


def test_a_first_reading_that_fails_starts_nothing() -> None:
    def read() -> Reading:
        raise BadReading("no")

    before = threading.active_count()
    meter = polled(Access(), read)
    assert meter.available() == "no"
    with pytest.raises(BadReading):
        meter.start()
    assert threading.active_count() == before


def test_the_thread_samples_and_ends_with_the_meter() -> None:
    meter = polled(Access(), lambda: Reading(2.0), period_s=0.01)
    before = threading.active_count()
    start_s = time.monotonic()
    meter.start()
    assert threading.active_count() == before + 1
    wait_for(lambda: time.monotonic() - start_s > 0.3)
    samples = meter.stop()
    assert threading.active_count() == before
    assert len(samples.times_s) > 3
    assert start_s <= samples.times_s[0] <= samples.times_s[-1] <= time.monotonic()


def test_a_late_tick_is_not_made_up_for() -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        time.sleep(0.05)

    stop = every(0.01, tick)
    wait_for(lambda: len(ticks) >= 4)
    stop()
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(ticks))


def printing(tmp_path: Path, program: str) -> list[str]:
    path = tmp_path / "logger.py"
    path.write_text(program, encoding="utf-8")
    return [sys.executable, "-u", str(path)]


def streamed(command: list[str], access: Access | None = None) -> Streamed:
    def parse(line: str) -> Reading | None:
        if line == "bad":
            raise BadReading("a bad line")
        return Reading(float(line)) if line.replace(".", "").isdigit() else None

    return Streamed("test", "a wire", "measured", 0.1, command, lambda: parse, lambda: None, access or Access())


def test_a_command_is_followed_and_ended(tmp_path: Path) -> None:
    lines: list[str] = []
    stop = follow(
        printing(tmp_path, "import time\nprint('one', flush=True)\ntime.sleep(600)\n"), lines.append, lambda: None
    )
    wait_for(lambda: lines == ["one"])
    assert stop() == ""


def test_a_command_that_ignores_the_first_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.meters.access.PATIENCE_S", 0.3)
    lines: list[str] = []
    program = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(600)\n"
    stop = follow(printing(tmp_path, program), lines.append, lambda: None)
    wait_for(lambda: lines == ["deaf"])
    before = threading.active_count()
    assert stop() == ""
    assert threading.active_count() == before - 1


def test_a_command_that_ends_by_itself_spoils_the_recording(tmp_path: Path) -> None:
    meter = streamed(printing(tmp_path, "import sys\nprint('2.0')\nsys.exit(3)\n"))
    meter.start()
    wait_for(lambda: not any(thread.name == "meter" for thread in threading.enumerate()))
    samples = meter.stop()
    assert samples.watts == (2.0,)
    assert samples.faults[0].endswith("ended by itself, with 3")


def test_a_command_without_a_value_says_what_it_said(tmp_path: Path) -> None:
    program = "import sys\nsys.stderr.write('sudo: a password is required\\n')\n"
    with pytest.raises(MeterFailed, match="the last that it said: sudo: a password is required"):
        streamed(printing(tmp_path, program)).start()
    with pytest.raises(MeterFailed, match="does not start"):
        streamed(["/nonexistent/logger"]).start()


def test_a_command_that_is_silent_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.meters.recorder.FIRST_S", 0.2)
    before = threading.active_count()
    with pytest.raises(MeterFailed, match="gave no value"):
        streamed(printing(tmp_path, "import time\ntime.sleep(600)\n")).start()
    assert threading.active_count() == before


def test_commands_that_fail_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command([sys.executable, "-c", "print(2)"]) == "2\n"
    assert through(sys.executable, "-c")(["print(3)"]) == "3\n"
    with pytest.raises(MeterFailed, match="there is no command '/nonexistent/x' here"):
        run_command(["/nonexistent/x"])
    with pytest.raises(MeterFailed, match="ended with 4 and said: lost"):
        run_command([sys.executable, "-c", "import sys; print('lost'); sys.exit(4)"])
    monkeypatch.setattr("devices.meters.access.PATIENCE_S", 0.2)
    with pytest.raises(MeterFailed, match="does not answer"):
        run_command([sys.executable, "-c", "import time; time.sleep(60)"])


def test_files_are_read_through_a_shell_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n", encoding="utf-8")
    (tmp_path / "b").write_text("2", encoding="utf-8")
    here = Access(root=tmp_path)
    assert here.read("/a", "/b") == "1\n2\n"
    assert here.glob("/[ab]") == ["/a", "/b"]
    with pytest.raises(MeterFailed, match="No such file"):
        here.read("/c")
    there = Access(shell=lambda command: run_command(["sh", "-c", " ".join(command)]))
    assert there.read(f"{tmp_path}/a") == "1\n"
    assert there.glob(f"{tmp_path}/[ab]") == [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert there.glob(f"{tmp_path}/[xy]") == []


def test_another_machine_is_reached_behind_a_command(tmp_path: Path) -> None:
    """As ssh and adb do: the words are joined, and a shell there runs them."""
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\nexec sh -c "$*"\n', encoding="utf-8")
    shell.chmod(0o755)
    (tmp_path / "in1_label").write_text("VDD_IN\n", encoding="utf-8")
    there = over(str(shell))
    assert there.glob(f"{tmp_path}/in*_label") == [f"{tmp_path}/in1_label"]
    assert there.read(f"{tmp_path}/in1_label") == "VDD_IN\n"
    assert (there.has("sh"), there.has("tegrastats-of-nowhere")) == (True, False)
    lines: list[str] = []
    stop = there.follow(["echo", "one;", "exec", "sleep", "600"], lines.append, lambda: None)
    wait_for(lambda: lines == ["one"])
    assert stop() == ""


def test_what_takes_no_signal_ends_when_nobody_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As powermetrics under sudo, which is root's."""

    def refuse(process: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("subprocess.Popen.terminate", refuse)
    monkeypatch.setattr("subprocess.Popen.kill", refuse)
    lines: list[str] = []
    program = "import os, time\nwhile True:\n    print(os.getpid())\n    time.sleep(0.02)\n"
    stop = follow(printing(tmp_path, program), lines.append, lambda: None)
    wait_for(lambda: len(lines) > 2)
    assert stop() == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines[0]), 0)


def wait_for(reached: Callable[[], bool]) -> None:
    """Fails the test, rather than hang, where it never happens."""
    end_s = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < end_s, "it did not happen within 30 s"
        time.sleep(0.005)
