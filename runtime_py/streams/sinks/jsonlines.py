"""Answers as JSON, one line each, for a log or another program."""

import sys
from os import PathLike, fspath
from types import TracebackType
from typing import IO, Any

import msgspec

from runtime_py.draw import Picture
from runtime_py.errors import SdkError
from runtime_py.streams.frames import Frame


class JsonLines:
    """Appends to a file, or writes to stdout for `-`; each line is written out at once, so that a crash loses none.

    A line holds `index`, `time_s`, `name` where the source has one, `latency_ms`, and the result's own `to_dict`.
    Raises SdkError where the file cannot be written.
    """

    def __init__(self, path: str | PathLike[str] = "-") -> None:
        self.name = fspath(path)
        try:
            self._file: IO[bytes] = sys.stdout.buffer if self.name == "-" else open(self.name, "ab")  # noqa: SIM115
        except OSError as error:
            raise SdkError(f"{self.name} cannot be written: {error.strerror}", expected="a file or -") from error

    def write(self, frame: Frame, result: Any = None, picture: Picture | None = None) -> None:
        """One line."""
        self._file.write(msgspec.json.encode(line(frame, result)) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self.name != "-":
            self._file.close()

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def line(frame: Frame, result: Any) -> dict[str, Any]:
    """An answer as plain data."""
    found: dict[str, Any] = {"index": frame.index, "time_s": round(frame.time_s, 6)}
    if frame.name:
        found["name"] = frame.name
    found["latency_ms"] = round(frame.stamps.latency_s * 1e3, 3)
    return found | (result.to_dict() if hasattr(result, "to_dict") else {"result": result})
