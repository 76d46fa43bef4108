"""What the machine that runs this is: CPU, instruction sets, memory. Standard library only."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CPUINFO, MEMINFO, BOARD = Path("/proc/cpuinfo"), Path("/proc/meminfo"), Path("/proc/device-tree/model")
STATUS = Path("/proc/self/status")

ISA_NAMES = {
    "sse4_2": "sse4.2",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_int8": "amx_int8",
    "asimd": "neon",
    "neon": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
}
"""The kernel's flag to the field's name, for the instruction sets that change how fast a network runs."""

SYSCTL_ISA = {
    "hw.optional.neon": "neon",
    "hw.optional.AdvSIMD": "neon",
    "hw.optional.arm.FEAT_FP16": "fp16",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.avx2_0": "avx2",
    "hw.optional.avx512f": "avx512f",
}


@dataclass(frozen=True)
class Host:
    """This machine. `cores` are those that this process may use; what cannot be known is None or empty."""

    os: str
    arch: str
    cpu: str
    cores: int
    isa: tuple[str, ...]
    ram_total_mb: int | None
    ram_available_mb: int | None
    python: str

    def to_dict(self) -> dict[str, str]:
        """Every field as text, as the manifest's `host` holds it; unknown ones are left out."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__} | {"isa": " ".join(self.isa)}
        return {name: str(value) for name, value in plain.items() if value not in (None, "")}


def probe() -> Host:
    """Looks at this machine: /proc on Linux, sysctl on macOS, and what Python knows elsewhere."""
    if platform.system() == "Darwin":
        cpu, isa, ram = _from_sysctl()
    else:
        cpu, isa, ram = _from_proc()
    return Host(
        os=_os_name(),
        arch=platform.machine(),
        cpu=cpu or platform.processor() or platform.machine(),
        cores=_usable_cores(),
        isa=isa,
        ram_total_mb=ram[0],
        ram_available_mb=ram[1],
        python=platform.python_version(),
    )


def cpu_from_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """The CPU's model and its instruction sets, from the text of /proc/cpuinfo on x86 or Arm."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    isa = tuple(dict.fromkeys(name for flag, name in ISA_NAMES.items() if flag in flags))
    return fields.get("model name") or fields.get("Model") or "", isa


def ram_from_meminfo(text: str) -> tuple[int | None, int | None]:
    """Total and available memory in MB (2**20 bytes), from the text of /proc/meminfo."""
    kib = {name: int(value.split()[0]) for name, _, value in (row.partition(":") for row in text.splitlines())}
    total, available = (kib.get(name) for name in ("MemTotal", "MemAvailable"))
    return total and total // 1024, available and available // 1024


def peak_rss_mb() -> float:
    """This process's largest resident memory in 2**20 bytes.

    By the kernel's own mark, where there is one: the `ru_maxrss` of a child begins with its parent's memory.
    """
    for line in _read(STATUS).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _from_proc() -> tuple[str, tuple[str, ...], tuple[int | None, int | None]]:
    cpu, isa = cpu_from_cpuinfo(_read(CPUINFO))
    board = _read(BOARD).rstrip("\0")
    return cpu or board, isa, ram_from_meminfo(_read(MEMINFO))


def _from_sysctl() -> tuple[str, tuple[str, ...], tuple[int | None, int | None]]:
    isa = tuple(dict.fromkeys(name for key, name in SYSCTL_ISA.items() if _sysctl(key) == "1"))
    total, page, free = (_sysctl(key) for key in ("hw.memsize", "hw.pagesize", "vm.page_free_count"))
    total_mb = int(total) // 2**20 if total else None
    available_mb = int(page) * int(free) // 2**20 if page and free else None
    return _sysctl("machdep.cpu.brand_string"), isa, (total_mb, available_mb)


def _sysctl(key: str) -> str:
    found = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _os_name() -> str:
    if platform.system() == "Linux":
        try:
            return platform.freedesktop_os_release()["PRETTY_NAME"]
        except (OSError, KeyError):
            return f"Linux {platform.release()}"
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    return f"{platform.system()} {platform.release()}"
