"""Where a network comes from: the zoo, a user's factory, a saved program or a live nn.Module."""

import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import models_zoo
from models_zoo.registry import ModelSpec, Weights
from runtime_py.errors import SdkError, unknown_name
from runtime_py.manifest import Preprocessing


class SourceError(SdkError):
    """MODEL names nothing that can be built."""

    id = "model-source"


@dataclass(frozen=True)
class Source:
    """A network in eval mode (or an ExportedProgram) with example inputs and all that the bundle says of it."""

    network: Any
    shapes: tuple[tuple[int, ...], ...]
    name: str
    kind: str
    task: str = "raw"
    weights: str = ""
    licence: str = ""
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"
    crop_fraction: float = 1.0
    published: dict[str, float | str] | None = None

    def preprocessing(self, input_name: str) -> Preprocessing | None:
        """How a photo becomes this network's input; None where it does not take one RGB image."""
        shape = self.shapes[0]
        if len(self.shapes) != 1 or len(shape) != 4 or shape[:2] != (1, 3):
            return None
        return Preprocessing(
            input=input_name,
            width=shape[3],
            height=shape[2],
            interpolation=self.interpolation,  # type: ignore[arg-type]  # the registry's words are the manifest's
            crop_fraction=self.crop_fraction,
            mean_values=tuple(round(value * 255, 9) for value in self.mean),
            scale_values=tuple(round(value * 255, 9) for value in self.std),
        )


@dataclass(frozen=True)
class Wishes:
    """What the user asked of the network, beside its name."""

    weights: str | None = None
    input_size: int | None = None
    inputs: tuple[tuple[int, ...], ...] = ()
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def find_source(model: Any, wishes: Wishes) -> Source:
    """The network behind MODEL. Raises UnknownName, SourceError or WeightsError."""
    if not isinstance(model, str):
        return _user_network(model, type(model).__name__, "nn.Module", wishes)
    if model.endswith(".pt2"):
        return _saved_program(Path(model), wishes)
    if ":" in model:
        return _factory(model, wishes)
    if model not in models_zoo.MODELS:
        error = unknown_name("model", model, sorted(models_zoo.MODELS))
        error.hint = error.hint or "a network of your own: package.module:factory, file.py:factory or FILE.pt2"
        raise error
    return _zoo(models_zoo.MODELS[model], wishes)


def _zoo(spec: ModelSpec, wishes: Wishes) -> Source:
    from models_zoo.weights import find_weights, labels_of

    tag = wishes.weights or spec.default_weights
    row: Weights | None = find_weights(spec, tag).row if tag else None
    at: Weights | ModelSpec = row or spec
    size = wishes.input_size or at.input_size
    if wishes.inputs:
        raise SourceError("--input is for networks of your own", hint="--input-size N for a zoo model")
    if size < 32 or size % 32:
        raise SourceError(f"input size {size}", expected="a multiple of 32, such as 128, 160 or 224")
    published: dict[str, float | str] = {"params": spec.params, "macs": spec.macs, "top1": spec.top1}
    if row:
        published |= {"weights_top1": row.top1, "weights_top5": row.top5, "weights_data": row.data}
    network = models_zoo.create_model(spec.name, tag).eval()
    classes = row.num_classes if row else int(network.get_submodule("classifier").get_parameter("bias").numel())
    return Source(
        network=network,
        shapes=((1, 3, size, size),),
        name=spec.name,
        kind="zoo",
        task=spec.task,
        weights=(tag if row else Path(tag).name) if tag else "random",
        licence=row.licence if row else "",
        labels=wishes.labels or (labels_of(row) if row else _numbered(classes)),
        mean=wishes.mean or at.mean,
        std=wishes.std or at.std,
        interpolation=at.interpolation,
        crop_fraction=at.crop_fraction,
        published=published | {"source": spec.source},
    )


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
        models_zoo.load_weights(network, wishes.weights)
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


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(count))
