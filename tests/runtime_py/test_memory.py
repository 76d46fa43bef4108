"""That memory which a photo needs is not given back to the system after each one."""

import platform
import subprocess
import sys

import pytest

PHOTOS = 40
CODE = f"""
import resource
import numpy as np
from runtime_py.memory import keep_freed

def photo():
    return sum(part.sum() for part in [np.ones(900_000, np.uint8) for _ in range(3)])

if KEEP:
    keep_freed()
for _ in range(3):
    photo()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({PHOTOS}):
    photo()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_pages_are_mapped_once_for_all_photos() -> None:
    def faults(keep: bool) -> int:
        code = f"KEEP = {keep}\n{CODE}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 3 * 900_000 // 4096
    assert faults(keep=True) < pages
    # the case in question, which other versions of glibc need not have
    if (without := faults(keep=False)) < PHOTOS * pages // 2:
        pytest.skip(f"this glibc keeps what was freed: {without} page faults in {PHOTOS} photos")
