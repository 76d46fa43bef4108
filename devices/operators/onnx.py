"""ONNX Runtime's operators, from its own profile: a JSON file of events in whole microseconds, rounded down."""

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from devices.operators import CUT_OFF_MS, Timed
from devices.steady import LEAST_RUNS, MOST_RUNS, middle, steady
from runtime_py.bundle import Bundle
from runtime_py.engines.onnx import Onnx
from runtime_py.manifest import Artifact

EVENTS = 30_000
"""Of a profile at most: each is some 800 bytes of JSON."""
WARM_UP = 3
WEIGHTS = {
    "Conv": 1, "FusedConv": 1, "ConvTranspose": 1, "Gemm": 1, "FusedGemm": 1, "MatMul": 1, "FusedMatMul": 1,
    "ConvInteger": 1, "MatMulInteger": 1, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1,
    "QLinearConv": 3, "QGemm": 3, "QLinearMatMul": 3,
}  # fmt: skip
"""Which input is the weight, where it is listed: one that was packed is left out, and the bias moves up."""


def timed(bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
    """The operators after the runtime's own fusions, in the order in which they run."""
    most = min(MOST_RUNS, max(LEAST_RUNS, EVENTS // (artifact.operators_total or 200)))
    with TemporaryDirectory(prefix="edge-sdk-") as work:
        engine = Onnx(bundle.path / artifact.file, artifact, bundle.manifest, threads, profile=f"{work}/operators")
        for _ in range(WARM_UP):
            engine.run(dict(inputs))
        pulses = [0.0] * WARM_UP + steady(lambda: engine.run(dict(inputs)), most)
        events = json.loads(Path(engine.session.end_profiling()).read_text(encoding="utf-8"))
        engine.close()
    return read(events, pulses)


def read(events: Sequence[Mapping[str, Any]], pulses: Sequence[float]) -> list[Timed]:
    """The operators of a profile's events, at the least pulse."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
            found.setdefault(event["args"]["node_index"], []).append(event)
    return [_timed(runs, pulses) for runs in found.values()]


def _timed(runs: Sequence[Mapping[str, Any]], pulses: Sequence[float]) -> Timed:
    name, facts = str(runs[0]["name"]).removesuffix("_kernel_time"), runs[0]["args"]
    kind, made = str(facts["op_name"]), _shapes(facts.get("output_type_shape", []))
    return Timed(
        name, kind, middle([event["dur"] / 1e3 for event in runs], pulses) + CUT_OFF_MS,
        weights=_weights(kind, _shapes(facts.get("input_type_shape", []))),
        output=prod(made[0]) if made else None,
        integers=kind.startswith("Q") or "Integer" in kind or kind.startswith("DynamicQuantize"),
    )  # fmt: skip


def _weights(kind: str, given: Sequence[Sequence[int]]) -> int | None:
    place = WEIGHTS.get(kind)
    if place is None or place >= len(given) or len(given[place]) < 2:  # a bias, or a scale
        return None
    return prod(given[place])


def _shapes(listed: Sequence[Mapping[str, Sequence[int]]]) -> list[Sequence[int]]:
    return [shape for one in listed for shape in one.values()]
