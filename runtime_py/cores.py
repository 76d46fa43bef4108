"""How many threads a runtime should take here: one for each of the big cores. Standard library only."""

import os
import subprocess
import sys
from math import floor
from pathlib import Path

MOST_THREADS = 4
"""Compact networks gain little from more, and lose where cores are shared."""
BIG = 0.85
"""Of the fastest core's speed; favoured cores of one kind differ by less, little ones are below three quarters."""


def default_threads(root: Path = Path("/")) -> int:
    """One for each big physical core that this process may use, at most four and no more than its quota of time."""
    if sys.platform == "darwin":
        return min(_performance_cores(), MOST_THREADS)
    return max(1, min(len(_big_cores(root)), MOST_THREADS, _quota(root)))


def _big_cores(root: Path) -> set[tuple[str, str]]:
    """Package and number of each; two threads of one core are one."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    folders = {cpu: root / f"sys/devices/system/cpu/cpu{cpu}" for cpu in allowed}
    speeds = {cpu: _speed(folder) for cpu, folder in folders.items()}
    fastest = max(speeds.values())
    return {
        (_text(folder / "topology/physical_package_id"), _text(folder / "topology/core_id") or f"cpu{cpu}")
        for cpu, folder in folders.items()
        if speeds[cpu] >= BIG * fastest
    }


def _speed(folder: Path) -> int:
    """By the kernel's own measure of capacity, or else the highest clock; 0 where neither is known."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        text = _text(folder / name)
        if text.isdigit():
            return int(text)
    return 0


def _quota(root: Path) -> int:
    """Whole cores' worth of time that a container grants; what it does not limit counts as MOST_THREADS."""
    parts = _text(root / "sys/fs/cgroup/cpu.max").split()
    if len(parts) != 2 or not all(part.isdigit() and int(part) for part in parts):
        return MOST_THREADS
    return max(1, floor(int(parts[0]) / int(parts[1])))


def _performance_cores() -> int:
    found = subprocess.run(
        ["sysctl", "-n", "hw.perflevel0.physicalcpu"], capture_output=True, text=True, check=False
    ).stdout.strip()  # fmt: skip
    return int(found) if found.isdigit() else os.cpu_count() or 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # not every kernel has every file
        return ""
