"""The command `sdk bench`: what it prints, writes and returns."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")

from devices.agent import Job
from sdk.cli import cli
from tests.runtime_py.colours import make_bundle
from tests.runtime_py.test_choice import with_artifacts
from tests.sdk.bench.rows import answering, row_of, steady


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("sdk.bench.runner.locally", answering(steady))
    make_bundle(tmp_path / "colours.bundle")
    path = tmp_path / "b.toml"
    path.write_text('networks = ["colours.bundle"]\nthreads = [1, 2]\npage = "b.md"\nattempts = 1\n', encoding="utf-8")
    return path


def test_a_table_a_page_and_a_database(file: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["bench", str(file)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert lines[0].split()[:4] == ["network", "precision", "target", "threads"]
    assert lines[1].split()[:7] == ["colours", "fp32", "onnx", "1", "local", "measured", "1.00"]
    assert "run 1, b: new" in found.stderr
    assert "[100%] colours fp32 onnx, 2 threads, local: 1.00 ms, measured" in found.stderr
    assert (tmp_path / "b.md").is_file()
    assert (tmp_path / "b.svg").is_file()
    assert (tmp_path / "state/bench/results.sqlite").is_file()
    again = CliRunner().invoke(cli, ["bench", str(file)], catch_exceptions=False)
    assert "2 cells, 2 of them from before" in again.stdout


def test_json_alone_on_standard_output(file: Path, tmp_path: Path) -> None:
    asked = ["bench", str(file), "--json", "--quick", "--db", str(tmp_path / "own.sqlite")]
    found = CliRunner().invoke(cli, asked, catch_exceptions=False)
    plain = json.loads(found.stdout)
    assert found.stderr == ""
    assert [one["outcome"] for one in plain["results"]] == ["measured", "measured"]
    assert plain["results"][0]["row"]["samples_ms"] == []
    assert len(plain["results"][0]["row"]["repeats_p50_ms"]) == 8
    assert not (tmp_path / "state/bench").exists()


def test_one_that_fails_is_exit_code_one_and_the_others_are_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(job: Job) -> object:
        return {"ended": -9, "said": "Killed"} if job.threads == 2 else row_of([1.0])

    monkeypatch.setattr("sdk.bench.runner.locally", answering(told))  # type: ignore[arg-type]
    found = CliRunner().invoke(cli, ["bench", str(file)])
    assert found.exit_code == 1
    assert " measured " in found.stdout
    assert "colours fp32 onnx, 2 threads, local, failed: the process that measured onnx ended with -9" in found.stderr
    assert "try: Killed" in found.stderr


def test_a_target_that_cannot_run_here_is_no_failure(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_artifacts(tmp_path / "more.bundle", "coreml")
    file.write_text('networks = ["more.bundle"]\n', encoding="utf-8")
    monkeypatch.setattr("sdk.bench.runner.available", lambda name: "Apple only" if name == "coreml" else None)
    found = CliRunner().invoke(cli, ["bench", str(file)], catch_exceptions=False)
    assert found.exit_code == 0
    assert "coreml, 1 thread, local, absent: Apple only" in found.stdout


def test_a_bad_file_names_its_field(file: Path) -> None:
    file.write_text('networks = ["colours.bundle"]\nthread = [1]\n', encoding="utf-8")
    found = CliRunner().invoke(cli, ["bench", str(file)])
    assert found.exit_code == 1
    assert "thread" in str(found.exception)
