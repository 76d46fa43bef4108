"""The command: a table or JSON, a histogram of the errors, and refusals."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdk.cli import main
from sdk.commands.predict import command
from tests.sdk.predicting.test_sources import make


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    for seed in range(5):
        make(tmp_path / "measured", seed)
    return tmp_path / "measured"


def test_the_table_says_how_far_such_predictions_are_off(measured: Path, tmp_path: Path) -> None:
    own = make(tmp_path, 7, device="")
    done = CliRunner().invoke(command, [str(own), "--device", "rpi5", "--measured", str(measured)])
    assert done.exit_code == 0, done.output
    assert "net7 3x8x12 on rpi5, predicted" in done.output
    assert "of 5 other networks, each predicted from the rest" in done.output
    as_json = CliRunner().invoke(command, [str(own), "-d", "rpi5", "-m", str(measured), "--json"])
    (row,) = json.loads(as_json.output)["rows"]
    assert row["target"] == "tflite"
    assert row["low_ms"] < row["predicted_ms"] < row["high_ms"]


def test_the_check_shows_every_network_and_a_histogram(measured: Path) -> None:
    done = CliRunner().invoke(command, ["--check", "--device", "rpi5", "--measured", str(measured)])
    assert done.exit_code == 0, done.output
    assert all(f"net{seed}" in done.output for seed in range(5))
    counts = [int(line.split()[-1]) for line in done.output.splitlines() if line.startswith("  ") and "%" in line]
    assert sum(counts) == 5
    as_json = CliRunner().invoke(command, ["--check", "-d", "rpi5", "-m", str(measured), "--json"])
    assert len(json.loads(as_json.output)[0]["rows"]) == 5


def test_a_bundle_or_the_check_and_not_both(measured: Path) -> None:
    done = CliRunner().invoke(command, ["--device", "rpi5", "--measured", str(measured)])
    assert done.exit_code == 2
    assert "name a BUNDLE, or give --check" in done.output


def test_a_device_that_was_not_measured_is_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = make(tmp_path, 7, device="")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(own), "--device", "jetson_nano", "--measured", str(measured)])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "no operators were measured on 'jetson_nano'" in said
    assert "Raspberry Pi 5 Model B" in said
