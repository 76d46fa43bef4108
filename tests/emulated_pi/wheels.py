"""Wheels for the emulated board's processor and Python, fetched by this machine's pip as the lock file pins them."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.emulated_pi import GLIBC, PROJECT, root


def wheels(names: tuple[str, ...]) -> Path:
    """A folder of the wheels of `names` and no others, fetched once. Raises RuntimeError where that fails."""
    pins = [
        line
        for line in (PROJECT / "requirements.lock").read_text().splitlines()
        if line.split("==")[0].lower() in names
    ]
    assert len(pins) == len(names), f"{pins} are not all of {names}"
    place = root().parent / f"wheels-{'-'.join(pin.replace('==', '-') for pin in pins)}"
    with (place.parent / ".wheels.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            beside = place.with_name(f".{os.getpid()}.wheels")
            try:
                _fetch(pins, beside)
                beside.rename(place)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    return place


def _fetch(pins: list[str], into: Path) -> None:
    platforms = [f"manylinux_2_{n}_aarch64" for n in GLIBC] + ["manylinux2014_aarch64"]
    command = [
        sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--dest", str(into),
        "--python-version", "3.11", "--implementation", "cp",
        *(word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)),
        *(word for platform in platforms for word in ("--platform", platform)), *pins,
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"pip ended with {done.returncode}:\n{done.stderr[-2000:]}")
