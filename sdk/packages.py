"""What the project's extras ask for, and which version of it is installed. Imports none of it."""

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

PROJECT = "edge-sdk"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<own>\[[^\]]*\])?\s*(?P<bounds>[^;]*?)\s*(?:;(?P<marker>.*))?$")
EXTRA = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
BOUND = re.compile(r"(>=|<=|==|<|>)\s*([\w.+]+)")

State = Literal["ok", "missing", "too old", "too new"]


@dataclass(frozen=True)
class Package:
    """A package that the project or its `extras` ask for; `extras` is empty for the base."""

    name: str
    needed: str
    installed: str | None
    extras: tuple[str, ...]
    state: State

    def to_dict(self) -> dict[str, object]:
        """Plain values, as `--json` prints them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def packages() -> list[Package]:
    """Every package that some extra asks for, once, in the project's order."""
    needed: dict[str, str] = {}
    extras: dict[str, list[str]] = {}
    for text in _requirements():
        match = REQUIREMENT.match(text)
        if match is None or match["name"] == PROJECT:  # an extra that names other extras
            continue
        name = match["name"]
        needed[name] = needed.get(name) or match["bounds"].replace(" ", "")
        extras.setdefault(name, []).extend(EXTRA.findall(match["marker"] or ""))
    return [_package(name, needed[name], tuple(extras[name])) for name in needed]


def state_of(installed: str | None, needed: str) -> State:
    """How a version such as `2.13.0+cpu` stands to bounds such as `>=2.10,<3`."""
    if installed is None:
        return "missing"
    have = _release(installed)
    for sign, bound in BOUND.findall(needed):
        want = _release(bound)
        if (sign in (">=", "==") and have < want) or (sign == ">" and have <= want):
            return "too old"
        if (sign in ("<=", "==") and have > want) or (sign == "<" and have >= want):
            return "too new"
    return "ok"


def _package(name: str, needed: str, extras: tuple[str, ...]) -> Package:
    try:
        installed: str | None = version(name)
    except PackageNotFoundError:
        installed = None
    return Package(name, needed, installed, extras, state_of(installed, needed))


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without trailing zeros: 3.1 and 3.1.0 are the same."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[+a-z]", text, maxsplit=1)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _requirements() -> list[str]:
    """The installed project's requirements, or those of the source folder's pyproject.toml."""
    try:
        return requires(PROJECT) or []
    except PackageNotFoundError:
        source = Path(__file__).parents[1] / "pyproject.toml"
        project = tomllib.loads(source.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    marked = [f'{text}; extra == "{extra}"' for extra, texts in extras.items() for text in texts]
    return [*project["dependencies"], *marked]
