"""What this machine can do for each target, found without importing a converter or a runtime."""

from dataclasses import dataclass
from importlib.util import find_spec

from exporters import TARGETS
from runtime_py.engines import available

INTERPRETED = {"coreml": ("torch", "coremltools")}
"""Targets whose files can be proven without their runtime, and the packages which that takes."""


@dataclass(frozen=True)
class Capability:
    """A target as this machine sees it. `missing` says in words why it does not convert or execute."""

    target: str
    title: str
    suffix: str
    precisions: tuple[str, ...]
    io: tuple[str, ...]
    convert: bool
    execute: bool
    interpret: bool
    missing: tuple[str, ...]
    install: str

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `--json` prints them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def capabilities() -> list[Capability]:
    """One row for each target of the table, in its order."""
    return [_capability(target) for target in TARGETS]


def _capability(target: str) -> Capability:
    row = TARGETS[target]
    absent = [package for package in row.packages if not _installed(package)]
    no_runtime = available(target)
    execute = no_runtime is None
    interpret = target in INTERPRETED and not execute and all(map(_installed, INTERPRETED[target]))
    reasons = [f"converting needs {', '.join(absent)}"] if absent else []
    return Capability(
        target=target,
        title=row.title,
        suffix=row.suffix,
        precisions=row.precisions,
        io=row.io,
        convert=not absent,
        execute=execute,
        interpret=interpret,
        missing=(*reasons, *([no_runtime] if no_runtime else [])),
        install=f"pip install 'edge-sdk[{row.extra}]'" if absent else "",
    )


def _installed(package: str) -> bool:
    return find_spec(package.partition(".")[0]) is not None  # a parent's name imports nothing
