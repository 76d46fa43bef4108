"""One calibration sample at a time, as the network takes it: a photo through the bundle's preprocessing, or a row of an
.npz."""

import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from runtime_py.damaged import DAMAGED_NPZ
from runtime_py.errors import SdkError
from runtime_py.manifest import DecodeVideo, Manifest, Tensor
from runtime_py.preprocess import BadImage, decode_image, placed

Arrays = dict[str, npt.NDArray[Any]]
LATENT = "latent"
"""What a clip of `sdk eval` calls a video decoder's input."""
BLOCK = 2**20


class BadCalibration(SdkError):
    """Data that no ranges can be measured on."""

    id = "bad-calibration"


class Unreadable(BadCalibration):
    """One sample that is damaged: the others may do without it."""


@dataclass(frozen=True)
class Sample:
    """One image, or one row of an .npz, and what the user calls it."""

    name: str
    file: Path
    row: int | None = None
    """Of an .npz; None: an image."""


@dataclass(frozen=True, eq=False)
class Taken:
    """A sample as the network takes it, by input name; `content` is the same without a letterbox's bars."""

    arrays: Arrays
    content: Arrays


class Reader:
    """Reads samples; the last .npz stays open, so that rows in their order cost one pass over it."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._path: Path | None = None
        self._open: ArrayFile | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, sample: Sample) -> Taken:
        """The sample's arrays. Raises Unreadable, and BadCalibration where they are not what the network takes."""
        if sample.row is None:
            return self._photo(sample)
        if self._open is None or self._path != sample.file:
            self._close()
            self._open, self._path = ArrayFile(sample.file, self._manifest, whole=True), sample.file
        arrays = self._open.row(sample.row)
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                count = int(array.size - np.isfinite(array).sum())
                raise BadCalibration(
                    f"{sample.name}: {count:,} of the {array.size:,} values of {name!r} are not finite",
                    expected="numbers without NaN and infinity",
                )
        return Taken(arrays, arrays)

    def _photo(self, sample: Sample) -> Taken:
        how = self._manifest.preprocessing
        assert how is not None  # images are only looked for where there is
        try:
            array, place = placed(decode_image(sample.file), how)
        except (BadImage, OSError) as error:  # the sample's name says where; the path may be one of our own
            why = (error.given if isinstance(error, BadImage) else str(error)).removeprefix(str(sample.file))
            raise Unreadable(why.lstrip(": "), expected="a whole image") from error
        top, left = max(place.top, 0), max(place.left, 0)
        content = array[..., top : top + place.inner[1], left : left + place.inner[0]]
        return Taken({how.input: array}, {how.input: content})

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._path = None


@dataclass
class _Member:
    """An array of an .npz, read forwards; `step` bytes a sample, from `start`."""

    stream: IO[bytes]
    spec: Tensor
    dtype: np.dtype[Any]
    start: int
    step: int
    count: int

    def row(self, index: int) -> npt.NDArray[Any]:
        self.stream.seek(self.start + index * self.step)
        raw = self.stream.read(self.step)
        if len(raw) < self.step:
            raise EOFError(f"{self.spec.name!r} ends within sample {index}")
        return np.frombuffer(raw, self.dtype).reshape(self.spec.shape).astype(self.spec.dtype)  # a copy: writable


class ArrayFile:
    """An .npz of samples: never more of it than one sample is in memory, and nothing is unpickled.

    `whole` compares the checksums first. Raises Unreadable, and BadCalibration where an input is missing or the shape
    or type is another.
    """

    def __init__(self, path: Path, manifest: Manifest, *, whole: bool = False) -> None:
        with ExitStack() as stack:
            try:
                self._members = _members(path, manifest, stack, whole)
            except DAMAGED_NPZ as error:
                raise _damaged(error) from error
            counts = {member.spec.name: member.count for member in self._members}
            self.count = min(counts.values())
            if len(set(counts.values())) > 1:
                many = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
                raise BadCalibration(f"{path} holds {many}", expected="as many samples of each input")
            self._stack = stack.pop_all()  # from here on, close() closes the file

    def row(self, index: int) -> Arrays:
        """The arrays of one sample, each of the input's shape. Raises Unreadable."""
        try:
            return {member.spec.name: member.row(index) for member in self._members}
        except DAMAGED_NPZ as error:
            raise _damaged(error) from error

    def close(self) -> None:
        """Close the file; no row can be read any more."""
        self._stack.close()


def _damaged(error: Exception) -> Unreadable:
    return Unreadable(f"damaged: {error}", expected="an .npz as numpy.savez writes it")


def _members(path: Path, manifest: Manifest, stack: ExitStack, whole: bool) -> list[_Member]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    names = {name.removesuffix(".npy") for name in archive.namelist()}
    keys = _keys(names, manifest)
    if not names.issuperset(keys.values()):
        raise BadCalibration(
            f"{path} holds {', '.join(sorted(names)) or 'nothing'}", expected=f"the arrays {wanted(manifest)}"
        )
    for key in keys.values() if whole else ():
        with archive.open(f"{key}.npy") as stream:
            while stream.read(BLOCK):  # zipfile compares the checksum at the end
                pass
    return [
        _member(path, keys[spec.name], spec, stack.enter_context(archive.open(f"{keys[spec.name]}.npy")))
        for spec in manifest.inputs
    ]


def _keys(names: set[str], manifest: Manifest) -> Mapping[str, str]:
    """The array of each input; a video decoder's may be called `latent`."""
    keys, after = {spec.name: spec.name for spec in manifest.inputs}, manifest.postprocessing
    if isinstance(after, DecodeVideo) and after.input not in names and LATENT in names:
        keys[after.input] = LATENT
    return keys


def wanted(manifest: Manifest) -> str:
    """The arrays that an .npz must hold, as an error says it."""
    return ", ".join(f"{spec.name!r}: {spec.dtype} {_shapes(spec)}" for spec in manifest.inputs)


def _member(path: Path, key: str, spec: Tensor, stream: IO[bytes]) -> _Member:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of numpy's format")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    own = np.dtype(spec.dtype)
    real = key == LATENT != spec.name and np.issubdtype(dtype, np.floating)  # as `sdk eval` takes a clip's
    count = _count(shape, spec, unbatched=key == LATENT)
    if count is None or (dtype != own and not real):
        raise BadCalibration(
            f"{path}: {key!r} is {dtype} {shape}",
            expected=f"{own} {_shapes(spec)}",
            hint=f"array.astype({spec.dtype!r})" if count is not None else "",
        )
    if fortran:
        raise BadCalibration(
            f"{path}: {key!r} is stored column by column, so that no sample can be read by itself",
            expected="numpy's usual order",
            hint="save numpy.ascontiguousarray(array)",
        )
    return _Member(stream, spec, dtype, stream.tell(), dtype.itemsize * int(np.prod(spec.shape)), count)


def _count(shape: tuple[int, ...], spec: Tensor, *, unbatched: bool) -> int | None:
    """The samples in an array, None where they are of another shape."""
    if shape == spec.shape or (unbatched and shape == spec.shape[1:]):
        return 1
    return shape[0] if shape and shape[1:] == _each(spec) else None


def _each(spec: Tensor) -> tuple[int, ...]:
    """A sample's shape behind the axis of samples, which takes the place of a batch of one."""
    return spec.shape[1:] if spec.shape[:1] == (1,) else spec.shape


def _shapes(spec: Tensor) -> str:
    many = ", ".join(["N", *map(str, _each(spec))])
    return f"{spec.shape}, or ({many}) for N samples"
