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
    (r"igemm", frozenset({"conv"})),
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
    (r"relu|sigmoid|swish|^clip|^clamp|^tanh|gelu|logistic|^table|unary", frozenset({"activation"})),
)
"""Which of the manifest's kinds a runtime's kind may be; the first pattern that is found counts."""
WINDOWLESS, WINDOWED = re.compile(r"^fully.?connected|^(fused|q)?gemm|^pointwise"), re.compile(r"igemm")
"""Kinds of which a convolution is 1 x 1 with stride 1, and of which it hardly is."""


def kinds_of(kind: str) -> frozenset[str]:
    """The kinds that an operator of a runtime may be; none where it is the runtime's own."""
    return next((kinds for pattern, kinds in KINDS if re.search(pattern, kind.lower())), frozenset())


def matched(timed: Sequence[Timed], network: Sequence[Node]) -> list[int | None]:
    """The place in the network of each operator, None of those that are the runtime's own.

    Layers are aligned in their order, by what their weights and outputs have in common (Needleman and Wunsch, 1970):
    a runtime may have packed the weights, padded the channels or say no shapes at all. The others, and branches that
    run in another order, get a free one of that kind whose output has as many elements, where the runtime says how
    many: of several, one between the operators that run before and after.
    """
    found: list[int | None] = [None] * len(timed)
    layers = [at for at, one in enumerate(timed) if kinds_of(one.kind) & HEAVY]
    nodes = [at for at, node in enumerate(network) if node.kind in HEAVY]
    for row, column in _aligned([_scores(timed[at], [network[node] for node in nodes]) for at in layers]):
        found[layers[row]] = nodes[column]
    free = dict.fromkeys(at for at in range(len(network)) if at not in found)
    for at, one in enumerate(timed):
        fitting = [place for place in free if _fits(one, network[place])] if found[at] is None else []
        if fitting:
            before = next((place for place in reversed(found[:at]) if place is not None), -1)
            after = next((place for place in found[at:] if place is not None), len(network))
            nearest = min(fitting, key=lambda place: _distance(place, before, after, one, network[place]))
            found[at] = nearest
            del free[nearest]
    return found


def _scores(one: Timed, nodes: Sequence[Node]) -> list[float]:
    """How much speaks for each. An operator with the very numbers of one has not been packed or padded: it is none of
    the others, or several wrong pairs would outdo a right one where branches run in another order."""
    found = [_alike(one, node) for node in nodes]
    told = (one.weights, one.output)
    exact = [score > 0 and told == (node.weights, prod(node.output)) for score, node in zip(found, nodes, strict=True)]
    return [score if same else 0.0 for score, same in zip(found, exact, strict=True)] if any(exact) else found


def _fits(one: Timed, node: Node) -> bool:
    alike = _alike(one, node) > 0 if node.kind in HEAVY else node.kind in kinds_of(one.kind)
    return alike and one.output in (None, prod(node.output))


def _distance(place: int, before: int, after: int, one: Timed, node: Node) -> tuple[bool, int, int]:
    """To be made small: other weights, then not between both, then how far from where the operator runs."""
    other = one.weights is not None and one.weights != node.weights
    if before < place < after:
        return other, 0, place
    return (other, 1, after - place) if place < after else (other, 2, place)


def _alike(one: Timed, node: Node) -> float:
    """How much speaks for an operator being a layer: 0 where it cannot be."""
    kind, kinds = one.kind.lower(), kinds_of(one.kind)
    window = max((*node.kernel, *node.stride), default=1) > 1
    if not (node.kind in kinds or (kinds & LAYERS and node.kind in LAYERS)) or (window and WINDOWLESS.search(kind)):
        return 0.0
    weights = one.weights is not None and one.weights == node.weights
    named = 4 * (one.name == node.module)  # a microcontroller's layers keep their names
    likely = node.kind in kinds and (window or not WINDOWED.search(kind))
    return 0.5 + 3 * weights + 2 * (one.output == prod(node.output)) + likely + named


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


def rows(timed: Sequence[Timed], network: Sequence[Node], roofline: Roofline | None = None) -> tuple[OperatorRow, ...]:
    """The operators with their places in the network, what they reached, and how near that is to what was possible."""
    places = matched(timed, network)
    near = _near(timed, places)
    macs = _macs(places, network)
    return tuple(
        _row(one, place, beside, network, macs, roofline)
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
) -> OperatorRow:
    node = network[place] if place is not None else None
    macs = all_macs[place] if place is not None else 0
    speed = macs / one.ms / 1e6 if macs and one.ms > 0 else None
    most = ceiling(node, roofline, one.integers) if node is not None and roofline is not None else None
    return OperatorRow(
        name=one.name, kind=one.kind, ms=one.ms, node=near, module=network[near].module if near is not None else "",
        own=place is None, macs=macs, gmacs_per_s=speed, roof=speed / most if speed and most else None,
    )  # fmt: skip


def ceiling(node: Node, roofline: Roofline, integers: bool) -> float | None:
    """Billions of multiply-accumulates a second that an operator could reach at most: by the processor's peak, or by
    what its memory feeds where each element of input, weight and output is moved once: one byte each where it
    multiplies integers, four otherwise, also where a file stores weights in fewer (their kernels read float32)."""
    peak = roofline.int8_gmacs_per_s if integers else roofline.float_gmacs_per_s
    if peak is None or not node.macs:
        return None
    if roofline.gbytes_per_s is None:
        return peak
    moved = (prod(node.input) + node.weights + prod(node.output)) * (1 if integers else 4)
    return min(peak, roofline.gbytes_per_s * node.macs / moved)
