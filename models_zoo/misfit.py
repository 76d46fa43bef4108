"""Saying why weights do not fit a network, and which network of the zoo they do fit."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from models_zoo.registry import MODELS, ModelSpec

SHOWN = 5
MOST_CLASSES = 100_000
"""More than any classifier of the zoo has; a file that claims them is of something else."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by name, as in a state dict."""


def misfit(given: Shapes, expected: Shapes) -> str:
    """How the tensors of a file differ from a network's, the first five of each kind named; "" where they fit."""
    kinds = {
        "missing in the file": [name for name in expected if name not in given],
        "not in the model": [name for name in given if name not in expected],
        "of another shape": [name for name in expected if name in given and given[name] != expected[name]],
    }
    if not any(kinds.values()):
        return ""
    lines = [", ".join(f"{len(names)} {kind}" for kind, names in kinds.items() if names)]
    for kind, names in kinds.items():
        for name in names[:SHOWN]:
            both = kind == "of another shape"
            lines.append(f"{name}: {f'{given[name]} in the file, {expected[name]} in the model' if both else kind}")
        if len(names) > SHOWN:
            lines.append(f"and {len(names) - SHOWN} more {kind}")
    return "\n  ".join(lines)


def best_fit(given: Shapes) -> str:
    """What the file fits best: every network of the zoo, built without memory, compared by names and shapes."""
    given = _compared(given)
    shares = {spec.name: _share(given, spec) for spec in MODELS.values()}
    best = max(shares.values())
    names = [name for name, share in shares.items() if share == best]  # two may differ in their input size alone
    said, spec = " or ".join(names), MODELS[names[0]]
    if best < 0.5:
        return "the file fits no network of the zoo"
    if best < 1:
        return f"the file is nearest to {said}, with {best:.0%} of its tensors"
    if not spec.classifier:
        return f"the file fits {said}"
    classes = classes_in(spec, given)
    if classes is None or given != shapes_of(spec.name, classes):
        return f"the file fits {said}, except for its classifier"
    return f"the file fits {said} with {classes} classes"


def classes_in(spec: ModelSpec, given: Shapes) -> int | None:
    """How many classes the tensors of a file have, if they hold the classifier of `spec`."""
    sides = given.get(spec.classifier, ())
    return sides[0] if sides and 0 < sides[0] <= MOST_CLASSES else None


@lru_cache(maxsize=64)
def shapes_of(name: str, num_classes: int | None) -> Shapes:
    """The tensors of a network of the zoo, None for its own number of classes; takes no memory for them."""
    import torch

    from models_zoo import create_model

    classes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with torch.device("meta"):
        model = create_model(name, **classes)
    return _compared({key: tuple(tensor.shape) for key, tensor in model.state_dict().items()})


def _share(given: Shapes, spec: ModelSpec) -> float:
    """Equal tensors among those that either side has, the classifier left out."""
    classifier = spec.classifier.rpartition(".")[0] + "."
    ours, theirs = (
        {(name, shape) for name, shape in shapes.items() if not (spec.classifier and name.startswith(classifier))}
        for shapes in (shapes_of(spec.name, classes_in(spec, given)), given)
    )
    return len(ours & theirs) / max(len(ours | theirs), 1)


def _compared(shapes: Shapes) -> Shapes:
    # counters of batch normalisation: files of old PyTorch and of other libraries have none
    return {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
