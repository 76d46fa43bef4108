"""MCUNetV2's own account of memory and multiply-accumulates (Lin et al., 2021, arXiv:2110.15352), to set beside ours.

Bytes are those of int8 activations; weights lie in flash. A layer takes its input and its output. A depthwise layer
works in place and takes the larger of the two, as do functions of one value and products. A sum accumulates: the layer
before it adds its answer to the other summand's memory, so that neither that answer nor the sum takes any of its own.
What other branches hold meanwhile is counted, and counted once. (In an inverted residual that last part changes
nothing: its input beside the depthwise layer takes what it took beside the expansion.)

In patches, the first n blocks (the stem is one) run once for each of p x p parts of the last one's output, halos made
anew, the image read part by part; that output is whole, and the rest runs layer by layer. The paper's figure of the
stage's multiply-accumulates is un-clipped: it counts halos beyond the image's border too. Its overall figure is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from exporters.mcu.network import WINDOWED, Layer, Network
from exporters.mcu.schedule import block_ends
from runtime_py.errors import SdkError

IN_PLACE = frozenset({"depthwise", "add", "multiply", "table"})
ACCUMULATES = frozenset({"conv", "pointwise"})
Extents = dict[int, tuple[int, int]]
"""Rows and columns of each layer's output that one patch makes."""


@dataclass(frozen=True)
class Patched:
    """The first `blocks` blocks in `patches` x `patches` patches. `reads` are the image's rows and columns of a patch.

    `base_macs` are the stage's without recomputation, `network_macs` the network's; `stage_bytes` has the whole output.
    """

    blocks: int
    patches: int
    reads: tuple[int, int]
    stage_bytes: int
    rest_bytes: int
    base_macs: int
    unclipped_macs: int
    clipped_macs: int
    network_macs: int

    @property
    def peak_bytes(self) -> int:
        """Of RAM, at most."""
        return max(self.stage_bytes, self.rest_bytes)

    @property
    def unclipped_overhead(self) -> float:
        """The stage's, a share of `base_macs`: the paper's figure of it."""
        return self.unclipped_macs / self.base_macs - 1 if self.base_macs else 0.0

    @property
    def clipped_overhead(self) -> float:
        """The stage's, a share of `base_macs`, with halos cut off at the image's border."""
        return self.clipped_macs / self.base_macs - 1 if self.base_macs else 0.0

    @property
    def network_unclipped_macs(self) -> int:
        """Of one answer."""
        return self.network_macs - self.base_macs + self.unclipped_macs

    @property
    def network_clipped_macs(self) -> int:
        """Of one answer, with halos cut off at the image's border: nearest to the paper's overall figure."""
        return self.network_macs - self.base_macs + self.clipped_macs


def layer_by_layer(network: Network) -> int:
    """Peak bytes of all layers one after the other, each tensor whole, the image too."""
    return _peak(network, range(len(network.layers)), lambda index: network.layers[index].output.bytes)


def in_patches(network: Network, blocks: int, patches: int) -> Patched:
    """Bytes and multiply-accumulates of the first `blocks` blocks in patches. Raises SdkError where there are none."""
    ends = _ends(network)
    if not 1 <= blocks <= len(ends):
        raise SdkError(f"patches over {blocks} blocks", expected=f"1 to {len(ends)} blocks, before any mean")
    end = ends[blocks - 1]
    output = network.layers[end].output
    if not 1 <= patches <= min(output.height, output.width):
        raise SdkError(
            f"{patches} x {patches} patches",
            expected=f"1 to {min(output.height, output.width)} a side, of block {blocks}",
        )
    extents = _extents(network, end, (ceil(output.height / patches), ceil(output.width / patches)))

    def of_patch(index: int) -> int:
        rows, columns = extents[index]
        return rows * columns * network.layers[index].output.channels

    layers, inside = network.layers, range(end + 1)
    clipped = _clipped(network, end, extents[end])
    return Patched(
        blocks,
        patches,
        extents[0],
        output.bytes + _peak(network, inside, of_patch),
        _peak(network, range(end + 1, len(layers)), lambda index: layers[index].output.bytes),
        sum(network.macs(layers[index]) for index in inside),
        sum(patches**2 * network.macs(layers[index], extents[index][0] * extents[index][1]) for index in inside),
        sum(network.macs(layers[index], clipped[index]) for index in inside),
        network.total_macs,
    )


def sweep(network: Network, patches: Sequence[int] = (2, 3, 4)) -> list[Patched]:
    """Every number of blocks with every number of patches a side that the last one's output has rows for."""
    found = []
    for blocks, end in enumerate(_ends(network), 1):
        output = network.layers[end].output
        found += [in_patches(network, blocks, each) for each in patches if each <= min(output.height, output.width)]
    return found


def best(network: Network, patches: Sequence[int] = (2, 3, 4)) -> Patched | None:
    """The least peak, and of those the fewest multiply-accumulates; None where no block can run in patches."""
    return min(sweep(network, patches), key=lambda one: (one.peak_bytes, one.unclipped_macs), default=None)


def _ends(network: Network) -> list[int]:
    """The layers that end a block; those behind a mean, which takes the whole image, cannot run in patches."""
    means = (index for index, layer in enumerate(network.layers) if layer.kind == "mean")
    first = next(means, len(network.layers))
    return [end for end in block_ends(network) if end < first]


def _peak(network: Network, layers: range, size: Callable[[int], int]) -> int:
    """The most bytes while any of these layers runs; `size` is that of a layer's output."""
    last, owners = network.last_use(), _owners(network)
    most = 0
    for index in layers:
        held: dict[int, int] = {}
        for before in range(index + 1):
            if last[before] >= index:
                held[owners[before]] = max(held.get(owners[before], 0), size(before))
        most = max(most, sum(held.values()))
    return most


def _owners(network: Network) -> list[int]:
    """Of each layer: the first one whose memory its output takes over."""
    last, found = network.last_use(), list(range(len(network.layers)))
    into = _accumulated(network, last)
    for index, layer in enumerate(network.layers):
        dying = [source for source in layer.inputs if last[source] == index]
        if index in into:
            found[index] = found[into[index]]
        elif layer.kind in IN_PLACE and dying:
            found[index] = found[min(dying)]
    return found


def _accumulated(network: Network, last: list[int]) -> dict[int, int]:
    """Layers that add their answer to an older summand, which nothing reads between them and the sum."""
    found = {}
    for index, layer in enumerate(network.layers):
        if layer.kind != "add":
            continue
        older, newer = min(layer.inputs), max(layer.inputs)
        between = [network.layers[other] for other in range(newer, index)]
        free = last[older] == last[newer] == index and all(older not in other.inputs for other in between)
        if free and older != newer and network.layers[newer].kind in ACCUMULATES:
            found[newer] = older
    return found


def _extents(network: Network, end: int, patch: tuple[int, int]) -> Extents:
    """What one patch makes of each layer up to `end`, as if the image had no border: (g - 1) * stride + kernel."""
    found = {end: patch}
    for index in range(end, 0, -1):
        if index not in found:
            continue  # nobody reads it
        layer = network.layers[index]
        rows, columns = found[index]
        wanted = (_reach(layer, rows, 0), _reach(layer, columns, 1))
        for source in layer.inputs:
            before = found.get(source, (0, 0))
            found[source] = (max(before[0], wanted[0]), max(before[1], wanted[1]))
    return found


def _reach(layer: Layer, size: int, axis: int) -> int:
    return (size - 1) * layer.stride[axis] + layer.kernel[axis] if layer.kind in WINDOWED else size


def _clipped(network: Network, end: int, patch: tuple[int, int]) -> list[int]:
    """How many places of each layer all patches make together, halos cut off at the image's border.

    Patches stand in rows and columns, so the sum over all of them is that over rows times that over columns.
    """
    output = network.layers[end].output
    rows, columns = (
        _made(network, end, axis, [(at, min(at + step, whole)) for at in range(0, whole, step)])
        for axis, (whole, step) in enumerate(((output.height, patch[0]), (output.width, patch[1])))
    )
    return [a * b for a, b in zip(rows, columns, strict=True)]


def _made(network: Network, end: int, axis: int, parts: Sequence[tuple[int, int]]) -> list[int]:
    """Rows (or columns) of each layer up to `end` that the parts of its output need, summed over the parts."""
    total = [0] * (end + 1)
    for part in parts:
        found = {end: part}
        for index in range(end, -1, -1):
            if index not in found:
                continue
            first, last = found[index]
            total[index] += last - first
            layer = network.layers[index]
            for source in layer.inputs:
                given = network.layers[source].output
                whole = given.width if axis else given.height
                span = (layer.columns if axis else layer.lines)(first, last, whole)
                before = found.get(source, span)
                found[source] = (min(before[0], span[0], whole - 1), max(before[1], span[1], 1))
    return total
