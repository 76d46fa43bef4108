"""ONNX Runtime's operators, from its own profile: a JSON file of events in whole microseconds, rounded down.

Writing an event takes longer than a small operator does, and some of it falls into the event's own time: what, is
measured with a chain of additions that is run with a profile and without one, and subtracted.
"""

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from devices.operators import CUT_OFF_MS, Timed
from devices.steady import LEAST_RUNS, MOST_RUNS, middle, steady, undisturbed_ms
from runtime_py.bundle import Bundle
from runtime_py.engines.onnx import Onnx
from runtime_py.manifest import Artifact

EVENTS = 30_000
"""Of a profile at most: each is some 800 bytes of JSON."""
WARM_UP = 3
LINKS = 32
"""Additions of one number each, in a chain."""
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
    return read(events, pulses, written_ms(threads))


def written_ms(threads: int) -> float:
    """What writing its profile adds to an operator's time."""
    import onnxruntime as ort

    given = {"x0": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    with TemporaryDirectory(prefix="edge-sdk-") as work:
        plain = ort.InferenceSession(chain(), options, providers=["CPUExecutionProvider"])
        alone = undisturbed_ms(lambda: plain.run(None, given), seconds=0.2) / LINKS
        options.enable_profiling, options.profile_file_prefix = True, f"{work}/links"
        profiled = ort.InferenceSession(chain(), options, providers=["CPUExecutionProvider"])
        pulses = steady(lambda: profiled.run(None, given), seconds=0.2)
        events = json.loads(Path(profiled.end_profiling()).read_text(encoding="utf-8"))
    links = read(events, pulses, 0.0)
    return max(0.0, sum(link.ms for link in links) / len(links) - alone)


def chain() -> bytes:
    """A file of LINKS additions in a row, in bytes of protobuf: a device has no package that writes them."""
    number = _field(2, _field(1, _field(1, 1) + _field(2, _field(1, _field(1, 1)))))  # float32, of shape (1,)
    nodes = [
        _field(1, _field(1, f"x{at}") + _field(1, "one") + _field(2, f"x{at + 1}") + _field(4, "Add"))
        for at in range(LINKS)
    ]
    given = [_field(11, _field(1, name) + number) for name in ("x0", "one")]
    made = _field(12, _field(1, f"x{LINKS}") + number)
    graph = b"".join(nodes) + _field(2, "links") + b"".join(given) + made
    return _field(1, 8) + _field(8, _field(2, 17)) + _field(7, graph)


def _field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3]) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def read(events: Sequence[Mapping[str, Any]], pulses: Sequence[float], written: float) -> list[Timed]:
    """The operators of a profile's events, at the least pulse and without the ms that writing each takes."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
            found.setdefault(event["args"]["node_index"], []).append(event)
    return [_timed(runs, pulses, written) for runs in found.values()]


def _timed(runs: Sequence[Mapping[str, Any]], pulses: Sequence[float], written: float) -> Timed:
    name, facts = str(runs[0]["name"]).removesuffix("_kernel_time"), runs[0]["args"]
    kind, made = str(facts["op_name"]), _shapes(facts.get("output_type_shape", []))
    return Timed(
        name, kind, max(CUT_OFF_MS, middle([event["dur"] / 1e3 for event in runs], pulses) + CUT_OFF_MS - written),
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
