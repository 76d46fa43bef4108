"""Damage for which Python's and numpy's readers have errors of many kinds, in a file of arrays."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime_py.damaged import DAMAGED_NPZ, DAMAGED_ZIP

ENTRY = b"PK\x01\x02"
"""Begins an entry of the table of contents."""
FLAGS, METHOD = 8, 10
"""Where in an entry they are."""


def whole(compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """One array of noise, so that each byte of the file counts."""
    array, file = io.BytesIO(), io.BytesIO()
    np.save(array, np.random.default_rng(0).integers(0, 256, 4096, np.uint8))
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("x.npy", array.getvalue())
    return file.getvalue()


def turned(content: bytes) -> bytes:
    """Other bits in the stream."""
    return content[:60] + bytes(byte ^ 0x5A for byte in content[60:160]) + content[160:]


def in_table(offset: int, bits: int) -> bytes:
    """More bits in the table of contents."""
    content = bytearray(whole())
    content[content.index(ENTRY) + offset] |= bits
    return bytes(content)


DAMAGED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "cut off": lambda: whole()[:-30],
    "stored": lambda: turned(whole(zipfile.ZIP_STORED)),
    "deflate": lambda: turned(whole()),
    "bz2": lambda: turned(whole(zipfile.ZIP_BZIP2)),
    "lzma": lambda: turned(whole(zipfile.ZIP_LZMA)),
    "encrypted": lambda: in_table(FLAGS, 1),
    "unknown method": lambda: in_table(METHOD, 96),
    "a name that is no UTF-8": lambda: in_table(FLAGS + 1, 8).replace(b"x.npy", b"\xff.npy"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_of_a_zip_raises_what_is_listed(damage: str) -> None:
    content = io.BytesIO(DAMAGED[damage]())
    with pytest.raises(DAMAGED_ZIP), zipfile.ZipFile(content) as archive:
        archive.read(archive.namelist()[0])


@pytest.mark.parametrize("header", [b"{'descr' ((", b"{'descr': '''", b"{'descr': '|u9x', 'shape': (1,)}", b"\xff"])
def test_a_header_that_is_none_raises_what_is_listed(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DAMAGED_NPZ), np.load(path, allow_pickle=False) as arrays:
        arrays["x"]


def test_an_array_that_is_not_there_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(whole())
    with pytest.raises(DAMAGED_NPZ), np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        arrays["y"]
