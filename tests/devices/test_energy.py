"""End to end against a board whose power is known in closed form, through every interface."""

import time
from collections.abc import Callable, Sequence
from math import pi, sin
from pathlib import Path

import pytest

from devices.energy import BadProtocol, EstimatedEnergy, Marks, MeasuredEnergy, NoSensor, Span, evaluate, measure
from devices.meters import Meter, open_meter
from devices.meters.access import Access
from devices.meters.rapl import ZONES
from devices.meters.recorder import Polled
from devices.meters.rpi5_pmic import RAILS
from devices.meters.samples import MeterFailed, Reading, Samples
from tests.devices.meters.simulated import (
    IDLE_W,
    INFERENCE_S,
    RIPPLE_HZ,
    RIPPLE_W,
    WALL_S,
    WORK_W,
    Board,
    FakeBus,
    lay,
    text,
)  # fmt: skip

GROSS_MJ = (IDLE_W + WORK_W) * INFERENCE_S * 1e3
NET_MJ = WORK_W * INFERENCE_S * 1e3
"""The ripple's whole turns are nothing: seven in ten seconds, 21 in thirty."""


def pmic(board: Board, folder: Path) -> Meter:
    def run(command: Sequence[str]) -> str:
        """All power on one rail of 0.9 V, at the eight digits that the tool shows."""
        amperes = {"VDD_CORE": board.watts() / 0.9}
        lines = [f"{rail}_A current({at})={amperes.get(rail, 0):.8f}A" for at, rail in enumerate(RAILS)]
        lines += [f"{rail}_V volt({at})=0.90000000V" for at, rail in enumerate(RAILS)]
        return "\n".join([*lines, "EXT5V_V volt(24)=5.14020000V"])

    return open_meter("rpi5_pmic", board.access(run=run))


def hwmon(board: Board, folder: Path) -> Meter:
    chip = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    lay(folder, {f"{chip}/in1_label": "VDD_IN", f"{chip}/in2_label": "VDD_SOC", f"{chip}/in1_input": 5000})

    def show() -> None:
        lay(folder, {f"{chip}/curr1_input": round(board.watts() / 5 * 1e3)})

    return _shown(board, show, "ina3221", root=folder)


def iio(board: Board, folder: Path) -> Meter:
    chip = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    lay(folder, {f"{chip}/rail_name_0": "POM_5V_IN"})
    return _shown(
        board, lambda: lay(folder, {f"{chip}/in_power0_input": round(board.watts() * 1e3)}), "ina3221", root=folder
    )


def tegrastats(board: Board, folder: Path) -> Meter:
    def lines() -> list[str]:
        milliwatts = round(board.watts() * 1e3)
        return [text("tegrastats_orin_nano.txt").replace("VDD_IN 1038/1134", f"VDD_IN {milliwatts}mW/1134mW")]

    return open_meter("tegrastats", board.access(follow=board.stream(0.1, lines), has=lambda program: True))


def rapl(board: Board, folder: Path) -> Meter:
    """Its counter starts over every 50 J."""
    zone = ZONES.replace("[0-9]*", "0")
    lay(folder, {f"{zone}/name": "package-0", f"{zone}/max_energy_range_uj": 49_999_999})
    lay(folder, {"/proc/cpuinfo": "vendor_id : GenuineIntel"})
    return _shown(
        board, lambda: lay(folder, {f"{zone}/energy_uj": int(board.truth_j * 1e6) % 50_000_000}), "rapl", root=folder
    )


def battery(board: Board, folder: Path) -> Meter:
    def shell(command: Sequence[str]) -> str:
        if command[0] == "dumpsys":
            return text("dumpsys_discharging.txt")
        return f"Discharging\n{-round(board.watts() / 4 * 1e6)}\n4000000\n"

    return open_meter("android_battery", board.access(shell=shell))


def odpm(board: Board, folder: Path) -> Meter:
    def shell(command: Sequence[str]) -> str:
        if command[0] == "ls":
            return "/sys/bus/iio/devices/iio:device0/energy_value\n"
        joules, milliseconds = board.truth_j, round(board.now_s * 1e3)
        return (
            f"t={milliseconds}\nCH0(T={milliseconds})[S2M_VDD_CPUCL2], {int(joules * 0.75e6)}\n"
            f"CH1(T={milliseconds})[S1M_VDD_MIF], {int(joules * 0.25e6)}\nCH2(T={milliseconds})[VSYS_PWR_DISPLAY], 9\n"
        )

    return open_meter("odpm", board.access(shell=shell))


def powermetrics(board: Board, folder: Path) -> Meter:
    last = [board.truth_j, board.now_s - 0.2]

    def lines() -> list[str]:
        joules, seconds = board.truth_j - last[0], board.now_s - last[1]
        last[:] = board.truth_j, board.now_s
        return [
            f"*** Sampled system activity (Thu Nov 26 12:00:01 2026 +0000) ({seconds * 1e3:.2f}ms elapsed) ***",
            f"Combined Power (CPU + GPU + ANE): {round(joules / seconds * 1e3)} mW",
        ]

    access = board.access(follow=board.stream(0.2, lines), run=lambda command: "", has=lambda program: True)
    return open_meter("powermetrics", access)


def ina219(board: Board, folder: Path) -> Meter:
    bus = FakeBus("ina219", 0.1, lambda: 5.1, board.watts)
    return open_meter("ina219", board.access(bus=lambda number: bus))


def ina226(board: Board, folder: Path) -> Meter:
    bus = FakeBus("ina226", 0.01, lambda: 5.1, board.watts)
    return open_meter("ina226", board.access(bus=lambda number: bus))


def usb(board: Board, folder: Path) -> Meter:
    headed = iter([["timestamp voltage_V current_A"]])

    def lines() -> list[str]:
        row = f"{board.now_s - 77:.3f} 5.1000 {board.watts() / 5.1:.5f}"
        return [*next(headed, []), row]

    access = board.access(follow=board.stream(0.1, lines), has=lambda program: True)
    return open_meter("usb_csv", access, command=["logger"])


def csv(board: Board, folder: Path, own_time_s: float, **options: object) -> Meter:
    """A logger that has run for a while, and whose time is the board's and `own_time_s`."""
    path = folder / "log.csv"
    path.write_text("time,power_mW\n", encoding="utf-8")

    def write() -> None:
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{board.now_s + own_time_s:.3f},{board.watts() * 1e3:.1f}\n")

    board.every(0.1, write)
    board.sleep(13.0)
    return open_meter("csv", board.access(), path=path, **options)


def csv_dated(board: Board, folder: Path) -> Meter:
    return csv(board, folder, WALL_S)


def csv_given(board: Board, folder: Path) -> Meter:
    return csv(board, folder, -500.0, offset_s=-13.0)


def csv_aligned(board: Board, folder: Path) -> Meter:
    return csv(board, folder, -432.1)


def csv_wrong_date(board: Board, folder: Path) -> Meter:
    return csv(board, folder, WALL_S + 3600.5, align=True)


def _shown(board: Board, show: Callable[[], None], name: str, root: Path) -> Meter:
    show()
    board.before.append(show)
    return open_meter(name, board.access(root=root))


INTERFACES = [
    pmic, hwmon, iio, tegrastats, rapl, battery, odpm, powermetrics, ina219, ina226, usb,
    csv_dated, csv_given, csv_aligned, csv_wrong_date,
]  # fmt: skip


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.__name__)
def test_every_interface_finds_the_energy_within_one_percent(
    interface: Callable[[Board, Path], Meter], tmp_path: Path
) -> None:
    board = Board()
    meter = interface(board, tmp_path)
    found = measure(meter, board.work, clock=board.clock, sleep=board.sleep)
    assert isinstance(found, EstimatedEnergy if interface is powermetrics else MeasuredEnergy), found
    assert found.gross_mj is not None
    assert found.net_mj is not None
    assert found.gross_mj.median == pytest.approx(GROSS_MJ, rel=0.01)
    assert found.net_mj.median == pytest.approx(NET_MJ, rel=0.01)
    assert found.idle_w == pytest.approx(IDLE_W, rel=0.01)
    assert (found.valid, found.why) == (True, "")
    assert len(found.windows) == 5
    assert all(window.inferences >= 200 and window.duration_s >= 10 for window in found.windows)
    for window in found.windows:
        assert window.energy_j == pytest.approx(window.inferences * GROSS_MJ / 1e3, rel=0.02)  # its edges included


def test_the_simulated_truth_is_the_closed_form() -> None:
    board = Board()
    steps = [board.watts() for _ in range(20_000) if board.advance(0.001) is None]
    assert board.truth_j == pytest.approx(sum(steps) * 0.001, rel=1e-4)
    board.now_s = 0.25
    assert board.watts() == pytest.approx(IDLE_W + RIPPLE_W * sin(2 * pi * RIPPLE_HZ * 0.25))


def steady(watts: Callable[[float], float], end_s: float = 83.0) -> Samples:
    times = tuple(at / 10 for at in range(int(end_s * 10)))
    return Samples(times, 0.1, watts=tuple(watts(time) for time in times))


MARKS = Marks(Span(0, 30), Span(30, 31, 20), tuple(Span(31 + 10 * at, 41 + 10 * at, 200) for at in range(5)))


def judged(samples: Samples) -> MeasuredEnergy:
    found = evaluate("test", "a wire", "measured", MARKS, samples)
    assert isinstance(found, MeasuredEnergy)
    return found


def test_gross_net_and_spread_by_hand() -> None:
    """2 W idle; windows of 5.0, 5.0, 5.05, 5.1, 5.2 W: 10 s and 200 inferences each."""
    powers = [5.0, 5.0, 5.05, 5.1, 5.2]
    found = judged(steady(lambda time: 2.0 if time < 31 else powers[min(4, int(time - 31 + 1e-6) // 10)]))
    assert found.gross_mj is not None
    assert found.net_mj is not None
    gross = (found.gross_mj.median, found.gross_mj.min, found.gross_mj.max, found.gross_mj.mad)
    assert gross == pytest.approx((252.5, 250.0, 260.0, 2.5), abs=0.05)  # a sample on an edge
    assert found.net_mj.median == pytest.approx((5.05 - 2) * 10 / 200 * 1e3, rel=1e-3)
    assert found.valid


def test_a_gap_refuses_its_window_and_no_other() -> None:
    whole = steady(lambda time: 2.0 if time < 30 else 5.0)
    keep = [at for at, time in enumerate(whole.times_s) if not 44.0 < time < 46.0]
    assert whole.watts is not None
    cut = Samples(tuple(whole.times_s[at] for at in keep), 0.1, watts=tuple(whole.watts[at] for at in keep))
    found = judged(cut)
    assert [window.energy_j is None for window in found.windows] == [False, True, False, False, False]
    assert "no sample for 2 s, 3 s into the window" in found.windows[1].refused
    assert not found.valid
    assert found.why.startswith("1 of 5 windows refused: no sample for 2 s")
    assert found.gross_mj is not None
    assert found.gross_mj.median == pytest.approx(250.0)


def test_without_a_baseline_there_is_gross_and_no_net() -> None:
    found = judged(steady(lambda time: -1.0 if 10 < time < 20 else 2.0 if time < 30 else 5.0))
    assert found.gross_mj is not None
    assert (found.net_mj, found.idle_w, found.idle_spread_w) == (None, None, None)
    assert "the sign changes" in found.idle_refused
    assert "no idle baseline" in found.why


def test_windows_that_differ_make_the_run_invalid() -> None:
    found = judged(steady(lambda time: 2.0 if time < 30 else 5.0 if time < 61 else 5.5))
    assert "the windows are 10% apart" in found.why


def test_net_that_is_noise_says_so_and_one_below_zero_is_no_result() -> None:
    drifting = judged(steady(lambda time: 2.0 + 0.01 * time if time < 30 else 2.2))
    assert "net is noise" in drifting.notes[0]
    below = judged(steady(lambda time: 3.0 if time < 30 else 2.0))
    assert "less at work than idle" in below.why


def test_a_recording_that_broke_off_refuses_all() -> None:
    samples = steady(lambda time: 2.0)
    broken = Samples(samples.times_s, 0.1, watts=samples.watts, faults=("tegrastats ended by itself, with 1",))
    found = judged(broken)
    assert (found.gross_mj, found.net_mj) == (None, None)
    assert "5 of 5 windows refused: tegrastats ended by itself, with 1" in found.why


def test_a_log_in_which_the_run_is_not_seen_refuses_all() -> None:
    samples = steady(lambda time: 2.0)
    found = judged(Samples(samples.times_s, 0.1, watts=samples.watts, relative=True))
    assert found.gross_mj is None
    assert "does not show when the run was busy" in found.why


def test_no_sensor_is_neither_measured_nor_estimated(tmp_path: Path) -> None:
    board = Board()
    calls: list[int] = []
    found = measure(open_meter("ina3221", board.access(root=tmp_path)), lambda: calls.append(1), clock=board.clock)
    assert found == NoSensor("there is no INA3221 under hwmon here")
    assert found.to_dict() == {"kind": "no sensor", "why": "there is no INA3221 under hwmon here"}
    assert not calls


def test_plain_data_has_units_in_its_names(tmp_path: Path) -> None:
    board = Board()
    found = measure(hwmon(board, tmp_path), board.work, clock=board.clock, sleep=board.sleep).to_dict()
    assert (found["kind"], found["meter"], found["rail"]) == (
        "measured",
        "ina3221",
        "VDD_IN (input of the whole module)",
    )
    assert set(found["gross_mj"]) == {"median", "min", "max", "mad"}
    assert set(found["windows"][0]) == {"start_s", "duration_s", "inferences", "energy_j", "refused"}
    assert found["windows"][0]["start_s"] == pytest.approx(31.0, abs=0.1)


def test_several_inferences_a_call(tmp_path: Path) -> None:
    board = Board()
    found = measure(hwmon(board, tmp_path), board.work, inferences=8, clock=board.clock, sleep=board.sleep)
    assert isinstance(found, MeasuredEnergy)
    assert found.gross_mj is not None
    assert found.gross_mj.median == pytest.approx(GROSS_MJ / 8, rel=0.01)


def test_work_that_fails_stops_the_meter(tmp_path: Path) -> None:
    board = Board()
    meter = hwmon(board, tmp_path)

    def work() -> None:
        raise RuntimeError("the network broke")

    with pytest.raises(RuntimeError, match="the network broke"):
        measure(meter, work, clock=board.clock, sleep=board.sleep)
    with pytest.raises(MeterFailed, match="was not started"):
        meter.stop()


@pytest.mark.parametrize("wrong", [{"idle_s": 0}, {"windows": 0}, {"window_s": -1}, {"inferences": 0}])
def test_a_protocol_of_nothing_is_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    board = Board()
    with pytest.raises(BadProtocol):
        measure(hwmon(board, tmp_path), board.work, clock=board.clock, sleep=board.sleep, **wrong)


def test_in_real_time_against_a_known_curve() -> None:
    """A sensor read by the real thread: 2 W, and 3 W more at work."""
    working = False

    def read() -> Reading:
        return Reading(IDLE_W + WORK_W * working)

    def work() -> None:
        nonlocal working
        working = True
        time.sleep(0.01)

    meter = Polled("test", "a wire", "measured", 0.02, lambda: read, Access())
    found = measure(meter, work, idle_s=1.0, windows=3, window_s=1.0)
    assert isinstance(found, MeasuredEnergy)
    assert "shorter than the protocol" in found.why
    kept = [window for window in found.windows if window.energy_j is not None]
    if not kept:
        pytest.skip(f"this machine was too busy to sample: {found.why}")
    for window in kept:
        assert window.energy_j == pytest.approx((IDLE_W + WORK_W) * window.duration_s, rel=0.01)
