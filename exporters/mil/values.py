"""Types and constants of MIL.proto turned into plain data, with every declared size checked."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from exporters.mil.blob import BlobFile, open_blobs
from exporters.mil.dtypes import DTYPES, FROM_PROTO, STRING, Dtype, unpack
from exporters.mil.errors import CorruptPackage, UnsupportedProgram
from exporters.mil.program import Constant, TensorType

MODEL_PATH = "@model_path/"


def tensor_type(message: Any) -> TensorType:
    """The dtype and shape of a `ValueType` message."""
    if message.WhichOneof("type") != "tensorType":
        raise UnsupportedProgram(f"a value of type {message.WhichOneof('type')!r}", expected="tensors only")
    tensor = message.tensorType
    enum = tensor.DESCRIPTOR.fields_by_name["dataType"].enum_type
    name = enum.values_by_number[tensor.dataType].name if tensor.dataType in enum.values_by_number else ""
    if name not in FROM_PROTO:
        raise UnsupportedProgram(
            f"a tensor of type {name or tensor.dataType}", expected=f"one of {', '.join(FROM_PROTO)}"
        )
    shape = tuple(d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions)
    if tensor.rank >= 0 and tensor.rank != len(shape):
        raise CorruptPackage(f"a tensor of rank {tensor.rank} declares {len(shape)} dimensions")
    return TensorType(FROM_PROTO[name], shape)


@dataclass(frozen=True)
class ConstantReader:
    """Reads constants; `folder` is the one that holds the model file, which no weight file may leave."""

    folder: Path
    _files: dict[str, BlobFile] = field(default_factory=dict)

    def read(self, message: Any, owner: str) -> Constant:
        """The constant of a `Value` message; `owner` names it in errors."""
        declared = tensor_type(message.type)
        if None in declared.shape:
            raise CorruptPackage(f"the constant of {owner} has an unknown dimension: {declared.shape}")
        shape = tuple(size for size in declared.shape if size is not None)
        if declared.dtype == STRING:
            return Constant(declared, _string(message, owner))
        dtype, count = DTYPES[declared.dtype], math.prod(shape)
        if message.WhichOneof("value") == "blobFileValue":
            flat = self._file(message.blobFileValue.fileName).read(message.blobFileValue.offset, dtype, count)
        else:
            flat = _immediate(message, dtype, count)
        if flat.size != count:
            raise CorruptPackage(f"the constant of {owner} has {flat.size} elements, its shape is {shape}")
        return Constant(declared, flat.reshape(shape))

    def _file(self, name: str) -> BlobFile:
        if name not in self._files:
            path = (self.folder / name.removeprefix(MODEL_PATH)).resolve()
            if not name.startswith(MODEL_PATH) or not path.is_relative_to(self.folder.resolve()):
                raise CorruptPackage(f"the program reads weights from {name!r}", expected=f"a file below {MODEL_PATH}")
            self._files[name] = open_blobs(path)
        return self._files[name]


def _immediate(message: Any, dtype: Dtype, count: int) -> npt.NDArray[np.generic]:
    tensor = message.immediateValue.tensor
    kind = tensor.WhichOneof("value")
    if kind is None:
        return np.empty(0, dtype.array)
    if kind == "bytes":
        packed = np.frombuffer(tensor.bytes.values, np.uint8)
        if packed.size != math.ceil(count * dtype.bits / 8):
            raise CorruptPackage(f"a constant of {count} {dtype.name} has {packed.size} bytes")
        return unpack(packed.copy(), dtype, count)
    values = np.array(getattr(tensor, kind).values)
    casting: Literal["unsafe", "same_kind"] = "unsafe" if dtype.is_float else "same_kind"
    if values.size and not np.can_cast(values.dtype, dtype.array, casting):
        raise CorruptPackage(f"a constant of type {dtype.name} is written as {kind}")
    return values.astype(dtype.array)


def _string(message: Any, owner: str) -> str:
    values = message.immediateValue.tensor.strings.values
    if len(values) != 1:
        raise CorruptPackage(f"the constant of {owner} has {len(values)} strings", expected="one")
    return str(values[0])
