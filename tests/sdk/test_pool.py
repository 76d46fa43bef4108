"""Crashes and memory, with workers that do nothing else."""

import sys
from pathlib import Path

import pytest

from runtime_py.manifest import Manifest
from sdk import pool
from sdk.jobs import Answer, Job
from sdk.pool import Chain, run_chains

CRASH = "import os, sys; sys.stderr.write('about to fall\\n'); sys.stderr.flush(); os.abort()"
ANSWER = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_text('{}')"
SLEEP = "import time; time.sleep(60)"


def chain(name: str) -> Chain:
    job = Job(
        target=name,
        precision="fp32",
        folder=".",
        file="x",
        program="p",
        manifest=Manifest(model="m", inputs=(), outputs=()),
    )
    return Chain(name, lambda answer: job if answer is None else None)


def use(code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let workers run `code` in place of sdk.worker."""
    script = tmp_path / "worker.py"
    script.write_text(code)
    start = pool.subprocess.Popen
    monkeypatch.setattr(
        pool.subprocess, "Popen", lambda command, **rest: start([sys.executable, str(script), *command[-2:]], **rest)
    )


def test_a_crash_is_that_targets_failure_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(CRASH, monkeypatch, tmp_path)
    chains = [chain("a"), chain("b")]
    run_chains(chains, tmp_path, 2, lambda _: None)
    for one in chains:
        assert one.stage == "failed"
        assert one.answer.error is not None
        assert "signal 6" in one.answer.error["given"]
        assert "about to fall" in one.answer.error["given"]


def test_a_failure_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(CRASH, monkeypatch, tmp_path)
    full = pool.shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr(pool.shutil, "disk_usage", lambda _: full)
    one = chain("a")
    run_chains([one], tmp_path, 1, lambda _: None)
    assert one.answer.error is not None
    assert one.answer.error["id"] == "disk-full"
    assert "3 MB" in one.answer.error["hint"]


def test_memory_and_time_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(f"block = bytearray(150 * 2**20)\nimport time; time.sleep(1.0)\n{ANSWER}", monkeypatch, tmp_path)
    one = chain("a")
    peak = run_chains([one], tmp_path, 1, lambda _: None)
    assert one.answer == Answer()
    assert one.peak_mb > 150
    assert peak > one.peak_mb
    assert one.seconds >= 1.0


def test_too_little_memory_stops_a_worker_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(SLEEP, monkeypatch, tmp_path)
    monkeypatch.setattr(pool, "_free_mb", lambda: 100.0)
    one = chain("a")
    run_chains([one], tmp_path, 1, lambda _: None)
    assert one.answer.error is not None
    assert "--jobs 1" in one.answer.error["hint"]


def test_no_more_run_at_a_time_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(f"import time; time.sleep(0.5)\n{ANSWER}", monkeypatch, tmp_path)
    seen: list[int] = []
    chains = [chain(name) for name in "abc"]
    run_chains(chains, tmp_path, 1, lambda all_: seen.append(sum(one.stage == "lowering" for one in all_)))
    assert max(seen) == 1
    assert all(one.stage == "done" for one in chains)


def test_an_interrupt_kills_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    use(SLEEP, monkeypatch, tmp_path)
    calls: list[int] = []

    def interrupt(_: list[Chain]) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_chains([chain("a")], tmp_path, 1, interrupt)
    mine = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert not any("worker.py" in " ".join(child.cmdline()) for child in mine)
