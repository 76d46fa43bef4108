"""The command `sdk results`: tables, JSON, and the exit code that CI goes by."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("scipy.stats", reason="scipy has the distributions")

from sdk.bench.database import Database
from sdk.cli import cli
from tests.sdk.bench.rows import result_of, run_of

STEADY = [1.0, 1.001, 1.002, 1.003, 1.004, 1.005, 1.006, 1.007]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three runs: in the second one row is 10 % slower; the third has nothing valid."""
    found = tmp_path / "r.sqlite"
    with Database(found, create=True) as database:
        old, new, bad = (database.begin(run_of(name=name)) for name in ("old", "new", "bad"))
        for target in ("onnx", "tflite"):
            database.put(old, result_of(STEADY, target=target))
            slower = 1.1 if target == "tflite" else 1.0
            database.put(new, result_of([1.0003 * slower * value for value in STEADY], target=target))
            database.put(bad, result_of([9 * value for value in STEADY], target=target, outcome="invalid", why="work"))
        database.put(old, result_of(STEADY, target="openvino"))
        database.finish(old, finished=True)
    return found


def asked(path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["results", "--db", str(path), *words])


def rows(found: Result, start: str) -> list[Sequence[str]]:
    return [line.split() for line in found.stdout.splitlines() if line.startswith(start)]


def test_the_last_run_and_another(path: Path) -> None:
    last, old = asked(path), asked(path, "--run", "old", "--target", "onnx,openvino")
    assert [(row[2], row[5]) for row in rows(last, "colours  ")] == [("onnx", "invalid"), ("tflite", "invalid")]
    assert "colours fp32 onnx, 1 thread, local, invalid: work" in last.stdout
    assert [(row[2], row[6]) for row in rows(old, "colours  ")] == [("onnx", "1.00"), ("openvino", "1.00")]
    assert "not finished" in last.stdout
    assert "not finished" not in old.stdout
    assert "no result of that kind" in asked(path, "--network", "x").stdout


def test_every_run(path: Path) -> None:
    listed = asked(path, "--runs")
    assert [row[:2] for row in rows(listed, "  ")] == [["1", "old"], ["2", "new"], ["3", "bad"]]
    assert [one["name"] for one in json.loads(asked(path, "--runs", "--json").stdout)] == ["old", "new", "bad"]
    every = json.loads(asked(path, "--run", "all", "--json").stdout)
    assert [len(one["results"]) for one in every] == [3, 2, 2]


def test_a_slower_row_fails_by_the_lower_end_alone(path: Path) -> None:
    plain, strict, loose = (asked(path, "--compare", "old", "new", *more) for more in
                            ((), ("--fail-above", "1.05"), ("--fail-above", "1.2")))  # fmt: skip
    assert [found.exit_code for found in (plain, strict, loose)] == [0, 1, 0]
    assert [(row[2], row[-1]) for row in rows(plain, "colours  ")] == [("onnx", "seen"), ("tflite", "slower")]
    assert "above 1.05: colours fp32 tflite, 1 thread, local takes 1.100 times as long" in strict.stdout
    assert "onnx, 1 thread, local takes" not in strict.stdout
    assert "none of 2 rows is above 1.2 for certain" in loose.stdout
    assert "openvino, 1 thread, local: in the old run alone" in plain.stderr


def test_rows_that_are_not_valid_never_decide_and_nothing_is_no_success(path: Path) -> None:
    """Nine times as slow, and disturbed."""
    found = asked(path, "--compare", "old", "bad", "--fail-above", "1.05")
    assert found.exit_code == 1
    assert "nothing is valid in both runs" in found.stdout
    assert asked(path, "--compare", "old", "bad").exit_code == 0
    assert "above 1.05" not in found.stdout


def test_the_same_in_json(path: Path) -> None:
    found = asked(path, "--compare", "previous", "last", "--fail-above", "1.05", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["decided"] == 0
    plain = json.loads(asked(path, "--compare", "1", "2", "--fail-above", "1.05", "--json").stdout)
    assert [cell["target"] for cell in plain["above"]] == ["tflite"]
    (slower,) = [pair for pair in plain["pairs"] if pair["verdict"] == "slower"]
    assert slower["ratio"] == pytest.approx(1.1 * 1.0003, rel=1e-6)
    assert [cell["target"] for cell in plain["only_old"]] == ["openvino"]


def test_only_the_rows_that_are_asked_for(path: Path) -> None:
    found = asked(path, "--compare", "old", "new", "--target", "onnx", "--fail-above", "1.05")
    assert found.exit_code == 0
    assert "tflite" not in found.stdout


@pytest.mark.parametrize(
    "words", [["--fail-above", "1.05"], ["--compare", "old"], ["--fail-above", "0"], ["--run", "x"]]
)
def test_what_cannot_be_asked(words: list[str], path: Path) -> None:
    assert asked(path, *words).exit_code != 0


def test_no_database_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path))
    found = CliRunner().invoke(cli, ["results"])
    assert found.exit_code == 1
    assert "sdk bench" in str(found.exception)
    assert list(tmp_path.iterdir()) == []
