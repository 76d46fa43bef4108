"""Finding weights by tag or file, and loading them strictly and safely."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from models_zoo.registry import ModelSpec, Weights
from runtime_py.errors import SdkError, unknown_name

FOLDER = Path(__file__).parent / "weights"
LABELS = Path(__file__).parent / "labels"


class WeightsError(SdkError):
    """A weights file that cannot be read safely, or does not fit the network."""

    id = "weights"


@dataclass(frozen=True)
class Found:
    """A weights file on disk. `row` is the tag's, or None for a file of the user's own."""

    path: Path
    num_classes: int | None
    row: Weights | None


def find_weights(spec: ModelSpec, tag_or_file: str) -> Found:
    """The file of a tag of `spec`, or the user's own file. Raises UnknownName or WeightsError."""
    if tag_or_file in spec.weights:
        row = spec.weights[tag_or_file]
        return Found(FOLDER / row.file, row.num_classes, row)
    path = Path(tag_or_file)
    if path.suffix in (".safetensors", ".pth", ".pt", ".bin") or path.exists():
        return Found(path, _classes_in(path, spec.classifier), None)
    if not spec.weights:
        raise WeightsError(
            f"{spec.name} has no packaged weights {tag_or_file!r}",
            expected="a .safetensors or .pth file",
            hint="--weights FILE, or leave it out for random weights",
        )
    raise unknown_name(f"weights of {spec.name}", tag_or_file, sorted(spec.weights))


def labels_of(row: Weights | ModelSpec) -> tuple[str, ...]:
    """The class names, one a line of the file that the row names."""
    return tuple((LABELS / row.labels).read_text(encoding="utf-8").splitlines())


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from .safetensors or a .pth file; a pickle that holds anything else is refused."""
    if not path.is_file():
        raise WeightsError(f"weights file {str(path)!r} does not exist")
    try:
        loaded = _read(path)
    except Exception as error:  # each parser has error types of its own; the user needs one
        raise WeightsError(
            f"{path.name} could not be read as weights: {_first_line(error)}",
            expected="a .safetensors file, or a .pth state dict that torch.load(weights_only=True) accepts",
            hint="save it with safetensors.torch.save_file(model.state_dict(), FILE)",
        ) from error
    for wrapper in ("state_dict", "model", "state_dict_ema"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(t, Tensor) for t in loaded.values()) or not loaded:
        raise WeightsError(f"{path.name} holds no state dict", expected="tensors by name")
    return dict(loaded)


def load_into(model: nn.Module, path: str | Path) -> None:
    """Load `path` into `model`; every tensor that is missing, unknown or of another shape is named."""
    path = Path(path)
    state, own = read_state_dict(path), model.state_dict()
    problems = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems += [f"{name}: missing in the file" for name in own if name not in state]
    problems += [f"{name}: not in the model" for name in state if name not in own]
    if problems:
        shown = "\n  ".join(problems[:12]) + (f"\n  and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise WeightsError(
            f"{path.name} does not fit the network; {len(problems)} tensors differ:\n  {shown}",
            expected=f"{len(own)} tensors with the network's names and shapes",
            hint="check the model's name and its number of classes",
        )
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _classes_in(path: Path, classifier: str) -> int | None:
    bias = read_state_dict(path).get(classifier)
    return None if bias is None else bias.numel()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
