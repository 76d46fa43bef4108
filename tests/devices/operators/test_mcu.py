"""A microcontroller's C with a clock: the same answers, and a time for every layer."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devices.operators import NotTimed
from devices.operators.mcu import CLOCK, timed
from exporters.mcu.emulate import COMMON, COMPILER, CORES
from exporters.mcu.emulate import STRICT as STRICT_THERE
from tests.devices.operators.tiny import Made, all_layers, lowered
from tests.exporters.mcu.test_generated import STRICT

CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler here")
SOURCES = ("model.c", "kernels.c")
OWN_CLOCK = "#include <stdint.h>\nuint64_t ticks_of_mine(void);\nuint64_t ticks_of_mine(void) { return 3; }\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return lowered(tmp_path_factory.mktemp("mcu"), "mcu", "w8a8", joined=False)


def compiled(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def test_every_layer_is_found_by_its_own_name(made: Made) -> None:
    told = timed(made.bundle, made.artifact, 1, made.inputs)
    found = all_layers(made, told)
    assert sum(one.ms for one in told) > 0
    assert all(row.module == one.name for one, row in zip(told, found, strict=True) if row.macs)
    assert all(one.integers for one in told)


def library(made: Made, folder: Path, *flags: str) -> ctypes.CDLL:
    (folder / "clock.c").write_text(CLOCK)
    command = [str(CC), "-std=c99", "-O2", "-shared", "-fPIC", "-DMODEL_ARENA_DYNAMIC", *flags]
    command += [str(made.path / name) for name in SOURCES] + ["clock.c", "-o", "model.so"]
    compiled(command, folder)
    return ctypes.CDLL(str(folder / "model.so"))


def answer(made: Made, folder: Path, *flags: str) -> np.ndarray:
    facts = made.artifact.mcu
    assert facts is not None
    image = np.random.default_rng(5).integers(-128, 128, made.inputs["image"].size).astype(np.int8)
    found = np.zeros(made.bundle.manifest.outputs[0].shape[1], np.int8)
    arena = np.zeros(facts.arena_bytes // 4 + 4, np.int32)
    call = library(made, folder, *flags).model_invoke_image
    call.restype, call.argtypes = ctypes.c_int, [ctypes.c_void_p] * 3
    assert call(image.ctypes.data, found.ctypes.data, arena.ctypes.data) == 0
    return found


def test_the_clock_changes_no_answer(made: Made, tmp_path: Path) -> None:
    for name in ("plain", "timed"):
        (tmp_path / name).mkdir()
    plain = answer(made, tmp_path / "plain")
    assert len(set(plain.tolist())) > 1
    assert np.array_equal(plain, answer(made, tmp_path / "timed", "-DMCU_CLOCK=sdk_nanoseconds"))


def test_each_row_of_a_layer_reads_the_clock_once(made: Made, tmp_path: Path) -> None:
    """With a clock that gives 1, 2, 3 and so on, a layer's ticks are the rows that were made of it: each of its own,
    as nothing is computed twice."""
    counting = "#include <stdint.h>\nuint64_t counting(void) { static uint64_t calls; return ++calls; }\n"
    (tmp_path / "counting.c").write_text(counting)
    call = library(made, tmp_path, "-DMCU_CLOCK=counting", "counting.c")
    facts = made.artifact.mcu
    assert facts is not None
    assert facts.extra_macs == 0
    count = ctypes.c_int.in_dll(call, "mcu_layers").value
    ticks = (ctypes.c_uint64 * count).in_dll(call, "mcu_ticks")
    names = [text.decode() for text in (ctypes.c_char_p * count).in_dll(call, "mcu_names")]
    image, found = np.zeros(made.inputs["image"].size, np.int8), np.zeros(10, np.int8)
    arena = np.zeros(facts.arena_bytes // 4 + 4, np.int32)
    call.model_invoke_image(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(found.ctypes.data),
                            ctypes.c_void_p(arena.ctypes.data))  # fmt: skip
    rows = dict(zip(names, ticks, strict=True))
    heights = {"conv stem.0": 24, "pointwise expand.0": 24, "depthwise depth.0": 12, "pointwise project": 12,
               "conv side": 12, "pointwise head": 1}  # fmt: skip
    assert {name: rows[name] for name in heights} == heights


@pytest.mark.parametrize("flags", [[], ["-DMCU_CLOCK=ticks_of_mine"]])
def test_it_compiles_without_a_warning(flags: list[str], made: Made, tmp_path: Path) -> None:
    (tmp_path / "clock.c").write_text(OWN_CLOCK)
    for source in (*(str(made.path / name) for name in SOURCES), "clock.c"):
        compiled([str(CC), *STRICT, "-O2", *flags, "-c", source, "-o", "out.o"], tmp_path)


@pytest.mark.parametrize("core", CORES)
def test_it_compiles_for_a_core_with_a_clock_of_one_s_own(core: str, made: Made, tmp_path: Path) -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not here")
    (tmp_path / "clock.c").write_text(OWN_CLOCK)
    for source in (*(str(made.path / name) for name in SOURCES), "clock.c"):
        command = [COMPILER, *STRICT_THERE, *COMMON, *CORES[core].flags, "-DMCU_CLOCK=ticks_of_mine"]
        compiled([*command, "-c", source, "-o", "out.o"], tmp_path)


def test_c_of_an_older_export_says_what_to_do(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / made.artifact.file
    shutil.copytree(made.path, folder)
    text = (folder / "model.c").read_text()
    (folder / "model.c").write_text(text.replace("MCU_CLOCK", "OTHER"))
    bundle = made.bundle.__class__(tmp_path, made.bundle.manifest)
    with pytest.raises(NotTimed, match="before layers could be timed") as caught:
        timed(bundle, made.artifact, 1, made.inputs)
    assert caught.value.hint == "export the bundle again"
    with pytest.raises(NotTimed):
        timed(made.bundle, msgspec.structs.replace(made.artifact, mcu=None), 1, made.inputs)


def test_sources_that_do_not_compile_are_no_figure(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.path, tmp_path / made.artifact.file)
    with (tmp_path / made.artifact.file / "kernels.c").open("a") as file:
        file.write("\nthis is no C;\n")
    with pytest.raises(NotTimed, match="refused"):
        timed(made.bundle.__class__(tmp_path, made.bundle.manifest), made.artifact, 1, made.inputs)
