"""Architectures, their configurations and weights. Importing this package imports no torch."""

from typing import TYPE_CHECKING, Any

from models_zoo.registry import MODELS, ModelSpec, Weights

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "ModelSpec", "Weights", "create_model", "get_spec", "load_weights"]


def get_spec(name: str) -> ModelSpec:
    """The row of `name`; an unknown name raises UnknownName, which lists the known ones."""
    from runtime_py.errors import unknown_name

    if name not in MODELS:
        raise unknown_name("model", name, sorted(MODELS))
    return MODELS[name]


def create_model(name: str, weights: str | None = None, **overrides: Any) -> "nn.Module":
    """A network of the zoo, in training mode, random weights unless a tag or a file is given.

    `name` may carry a tag, as in `mobilenetv4_conv_small.tin200`. `overrides` go to the architecture (`num_classes`,
    `dropout`, …); a tag or a file brings its own classes.
    """
    from importlib import import_module

    from models_zoo.weights import find_weights

    name, _, tag = name.partition(".")
    spec, weights = get_spec(name), weights or tag or None
    found = find_weights(spec, weights) if weights else None
    if found is not None and spec.classifier:
        overrides = {"num_classes": found.num_classes or spec.num_classes} | overrides
    module, _, function = spec.factory.partition(":")
    model: nn.Module = getattr(import_module(module), function)(name, **overrides)
    if found is not None:
        load_weights(model, found.path)
    return model


def load_weights(model: "nn.Module", path: Any) -> None:
    """Load a .safetensors or .pth file strictly; see `models_zoo.weights.load_into` for its errors."""
    from models_zoo.weights import load_into

    load_into(model, path)
