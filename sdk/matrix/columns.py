"""Which networks stand in which column of the matrix."""

from functools import cache

from models_zoo import MODELS
from sdk.quantize.scheme import SCHEMES

COLUMNS = ("fp32", "fp16", "w8a8")
"""What is tried where nothing else is said."""
HINTS = {
    "models_zoo.turbo_vaed:turbo_vaed": "its convolutions are three-dimensional; integers are for two-dimensional ones "
    "and linear layers",
}
"""By family: what the page says beside a row of integers in which nothing was proven."""


def has_row(precision: str, model: str) -> bool:
    """Whether a precision's column has the network: one a family where ranges are measured, which takes minutes."""
    return not SCHEMES[precision].calibrated or model in smallest()


@cache
def smallest() -> tuple[str, ...]:
    """Of each family, the networks of one factory, the one with the fewest parameters; in the zoo's order."""
    found: dict[str, str] = {}
    for name, spec in MODELS.items():
        best = found.get(spec.factory)
        if best is None or spec.params < MODELS[best].params:
            found[spec.factory] = name
    return tuple(name for name in MODELS if name in found.values())
