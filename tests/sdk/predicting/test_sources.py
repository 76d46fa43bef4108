"""Which measurements count for a device, and what is said where there are none."""

from pathlib import Path

import pytest

from runtime_py.host import probe
from sdk.predicting.answer import check, predict
from sdk.predicting.sources import Cell, NoMeasurements, find
from tests.sdk.bundles import make_tiny
from tests.sdk.predicting.nets import CALL, network, row, time_of

PI = "Raspberry Pi 5 Model B Rev 1.0"


def make(folder: Path, seed: int, device: str = PI, **changes: object) -> Path:
    nodes = network(seed)
    profiles = () if not device else (row(nodes, device, **changes),)
    return make_tiny(
        folder / f"net{seed}.bundle", [("tflite", "fp32", 10, {})], model=f"net{seed}", network=nodes, profiles=profiles
    )


def test_boards_go_by_their_kind_and_processors_by_their_name(tmp_path: Path) -> None:
    make(tmp_path, 1, "Raspberry Pi 5 Model B Rev 1.1")
    make(tmp_path, 2, "Raspberry Pi 4 Model B Rev 1.4")
    make(tmp_path, 3, probe().cpu)
    assert [one.name for one in find([tmp_path], "rpi5").cells[Cell("tflite", "fp32", 1)]] == ["net1 3x8x12"]
    assert [one.name for one in find([tmp_path], "rpi4").cells[Cell("tflite", "fp32", 1)]] == ["net2 3x8x12"]
    assert [one.name for one in find([tmp_path], "local").cells[Cell("tflite", "fp32", 1)]] == ["net3 3x8x12"]
    with pytest.raises(NoMeasurements, match="Raspberry Pi 4 Model B") as error:
        find([tmp_path], "jetson_nano")
    assert "sdk profile" in error.value.hint
    with pytest.raises(NoMeasurements, match="many devices"):
        find([tmp_path], "x86_vnni")


def test_disturbed_and_emulated_rows_and_those_without_operators_do_not_count(tmp_path: Path) -> None:
    make(tmp_path, 1, whole_ms=None)
    make(tmp_path, 2, kind="emulated")
    make(tmp_path, 3, operators=())
    with pytest.raises(NoMeasurements, match="1 disturbed row"):
        find([tmp_path], "rpi5")


def test_of_a_network_that_was_measured_twice_the_quicker_row_counts(tmp_path: Path) -> None:
    for folder, whole_ms in (("a", 7.0), ("b", 5.0), ("c", 6.0)):
        make(tmp_path / folder, 1, whole_ms=whole_ms)
    found = find([tmp_path / "a", tmp_path / "b", tmp_path / "c"], "rpi5")
    ((one,),) = found.cells.values()
    assert one.whole_ms == pytest.approx(5.0)


def test_rows_are_put_at_the_device_s_full_speed(tmp_path: Path) -> None:
    """Hot, say: nothing disturbed the row, and it is no figure of the device. By half it is too slow to be used."""
    for seed, pulse_us in enumerate((15.0, 18.0, 30.0)):
        make(tmp_path, seed, pulse_us=pulse_us)
    found = find([tmp_path], "rpi5")
    (rows,) = found.cells.values()
    assert [one.whole_ms for one in rows] == pytest.approx(
        [CALL * sum(map(time_of, network(seed))) * speed for seed, speed in ((0, 1.0), (1, 15 / 18))]
    )
    assert sum(kernel.ms for kernel in rows[1].kernels) == pytest.approx(rows[1].whole_ms)
    assert found.disturbed == 1


def test_a_bundle_is_predicted_without_its_own_measurements(tmp_path: Path) -> None:
    for seed in range(6):
        make(tmp_path, seed)
    own = make(tmp_path / "own", 7)
    found = predict(own, "rpi5", [tmp_path, own])
    (one,) = found.rows
    truth = CALL * sum(map(time_of, network(7)))
    assert one.measured_ms == pytest.approx(truth)
    assert one.looked_up < 0.9
    assert one.predicted_ms == pytest.approx(truth, rel=0.2)
    assert one.low_ms < one.predicted_ms < one.high_ms
    assert one.errors.networks == 6
    assert found.to_dict()["rows"][0]["errors"]["p90"] == one.errors.p90


def test_too_few_networks_predict_nothing(tmp_path: Path) -> None:
    for seed in range(3):
        make(tmp_path, seed)
    own = make(tmp_path / "own", 7, device="")
    with pytest.raises(NoMeasurements, match="3 other networks"):
        predict(own, "rpi5", [tmp_path])
    with pytest.raises(NoMeasurements, match="too few"):
        check("rpi5", [tmp_path])


def test_a_bundle_that_does_not_list_its_operators_is_refused(tmp_path: Path) -> None:
    for seed in range(5):
        make(tmp_path, seed)
    old = make_tiny(tmp_path / "own" / "old.bundle", [("tflite", "fp32", 10, {})])
    with pytest.raises(NoMeasurements, match="says nothing of its network") as error:
        predict(old, "rpi5", [tmp_path])
    assert error.value.hint == "export it again"


def test_the_check_leaves_each_network_out(tmp_path: Path) -> None:
    for seed in range(5):
        make(tmp_path, seed)
    (one,) = check("rpi5", [tmp_path])
    assert sorted(row.name for row in one.rows) == [f"net{seed} 3x8x12" for seed in range(5)]
    assert one.cell == Cell("tflite", "fp32", 1)
    assert one.to_dict()["rows"][0]["error"] == one.rows[0].error
