"""What Python's and numpy's readers raise on files that are damaged, encrypted or none of theirs."""

import struct
import tokenize
import zipfile
import zlib
from contextlib import suppress

_LZMA: tuple[type[Exception], ...] = ()
with suppress(ImportError):  # a Python that was built without it reads no such zip, and says so
    from lzma import LZMAError

    _LZMA = (LZMAError,)

DAMAGED_ZIP: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zlib.error, *_LZMA, struct.error, EOFError, OSError, ValueError, RuntimeError,
)  # fmt: skip
"""Of zipfile: a RuntimeError is an encrypted member or, as NotImplementedError, a method that it does not know; names
that are no UTF-8 are a ValueError."""
DAMAGED_NPZ: tuple[type[Exception], ...] = (*DAMAGED_ZIP, KeyError, SyntaxError, tokenize.TokenError)
"""Of numpy, too: an array that is not there, and headers, which are Python's literals."""
