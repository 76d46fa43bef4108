"""The runtimes, one file each, by the target whose artifacts they run."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime_py.errors import SdkError, missing_extra, unknown_name
from runtime_py.manifest import Artifact, Manifest, Tensor

Array = npt.NDArray[np.generic]


class EngineFailed(SdkError):
    """A runtime refused an artifact, or failed while it ran."""

    id = "engine-failed"


class Engine(Protocol):
    """A loaded artifact. Arrays go in and come out by the manifest's names."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of checked, contiguous inputs; one call at a time.

        Plain loops over what `__init__` made ready: a comprehension is a call in Python 3.11, of code and objects that
        the network before has driven out of the caches.
        """

    def close(self) -> None:
        """Free the runtime."""


class EngineModule(Protocol):
    """What `runtime_py/engines/NAME.py` holds."""

    def load(self, path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
        """Load a checked artifact; raises EngineFailed."""


@dataclass(frozen=True)
class EngineRow:
    """One runtime: its module here, its package's import name (with older ones), and the extra that brings it."""

    module: str
    title: str
    package: str
    extra: str
    older: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    """In place of a package: any one of these on the PATH."""

    @property
    def runs_here(self) -> bool:
        """Whether the runtime exists for this operating system."""
        return not self.systems or sys.platform in self.systems


ENGINES: dict[str, EngineRow] = {
    "coreml": EngineRow("runtime_py.engines.coreml", "Core ML", "coremltools", "coreml", systems=("darwin",)),
    "tflite": EngineRow("runtime_py.engines.tflite", "LiteRT", "ai_edge_litert", "litert", ("tflite_runtime",)),
    "executorch": EngineRow("runtime_py.engines.executorch", "ExecuTorch", "executorch", "executorch"),
    "openvino": EngineRow("runtime_py.engines.openvino", "OpenVINO", "openvino", "openvino"),
    "onnx": EngineRow("runtime_py.engines.onnx", "ONNX Runtime", "onnxruntime", "onnxruntime"),
    "mcu": EngineRow("runtime_py.engines.mcu", "Microcontroller C", "", "sdk", programs=("cc", "gcc", "clang")),
}


def get_engine(target: str) -> EngineRow:
    """The row of `target`. Raises UnknownName."""
    if target not in ENGINES:
        raise unknown_name("target", target, sorted(ENGINES))
    return ENGINES[target]


def available(target: str) -> str | None:
    """Why this machine cannot run `target`; None where it can. Imports no runtime."""
    row = get_engine(target)
    if not row.runs_here:
        return f"{row.title} runs on Apple systems only"
    if row.programs:
        found = any(which(program) for program in row.programs)
        return None if found else f"no C compiler was found ({', '.join(row.programs)})"
    if all(find_spec(package) is None for package in (row.package, *row.older)):
        return f"the package {row.package!r} is not installed: pip install 'edge-sdk[{row.extra}]'"
    return None


def version_of(target: str) -> str:
    """The version of the runtime that is installed for `target`; "unknown" where nothing says so."""
    row = get_engine(target)
    if row.programs:
        return next((program for program in row.programs if which(program)), "unknown")
    for package in filter(None, (row.package, *row.older)):
        with suppress(PackageNotFoundError):
            return version(package)
    return "unknown"


def load_engine(target: str) -> EngineModule:
    """The module that loads artifacts of `target`. Raises MissingExtra or EngineFailed."""
    row, reason = get_engine(target), available(target)
    if reason is not None:
        if row.programs:
            raise EngineFailed(reason, hint="apt-get install gcc, or another target of the bundle")
        if not row.runs_here:
            raise EngineFailed(reason, hint="another target of the bundle")
        raise missing_extra(row.package, row.extra, f"running {row.title} artifacts")
    module: EngineModule = import_module(row.module)
    return module


def failed(title: str, path: Path, error: Exception) -> EngineFailed:
    """The error of a runtime that refused `path` or failed on it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("Exception from")]  # OpenVINO begins with its own files
    reason = (told or lines or [type(error).__name__])[0]
    return EngineFailed(f"{title} refused {path.name}: {reason}", hint="export the bundle again, or use another target")


def own_names(names: tuple[str, ...], given: list[str], specs: Sequence[Tensor]) -> dict[str, str]:
    """The runtime's name of each of the manifest's: as recorded at export, or else in the runtime's own order."""
    own = names if names and set(names) <= set(given) else given
    if len(own) != len(specs):
        raise EngineFailed(
            f"the artifact has {', '.join(given) or 'nothing'}",
            expected=f"one for each of the manifest's {', '.join(spec.name for spec in specs)}",
            hint="export the bundle again",
        )
    return {spec.name: name for spec, name in zip(specs, own, strict=True)}
