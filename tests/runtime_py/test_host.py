import os
import platform
import resource
import subprocess
import sys

import psutil
import pytest

from runtime_py.host import cpu_from_cpuinfo, peak_rss_mb, probe, ram_from_meminfo

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz
flags\t\t: fpu sse sse2 sse4_2 avx f16c fma avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
PI5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def test_x86_cpuinfo() -> None:
    assert cpu_from_cpuinfo(X86) == (
        "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz",
        ("sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni"),
    )


def test_arm_cpuinfo() -> None:
    assert cpu_from_cpuinfo(PI5) == ("Raspberry Pi 5 Model B Rev 1.0", ("neon", "fp16", "dotprod"))


def test_empty_files_are_unknown_not_zero() -> None:
    assert cpu_from_cpuinfo("") == ("", ())
    assert ram_from_meminfo("") == (None, None)


def test_meminfo() -> None:
    text = "MemTotal:        8245340 kB\nMemAvailable:    6291456 kB\nHugePages_Total: 0\n"
    assert ram_from_meminfo(text) == (8052, 6144)


def test_probe_agrees_with_psutil() -> None:
    host = probe()
    assert host.ram_total_mb == psutil.virtual_memory().total // 2**20
    assert host.ram_available_mb == pytest.approx(psutil.virtual_memory().available / 2**20, rel=0.1)
    assert host.cores == len(psutil.Process().cpu_affinity() or range(os.cpu_count() or 1))
    assert host.python == platform.python_version()
    assert host.cpu


def test_to_dict_is_text_for_the_manifest() -> None:
    plain = probe().to_dict()
    assert all(isinstance(value, str) and value for value in plain.values())
    assert plain["isa"].split() == list(probe().isa)


def test_peak_memory_is_this_process_s_own_and_not_what_its_parent_had() -> None:
    mine = bytearray(200 * 2**20)
    mine[::4096] = b"x" * len(mine[::4096])
    assert peak_rss_mb() > 200
    code = "from runtime_py.host import peak_rss_mb; print(peak_rss_mb())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(child.stdout) < 100
    assert peak_rss_mb() == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rel=0.2)
