"""A microcontroller's layers on this machine: its C compiled with a clock, which adds up what each layer takes."""

import ctypes
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from devices.operators import NotTimed, Timed
from devices.steady import middle, steady
from runtime_py.bundle import Bundle
from runtime_py.engines import ENGINES
from runtime_py.engines.mcu import FLAGS, MOST_SECONDS, SOURCES
from runtime_py.manifest import Artifact

CLOCK = """#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>
uint64_t sdk_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
"""


def timed(bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
    """The layers in the network's order, the mean of all runs. Reading the clock takes some 25 ns a row of a layer."""
    path, facts = bundle.path / artifact.file, artifact.mcu
    if facts is None or "MCU_CLOCK" not in (path / "model.c").read_text(encoding="utf-8"):
        raise NotTimed(f"{artifact.file} was generated before layers could be timed", hint="export the bundle again")
    image = np.ascontiguousarray(next(iter(inputs.values())))
    pixels = np.zeros(image.size, np.int8)  # what is in them takes no time of its own
    answer = np.zeros(int(np.prod(bundle.manifest.outputs[0].shape)), np.int8)
    arena = np.zeros(facts.arena_bytes // 4 + 4, np.int32)
    with TemporaryDirectory(prefix="edge-sdk-") as work:
        library = ctypes.CDLL(str(_compiled(path, Path(work))))
        call = library.model_invoke_image
        call.restype, call.argtypes = ctypes.c_int, [ctypes.c_void_p] * 3
        count = ctypes.c_int.in_dll(library, "mcu_layers").value
        ticks = (ctypes.c_uint64 * count).in_dll(library, "mcu_ticks")
        names = (ctypes.c_char_p * count).in_dll(library, "mcu_names")
        spent: list[list[int]] = []

        def run() -> None:
            ctypes.memset(ticks, 0, ctypes.sizeof(ticks))
            call(pixels.ctypes.data, answer.ctypes.data, arena.ctypes.data)
            spent.append(list(ticks))

        run()
        pulses = [0.0, *steady(run)]
        found = zip([name.decode() for name in names if name], zip(*spent, strict=True), strict=True)
        return [
            Timed(name.partition(" ")[2], name.partition(" ")[0], middle(own, pulses) / 1e6, integers=True)
            for name, own in found
        ]


def _compiled(path: Path, work: Path) -> Path:
    compiler = next(filter(None, map(which, ENGINES["mcu"].programs)), None)
    if compiler is None:
        raise NotTimed("no C compiler was found", expected=", ".join(ENGINES["mcu"].programs))
    (work / "clock.c").write_text(CLOCK, encoding="utf-8")
    made = work / "model.so"
    command = [compiler, *FLAGS, "-DMODEL_ARENA_DYNAMIC", "-DMCU_CLOCK=sdk_nanoseconds", f"-I{path}"]
    try:
        done = subprocess.run(
            [*command, *(str(path / name) for name in SOURCES), str(work / "clock.c"), "-o", str(made)],
            capture_output=True, text=True, timeout=MOST_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotTimed(f"{compiler} did not finish {path.name} in {MOST_SECONDS} s") from error
    if done.returncode != 0:
        raise NotTimed(f"{compiler} refused {path.name}: {done.stderr.strip()[:500]}", hint="export the bundle again")
    return made
