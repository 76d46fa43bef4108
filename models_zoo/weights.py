"""Finding weights by tag, file, address or hub, and loading them strictly and safely."""

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from models_zoo.download import Progress
from models_zoo.fetch import cache_folder, fetch
from models_zoo.hub import PREFIX, hub_weights
from models_zoo.misfit import Shapes, best_fit, classes_in, misfit
from models_zoo.registry import ModelSpec, Weights
from runtime_py.errors import SdkError, unknown_name

FOLDER = Path(__file__).parent / "weights"
LABELS = Path(__file__).parent / "labels"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPERS = ("state_dict", "model", "state_dict_ema")
"""Where training programs put the state dict among other things."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
COUNTERS = ("total_ops", "total_params")
"""Buffers that the profiler thop leaves in a network."""
LONGEST_HEADER = 100_000_000

Notice = Callable[[str], None]
Item = TypeVar("Item")


class WeightsError(SdkError):
    """A weights file that cannot be read safely, or does not fit the network."""

    id = "weights"


@dataclass(frozen=True)
class Found:
    """A weights file on disk. `row` is the tag's or the hub's, None for a file of the user's own.

    `labels` are class names that came with the file, empty where `row` names a file of them or nobody does.
    """

    path: Path
    num_classes: int | None
    row: Weights | None
    labels: tuple[str, ...] = ()


def find_weights(
    spec: ModelSpec, name: str, *, progress: Progress | None = None, notice: Notice | None = None
) -> Found:
    """The weights `name` for `spec`: a tag, a file, `hf:owner/name[@revision]` or `https://…#sha256=…`.

    What is not on this machine is fetched once. `notice` is given the licence of a tag or a hub's weights on their
    first use here. Raises UnknownName, WeightsError, FetchError, HubError or MissingExtra.
    """
    if name in spec.weights:
        row = spec.weights[name]
        _tell_once(f"{spec.name}.{name}", row, notice)
        path = FOLDER / row.file if row.file else fetch(row.url, row.sha256, row.bytes, progress=progress)
        return Found(path, row.num_classes, row)
    if name.startswith(PREFIX):
        return _on_hub(spec, name, notice)
    if "://" in name:
        return _own(spec, _by_address(name, progress))
    if Path(name).suffix in SUFFIXES or Path(name).exists():
        return _own(spec, Path(name))
    if not spec.weights:
        raise WeightsError(
            f"{spec.name} has no packaged weights {name!r}",
            expected="a .safetensors or .pth file, hf:owner/name or https://…#sha256=…",
            hint="--weights FILE, or leave it out for random weights",
        )
    raise unknown_name(f"weights of {spec.name}", name, sorted(spec.weights))


def labels_of(row: Weights | ModelSpec) -> tuple[str, ...]:
    """The class names, one a line of the file that the row names; numbers where it names none."""
    if not row.labels:
        return tuple(f"class {index}" for index in range(row.num_classes))
    return tuple((LABELS / row.labels).read_text(encoding="utf-8").splitlines())


def licence_notice(name: str, row: Weights) -> str:
    """What a user should know before the weights `name` go into a product."""
    lines = [f"{name}: {row.licence}", f"source: {row.url or 'packaged with edge-sdk'}"]
    if "AGPL" in row.licence.upper():
        lines.append(
            "AGPL: a product that ships these weights or work derived from them, or that lets users reach them over "
            "a network, must offer its users its complete source under the AGPL too"
        )
    return "\n".join(lines)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from .safetensors or a .pth file; no code that a pickle holds is ever run."""
    loaded = _parsed(path, _read)
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not all(isinstance(t, Tensor) for t in loaded.values()) or not loaded:
        raise WeightsError(f"{path.name} holds no state dict", expected="tensors by name")
    return _own_names(loaded)


def load_into(model: nn.Module, path: str | Path) -> None:
    """Load `path` into `model` or raise WeightsError, which names what differs and the network that the file fits.

    Every tensor must be there, and no other; counters of batch normalisation alone may be absent.
    """
    path = Path(path)
    state, own = read_state_dict(path), model.state_dict()
    state |= {name: own[name] for name in own if name.endswith("num_batches_tracked") and name not in state}
    given, expected = _shapes(state), _shapes(own)
    if problems := misfit(given, expected):
        raise WeightsError(
            f"{path.name} does not fit the network: {problems}",
            expected=f"{len(own)} tensors with the network's names and shapes",
            hint=f"{best_fit(given)}; check the model's name and its number of classes",
        )
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})


def _on_hub(spec: ModelSpec, name: str, notice: Notice | None) -> Found:
    found = hub_weights(name, spec)
    classes = classes_in(spec, _shapes_in(found.path))
    if classes not in (None, found.row.num_classes):
        raise WeightsError(f"{name} states {found.row.num_classes} classes; its weights have {classes}")
    _tell_once(name, found.row, notice)
    return Found(found.path, found.row.num_classes, found.row, found.labels)


def _by_address(name: str, progress: Progress | None) -> Path:
    url, _, sha256 = name.partition("#sha256=")
    if not sha256:
        raise WeightsError(
            f"weights {name!r} without a hash",
            expected=f"{url}#sha256=HEX, so that the same weights come tomorrow",
            hint="sha256sum FILE, or shasum -a 256 FILE, prints it",
        )
    return fetch(url, sha256, progress=progress)


def _own(spec: ModelSpec, path: Path) -> Found:
    return Found(path, classes_in(spec, _shapes_in(path)), None)


def _tell_once(name: str, row: Weights, notice: Notice | None) -> None:
    if notice is None or not row.licence:
        return
    text = licence_notice(name, row)
    marker = cache_folder() / "told" / hashlib.sha256(text.encode()).hexdigest()[:16]
    if marker.exists():
        return
    notice(text)
    with suppress(OSError):  # a cache that cannot be written: told again next time
        marker.parent.mkdir(parents=True, exist_ok=True)
        draft = marker.with_name(f"{marker.name}.{os.getpid()}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(marker)


def _parsed(path: Path, parse: Callable[[Path], Item]) -> Item:
    if not path.is_file():
        raise WeightsError(f"weights file {str(path)!r} does not exist")
    try:
        return parse(path)
    except SdkError:
        raise
    except Exception as error:  # each parser has error types of its own; the user needs one
        raise WeightsError(
            f"{path.name} could not be read as weights: {_first_line(error)}",
            expected="a .safetensors file, or a .pth state dict that torch.load(weights_only=True) accepts",
            hint="save it with safetensors.torch.save_file(model.state_dict(), FILE)",
        ) from error


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        _header(path)
        return load_file(path)
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # more than tensors, such as a whole model: its tensors, without running its code
        if not zipfile.is_zipfile(path):  # the format before torch 1.6
            raise
        from models_zoo.pickled import read_pickled_model

        return read_pickled_model(path)


def _header(path: Path) -> Shapes:
    """Shapes by name of a .safetensors file, whose sizes must add up before anything is parsed."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        if size < 8 or header > min(size - 8, LONGEST_HEADER):
            raise ValueError(f"{size:,} bytes are too few for its header")
        entries = json.loads(file.read(header))
    try:
        entries = {name: entry for name, entry in entries.items() if name != "__metadata__"}
        end = 8 + header + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError("its header describes no tensors") from error
    if end != size:
        raise ValueError(f"{size:,} bytes, where its header describes {end:,}")
    return shapes


def _shapes_in(path: Path) -> Shapes:
    if path.suffix == ".safetensors":
        return _own_names(_parsed(path, _header))
    return _shapes(read_state_dict(path))


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _own_names(items: Mapping[str, Item]) -> dict[str, Item]:
    """`items` under the names that the network itself gives them."""
    named = {name: item for name, item in items.items() if name.rpartition(".")[2] not in COUNTERS}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): item for name, item in named.items()}
    return named


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
