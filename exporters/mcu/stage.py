"""How a stretch of layers runs row by row, and the bytes that takes: found by going through it once, as the C does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from exporters.mcu.network import Layer, Network

ALIGN = 16
ELEMENTWISE = frozenset({"add", "multiply", "table"})
SUM_BYTES = 4


@dataclass(frozen=True)
class Span:
    """Rows and columns of a step that one tile makes; ends are exclusive."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def places(self) -> int:
        """Of the tile's outputs."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)


@dataclass(frozen=True)
class Stage:
    """Layers `first` to `last`, run row after row over `tiles` (down, across) of the last one's output.

    `rings` are the rows that are held of each layer but the last, whose output is whole; `ahead` is how many bytes the
    input must start behind the output so that both may share one region, None where they may not. `spans` are each
    tile's, by layer.
    """

    first: int
    last: int
    tiles: tuple[int, int]
    rings: dict[int, int]
    ring_bytes: dict[int, int]
    spans: tuple[dict[int, Span], ...]
    kept: tuple[int, ...]
    ahead: int | None
    scratch: int
    sums: int
    extra_macs: int
    region: int
    """Bytes of output and input together, or of the output alone where the input is kept elsewhere."""

    @property
    def lines(self) -> int:
        """Bytes of line buffers and of what kernels need for themselves."""
        return sum(self.ring_bytes.values()) + self.scratch + self.sums

    @property
    def bytes(self) -> int:
        """Of RAM, but for tensors of other stages that wait meanwhile."""
        return self.region + self.lines


def aligned(size: int) -> int:
    """Up to the next multiple of ALIGN."""
    return ceil(size / ALIGN) * ALIGN


def kept_by(network: Network, first: int, last: int) -> tuple[int, ...]:
    """The layers before `first` whose outputs the stage reads."""
    return tuple(
        sorted({source for layer in network.layers[first : last + 1] for source in layer.inputs if source < first})
    )


def plan_stage(network: Network, first: int, last: int, tiles: tuple[int, int] = (1, 1)) -> Stage:
    """The stage of layers `first` to `last`, with nothing left to chance: every buffer has its least size."""
    layers, kept = network.layers, kept_by(network, first, last)
    spans = _spans(network, first, last, kept, tiles)
    rings, ahead, uses = dict.fromkeys(range(first, last), 1), 0, network.last_use()
    dying = [source for source in kept if uses[source] <= last]
    partner = first - 1 if first - 1 in dying and tiles == (1, 1) else None
    for own in spans:
        found, gap = _walk(network, first, last, kept, own, partner)
        rings = {index: max(rings[index], found[index]) for index in rings}
        ahead = max(ahead, gap)
    widest = {index: max(own[index].x1 - own[index].x0 for own in spans) for index in rings}
    ring_bytes = {index: aligned(rings[index] * widest[index] * layers[index].output.channels) for index in rings}
    inside = layers[first : last + 1]
    output = 0 if last == len(layers) - 1 else aligned(layers[last].output.bytes)
    ahead = aligned(ahead) if output else 0  # the last answer goes to the caller's own memory
    region = output
    if partner is not None:
        region = max(ahead + aligned(layers[partner].output.bytes), output)
    made = sum(network.macs(layers[index], own[index].places) for own in spans for index in range(first, last + 1))
    return Stage(
        first,
        last,
        tiles,
        rings,
        ring_bytes,
        spans,
        kept,
        ahead if partner is not None else None,
        max((aligned(_scratch(network, layer)) for layer in inside), default=0),
        sum(aligned(SUM_BYTES * layer.output.channels) for layer in inside if layer.kind == "mean"),
        max(0, made - sum(network.macs(layer) for layer in inside)),  # rows that a stride leaves out are not made
        region,
    )


def _scratch(network: Network, layer: Layer) -> int:
    """Two places' inputs, gathered side by side."""
    if layer.kind != "conv":
        return 0
    return 2 * layer.kernel[0] * layer.kernel[1] * network.source(layer).channels


def _spans(
    network: Network, first: int, last: int, kept: Sequence[int], tiles: tuple[int, int]
) -> tuple[dict[int, Span], ...]:
    """Each tile's share of every step: what the steps behind it read, with halos, cut off at the image's border."""
    output = network.layers[last].output
    down, across = ceil(output.height / tiles[0]), ceil(output.width / tiles[1])
    ends = [
        Span(y, min(y + down, output.height), x, min(x + across, output.width))
        for y in range(0, output.height, down)
        for x in range(0, output.width, across)
    ]
    return tuple(_behind(network, first, last, kept, end) for end in ends)


def _behind(network: Network, first: int, last: int, kept: Sequence[int], end: Span) -> dict[int, Span]:
    layers, spans = network.layers, {last: end}
    for index in range(last, first - 1, -1):
        layer, own = layers[index], spans[index]
        if layer.kind == "mean":
            spans[index] = Span(0, network.source(layer).height, 0, 1)  # its steps are its input's rows
        for source in layer.inputs:
            given = layers[source].output
            if layer.kind == "mean":
                wanted = Span(0, given.height, 0, given.width)
            else:
                y0, y1 = layer.lines(own.y0, own.y1, given.height)
                x0, x1 = layer.columns(own.x0, own.x1, given.width)
                wanted = Span(*_inside(y0, y1, given.height), *_inside(x0, x1, given.width))
            before = spans.get(source, wanted)
            spans[source] = Span(
                min(before.y0, wanted.y0),
                max(before.y1, wanted.y1),
                min(before.x0, wanted.x0),
                max(before.x1, wanted.x1),
            )
    for source in kept:
        given = layers[source].output
        spans[source] = Span(0, given.height, 0, given.width)
    return spans


def _inside(first: int, last: int, size: int) -> tuple[int, int]:
    """What of a stretch is on an image of that size: nothing where a tile sees padding alone."""
    first = min(first, size - 1)
    return first, max(first, min(last, size))


def _walk(
    network: Network, first: int, last: int, kept: Sequence[int], spans: dict[int, Span], partner: int | None
) -> tuple[dict[int, int], int]:
    """Make every row of a tile in the executor's order: the last step that can run goes first. Returns the rows that
    each layer's ring must hold, and by how many bytes the input must start behind the output."""
    layers = network.layers
    end = {index: spans[index].y1 for index in range(first, last + 1)}
    next_row = {index: spans[index].y0 for index in range(first, last + 1)}
    readers: dict[int, list[int]] = {index: [] for index in (*kept, *range(first, last + 1))}
    for index in range(first, last + 1):
        for source in dict.fromkeys(layers[index].inputs):
            readers[source].append(index)
    rings, ahead = dict.fromkeys(range(first, last), 1), 0
    row_out = layers[last].output.row
    row_in = layers[partner].output.row if partner is not None else 0

    def ready(index: int) -> bool:
        row = next_row[index]
        if row >= end[index]:
            return False
        for source in layers[index].inputs:
            given = layers[source]
            if source < first:
                continue
            there = next_row[source]
            if given.kind == "mean":
                there = int(there >= end[source])
            wanted = min(layers[index].need(row, _height(network, layers[index])), given.output.height)
            if there < wanted:
                return False
        return True

    def oldest(source: int, doing: int = -1) -> int:
        rows = [
            layers[reader].oldest(next_row[reader])
            for reader in readers[source]
            if next_row[reader] < end[reader] and reader != doing
        ]
        return min(rows, default=layers[source].output.height)

    current = last
    while next_row[last] < end[last]:
        later = [index for index in readers[current] if ready(index)]
        current = max(later) if later else current
        while not ready(current):
            current -= 1
        row = next_row[current]
        if current == last and partner is not None and layers[last].kind != "mean":
            itself = last in readers[partner] and layers[last].kind in ELEMENTWISE
            if itself:
                ahead = max(ahead, row * row_out - row * row_in)
            free = oldest(partner, doing=last if itself else -1)
            ahead = max(ahead, (row + 1) * row_out - free * row_in)
        if current != last and layers[current].kind != "mean":
            rings[current] = max(rings[current], row - oldest(current) + 1)
        next_row[current] += 1
    return rings, ahead


def _height(network: Network, layer: Layer) -> int:
    """Of a layer's input."""
    return network.source(layer).height if layer.inputs else layer.output.height
