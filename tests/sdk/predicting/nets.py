"""Made-up networks and a made-up device, whose times are a formula: what is predicted has a right answer."""

from math import prod
from random import Random

from runtime_py.manifest import Node, OperatorRow, ProfileRow, Timing
from sdk.predicting.kernels import Kernel, operators_of
from sdk.predicting.model import Measured

CALL = 1.05
"""A whole inference takes so much more than its operators do where they are timed."""


def network(seed: int, blocks: int = 12) -> tuple[Node, ...]:
    """Inverted bottlenecks of random widths, with activations that every runtime fuses and sums that none does."""
    random = Random(seed)
    side, width, nodes = random.choice([64, 80, 96, 112]), random.choice([16, 24, 32]), list[Node]()

    def push(
        kind: str, given: tuple[int, ...], made: tuple[int, ...], kernel: int, stride: int, groups: int = 1
    ) -> None:
        weights = made[1] * given[1] // groups * kernel * kernel
        macs = weights * made[2] * made[3]
        window = {"kernel": (kernel, kernel), "stride": (stride, stride)}
        nodes.append(Node(module=f"{len(nodes)}", kind=kind, input=given, output=made, macs=macs, weights=weights,
                          groups=groups, **window))  # fmt: skip
        nodes.append(Node(module=f"{len(nodes)}", kind="activation", operator="relu", input=made, output=made))

    for _ in range(blocks):
        wide, stride = width * random.choice([2, 3, 4, 6]), random.choice([1, 1, 2]) if side > 7 else 1
        small, out = -(-side // stride), min(512, width * random.choice([1, 1, 2]))
        push("conv", (1, width, side, side), (1, wide, side, side), 1, 1)
        push("depthwise", (1, wide, side, side), (1, wide, small, small), random.choice([3, 5]), stride, wide)
        push("conv", (1, wide, small, small), (1, out, small, small), 1, 1)
        nodes.append(
            Node(module=f"{len(nodes)}", kind="add", operator="add", input=nodes[-1].output, output=nodes[-1].output)
        )
        side, width = small, out
    return tuple(nodes)


def time_of(node: Node, speed: float = 1.0) -> float:
    """ms on the device: a peak for each kind, what memory takes, and what a call takes. Activations are fused."""
    peak = {"conv": 40e6, "depthwise": 8e6, "add": 1e9}.get(node.kind)
    if peak is None:
        return 0.0
    moved = 4 * (prod(node.input) + node.weights + prod(node.output))
    return (node.macs / peak + moved / 20e6 + 0.002) / speed


def measured(seed: int, noise: float = 0.0) -> Measured:
    """One network on the device; `noise` is the spread of each operator's time."""
    random, operators = Random(1000 + seed), operators_of(network(seed))
    kernels = tuple(Kernel(one, CALL * time_of(one.node) * (1 + random.uniform(-noise, noise))) for one in operators)
    return Measured(f"net{seed} 3x224x224", kernels, CALL * sum(time_of(one.node) for one in operators))


def row(nodes: tuple[Node, ...], device: str, target: str = "tflite", **changes: object) -> ProfileRow:
    """The profile of a network, as a bundle keeps it."""
    p50 = CALL * sum(map(time_of, nodes))
    operators = tuple(
        OperatorRow(name=node.module, kind=node.kind, ms=time_of(node), node=place)
        for place, node in enumerate(nodes)
        if time_of(node)
    )
    fields: dict[str, object] = {
        "target": target, "precision": "fp32", "threads": 1, "device": device, "valid": True, "operators": operators,
        "infer": Timing(samples=5, p50_ms=p50, p90_ms=p50, p99_ms=p50, min_ms=p50, max_ms=p50, mad_ms=0.0),
        "whole_ms": p50, "pulse_us": 15.0,
    }  # fmt: skip
    return ProfileRow(**(fields | changes))  # type: ignore[arg-type]
