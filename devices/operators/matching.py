"""Which of the network's operators each of a runtime's is: by order, kind, and elements of weight and output.

Runtimes rename, fuse and reorder, but a layer keeps its numbers of weights and outputs. What is the runtime's own (a
reordering, a padding, a rounding to integers) is counted with the operator of the network that it prepares.
"""

import re
from collections.abc import Mapping, Sequence
from math import prod

from devices.operators import Timed
from runtime_py.manifest import Node, OperatorRow, Roofline

LAYERS = frozenset({"conv", "depthwise", "deconv", "linear"})
HEAVY = LAYERS | {"product"}
KINDS: tuple[tuple[str, frozenset[str]], ...] = (
    (r"dwconv|^depthwise", frozenset({"depthwise"})),
    (r"deconv|convtranspose|transpose_conv|convolutionbackprop", frozenset({"deconv"})),
    (r"fully.?connected|gemm|^pointwise", frozenset({"conv", "linear"})),
    (r"matmul|matrix.?mul|mha|attention", frozenset({"conv", "linear", "product"})),
    (r"conv(?!ert)", LAYERS),
    (r"^(qlinear)?add|^eltwise|^subtract|^sub\b", frozenset({"add"})),
    (r"^(qlinear)?mul|^multiply|^divide|^div\b", frozenset({"multiply"})),
    (r"concat", frozenset({"join"})),
    (r"pool|^mean|^reduce|^maximum|^average", frozenset({"pool"})),
    (r"resize|interpolate|upsample|depthtospace|depth_to_space", frozenset({"resize"})),
    (r"softmax", frozenset({"softmax"})),
    (r"normalization|^mvn|^rms|batch_norm", frozenset({"norm"})),
    (r"relu|sigmoid|swish|^clip|^clamp|^tanh|gelu|logistic|^table", frozenset({"activation"})),
)
"""Which of the manifest's kinds a runtime's kind may be; the first pattern that is found counts."""


def kinds_of(kind: str) -> frozenset[str]:
    """The kinds that an operator of a runtime may be; none where it is the runtime's own."""
    return next((kinds for pattern, kinds in KINDS if re.search(pattern, kind.lower())), frozenset())


def matched(timed: Sequence[Timed], network: Sequence[Node]) -> list[int | None]:
    """The place in the network of each operator, None of those that are the runtime's own.

    Layers are aligned in their order, by what their weights and outputs have in common (Needleman and Wunsch, 1970):
    a runtime may have packed the weights, padded the channels or say no shapes at all. The others get the first free
    one of that kind whose output has as many elements, or which is no layer and whose runtime does not say.
    """
    found: list[int | None] = [None] * len(timed)
    layers = [at for at, one in enumerate(timed) if kinds_of(one.kind) & HEAVY]
    nodes = [at for at, node in enumerate(network) if node.kind in HEAVY]
    for row, column in _aligned([[_alike(timed[i], network[j]) for j in nodes] for i in layers]):
        found[layers[row]] = nodes[column]
    free = dict.fromkeys(at for at in range(len(network)) if at not in found)  # branches may run in another order
    for at, one in enumerate(timed):
        if found[at] is None and (place := _same(one, network, free)) is not None:
            del free[place]
            found[at] = place
    return found


def _alike(one: Timed, node: Node) -> float:
    """How much speaks for an operator being a layer: 0 where it cannot be."""
    kinds = kinds_of(one.kind)
    if not (node.kind in kinds or (kinds & LAYERS and node.kind in LAYERS)):
        return 0.0
    weights = one.weights is not None and one.weights == node.weights
    named = 4 * (one.name == node.module)  # a microcontroller's layers keep their names
    return 0.5 + 3 * weights + 2 * (one.output == prod(node.output)) + (node.kind in kinds) + named


def _aligned(scores: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs of rows and columns, both in order, whose scores have the greatest sum."""
    tall, wide = len(scores), len(scores[0]) if scores else 0
    best = [[0.0] * (wide + 1) for _ in range(tall + 1)]
    for i in range(tall - 1, -1, -1):
        for j in range(wide - 1, -1, -1):
            paired = best[i + 1][j + 1] + scores[i][j] if scores[i][j] else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    found, i, j = list[tuple[int, int]](), 0, 0
    while i < tall and j < wide:
        if scores[i][j] and best[i][j] == best[i + 1][j + 1] + scores[i][j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _same(one: Timed, network: Sequence[Node], free: Mapping[int, None]) -> int | None:
    for at in (at for at in free if network[at].kind in kinds_of(one.kind)):
        node = network[at]
        if one.output == prod(node.output) or (one.output is None and node.kind not in HEAVY):
            return at
    return None


def rows(
    timed: Sequence[Timed], network: Sequence[Node], roofline: Roofline | None = None, integers: bool = False
) -> tuple[OperatorRow, ...]:
    """The operators with their places in the network, what they reached, and how near that is to what was possible."""
    places = matched(timed, network)
    near = _near(timed, places)
    macs = _macs(places, network)
    return tuple(
        _row(one, place, beside, network, macs, roofline, integers)
        for one, place, beside in zip(timed, places, near, strict=True)
    )


def _near(timed: Sequence[Timed], places: Sequence[int | None]) -> list[int | None]:
    """Where the time of each operator is counted: a runtime's own prepare what comes next, but the further steps of
    what it takes apart (the product of a sigmoid and its input, for SiLU) belong to what was before."""
    near = list(places)
    for at in range(1, len(near)):
        if near[at] is None and kinds_of(timed[at].kind):
            near[at] = near[at - 1]
    for at in range(len(near) - 2, -1, -1):
        near[at] = near[at + 1] if near[at] is None else near[at]
    for at in range(1, len(near)):
        near[at] = near[at - 1] if near[at] is None else near[at]
    return near


def _macs(places: Sequence[int | None], network: Sequence[Node]) -> dict[int, int]:
    """By place: of the operator, and of others of its module that no operator computes (parts of a layer that was split
    to keep its precision, which a runtime may have put together again)."""
    taken = {place for place in places if place is not None}
    found = {place: network[place].macs for place in taken}
    owner = {network[place].module: place for place in taken if network[place].kind in HEAVY}
    for at, node in enumerate(network):
        if at not in taken and node.kind in HEAVY and node.module in owner:
            found[owner[node.module]] += node.macs
    return found


def _row(
    one: Timed,
    place: int | None,
    near: int | None,
    network: Sequence[Node],
    all_macs: Mapping[int, int],
    roofline: Roofline | None,
    integers: bool,
) -> OperatorRow:
    node = network[place] if place is not None else None
    macs = all_macs[place] if place is not None else 0
    speed = macs / one.ms / 1e6 if macs and one.ms > 0 else None
    most = ceiling(node, roofline, integers) if node is not None and roofline is not None else None
    return OperatorRow(
        name=one.name, kind=one.kind, ms=one.ms, node=near, module=network[near].module if near is not None else "",
        own=place is None, macs=macs, gmacs_per_s=speed, roof=speed / most if speed and most else None,
    )  # fmt: skip


def ceiling(node: Node, roofline: Roofline, integers: bool) -> float | None:
    """Billions of multiply-accumulates a second that an operator could reach at most: by the processor's peak, or by
    what its memory feeds where each element of input, weight and output is moved once."""
    peak = roofline.int8_gmacs_per_s if integers else roofline.float_gmacs_per_s
    if peak is None or not node.macs:
        return None
    if roofline.gbytes_per_s is None:
        return peak
    moved = (prod(node.input) + node.weights + prod(node.output)) * (1 if integers else 4)
    return min(peak, roofline.gbytes_per_s * node.macs / moved)
