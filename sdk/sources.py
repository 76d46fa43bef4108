"""Where a network comes from: the zoo, a user's factory, a saved program or a live nn.Module."""

import importlib
import importlib.util
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from models_zoo import MODELS, load_weights
from runtime_py.errors import unknown_name
from sdk.source import Fetching, Source, SourceError, Wishes
from sdk.zoo import zoo_source


def find_source(model: Any, wishes: Wishes, fetching: Fetching | None = None) -> Source:
    """The network behind MODEL. Raises UnknownName, SourceError or WeightsError."""
    if not isinstance(model, str):
        return _user_network(model, type(model).__name__, "nn.Module", wishes)
    if model.endswith(".pt2"):
        return _saved_program(Path(model), wishes)
    if ":" in model:
        return _factory(model, wishes)
    name, _, tag = model.partition(".")
    if name not in MODELS:
        error = unknown_name("model", model, sorted(MODELS))
        error.hint = error.hint or "a network of your own: package.module:factory, file.py:factory or FILE.pt2"
        raise error
    return zoo_source(MODELS[name], replace(wishes, weights=wishes.weights or tag or None), fetching or Fetching())


def _saved_program(path: Path, wishes: Wishes) -> Source:
    import torch

    if not path.is_file():
        raise SourceError(f"{path} does not exist", expected="a program saved by torch.export.save")
    if wishes.weights:
        raise SourceError("--weights with a .pt2 file", expected="none: the program holds its weights")
    try:
        program = torch.export.load(path)
    except Exception as error:  # a zip, a schema and a pickle parser, each with errors of its own
        raise SourceError(
            f"{path.name} could not be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="a program saved by torch.export.save with this version of torch or an older one",
        ) from error
    if not program.example_inputs or program.example_inputs[1]:
        raise SourceError(f"{path.name} holds no positional example inputs", hint="export it again with args=(...)")
    shapes = tuple(tuple(value.shape) for value in program.example_inputs[0])
    return _described(program, shapes, path.stem, path.name, wishes)


def _factory(model: str, wishes: Wishes) -> Source:
    place, _, attribute = model.rpartition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    if not hasattr(module, attribute):
        known = [name for name in vars(module) if callable(getattr(module, name)) and not name.startswith("_")]
        raise unknown_name(f"factory in {place}", attribute, sorted(known))
    factory = getattr(module, attribute)
    try:
        network = factory() if not hasattr(factory, "state_dict") or isinstance(factory, type) else factory
    except Exception as error:  # the user's own code may raise anything
        raise SourceError(f"{model} raised {_where(error, place)}") from error
    return _user_network(network, attribute, model if not place.endswith(".py") else Path(place).name, wishes)


def _user_network(network: Any, name: str, kind: str, wishes: Wishes) -> Source:
    from torch import nn

    if not isinstance(network, nn.Module):
        raise SourceError(f"{name} gave a {type(network).__name__}", expected="a torch.nn.Module")
    shapes = wishes.inputs or (((1, 3, wishes.input_size, wishes.input_size),) if wishes.input_size else ())
    if not shapes:
        raise SourceError(f"{name} has no known input shape", hint="--input 1,3,224,224, once for each input")
    if wishes.weights:
        load_weights(network, wishes.weights)
    return _described(network.eval(), shapes, name, kind, wishes)


def _described(network: Any, shapes: tuple[tuple[int, ...], ...], name: str, kind: str, wishes: Wishes) -> Source:
    return Source(
        network=network,
        shapes=shapes,
        name=name,
        kind=kind,
        task="classify" if wishes.labels else "raw",
        weights=Path(wishes.weights).name if wishes.weights else "",
        labels=wishes.labels,
        mean=wishes.mean or (0.0, 0.0, 0.0),
        std=wishes.std or (1.0, 1.0, 1.0),
    )


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SourceError(f"{path} does not exist", expected="file.py:factory")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))  # so that it may import what lies beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise SourceError(f"importing {path} raised {_where(error, path.name)}") from error
    return module


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except Exception as error:  # the user's own code may raise anything
        raise SourceError(
            f"importing {name} raised {_where(error, name)}", expected="package.module:factory"
        ) from error


def _where(error: Exception, place: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == Path(place).name]
    line = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {error}{line}"
