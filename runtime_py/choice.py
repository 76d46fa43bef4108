"""Which of a bundle's artifacts this device should run, in which order, and why."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from runtime_py.engines import ENGINES, available
from runtime_py.errors import SdkError, missing_extra, unknown_name
from runtime_py.host import probe
from runtime_py.manifest import Artifact, Manifest, ProfileRow

AS_CODE = frozenset({"mcu"})
"""Artifacts that are programs: never run unless they are asked for by name."""
INTEGERS = frozenset({"w8a8", "w8a16", "mixed"})


class NoRuntime(SdkError):
    """None of a bundle's artifacts can run on this machine."""

    id = "no-runtime"


@dataclass(frozen=True)
class Rule:
    """Targets, the fastest first, on devices of one kind."""

    devices: str
    order: tuple[str, ...]


APPLE = Rule("Apple systems", ("coreml", "onnx", "tflite", "openvino", "executorch"))
X86_FLOATS = Rule("x86 in float", ("onnx", "tflite", "openvino", "executorch", "coreml"))
X86_INTEGERS = Rule("x86 in int8", ("tflite", "openvino", "onnx", "executorch", "coreml"))
ARM = Rule("Arm", ("tflite", "onnx", "executorch", "openvino", "coreml"))
"""LiteRT before the others on Arm: its wheel and its memory are the smallest, its kernels are made for such cores."""


@dataclass(frozen=True)
class Choice:
    """An artifact and the reason for its place, in words; `threads` where a measurement says how many are best."""

    artifact: Artifact
    why: str
    threads: int | None = None

    @property
    def target(self) -> str:
        """What runs it."""
        return self.artifact.target


def ranked(manifest: Manifest, target: str | None = None) -> list[Choice]:
    """The artifacts to try, the best first: those measured on this device by their time, then the others by the rule
    for its kind; what is proven before what is not. With `target` that one alone.

    Nothing here says whether a runtime is installed. Raises UnknownName or NoRuntime.
    """
    usable = [artifact for artifact in manifest.artifacts if artifact.status != "failed"]
    by_target = {artifact.target: artifact for artifact in sorted(usable, key=_trust)}
    if target is not None:
        if target not in by_target:
            raise unknown_name("target of this bundle", target, sorted(by_target))
        return [Choice(by_target[target], f"{target}: asked for")]
    if not by_target.keys() - AS_CODE:
        hint = "load it with target='mcu', which compiles and runs its C" if by_target else "export the bundle again"
        raise NoRuntime("nothing here runs this bundle by itself: it holds no artifact for a runtime", hint=hint)
    timed = _timed(by_target, manifest.profiles)
    rule = _rule(any(artifact.precision in INTEGERS for artifact in usable))
    names = [name for name in rule.order if name in by_target and name not in {one.target for one in timed}]
    names.sort(key=lambda name: not _proven(by_target[name]))
    why = f"the order for {rule.devices} is {', '.join(name for name in rule.order if name in by_target)}"
    return timed + [Choice(by_target[name], f"{name}: {why}{_doubt(by_target[name])}") for name in names]


def why_not(choice: Choice) -> str | None:
    """Why this machine cannot run it: a runtime that is not here. None where it can."""
    return available(choice.target)


def absent(choice: Choice, others: list[str]) -> SdkError:
    """The error for an artifact whose runtime is not here."""
    row = ENGINES[choice.target]
    if row.runs_here and not row.programs:
        return missing_extra(row.package, row.extra, f"running the target {choice.target}")
    hint = f"one of {', '.join(others)}" if others else ""
    return NoRuntime(why_not(choice) or f"{choice.target} does not run here", hint=hint)


def _timed(by_target: Mapping[str, Artifact], profiles: Sequence[ProfileRow]) -> list[Choice]:
    """Those that were measured on a device of this name, the fastest first."""
    if not profiles:
        return []
    own, best = probe().cpu, dict[str, tuple[float, int]]()
    for row in profiles:
        artifact = by_target.get(row.target)
        if artifact is None or row.target in AS_CODE or not _proven(artifact) or artifact.precision != row.precision:
            continue
        if row.device == own and row.valid and row.kind == "measured" and row.infer is not None:
            best[row.target] = min(best.get(row.target, (inf, 0)), (row.infer.p50_ms, row.threads))
    return [
        Choice(by_target[name], f"{name}: {p50_ms:.1f} ms with {threads} threads, measured on {own}", threads)
        for name, (p50_ms, threads) in sorted(best.items(), key=lambda item: item[1])
    ]


def _rule(integers: bool) -> Rule:
    if platform.system() == "Darwin":
        return APPLE
    if platform.machine() in ("x86_64", "AMD64", "i686"):
        return X86_INTEGERS if integers else X86_FLOATS
    return ARM


def _doubt(artifact: Artifact) -> str:
    return "" if _proven(artifact) else " (never run where it was exported)"


def _trust(artifact: Artifact) -> tuple[bool, float]:
    """Sorts what is proven, and what is nearer to PyTorch, to the end."""
    return _proven(artifact), artifact.sqnr_db or 0.0


def _proven(artifact: Artifact) -> bool:
    return artifact.status in ("executed", "interpreted")
