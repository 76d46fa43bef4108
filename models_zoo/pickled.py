"""Reads the tensors of a pickled whole model without running what the pickle says.

Old checkpoints (LeYOLO's among them) hold the module objects themselves. Here the pickle may build tensors, plain
containers, and inert stand-ins for modules, and nothing else; the names of the tensors are then read off the stubs.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime_py.errors import SdkError

PICKLE_LIMIT = 64 << 20
ENTRY_LIMIT = 100_000
DEPTH_LIMIT = 200
DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
STUBS = re.compile(r"(torch\.nn\.modules|ultralytics\.(nn|utils|models|yolo))(\.\w+)*")
"""Modules whose classes become stubs, whatever their names: a stub has no behaviour to choose."""


class UnsafeWeights(SdkError):
    """A pickle that asks for more than tensors and inert objects, or whose claims do not fit its file."""

    id = "unsafe-weights"


class Stub:
    """Stands for an object of any class: takes every argument and keeps its state, and does nothing with either."""

    __slots__ = ("state",)
    state: Any

    def __new__(cls, *_: object, **__: object) -> "Stub":
        made = object.__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: object) -> None:
        self.state = state


@dataclass(frozen=True)
class _Storage:
    """An entry of the archive: `data` its bytes, `dtype` what the pickle calls them."""

    data: bytes
    dtype: torch.dtype

    @property
    def count(self) -> int:
        return len(self.data) // self.dtype.itemsize


class _Callable:
    """A function that the pickle may call, and that it can neither change nor look into."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise UnsafeWeights(f"the pickle sets {name} of a function")

    def __call__(self, *arguments: Any) -> Any:
        return object.__getattribute__(self, "_function")(*arguments)


def read_pickled_model(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name of the module pickled at `path`, alone or under `ema` or `model`. Raises UnsafeWeights."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            loaded = _Unpickler(path.name, archive).load()
    except UnsafeWeights:
        raise
    except Exception as error:  # a zip and a pickle reader meet hostile bytes with errors of every type
        raise UnsafeWeights(
            f"{path.name} could not be read: {type(error).__name__}: {error}",
            expected="a checkpoint of torch.save",
        ) from error
    if isinstance(loaded, dict):
        loaded = next((loaded[key] for key in ("ema", "model") if isinstance(loaded.get(key), Stub)), loaded)
    if not isinstance(loaded, Stub):
        raise UnsafeWeights(f"{path.name} holds no module", expected="a pickled nn.Module, or one under ema or model")
    found = dict(_tensors(loaded, "", []))
    if not found:
        raise UnsafeWeights(f"{path.name}: the module in it holds no tensor")
    return found


class _Unpickler(pickle.Unpickler):
    def __init__(self, name: str, archive: zipfile.ZipFile) -> None:
        self._name, self._archive = name, archive
        self._entries = _checked_entries(name, archive)
        pickles = [entry for entry in self._entries if entry.endswith("/data.pkl")]
        if len(pickles) != 1 or self._entries[pickles[0]].file_size > PICKLE_LIMIT:
            raise UnsafeWeights(f"{name} has {len(pickles)} pickles", expected="one, of 64 MiB or less")
        self._root = pickles[0].removesuffix("data.pkl")
        order = self._root + "byteorder"
        if order in self._entries and archive.read(order) != b"little":
            raise UnsafeWeights(f"{name} was saved on a big-endian machine", expected="little-endian tensors")
        self._storages: dict[str, bytes] = {}
        self._allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("builtins", "set"): set,
            ("__builtin__", "set"): set,
            ("torch", "device"): _Callable(lambda *named: named),
            ("torch", "Size"): _Callable(lambda sizes: tuple(sizes)),
            ("torch._utils", "_rebuild_tensor_v2"): _Callable(self._tensor),
            ("torch._utils", "_rebuild_parameter"): _Callable(lambda data, *_: data),
            **{("torch", kind): kind for kind in DTYPES},
        }
        super().__init__(io.BytesIO(archive.read(pickles[0])))

    def find_class(self, module: str, name: str) -> Any:
        """What stands for `module.name`; refuses all that is not on the list."""
        if (module, name) in self._allowed:
            return self._allowed[module, name]
        if STUBS.fullmatch(module) and name.isidentifier():
            return Stub
        raise UnsafeWeights(
            f"{self._name} asks for {module}.{name}",
            expected="nothing but tensors and modules",
            hint="do not load this file; ask its author for a .safetensors file",
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, whose claimed length must be its entry's."""
        match pid:
            case ("storage", str(kind), str(key), _, int(count)) if kind in DTYPES and key.isalnum():
                entry = self._entries.get(f"{self._root}data/{key}")
                if entry is not None and entry.file_size == count * DTYPES[kind].itemsize:
                    if key not in self._storages:
                        self._storages[key] = self._archive.read(entry)
                    return _Storage(self._storages[key], DTYPES[kind])
        raise UnsafeWeights(f"{self._name} has no such storage: {str(pid)[:120]}", expected="an entry of that length")

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        numbers = (offset, *size, *stride)
        sound = (
            isinstance(storage, _Storage)
            and len(size) == len(stride) <= 8
            and all(type(number) is int and number >= 0 for number in numbers)
        )
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if sound else 0
        if not sound or (prod(size) and last >= storage.count) or prod(size) > storage.count:
            raise UnsafeWeights(f"{self._name} has a tensor that reaches beyond its storage")
        if not prod(size):
            return torch.empty(size, dtype=storage.dtype)
        flat = torch.frombuffer(bytearray(storage.data), dtype=storage.dtype)
        return flat.as_strided(size, stride, offset).clone()


def _checked_entries(name: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by name. torch stores them as they are, so that none can grow when it is read."""
    entries = archive.infolist()
    if len(entries) > ENTRY_LIMIT:
        raise UnsafeWeights(f"{name} has {len(entries):,} entries", expected=f"at most {ENTRY_LIMIT:,}")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise UnsafeWeights(f"{name}: {entry.filename} is compressed", expected="entries as torch.save stores them")
    return {entry.filename: entry for entry in entries}


def _tensors(module: Stub, prefix: str, above: list[Stub]) -> Iterator[tuple[str, Tensor]]:
    """Names as nn.Module.state_dict gives them."""
    if len(above) > DEPTH_LIMIT or any(module is one for one in above):
        raise UnsafeWeights(f"the module {prefix.rstrip('.') or 'itself'} contains itself, or is nested too deeply")
    state = module.state if isinstance(module.state, dict) else {}
    hidden = state.get("_non_persistent_buffers_set") or ()
    for group in ("_parameters", "_buffers"):
        for name, tensor in _items(state, group):
            if isinstance(tensor, Tensor) and not (group == "_buffers" and name in hidden):
                yield prefix + name, tensor
    for name, child in _items(state, "_modules"):
        if isinstance(child, Stub):
            yield from _tensors(child, f"{prefix}{name}.", [*above, module])


def _items(state: dict[str, Any], group: str) -> list[tuple[str, Any]]:
    found = state.get(group)
    return [(name, value) for name, value in found.items() if isinstance(name, str)] if isinstance(found, dict) else []
