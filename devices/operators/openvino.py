"""OpenVINO's operators, from its performance counters and the graph that it runs."""

from collections.abc import Mapping
from math import prod
from statistics import median
from typing import Any

from devices.operators import MOST_RUNS, SECONDS, Timed, repeated
from runtime_py.bundle import Bundle
from runtime_py.engines.openvino import OpenVino
from runtime_py.manifest import Artifact

WEIGHTED = frozenset({"Convolution", "GroupConvolution", "Deconvolution", "FullyConnected", "MatMul"})


BATCHES = 5
"""Networks that are compiled anew: the counters' means cannot be started again, and one disturbed run spoils a mean."""


def timed(bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
    """The operators after the plugin's own fusions, in the order in which they run.

    Each counter holds the mean of its batch's runs in whole microseconds, rounded down: half of one is added to the
    median of the batches.
    """
    batches: list[dict[str, float]] = []
    for _ in range(BATCHES):
        engine = OpenVino(bundle.path / artifact.file, artifact, bundle.manifest, threads, profile=True)
        repeated(lambda engine=engine: engine.run(dict(inputs)), MOST_RUNS // BATCHES, SECONDS / BATCHES)  # type: ignore[misc]
        rows = [row for row in engine.request.get_profiling_info() if row.status.name == "EXECUTED"]
        batches.append({row.node_name: 1e3 * row.real_time.total_seconds() for row in rows})
        graph = {
            node.get_friendly_name(): node for node in engine.request.get_compiled_model().get_runtime_model().get_ops()
        }
        engine.close()
    found = []
    for row in rows:
        ms, node = median(batch.get(row.node_name, 0.0) for batch in batches), graph.get(row.node_name)
        if ms > 0:
            found.append(Timed(
                row.node_name, row.node_type, ms + 5e-4,
                weights=_weights(node) if row.node_type in WEIGHTED and node is not None else None,
                output=prod(node.get_output_shape(0)) if node is not None and _static(node) else None,
            ))  # fmt: skip
    return found


def _static(node: Any) -> bool:
    return bool(node.get_output_size() > 0 and node.get_output_partial_shape(0).is_static)


def _weights(node: Any) -> int | None:
    ports = node.inputs()
    shape = ports[1].get_partial_shape() if len(ports) > 1 else None
    return prod(shape.to_shape()) if shape is not None and shape.is_static else None
