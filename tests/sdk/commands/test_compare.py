import json
from pathlib import Path

import pytest

from sdk.cli import main
from tests.sdk.bundles import INT8, accuracy, make_tiny, quantization


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *map(str, arguments)])
    assert exit_.value.code == code
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Path, Path]:
    a = make_tiny(
        tmp_path / "a.bundle",
        [("onnx", "fp32", 4000, {}), ("coreml", "fp32", 4100, {"status": "converted", "sqnr_db": None})],
    )
    more: dict[str, object] = {"sqnr_db": 17.25, "accuracy": accuracy(0.004), "contents": INT8}
    b = make_tiny(
        tmp_path / "b.bundle", [("onnx", "w8a8", 1000, more)], quantization=quantization({"conv1": 12.5, "conv2": 33})
    )
    return a, b


def test_a_table_has_both_sides_of_each_target(bundles: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, *bundles)
    rows = [line.split() for line in out.splitlines()]
    assert ["onnx", "A", "fp32", "executed", "4,000", "120.0", "-", "-", "-", "-"] in rows
    expected = "onnx B w8a8 executed 1,000 17.2 75.0 % top1 69.60 % +0.40 points +0.20 .. +0.70 0.250"
    assert expected.split() in rows
    assert ["coreml", "B", *["-"] * 9] in rows
    assert ["net.fp32.onnx", "only", "A"] in rows
    assert "files: 1 the same, 3 not" in out
    assert "calibration  data" in out
    assert err == ""


def test_layers_of_both_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[tuple[str, str, int, dict[str, object]]] = [("onnx", "mixed", 9, {})]
    a = make_tiny(tmp_path / "a.bundle", rows, quantization=quantization({"conv1": 12.5, "conv2": 33}))
    b = make_tiny(tmp_path / "b.bundle", rows, quantization=quantization({"conv1": 12, "conv2": 40}, kept=("conv1",)))
    out, _ = run(capsys, a, b)
    assert "the 2 of 2 that differ most" in out
    found = [line.split() for line in out.splitlines() if line.startswith("m.conv")]
    assert found == [["m.conv2", "33.0", "40.0", "+7.0", "-"], ["m.conv1", "12.5", "12.0", "-0.5", "B"]]


def test_columns_that_nobody_fills_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make_tiny(tmp_path / "a.bundle", [("onnx", "fp32", 9, {})])
    out, _ = run(capsys, one, one)
    assert "accuracy" not in out
    assert "int8" not in out
    assert "files: 2 the same, 0 not" in out
    assert "all the same" in out
    assert "layer" not in out


def test_json_holds_exact_numbers(bundles: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, *bundles, "--json")
    found = json.loads(out)
    onnx, coreml = found["artifacts"]
    assert (onnx["ratio"], onnx["a"]["bytes"], onnx["b"]["bytes"]) == (0.25, 4000, 1000)
    assert onnx["b"]["accuracy"]["drop"] == 0.004
    assert onnx["b"]["int8_share"] == 0.75
    assert (coreml["b"], coreml["ratio"], coreml["a"]["status"]) == (None, None, "converted")
    assert {"file": "golden.npz", "state": "same"} in found["files"]
    assert (found["layers"], found["layers_joined"], found["warnings"]) == ([], 0, [])


def test_another_network_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_tiny(tmp_path / "a.bundle", [])
    b = make_tiny(tmp_path / "b.bundle", [], model="other")
    out, err = run(capsys, a, b)
    assert "warning: the bundles differ in their model: A net, B other" in err
    assert "neither bundle holds an artifact" in out


def test_what_is_no_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, tmp_path / "a", tmp_path / "b", code=1)
    assert err.startswith("error: ")
    assert "does not exist" in err
