"""Runs a generated folder on an emulated Cortex-M: whether it answers to the last bit, and what it takes.

Instructions are those that QEMU executes between the call and the return of `model_invoke_image`. With `-icount
shift=0` each takes one nanosecond of the machine's time, so a timer counts them: one tick is 40 instructions on MPS2
(25 MHz) and 31.25 on MPS3 (32 MHz), which is also how exact the number is. It is the same on every run and every host.
Cycles of real hardware differ: loads, branches and dual issue are not modelled.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtime_py.errors import SdkError

BOARD = Path(__file__).parent / "c" / "board"
COMPILER, SIZE, NM, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "arm-none-eabi-nm", "qemu-system-arm"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion")
COMMON = ("-mthumb", "-O2", "-ffunction-sections", "-fdata-sections")
KNOWN_INSTRUCTIONS = 2_000_000
"""Of the loop that board/harness.c times to prove what a tick is."""


class EmulationFailed(SdkError):
    """A compiler or an emulator that did not do what was asked."""

    id = "emulation-failed"


@dataclass(frozen=True)
class Machine:
    """One of QEMU's boards, and where it has its memories."""

    name: str
    clock: int
    memories: dict[str, int]
    define: str = ""


@dataclass(frozen=True)
class Core:
    """A processor, the board that stands for it, and how to compile for it."""

    machine: str
    flags: tuple[str, ...]
    title: str


@dataclass(frozen=True)
class Emulated:
    """What one inference of the golden input took.

    `flash_bytes` are text and data of model.o and kernels.o: code, weights and tables, without what they call in libc
    (memcpy, memset, memmove). `stack_bytes` is the deepest word written below the caller's stack pointer.
    """

    core: str
    agrees: bool
    instructions: int
    stack_bytes: int
    flash_bytes: int
    arena_bytes: int
    compiler: str
    emulator: str


_MPS2 = {"VECTORS": 0, "CODE": 0x400, "CODE_SIZE": 0x3FFC00, "RAM": 0x20000000, "RAM_SIZE": 0x400000}
_MPS3 = {"VECTORS": 0x10000000, "CODE": 0x11000000, "CODE_SIZE": 0x200000, "RAM": 0x31000000, "RAM_SIZE": 0x400000}
MACHINES = {
    machine.name: machine
    for machine in (
        Machine("mps2-an386", 25_000_000, _MPS2),
        Machine("mps2-an500", 25_000_000, _MPS2),
        Machine("mps3-an547", 32_000_000, _MPS3, "-DBOARD_MPS3"),
    )
}
CORES = {
    "cortex-m4": Core("mps2-an386", ("-mcpu=cortex-m4",), "Arm Cortex-M4 (DSP instructions)"),
    "cortex-m7": Core("mps2-an500", ("-mcpu=cortex-m7",), "Arm Cortex-M7 (DSP instructions)"),
    "cortex-m55": Core("mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), "Arm Cortex-M55 (Helium)"),
}


def missing_tools() -> list[str]:
    """Names of the programs that `emulate` needs and that are not on PATH."""
    return [name for name in (COMPILER, SIZE, NM, EMULATOR) if shutil.which(name) is None]


def emulate(folder: Path, core: str, *, timeout_s: float = 300) -> Emulated:
    """Compile a generated folder for a core of CORES and run its golden input once. Raises EmulationFailed."""
    chosen = _core(core)
    missing = missing_tools()
    if missing:
        raise EmulationFailed(f"no {', '.join(missing)} on PATH", hint="apt install gcc-arm-none-eabi qemu-system-arm")
    machine = MACHINES[chosen.machine]
    with tempfile.TemporaryDirectory() as made:
        objects = _compiled(folder, Path(made), chosen, machine, timeout_s)
        program = _linked(Path(made), objects, chosen, machine, timeout_s)
        flash = sum(_flash(objects[name], timeout_s) for name in ("model", "kernels"))
        dynamic = "define MODEL_ARENA_DYNAMIC" in (folder / "model.h").read_text(encoding="utf-8")
        arena = _symbol(program, "golden_arena" if dynamic else "model_arena", timeout_s)
        numbers = _run(program, machine, timeout_s)
    return Emulated(
        core=core,
        agrees=numbers["wrong"] == 0,
        instructions=round(numbers["ticks"] * 1e9 / machine.clock),
        stack_bytes=numbers["stack"],
        flash_bytes=flash,
        arena_bytes=arena,
        compiler=_version(COMPILER),
        emulator=_version(EMULATOR),
    )


def _core(name: str) -> Core:
    if name not in CORES:
        raise EmulationFailed(f"unknown core {name!r}", expected=f"one of {', '.join(CORES)}")
    return CORES[name]


def _compiled(folder: Path, made: Path, core: Core, machine: Machine, timeout_s: float) -> dict[str, Path]:
    own = (*STRICT, "-I", str(folder))
    harness = ("-std=gnu99", "-Wall", "-Wextra", "-I", str(BOARD), "-I", str(folder), *filter(None, [machine.define]))
    wanted = {
        "model": (folder / "model.c", own), "kernels": (folder / "kernels.c", own),
        "harness": (BOARD / "harness.c", harness), "startup": (BOARD / "startup.c", harness),
    }  # fmt: skip
    objects = {}
    for name, (source, flags) in wanted.items():
        objects[name] = made / f"{name}.o"
        _call([COMPILER, *core.flags, *COMMON, *flags, "-c", str(source), "-o", str(objects[name])], timeout_s)
    return objects


def _linked(made: Path, objects: dict[str, Path], core: Core, machine: Machine, timeout_s: float) -> Path:
    program = made / "program.elf"
    places = [f"-Wl,--defsym={name}={value:#x}" for name, value in machine.memories.items()]
    script = [
        "-nostartfiles",
        "-Wl,--gc-sections",
        "-Wl,--no-warn-rwx-segments",
        *places,
        "-T",
        str(BOARD / "board.ld"),
    ]
    files = [str(path) for path in objects.values()]
    _call([COMPILER, *core.flags, *COMMON, *script, *files, "-o", str(program)], timeout_s)
    return program


def _flash(path: Path, timeout_s: float) -> int:
    """Text (with constants) and initialised data of an object file."""
    text, data, *_ = _call([SIZE, str(path)], timeout_s).splitlines()[1].split()
    return int(text) + int(data)


def _symbol(program: Path, name: str, timeout_s: float) -> int:
    for line in _call([NM, "-S", str(program)], timeout_s).splitlines():
        parts = line.split()
        if len(parts) == 4 and parts[3] == name:
            return int(parts[1], 16)
    raise EmulationFailed(f"no symbol {name} in the linked program", expected="model.c with a static arena")


def _run(program: Path, machine: Machine, timeout_s: float) -> dict[str, int]:
    """What the harness prints, by name."""
    said = _call(
        [
            EMULATOR, "-M", machine.name, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0",
            "-semihosting-config", "enable=on,target=native", "-kernel", str(program),
        ],
        timeout_s,
        fine=(0, 1),
    )  # fmt: skip
    numbers = {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", said, re.MULTILINE)}
    if not {"known_ticks", "ticks", "stack", "wrong"} <= set(numbers):
        raise EmulationFailed(f"{machine.name} said {said.strip()[-500:]!r}", expected="ticks, stack and wrong bytes")
    counted = numbers["known_ticks"] * 1e9 / machine.clock
    if abs(counted - KNOWN_INSTRUCTIONS) > 100 + KNOWN_INSTRUCTIONS / 10_000:
        raise EmulationFailed(
            f"{machine.name}'s timer counted {counted:.0f} instructions", expected=f"{KNOWN_INSTRUCTIONS}, as it ran"
        )
    return numbers


def _version(program: str) -> str:
    return _call([program, "--version"], 30).splitlines()[0].strip()


def _call(command: list[str], timeout_s: float, fine: tuple[int, ...] = (0,)) -> str:
    """What a program prints. Raises EmulationFailed with its words where it fails or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise EmulationFailed(f"{command[0]} took more than {timeout_s:g} s", hint="a larger timeout_s") from None
    except OSError as error:
        raise EmulationFailed(f"{command[0]}: {error}") from None
    if done.returncode not in fine:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise EmulationFailed(f"{command[0]} ended with {done.returncode}: {words}")
    return done.stdout + done.stderr
