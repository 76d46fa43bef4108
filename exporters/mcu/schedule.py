"""Which stretches of layers run together: the least RAM under a limit on recomputed multiply-accumulates, or the
fewest of those under a limit on RAM.

Between two stages one tensor alone is kept (`Network.cuts`), and moving it to wherever the next stage wants it costs a
copy. So a stage's bytes depend on its own two ends only; the peak of a schedule is the largest of its stages' bytes,
and what it recomputes is the sum over its stages. Both grow, or stay, with every stage that is added: of two ways to
reach the same cut, one that is no better in either can be dropped, whatever comes behind it. Going through the cuts in
order and keeping at each the ways that no other beats in both therefore finds an exact optimum among all schedules that
are made of these stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from exporters.base import McuOptions
from exporters.mcu.network import Network
from exporters.mcu.stage import Stage, aligned, plan_stage
from runtime_py.errors import SdkError

TILES = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (3, 3), (4, 4))
"""Of the stage that reads the image: strips, and the patches of MCUNetV2 (Lin et al., 2021, arXiv:2110.15352)."""


CODE_BYTES = 24_000
"""What kernels and tables take beside the constants, about."""


class OverBudget(SdkError):
    """No schedule fits the RAM or the flash that a board has."""

    id = "over-budget"


@dataclass(frozen=True)
class Placed:
    """A stage and where its tensors lie: offsets by layer, of sums by layer, and of scratch.

    `moves` are (from, to, bytes) before it starts; `waiting` are bytes of tensors that it leaves alone or only reads.
    """

    stage: Stage
    offsets: dict[int, int]
    sums: dict[int, int]
    scratch: int
    moves: tuple[tuple[int, int, int], ...]
    waiting: int

    @property
    def bytes(self) -> int:
        """Of RAM while it runs."""
        return self.stage.bytes + self.waiting


@dataclass(frozen=True)
class Schedule:
    """Stages in order, `arena` bytes for all of them, and multiply-accumulates that are made more than once."""

    network: Network
    stages: tuple[Placed, ...]
    arena: int
    extra_macs: int


@dataclass(frozen=True)
class _Way:
    """A way to reach a cut: the largest stage so far, what was recomputed, and the stages."""

    peak: int
    extra: int
    stages: tuple[Stage, ...]

    def beats(self, other: _Way) -> bool:
        """Whether it is as good in everything."""
        return (
            (self.peak, self.extra, len(self.stages))
            == min((self.peak, self.extra, len(self.stages)), (other.peak, other.extra, len(other.stages)))
            and self.peak <= other.peak
            and self.extra <= other.extra
        )


def chosen(network: Network, asked: McuOptions) -> Schedule:
    """The schedule that was asked for. Raises OverBudget, or BadPatches for what `--patches` cannot mean."""
    if asked.patches == "off":
        schedule = whole_layers(network)
    elif asked.patches != "auto":
        schedule = patched(network, *patches_of(asked.patches))
    elif asked.sram is not None:
        schedule = within(network, asked.sram)
    else:
        schedule = least_memory(network, asked.extra_macs or 0.0)
    if asked.sram is not None and schedule.arena > asked.sram:
        raise over_budget(schedule, asked.sram, f"--patches {asked.patches}")
    if asked.extra_macs is not None and schedule.extra_macs > asked.extra_macs * network.total_macs:
        raise _too_much_again(schedule, asked, asked.extra_macs)
    needed = sum(layer.constants for layer in network.layers) + CODE_BYTES
    if asked.flash is not None and needed > asked.flash:
        largest = sorted(network.layers, key=lambda layer: -layer.constants)[:3]
        names = ", ".join(f"{layer.module} {layer.constants:,}" for layer in largest)
        raise OverBudget(
            f"--flash {asked.flash:,} bytes: constants and code take about {needed:,}; the largest layers are {names}",
            expected=f"at least {needed:,} bytes",
            hint="a narrower network, or a board with more flash",
        )
    return schedule


def _too_much_again(schedule: Schedule, asked: McuOptions, most: float) -> SdkError:
    """The error of a schedule that makes more multiply-accumulates again than were allowed."""
    share = schedule.extra_macs / schedule.network.total_macs
    enough = f"--max-extra-macs {int(share * 1000) / 10 + 0.1:.1f}%"
    if asked.patches == "auto":
        return OverBudget(
            f"--sram {asked.sram:,} bytes take patches that make {share:.1%} of the multiply-accumulates again",
            expected=f"at most {most:.1%}, which takes {least_memory(schedule.network, most).arena:,} bytes",
            hint=enough,
        )
    return BadPatches(
        f"--patches {asked.patches} makes {share:.1%} of the multiply-accumulates again",
        expected=f"at most {most:.1%}",
        hint=f"{enough}, or fewer blocks in patches",
    )


class BadPatches(SdkError):
    """A `--patches` that says nothing."""

    id = "bad-patches"


def patches_of(text: str) -> tuple[int, int]:
    """Blocks and patches a side of `N,P`. Raises BadPatches."""
    blocks, comma, patches = text.partition(",")
    if not (comma and blocks.strip().isdigit() and patches.strip().isdigit()):
        raise BadPatches(f"--patches {text}", expected="auto, off, or N,P: the first N blocks in P x P patches")
    return int(blocks), int(patches)


def least_memory(network: Network, most_extra: float = 0.0) -> Schedule:
    """The least RAM that recomputes at most this share of the network's multiply-accumulates."""
    limit = int(most_extra * network.total_macs)
    ways = [way for way in _front(network, tiled=most_extra > 0) if way.extra <= limit]
    return placed(network, min(ways, key=lambda way: (way.peak, way.extra)).stages)


def within(network: Network, sram: int) -> Schedule:
    """The fewest recomputed multiply-accumulates in at most `sram` bytes. Raises OverBudget."""
    schedule = least_memory(network)
    if schedule.arena <= sram:
        return schedule
    front = _front(network, tiled=True)
    fitting = [way for way in front if way.peak <= sram]
    if fitting:
        return placed(network, min(fitting, key=lambda way: (way.extra, way.peak)).stages)
    raise over_budget(placed(network, min(front, key=lambda way: way.peak).stages), sram, "the smallest schedule")


def over_budget(least: Schedule, sram: int, name: str) -> OverBudget:
    """The error that names the stage which holds the most, and what to change."""
    worst = max(least.stages, key=lambda one: one.bytes)
    layers = least.network.layers
    rows = worst.stage.ring_bytes
    largest = max(rows, key=lambda index: rows[index], default=worst.stage.last)
    module = layers[largest].module or layers[largest].kind
    return OverBudget(
        f"--sram {sram:,} bytes: {name} takes {least.arena:,}, in {title(least.network, worst.stage)},"
        f" where {module} alone holds {rows.get(largest, worst.stage.region):,}",
        expected=f"at least {least.arena:,} bytes",
        hint="a smaller --input-size, a narrower network, or a board with more RAM",
    )


def whole_layers(network: Network) -> Schedule:
    """One layer after the other, each tensor whole, depthwise layers and sums in place. The input is read by rows."""
    layers = range(2, len(network.layers))
    return placed(network, (plan_stage(network, 0, 1), *(plan_stage(network, index, index) for index in layers)))


def patched(network: Network, blocks: int, patches: int) -> Schedule:
    """The first `blocks` blocks (the stem is one) in `patches` x `patches` patches, the rest layer by layer."""
    ends = block_ends(network)
    if not 1 <= blocks <= len(ends):
        raise BadPatches(
            f"--patches {blocks},{patches}", expected=f"1 to {len(ends)} blocks", hint="sdk plan lists them"
        )
    end = ends[blocks - 1]
    side = min(network.layers[end].output.height, network.layers[end].output.width)
    if not 1 <= patches <= side:
        raise BadPatches(f"--patches {blocks},{patches}", expected=f"1 to {side} patches a side, its output's rows")
    first = plan_stage(network, 0, end, (patches, patches))
    rest = range(end + 1, len(network.layers))
    return placed(network, (first, *(plan_stage(network, index, index) for index in rest)))


def block_ends(network: Network) -> list[int]:
    """Numbers of the layers that end a block: the stem, and what follows a depthwise layer's projection or sum."""
    ends, inside = [], False
    cuts = set(network.cuts())
    for index, layer in enumerate(network.layers):
        inside = inside or layer.kind == "depthwise"
        ahead = network.layers[index + 1] if index + 1 < len(network.layers) else None
        projects = inside and layer.kind not in ("depthwise", "table", "multiply")
        closes = projects or layer.kind in ("conv", "maximum", "average")
        sums = ahead is not None and ahead.kind == "add" and index in ahead.inputs
        if index in cuts and closes and not sums:
            ends.append(index)
            inside = False
    return ends


def title(network: Network, stage: Stage) -> str:
    """First and last module of a stage."""
    names = [layer.module for layer in network.layers[stage.first : stage.last + 1] if layer.kind != "read"]
    names = [name for name in names if name] or [network.layers[stage.last].kind]
    return names[0] if names[0] == names[-1] else f"{names[0]} .. {names[-1]}"


def _front(network: Network, tiled: bool) -> list[_Way]:
    """The ways to the end that no other beats in RAM and in what they recompute."""
    ends = network.cuts()
    starts = [-1, *ends[:-1]]
    rings = _ring_bytes(network)

    @cache
    def stage(start: int, end: int, tiles: tuple[int, int]) -> Stage:
        return plan_stage(network, start + 1, end, tiles)

    def at_least(start: int, end: int) -> int:
        """Bytes that the stage takes whatever its two ends have to do with each other."""
        given = network.layers[start].output.bytes if start >= 0 else 0
        gives = network.layers[end].output.bytes if end < len(network.layers) - 1 else 0
        return sum(rings[start + 1 : end]) + max(given, gives)

    bound = _bottleneck(starts, ends, at_least)
    while True:
        # Every stage that may take at most `bound` bytes; where none leads to the end within them, the bound was low.
        ways: dict[int, list[_Way]] = {-1: [_Way(0, 0, ())]}
        for end in ends:
            found: list[_Way] = []
            for start in (start for start in starts if start < end):
                if not ways.get(start):
                    continue
                options = [(1, 1)] if at_least(start, end) <= bound else []
                if tiled and start == -1 and end > 0:
                    options += [tiles for tiles in TILES[1:] if _fits(network, end, tiles)]
                for tiles in options:
                    one = stage(start, end, tiles)
                    waits = sum(network.layers[index].output.bytes for index in one.kept if one.ahead is None)
                    size = one.bytes + waits
                    if size > bound and not tiled:
                        continue
                    found += [
                        _Way(max(way.peak, size), way.extra + one.extra_macs, (*way.stages, one)) for way in ways[start]
                    ]
            ways[end] = _best(found)
        final = ways[ends[-1]]
        if any(way.extra == 0 and way.peak <= bound for way in final):
            return final
        bound += max(256, bound // 50)


def _fits(network: Network, end: int, tiles: tuple[int, int]) -> bool:
    output = network.layers[end].output
    no_mean = all(layer.kind != "mean" for layer in network.layers[: end + 1])
    return no_mean and output.height >= 2 * tiles[0] and output.width >= 2 * tiles[1]


def _bottleneck(starts: list[int], ends: list[int], at_least: object) -> int:
    """The least peak by the stages' lower bounds."""
    peaks = {-1: 0}
    for end in ends:
        peaks[end] = min(max(peaks[start], at_least(start, end)) for start in starts if start < end)  # type: ignore[operator]
    return peaks[ends[-1]]


def _ring_bytes(network: Network) -> list[int]:
    """Of each layer where all that read it run in its stage. What comes behind them changes nothing: the last step that
    can run goes first, and nothing ever waits for a later one."""
    whole = plan_stage(network, 0, len(network.layers) - 1)
    return [whole.ring_bytes[index] for index in range(len(network.layers) - 1)]


def _best(ways: list[_Way]) -> list[_Way]:
    kept: list[_Way] = []
    for way in sorted(ways, key=lambda way: (way.peak, way.extra, len(way.stages))):
        if not any(other.beats(way) for other in kept):
            kept.append(way)
    return kept


def placed(network: Network, stages: tuple[Stage, ...]) -> Schedule:
    """Offsets for every tensor. Outputs lie at the start, what waits at the end, line buffers in between."""
    uses, waits = network.last_use(), list[dict[int, int]]()
    for stage in stages:
        alive = [index for index in range(stage.first) if uses[index] >= stage.first and _is_end(index, stages)]
        partner = stage.first - 1 if stage.ahead is not None else None
        before = waits[-1] if waits else {}
        places = {index: before[index] for index in alive if index in before}
        for index in alive:
            if index != partner and index not in places:
                places[index] = max(places.values(), default=0) + aligned(network.layers[index].output.bytes)
        waits.append({index: place for index, place in places.items() if index != partner})
    tops = [max(places.values(), default=0) for places in waits]
    arena = max(stage.bytes + top for stage, top in zip(stages, tops, strict=True))
    found: list[Placed] = []
    lies: dict[int, int] = {}
    for stage, places, top in zip(stages, waits, tops, strict=True):
        wanted = {index: arena - place for index, place in places.items()}
        if stage.ahead is not None:
            wanted[stage.first - 1] = stage.ahead
        moves = tuple(
            (lies[index], place, network.layers[index].output.bytes)
            for index, place in wanted.items()
            if lies[index] != place
        )
        lies = dict(wanted)
        found.append(_laid_out(network, stage, wanted, moves, top))
        lies[stage.last] = 0
    return Schedule(network, tuple(found), arena, sum(stage.extra_macs for stage in stages))


def _is_end(index: int, stages: tuple[Stage, ...]) -> bool:
    return any(stage.last == index for stage in stages)


def _laid_out(
    network: Network, stage: Stage, wanted: dict[int, int], moves: tuple[tuple[int, int, int], ...], top: int
) -> Placed:
    offsets, sums = {index: wanted[index] for index in stage.kept}, {}
    place = stage.region
    for index, size in stage.ring_bytes.items():
        offsets[index] = place
        place += size
    for index in range(stage.first, stage.last + 1):
        if network.layers[index].kind == "mean":
            sums[index] = place
            place += aligned(4 * network.layers[index].output.channels)
    offsets[stage.last] = 0
    return Placed(stage, offsets, sums, place, moves, top)
