"""Reader of Core ML's blob storage, version 2: the `weights/weight.bin` of a package.

A header of 64 bytes (count u32, version u32), then for each blob a record of 64 bytes (sentinel u32, type
u32, bytes u64, data offset u64, unused bits at the end u64) and its data. Records and data start at multiples
of 64. A value of the program names its record by offset.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporters.mil.dtypes import Dtype, unpack
from exporters.mil.errors import CorruptPackage

ALIGNMENT = 64
VERSION = 2
SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<II")
_RECORD = struct.Struct("<IIQQQ")


@dataclass(frozen=True)
class BlobFile:
    """A weight file, mapped into memory copy-on-write: reading costs no memory, writing changes no file."""

    path: Path
    data: npt.NDArray[np.uint8]

    def read(self, offset: int, dtype: Dtype, count: int) -> npt.NDArray[np.generic]:
        """The `count` elements of the blob whose record is at `offset`, flat.

        Raises `CorruptPackage` unless the record lies in the file and agrees with `dtype` and `count`.
        """
        self._check(offset % ALIGNMENT == 0 and offset >= ALIGNMENT, offset, "its record is not aligned")
        self._check(offset + ALIGNMENT <= self.data.size, offset, "its record lies past the end of the file")
        sentinel, blob, size, start, unused = _RECORD.unpack_from(self.data[offset : offset + ALIGNMENT].tobytes())
        self._check(sentinel == SENTINEL, offset, f"its sentinel is {sentinel:#010x}, not {SENTINEL:#010x}")
        self._check(blob == dtype.blob, offset, f"its type is number {blob}, the program wants {dtype.name}")
        self._check(start % ALIGNMENT == 0, offset, "its data is not aligned")
        self._check(start + size <= self.data.size, offset, f"its {size} bytes end past the end of the file")
        self._check(
            unused < 8 and size * 8 - unused == count * dtype.bits,
            offset,
            f"it has {size} bytes, the program wants {count} elements of {dtype.name}",
        )
        return unpack(self.data[start : start + size], dtype, count)

    def _check(self, holds: bool, offset: int, problem: str) -> None:
        if not holds:
            raise CorruptPackage(f"{self.path.name}: the blob at {offset} cannot be read: {problem}")


def open_blobs(path: Path) -> BlobFile:
    """Map a weight file.

    Raises `CorruptPackage` when it is missing, too short or of another version.
    """
    if not path.is_file():
        raise CorruptPackage(f"{path.name} is missing", expected=f"a weight file at {path}")
    if path.stat().st_size < ALIGNMENT:
        raise CorruptPackage(f"{path.name} has {path.stat().st_size} bytes", expected="at least 64")
    data = np.memmap(path, dtype=np.uint8, mode="c")
    _, version = _HEADER.unpack_from(data[:ALIGNMENT].tobytes())
    if version != VERSION:
        raise CorruptPackage(f"{path.name} is blob storage version {version}", expected=f"version {VERSION}")
    return BlobFile(path, data)
