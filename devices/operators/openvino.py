"""OpenVINO's operators, from its performance counters and the graph that it runs."""

from collections.abc import Mapping
from functools import partial
from math import prod
from statistics import median
from typing import Any

from devices.operators import CUT_OFF_MS, Timed
from devices.steady import MOST_RUNS, PULSE, SECONDS, steady
from runtime_py.bundle import Bundle
from runtime_py.engines.openvino import OpenVino
from runtime_py.manifest import Artifact

WEIGHTED = frozenset({"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"})
BATCHES, MOST_BATCHES, WARM_UP = 5, 15, 3
"""Networks that are compiled anew, as one disturbed run spoils a mean; and the runs of each that count for nothing: the
first one prepares weights and code."""
SOUND = 0.9
"""Of a batch's runs that count, before no other is made in its place."""


def timed(bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
    """The operators after the plugin's own fusions, in the order in which they run.

    Each counter holds the mean of all runs so far in whole microseconds, rounded down: the warm-up is taken out of it
    again. The median counts, of the BATCHES in which most runs do.
    """
    batches: list[tuple[float, dict[str, float]]] = []
    sound = PULSE.sound
    while len(batches) < MOST_BATCHES and sum(share >= SOUND for share, _ in batches) < BATCHES:
        engine = OpenVino(bundle.path / artifact.file, artifact, bundle.manifest, threads, profile=True)
        run = partial(engine.run, dict(inputs))
        for _ in range(WARM_UP):
            run()
        before = _means(engine)
        pulses = steady(run, MOST_RUNS // BATCHES, SECONDS / BATCHES, patience=1)
        slow = sum(pulses) / max(1, sum(map(bool, pulses))) / PULSE.least_us
        means = {
            name: _later(before.get(name, 0.0), WARM_UP, ms, WARM_UP + len(pulses)) / slow
            for name, ms in _means(engine).items()
        }
        batches.append((sum(map(bool, pulses)) / len(pulses), means))
        rows = _executed(engine)
        graph = {
            node.get_friendly_name(): node for node in engine.request.get_compiled_model().get_runtime_model().get_ops()
        }
        engine.close()
    best = sorted(batches, key=lambda batch: -batch[0])[:BATCHES]
    PULSE.sound = sound and best[-1][0] >= SOUND / 2  # whatever those were that others took the place of
    found = []
    for row in rows:
        ms, node = median(means.get(row.node_name, 0.0) for _, means in best), graph.get(row.node_name)
        if ms >= 2 * CUT_OFF_MS or row.node_type in WEIGHTED:  # a small layer may take less than a whole one
            found.append(Timed(
                row.node_name, row.node_type, max(ms, CUT_OFF_MS),
                weights=_weights(node) if row.node_type in WEIGHTED and node is not None else None,
                output=prod(node.get_output_shape(0)) if node is not None and _static(node) else None,
                integers=row.exec_type.lower().endswith(("i8", "u8")),
            ))  # fmt: skip
    return found


def _executed(engine: OpenVino) -> list[Any]:
    return [row for row in engine.request.get_profiling_info() if row.status.name == "EXECUTED"]


def _means(engine: OpenVino) -> dict[str, float]:
    """By name, ms of all runs so far."""
    return {row.node_name: 1e3 * row.real_time.total_seconds() + CUT_OFF_MS for row in _executed(engine)}


def _later(first_ms: float, first: int, all_ms: float, count: int) -> float:
    """The mean without the `first` runs."""
    return (all_ms * count - first_ms * first) / (count - first)


def _static(node: Any) -> bool:
    return bool(node.get_output_size() > 0 and node.get_output_partial_shape(0).is_static)


def _weights(node: Any) -> int | None:
    ports = node.inputs()
    shape = ports[1].get_partial_shape() if len(ports) > 1 else None
    return prod(shape.to_shape()) if shape is not None and shape.is_static else None
