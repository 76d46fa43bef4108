"""A microcontroller's C on this machine: compiled once by the system's compiler, called through ctypes.

An artifact of this kind is source code, and running it runs that code: load such bundles from those you trust.
"""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime_py.engines import ENGINES, Engine, EngineFailed, failed
from runtime_py.folders import cache_folder
from runtime_py.manifest import Affine, Artifact, Manifest

SOURCES = ("model.c", "kernels.c")
FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")
MOST_SECONDS = 120


class CompiledC:
    """The shared library of one artifact."""

    def __init__(self, path: Path, artifact: Artifact, manifest: Manifest) -> None:
        facts = artifact.mcu
        if facts is None or len(manifest.inputs) != 1 or len(manifest.outputs) != 1:
            raise EngineFailed(f"{path.name} says nothing about its input and output", hint="export the bundle again")
        if len(shape := manifest.inputs[0].shape) != 4 or shape[0] != 1:
            raise EngineFailed(f"{path.name} takes {shape}", expected="(1, C, H, W)", hint="export the bundle again")
        self._given, self._gives, self._path = manifest.inputs[0], manifest.outputs[0], path
        self._in, self._out = facts.input, facts.output
        library = compiled(path, artifact.sha256)
        try:
            self._call = ctypes.CDLL(str(library)).model_invoke_image
        except (OSError, AttributeError) as error:
            raise failed("the loader", path, error) from error
        self._call.restype, self._call.argtypes = ctypes.c_int, [ctypes.c_void_p] * 3
        self._image = np.zeros((shape[2], shape[3], shape[1]), np.int8)
        self._answer = np.zeros(int(np.prod(self._gives.shape)), np.int8)
        self._arena = np.zeros(facts.arena_bytes // 4 + 4, np.int32)
        self._places = self._image.ctypes.data, self._answer.ctypes.data, self._arena.ctypes.data

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Output by the manifest's name; floats are rounded to bytes on the way in, as the other targets do."""
        given = inputs[self._given.name]
        image = given if given.dtype == np.int8 else _rounded(given, self._in)
        self._image[...] = image[0].transpose(1, 2, 0)
        if error := self._call(*self._places):
            raise EngineFailed(f"{self._path.name}: model_invoke_image gave the error {error}")
        answer, shape = self._answer.copy(), self._gives.shape
        if len(shape) == 4:
            answer = answer.reshape(shape[2], shape[3], shape[1]).transpose(2, 0, 1)[None]
        if self._gives.dtype == "int8":
            return {self._gives.name: np.ascontiguousarray(answer.reshape(shape))}
        real = (answer.astype(np.float32) - np.float32(self._out.zero_point)) * np.float32(self._out.scale)
        return {self._gives.name: np.ascontiguousarray(real.reshape(shape))}

    def close(self) -> None:
        """Free the arena; the library stays loaded, as the system has no safe way to unload code."""
        del self._image, self._answer, self._arena, self._places


def _rounded(values: npt.NDArray[Any], kind: Affine) -> npt.NDArray[np.int8]:
    """As PyTorch's quantize_per_tensor: times the reciprocal, half to even, clamped."""
    scaled = np.rint(values.astype(np.float32) * np.float32(1.0 / kind.scale)) + np.float32(kind.zero_point)
    whole: npt.NDArray[np.int8] = np.clip(scaled, -128, 127).astype(np.int8)
    return whole


def compiled(path: Path, sha256: str) -> Path:
    """The library of an artifact, from the cache where it was compiled before. The arena is the caller's.

    Raises EngineFailed where there is no compiler, or it refused the sources.
    """
    compiler = next(filter(None, map(shutil.which, ENGINES["mcu"].programs)), None)
    if compiler is None:
        raise EngineFailed("no C compiler was found", expected=", ".join(ENGINES["mcu"].programs))
    place = cache_folder("mcu") / f"{sha256}-{os.uname().machine}.so"
    if place.is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
    command = [compiler, *FLAGS, "-DMODEL_ARENA_DYNAMIC", *(str(path / name) for name in SOURCES), "-o", str(beside)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
        if done.returncode != 0:
            raise failed(compiler, path, RuntimeError(done.stderr.strip() or f"exit code {done.returncode}"))
        beside.replace(place)
    except subprocess.TimeoutExpired as error:
        raise failed(compiler, path, error) from error
    finally:
        beside.unlink(missing_ok=True)
    return place


def load(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
    """Load a folder with model.c and kernels.c; it runs on one thread."""
    return CompiledC(path, artifact, manifest)
