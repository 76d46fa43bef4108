"""The inputs that every artifact must answer as PyTorch does, and PyTorch's answers: a bundle's golden.npz."""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from runtime_py.damaged import DAMAGED_NPZ
from runtime_py.errors import SdkError
from runtime_py.manifest import Manifest, Tensor

Array = npt.NDArray[np.generic]
GOLDEN = "golden.npz"
MOST_SAMPLES = 16
"""Of those that a quantised program was not calibrated on, how many a bundle carries at most."""
KINDS = ("photo", "random", "zeros", "saturated", *(f"sample{index}" for index in range(MOST_SAMPLES)))
SIDES = ("in", "out", "quantised", "real")
WIDEST_BYTES, HEADER_BYTES = 8, 4096
PHOTO_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Golden:
    """By kind of input: the arrays by input name, and PyTorch's by output name. `photo` is HWC uint8.

    `quantised` are the outputs of the quantised program that the artifacts were lowered from, where there is one.
    Inputs are of the type that the artifacts take, outputs real numbers. Where the artifacts take integers, `real` are
    the inputs as the float network takes them.
    """

    inputs: dict[str, dict[str, Array]]
    outputs: dict[str, dict[str, Array]]
    photo: npt.NDArray[np.uint8] | None
    quantised: dict[str, dict[str, Array]] | None = None
    real: dict[str, dict[str, Array]] | None = None


def load_golden(path: Path, manifest: Manifest) -> Golden:
    """Read golden.npz, never a pickle, and nothing larger than the manifest's tensors.

    Raises SdkError where arrays are missing, of another shape, or not to be read.
    """
    try:
        _check_sizes(path, manifest)
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Array] = {key: file[key] for key in file.files}
    except DAMAGED_NPZ as error:
        raise SdkError(f"{path.name} cannot be read: {error}", expected="numpy arrays, as sdk export writes") from error
    kinds = [kind for kind in KINDS if any(key.startswith(f"in.{kind}.") for key in arrays)]
    if not kinds:
        raise SdkError(f"{path.name} holds no golden inputs", expected="arrays in.KIND.NAME and out.KIND.NAME")
    photo = arrays.get("photo")
    return Golden(
        {kind: _named(arrays, f"in.{kind}.", manifest.inputs) for kind in kinds},
        {kind: _named(arrays, f"out.{kind}.", manifest.outputs) for kind in kinds},
        None if photo is None else photo.astype(np.uint8),
        {kind: _named(arrays, f"quantised.{kind}.", manifest.outputs) for kind in kinds}
        if any(key.startswith("quantised.") for key in arrays)
        else None,
        {kind: _named(arrays, f"real.{kind}.", manifest.inputs) for kind in kinds}
        if any(key.startswith("real.") for key in arrays)
        else None,
    )


def _check_sizes(path: Path, manifest: Manifest) -> None:
    """What the archive claims to unpack to, before a byte of it is unpacked."""
    limits = {"photo.npy": PHOTO_BYTES}
    for side, specs in zip(SIDES, (manifest.inputs, manifest.outputs, manifest.outputs, manifest.inputs), strict=True):
        for kind in KINDS:
            limits |= {f"{side}.{kind}.{spec.name}.npy": WIDEST_BYTES * math.prod(spec.shape) for spec in specs}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            limit = limits.get(entry.filename)
            if limit is None or entry.file_size > limit + HEADER_BYTES:
                raise SdkError(
                    f"{path.name} holds {entry.filename!r} of {entry.file_size:,} bytes",
                    expected="the manifest's tensors only" if limit is None else f"at most {limit + HEADER_BYTES:,}",
                )
            with archive.open(entry) as stream:
                _check_header(stream, entry.file_size)


def _check_header(stream: IO[bytes], size: int) -> None:
    """numpy allocates what an array's own header says, which must be what the archive's table says."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another format than 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError(f"an array says {dtype} {shape} of {size - stream.tell():,} bytes")


def _named(arrays: dict[str, Array], prefix: str, specs: tuple[Tensor, ...]) -> dict[str, Array]:
    for spec in specs:
        found = arrays.get(prefix + spec.name)
        if found is None or found.shape != spec.shape:
            raise SdkError(
                f"{GOLDEN}: {prefix}{spec.name} is {'missing' if found is None else found.shape}",
                expected=f"shape {spec.shape}",
            )
    return {spec.name: arrays[prefix + spec.name] for spec in specs}
