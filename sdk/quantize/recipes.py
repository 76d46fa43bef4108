"""The ways to quantise that are tried on every network; what answers best on unseen samples is kept."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule

from runtime_py.errors import SdkError
from sdk.quantize.equalize import Site, disparity, equalize, sites
from sdk.quantize.network import network_of, stored
from sdk.quantize.quantizer import EdgeQuantizer
from sdk.quantize.ranges import Observer, clamp_to, drop_clamps, find_ranges, quantised_values
from sdk.quantize.regions import regions, weight_node
from sdk.quantize.rounding import reround

OBSERVED = 64
"""Answers that ranges are searched on: their extremes have settled by then, and NNCF measures all again."""
UNEVEN = 5.0
"""From this disparity of its channels on, a value is equalised: more than two bits are lost on the middle channel."""
Sample = tuple[Tensor, ...]
Samples = Callable[[int], Iterable[Sample]]
"""Gives so many of the calibration's samples, evenly spread, each as the network's inputs."""


class BadActivations(SdkError):
    """A network whose activations are no numbers on the calibration's samples."""

    id = "bad-activations"


class NothingToQuantise(SdkError):
    """A network without a layer whose weights could be integers."""

    id = "nothing-to-quantise"


@dataclass(frozen=True)
class Recipe:
    """Which remedies are applied; with none, ranges are the extremes that were seen."""

    searched: bool = False
    equalised: bool = False
    corrected: bool = False
    rounded: bool = False

    def __str__(self) -> str:
        return ", ".join(title for name, title in REMEDIES.items() if getattr(self, name)) or "extremes"

    @classmethod
    def named(cls, text: str) -> "Recipe":
        """The one whose name, with what else was done, is `text`."""
        return cls(**{name: title in text for name, title in REMEDIES.items()})


REMEDIES = {
    "searched": "ranges searched",
    "equalised": "channels equalised",
    "corrected": "biases corrected",
    "rounded": "weights rounded",
}
"""In the order in which they are tried: each is kept where it brings the answers nearer."""
LEARNED = ("corrected", "rounded")
"""Those that tuning does better, together with the ranges; they are for networks that are too large to be tuned."""
TUNED = "ranges, weights and biases tuned"


@dataclass(frozen=True)
class Prepared:
    """The float network as a recipe quantises it, the best range of each of its values by name, and whether any value's
    channels were equalised."""

    network: GraphModule
    ranges: dict[str, tuple[float, float]]
    equalised: bool

    def weights(self) -> dict[str, Tensor]:
        """By their layer's name."""
        layers = regions(self.network.graph).layers
        return {node.name: stored(self.network, weight_node(node)).detach() for node in layers}


def quantised(
    ready: Prepared,
    recipe: Recipe,
    samples: Samples,
    count: int,
    floats: frozenset[str] = frozenset(),
    tick: Callable[[], None] = lambda: None,
) -> GraphModule:
    """A network's graph with quantised weights and activations, but for the operators named in `floats`.

    NNCF measures ranges, inside those that were searched, and corrects biases on `count` samples.
    """
    network = copy.deepcopy(ready.network)
    own = {node.name for node in quantised_values(network, floats)}
    ranges = {name: bounds for name, bounds in ready.ranges.items() if name in own}
    clamps = clamp_to(network, ranges) if recipe.searched else []
    found = _by_nncf(network, recipe, samples, count, floats, tick)
    drop_clamps(found, clamps)
    if recipe.rounded:
        reround(found, ready.weights(), samples(OBSERVED))
    return found


def prepared(program: ExportedProgram, samples: Samples, *, equalised: bool) -> Prepared:
    """The float network, its channels equalised where that is wished and where a value needs it.

    Ranges are searched on OBSERVED samples. Raises BadActivations.
    """
    network = network_of(program)
    seen = observed(network, samples)
    uneven = [site for site in sites(network) if equalised and _is_uneven(site, seen)]
    for site in uneven:
        equalize(network, site, seen.seen[site.layer], seen.seen[site.curve])
    if uneven:
        seen = observed(network, samples)
    return Prepared(network, find_ranges(seen), bool(uneven))


def _is_uneven(site: Site, seen: Observer) -> bool:
    """Whether a value of the site needs it; both are quantised unless a layer beside them stays in float."""
    values = [seen.seen.get(node) for node in (site.layer, site.curve)]
    known = [value for value in values if value is not None]
    return len(known) == len(values) and max(map(disparity, known)) > UNEVEN


def observed(network: GraphModule, samples: Samples) -> Observer:
    """The extremes, and some numbers, of every value that may be quantised. Raises BadActivations."""
    observer = Observer(network, quantised_values(network))
    with torch.no_grad():
        for sample in samples(OBSERVED):
            observer.run(*sample)
    for node, seen in observer.seen.items():
        if seen.low is None or not bool(torch.isfinite(seen.low).all() and torch.isfinite(seen.high).all()):  # type: ignore[arg-type]  # both or none
            raise _not_finite(node)
    return observer


def _not_finite(node: torch.fx.Node) -> BadActivations:
    from exporters.base import module_of, operator_name, source_of

    source = source_of(node)
    return BadActivations(
        f"the output of {module_of(node) or node.name} ({operator_name(node)}{f' at {source}' if source else ''}) "
        "holds values that are not finite",
        expected="numbers on every calibration sample",
        hint="look at the weights, and at the calibration data's scale; --precision fp32 exports it as it is",
    )


def _by_nncf(
    network: GraphModule,
    recipe: Recipe,
    samples: Samples,
    count: int,
    floats: frozenset[str],
    tick: Callable[[], None],
) -> GraphModule:
    import nncf
    from nncf.experimental.torch.fx import quantize_pt2e
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    class Told:
        """The samples, with a tick for each."""

        def __iter__(self) -> Iterator[Tensor | Sample]:
            for sample in samples(count):
                tick()
                yield sample[0] if len(sample) == 1 else sample

    with torch.no_grad():
        found: GraphModule = quantize_pt2e(
            network,
            EdgeQuantizer(floats),
            nncf.Dataset(Told()),
            subset_size=count,
            fast_bias_correction=True if recipe.corrected else None,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        )
    return found
