"""The generated sources, compiled and run: here with the system's compiler, and in emulated Cortex-M cores."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from exporters.mcu.emulate import CORES, EmulationFailed, emulate, missing_tools
from runtime_py.errors import SdkError
from runtime_py.manifest import Emulation

COMPILERS = ("cc", "gcc", "clang")
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion")
MOST_SECONDS = 300


class HostDiffers(SdkError):
    """Generated C that does not compile, or does not answer as PyTorch's integers do."""

    id = "generated-code-differs"


def prove(folder: Path, arena_bytes: int) -> tuple[tuple[Emulation, ...], str, dict[str, str]]:
    """What the emulated cores did, why there is none, and the compilers' versions. Raises HostDiffers."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    versions: dict[str, str] = {}
    if compiler is not None:
        versions["cc"] = run_here(folder, compiler)
    missing = missing_tools()
    if missing:
        return (), f"{', '.join(missing)} not found: apt-get install gcc-arm-none-eabi qemu-system-arm", versions
    found: list[Emulation] = []
    for core in CORES:
        try:
            one = emulate(folder, core, timeout_s=MOST_SECONDS)
        except EmulationFailed as error:
            raise HostDiffers(
                f"{CORES[core].title}: {error.given}", expected=error.expected, hint=error.hint
            ) from error
        if not one.agrees:
            raise HostDiffers(
                f"{CORES[core].title} answers otherwise than this host",
                expected="equal bytes",
                hint="report it with the bundle",
            )
        if one.arena_bytes != arena_bytes:
            raise HostDiffers(
                f"{CORES[core].title}: the linker gave the arena {one.arena_bytes:,} bytes",
                expected=f"{arena_bytes:,}, as planned",
                hint="report it with the bundle",
            )
        found.append(
            Emulation(
                core=core, instructions=one.instructions, stack_bytes=one.stack_bytes, flash_bytes=one.flash_bytes,
                compiler=one.compiler, emulator=one.emulator,
            )
        )  # fmt: skip
        versions |= {"arm-none-eabi-gcc": one.compiler, "qemu-system-arm": one.emulator}
    return tuple(found), "", versions


def run_here(folder: Path, compiler: str) -> str:
    """Compile golden_test.c without a warning and run it; the compiler's version."""
    with TemporaryDirectory() as name:
        program = Path(name, "golden_test")
        files = [str(folder / file) for file in ("model.c", "kernels.c", "golden_test.c")]
        built = _run([compiler, *STRICT, *files, "-o", str(program)])
        if built.returncode != 0:
            raise HostDiffers(f"{compiler}: {_first(built.stderr)}", expected="C99 without a warning")
        ran = _run([str(program)])
        if ran.returncode != 0 or ran.stdout.strip() != "OK":
            raise HostDiffers(
                f"the generated C on this host: {_first(ran.stdout) or f'exit code {ran.returncode}'}",
                expected="the bytes that PyTorch's integers give",
                hint="report it with the program",
            )
    return _first(_run([compiler, "--version"]).stdout)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)


def _first(text: str) -> str:
    """The first line that tells an error, else the first one."""
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "")
