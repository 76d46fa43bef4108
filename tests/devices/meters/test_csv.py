from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.meters import open_meter
from devices.meters.columns import columns_of, is_header, row_reader, time_of
from devices.meters.csvlog import BadLog, read_log
from devices.meters.samples import BadReading, MeterFailed
from tests.devices.meters.simulated import WALL_S, Board


@pytest.mark.parametrize(
    ("header", "row", "value"),
    [
        ("time_s,power_W", "1.5,2.5", 2.5),
        ("time,power_mW", "1.5,2500", 2.5),
        ("Time (s);Power [mW]", "1,5;2500,0", 2.5),  # decimal commas
        ("timestamp,Voltage(V),Current(A)", "1.5,5.0,0.5", 2.5),
        ("timestamp\tV\tmA", "1.5\t5.0\t500", 2.5),
        ("elapsed_ms,voltage_mV,current_uA", "1500,5000,500000", 2.5),
        ('"time","note","watts"', '"1.5","x","2.5"', 2.5),
        ("t_us,power_limit_W,P", "1500000,9,2.5", 2.5),
        # the columns of fnirsi-usb-power-data-logger, divided by spaces
        (
            "timestamp sample_in_packet voltage_V current_A dp_V dn_V temp_C_ema energy_Ws capacity_As",
            "1.5 0 5.0 0.5 0 0 25.2 7 8",
            2.5,
        ),
        ("time_s,energy_mWh", "1.5,10", 36.0),
        ("time_s,J", "1.5,36", 36.0),
    ],
)
def test_columns_by_name_and_unit(header: str, row: str, value: float) -> None:
    assert is_header(header)
    columns = columns_of(header)
    assert row_reader(columns)(row) == (pytest.approx(1.5), "relative", pytest.approx(value))
    assert columns.counts == (value == 36.0)


@pytest.mark.parametrize("header", ["time_s,temp_C", "power_W,volt", "time_s,voltage_V", "time_s,power_limit_W"])
def test_columns_that_are_missing_are_named(header: str) -> None:
    with pytest.raises(BadReading, match=header.partition(",")[0]):
        columns_of(header)


@pytest.mark.parametrize(
    ("shown", "unix_s"),
    [
        ("1800000000.25", 1_800_000_000.25),
        ("1800000000250", 1_800_000_000.25),
        ("1800000000250000", 1_800_000_000.25),
        ("2027-01-15T08:00:00.250Z", 1_800_000_000.25),
        ("2027-01-15 09:00:00.25+01:00", 1_800_000_000.25),
    ],
)
def test_dates_in_every_form(shown: str, unix_s: float) -> None:
    assert time_of(shown) == (pytest.approx(unix_s, abs=1e-4), "wall")


def test_a_date_without_a_zone_is_this_machines() -> None:
    local = datetime.fromtimestamp(1_800_000_000, UTC).astimezone().replace(tzinfo=None)
    assert time_of(local.isoformat(" ")) == (1_800_000_000, "wall")


def test_milliseconds_may_be_dates_or_not() -> None:
    assert time_of("1800000000250", 1e-3) == (pytest.approx(1_800_000_000.25), "wall")
    assert time_of("250", 1e-3) == (0.25, "relative")


@pytest.mark.parametrize("row", ["1.5", "1.5,nan", "1.5,inf", "x,2.5", "1.5,", "2026-99-01,2.5"])
def test_a_row_that_is_none_is_refused(row: str) -> None:
    with pytest.raises(BadReading, match="the row"):
        row_reader(columns_of("time_s,power_W"))(row)


def log(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return path


def test_a_log_with_words_before_it_and_a_line_that_is_being_written(tmp_path: Path) -> None:
    path = log(
        tmp_path, "# Meter 7, firmware 1.2", "time_s,power_W", "0.0,1.0", "0.5,2.0", "", "1.0,3.0", "1.5,4", end=""
    )
    found = read_log(path)
    assert (found.times_s, found.values, found.period_s) == ((0.0, 0.5, 1.0), (1.0, 2.0, 3.0), 0.5)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["1,2", "3,4"], "no line that names"),
        (["time_s,power_W"], "0 rows at 0 times"),
        (["time_s,power_W", "1,2", "1,2"], "2 rows at 1 times"),
        (["time_s,power_W", "1,2", "2,x"], "line 3: the row '2,x'"),
        (["time_s,power_W", "3602,2", "2,2"], "line 3: time goes back by 3600 s"),
        (["time_s,power_W", "1,2", "1800000000,2"], "2 rows at 2 times"),
        (["time_s,celsius", "1,2"], "the columns are"),
    ],
)
def test_a_bad_log_says_which_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(BadLog, match=reason):
        read_log(log(tmp_path, *lines))


def test_an_absent_log_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(BadLog, match="cannot be read"):
        read_log(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"time_s,power_W\n\xff\xfe\n")
    with pytest.raises(BadLog, match="cannot be read"):
        read_log(tmp_path / "bytes.csv")


@pytest.mark.parametrize(
    ("times", "options", "expected"),
    [
        ((WALL_S + 500, WALL_S + 501), {}, (500.0, 501.0)),
        ((WALL_S + 507, WALL_S + 508), {"offset_s": -7.0}, (500.0, 501.0)),  # a logger's clock that is ahead
        ((3.0, 4.0), {"offset_s": 2.5}, (505.5, 506.5)),
    ],
)
def test_times_come_to_the_runs_clock(
    tmp_path: Path, times: tuple[float, ...], options: dict[str, float], expected: tuple[float, ...]
) -> None:
    path = log(tmp_path, "time_s,power_W", *(f"{time:.3f},2.0" for time in times))
    meter = open_meter("csv", Board().access(), path=path, **options)
    assert meter.available() is None
    meter.start()
    samples = meter.stop()
    assert samples.times_s == pytest.approx(expected, abs=1e-3)
    assert not samples.relative


def test_a_log_of_its_own_time_waits_for_alignment(tmp_path: Path) -> None:
    path = log(tmp_path, "time_s,power_W", "0,2", "1,2")
    meter = open_meter("csv", Board().access(), path=path)
    meter.start()
    assert meter.stop().relative


def test_the_usb_meter_reads_its_loggers_lines() -> None:
    board = Board()
    said = iter([["FNB58 connected", "timestamp voltage_V current_A", "3.0 5.0 0.4"], ["3.1 5.0 0.5"], ["broken"]])
    access = board.access(follow=board.stream(0.1, lambda: next(said, [])), has=lambda program: program == "logger")
    meter = open_meter("usb_csv", access, command=["logger", "--stream"])
    assert meter.available() is None
    meter.start()
    board.advance(0.5)
    samples = meter.stop()
    assert samples.watts == (pytest.approx(2.0), pytest.approx(2.5))
    assert samples.times_s[1] - samples.times_s[0] == pytest.approx(0.1)
    assert "1 of 3 readings failed: the row 'broken'" in samples.notes[0]


def test_a_usb_meter_needs_its_logger() -> None:
    assert "command=" in (open_meter("usb_csv", Board().access()).available() or "")
    access = Board().access(has=lambda program: False)
    assert "'logger'" in (open_meter("usb_csv", access, command=["logger"]).available() or "")


def test_a_usb_meter_that_counts_has_to_be_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.meters.recorder.FIRST_S", 0.01)
    board = Board()
    access = board.access(follow=board.stream(0.1, lambda: ["time_s,energy_J", "1,2"]), has=lambda program: True)
    with pytest.raises(MeterFailed, match="the logger gives energy alone"):
        open_meter("usb_csv", access, command=["logger"]).start()
    meter = open_meter("usb_csv", access, command=["logger"], counts=True)
    meter.start()
    assert meter.stop().joules == (2.0,)
