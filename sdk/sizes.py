"""Sizes and shares as people write them, and as the command line takes them."""

import re
from typing import Any

import click

UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}


def bytes_of(text: str) -> int:
    """A size such as `96kB`, `96 KiB`, `1MB` or `98304`; kB is 1000 bytes and KiB 1024. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = UNITS.get(found[2].lower()) if found else None
    size = int(float(found[1]) * unit) if found and unit else 0
    if size < 1:
        raise ValueError(f"{text!r} is no size: bytes, or a number with kB, KiB, MB or MiB, such as 96kB")
    return size


def share_of(text: str) -> float:
    """A share such as `10%` or `0.1`. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if share < 0 or (share > 1 and found and not found[2]):
        raise ValueError(f"{text!r} is no share, such as 10% or 0.1")
    return share


class Bytes(click.ParamType[int]):
    """An option's size in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Of text; a number stays what it is."""
        try:
            return value if isinstance(value, int) else bytes_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Share(click.ParamType[float]):
    """An option's share of 1."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Of text; a number stays what it is."""
        try:
            return value if isinstance(value, float) else share_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
