"""Which cores count as big, on made-up boards."""

import os
from pathlib import Path

import pytest

from runtime_py.cores import MOST_THREADS, default_threads

CPU = Path("sys/devices/system/cpu")


def board(root: Path, cores: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's files, with a core for each of the rows."""
    for number, files in enumerate(cores):
        for name, text in files.items():
            path = root / CPU / f"cpu{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(len(cores))), raising=False)
    return root


def core(number: int, **more: str) -> dict[str, str]:
    named = {name.replace("__", "/"): text for name, text in more.items()}
    return {"topology/physical_package_id": "0", "topology/core_id": str(number), **named}


def test_a_raspberry_pi_has_four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = [core(n, cpufreq__cpuinfo_max_freq="2400000") for n in range(4)]
    assert default_threads(board(tmp_path, cores, monkeypatch)) == 4


def test_little_cores_are_left_out_by_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = [core(n, cpu_capacity="414", cpufreq__cpuinfo_max_freq="1800000") for n in range(4)]
    big = [core(4 + n, cpu_capacity="1024", cpufreq__cpuinfo_max_freq="2400000") for n in range(2)]
    assert default_threads(board(tmp_path, little + big, monkeypatch)) == 2


def test_little_cores_are_left_out_by_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = [core(n, cpufreq__cpuinfo_max_freq=hz) for n, hz in enumerate(["5200000", "5000000", "3900000", "3900000"])]
    assert default_threads(board(tmp_path, cores, monkeypatch)) == 2


def test_two_threads_of_a_core_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = [core(n // 2) for n in range(4)]
    assert default_threads(board(tmp_path, cores, monkeypatch)) == 2


def test_many_cores_are_not_all_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads(board(tmp_path, [core(n) for n in range(64)], monkeypatch)) == MOST_THREADS


@pytest.mark.parametrize(("quota", "threads"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 4), ("", 4)])
def test_a_container_s_quota(quota: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = board(tmp_path, [core(n) for n in range(4)], monkeypatch)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu.max").write_text(quota)
    assert default_threads(root) == threads


def test_a_kernel_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads(board(tmp_path, [{} for _ in range(3)], monkeypatch)) == 3
