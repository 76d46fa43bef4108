"""The file that says what to measure, in TOML or YAML, and its validation."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from devices.reaching import python_at, reach_folder
from exporters import ALL
from models_zoo import MODELS
from runtime_py.bundle import open_bundle
from runtime_py.errors import SdkError, missing_extra, unknown_name
from sdk.quantize.scheme import SCHEMES

LARGEST_BYTES = 2**20
NEEDS_DATA = "mixed"
"""The precision that is chosen by labelled data, which no such file names."""
Name = Annotated[str, Meta(min_length=1, max_length=120)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class BadPlan(SdkError):
    """A bench file that cannot be read, or that asks for what does not exist; it names the field."""

    id = "bench-file"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a field that is not known is an error, as it is most likely misspelt."""


class Network(Table, frozen=True, kw_only=True):
    """A network of the zoo, which is exported, or a ready bundle. Paths begin at the file's folder.

    `weights` is a tag of the zoo or a file; `calibration` what `sdk export --calibration` takes, where the precision
    needs it: without it, the photos that the SDK ships, which are enough for timing and not for accuracy.
    """

    model: str = ""
    bundle: str = ""
    name: str = ""
    weights: str = ""
    input_size: Annotated[int, Meta(ge=1, le=8192)] | None = None
    calibration: str = ""


class Place(Table, frozen=True, kw_only=True):
    """A device by its address. `emulated` marks its rows: the times of an emulator mean nothing.

    `extras`, `python`, `wheels` and `ssh_options` are those of `sdk push`.
    """

    address: Name
    name: str = ""
    emulated: bool = False
    extras: tuple[Name, ...] = ()
    python: Name = "python3"
    wheels: str = ""
    ssh_options: tuple[Name, ...] = ()


class File(Table, frozen=True, kw_only=True):
    """The file as it is written. `threads`, `quick`, `samples`, `seconds`, `sustain_s` and `meter` are those of
    `sdk profile`; `repeats` and `attempts` are told in docs/benchmarking.md."""

    networks: Annotated[tuple[Name | Network, ...], Meta(min_length=1)]
    targets: Annotated[tuple[Name, ...], Meta(min_length=1)] = ALL
    precisions: Annotated[tuple[Name, ...], Meta(min_length=1)] | None = None
    devices: Annotated[tuple[Name | Place, ...], Meta(min_length=1)] = ("local",)
    threads: Annotated[tuple[Annotated[int, Meta(ge=1, le=999)], ...], Meta(min_length=1)] = (1,)
    name: str = ""
    quick: bool = False
    samples: Count | None = None
    seconds: Seconds | None = None
    sustain_s: Seconds = 0.0
    meter: str = ""
    repeats: Annotated[int, Meta(ge=5, le=50)] = 8
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    page: str = ""


class Cell(NamedTuple):
    """What one row is of: names as the file gives them."""

    network: str
    precision: str
    target: str
    threads: int
    device: str

    def __str__(self) -> str:
        return f"{self.network} {self.precision} {self.target}, {_count(self.threads)}, {self.device}"


class Protocol(msgspec.Struct, frozen=True, kw_only=True):
    """How long a row is measured: rows of two protocols never share a run."""

    quick: bool
    samples: int | None
    seconds: float | None
    sustain_s: float
    meter: str
    repeats: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was found good: every network and device has a name of its own, and paths are whole."""

    path: Path
    name: str
    networks: tuple[Network, ...]
    targets: tuple[str, ...]
    precisions: tuple[str, ...] | None
    devices: tuple[Place, ...]
    threads: tuple[int, ...]
    protocol: Protocol
    attempts: int
    page: Path | None

    def cells(self) -> Iterator[Cell]:
        """Every row that the file asks for, device by device. A ready bundle has those that it holds."""
        for place, network in product(self.devices, self.networks):
            for precision, target in self.formats(network):
                yield from (Cell(network.name, precision, target, count, place.name) for count in self.threads)

    def formats(self, network: Network) -> list[tuple[str, str]]:
        """Its precisions and targets."""
        if not network.bundle:
            return list(product(self.precisions or ("fp32",), self.targets))
        held = [(one.precision, one.target) for one in open_bundle(network.bundle).manifest.artifacts]
        return [one for one in held if one[1] in self.targets and one[0] in (self.precisions or (one[0],))]

    def network(self, name: str) -> Network:
        """The network of that name."""
        return next(one for one in self.networks if one.name == name)


def read_plan(path: Path, *, quick: bool = False) -> Plan:
    """The plan of a .toml, .yaml or .yml file; `quick` as if the file said so. Raises BadPlan or MissingExtra."""
    return _checked(_parsed(path), path.resolve(), quick)


def _parsed(path: Path) -> File:
    kind = path.suffix.lower()
    if kind not in (".toml", ".yaml", ".yml"):
        raise BadPlan(f"{path} is no bench file", expected="a file whose name ends in .toml, .yaml or .yml")
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise BadPlan(f"{path} is larger than {LARGEST_BYTES} bytes", expected="a bench file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlan(f"{path} could not be read: {error}", expected="a bench file in TOML or YAML, UTF-8") from error
    try:
        return msgspec.convert(_toml(text, path) if kind == ".toml" else _yaml(text, path), File)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = re.sub(r"\[\.\.\.\]", "", where.rstrip("`")).lstrip(".")
        raise BadPlan(f"{path}: {f'field {field}: ' if field else ''}{what}", hint="docs/benchmarking.md") from error


def _toml(text: str, path: Path) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadPlan(f"{path} is no TOML: {error}") from error


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise missing_extra("PyYAML", "bench", "a bench file in YAML") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise BadPlan(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _checked(file: File, path: Path, quick: bool) -> Plan:
    def known(field: str, what: str, given: Sequence[str], names: Sequence[str]) -> None:
        for name in given:
            if name not in names:
                unknown = unknown_name(what, name, list(names))
                raise BadPlan(f"{path}: field {field}: {unknown.given}", expected=unknown.expected, hint=unknown.hint)
        _once(path, field, given)

    known("targets", "target", file.targets, ALL)
    known("precisions", "precision", file.precisions or (), list(SCHEMES))
    networks = tuple(_network(one, path, f"networks[{at}]") for at, one in enumerate(file.networks))
    devices = tuple(_place(one, path, f"devices[{at}]") for at, one in enumerate(file.devices))
    for field, names in (("networks", [one.name for one in networks]), ("devices", [one.name for one in devices])):
        _once(path, field, names)
    _once(path, "threads", file.threads)
    if NEEDS_DATA in (file.precisions or ()) and not all(one.bundle for one in networks):
        raise BadPlan(
            f"{path}: field precisions: {NEEDS_DATA} is chosen by labelled data, which a bench file does not name",
            hint="sdk export --precision mixed --eval-data ..., and name that bundle in networks",
        )
    protocol = Protocol(quick=file.quick or quick, samples=file.samples, seconds=file.seconds,
                        sustain_s=file.sustain_s, meter=file.meter, repeats=file.repeats)  # fmt: skip
    plan = Plan(
        path=path, name=file.name or path.stem, networks=networks, targets=file.targets, precisions=file.precisions,
        devices=devices, threads=file.threads, protocol=protocol, attempts=file.attempts,
        page=path.parent / file.page if file.page else None,
    )  # fmt: skip
    for at, network in enumerate(networks):
        if not plan.formats(network):
            raise BadPlan(f"{path}: field networks[{at}]: {network.bundle} holds none of the targets and precisions",
                          hint="name some that it holds; `sdk verify` lists them")  # fmt: skip
    return plan


def _network(given: str | Network, path: Path, field: str) -> Network:
    """With a name, and whole paths. A string is a bundle where it ends in .bundle or has a slash, else of the zoo."""
    if isinstance(given, str):
        is_path = given.endswith(".bundle") or "/" in given
        given = Network(bundle=given) if is_path else Network(model=given)
    if bool(given.model) == bool(given.bundle):
        raise BadPlan(f"{path}: field {field}: a network has either model or bundle", hint="docs/benchmarking.md")
    if given.bundle:
        if given.weights or given.input_size or given.calibration:
            raise BadPlan(f"{path}: field {field}: weights, input_size and calibration are for exporting a model",
                          expected="bundle and name alone")  # fmt: skip
        folder = path.parent / given.bundle
        try:
            open_bundle(folder)
        except SdkError as error:
            raise BadPlan(f"{path}: field {field}: {error.given}", expected=error.expected, hint=error.hint) from error
        return msgspec.structs.replace(
            given, bundle=str(folder), name=given.name or folder.name.removesuffix(".bundle")
        )
    if given.model not in MODELS:
        unknown = unknown_name("network", given.model, list(MODELS))
        raise BadPlan(f"{path}: field {field}: {unknown.given}", expected=unknown.expected,
                      hint=unknown.hint or "a ready bundle is a path that ends in .bundle")  # fmt: skip
    paths = {"weights": given.weights if Path(given.weights).suffix else "", "calibration": given.calibration}
    whole = {name: str(path.parent / value) for name, value in paths.items() if value}
    for name, value in whole.items():
        if not Path(value).exists():
            raise BadPlan(f"{path}: field {field}.{name}: {value} is not there")
    return msgspec.structs.replace(given, name=given.name or given.model, **whole)


def _place(given: str | Place, path: Path, field: str) -> Place:
    place = Place(address=given) if isinstance(given, str) else given
    try:
        if not place.address.startswith("adb:"):  # whose only device is asked for when it is measured
            reach_folder(place.address, place.ssh_options)
        named = place.address == "local" or bool(python_at(place.address))
    except SdkError as error:
        raise BadPlan(f"{path}: field {field}: {error.given}", expected=error.expected, hint=error.hint) from error
    if not named:
        raise BadPlan(f"{path}: field {field}: {place.address!r} names no folder", expected="local, or an address with "
                      "a folder for bundles: ssh://user@host/folder, adb:SERIAL/folder")  # fmt: skip
    wheels = str(path.parent / place.wheels) if place.wheels else ""
    return msgspec.structs.replace(place, name=place.name or place.address, wheels=wheels)


def _once(path: Path, field: str, names: Sequence[Any]) -> None:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        hint = "a table with a name of its own tells two apart" if field in ("networks", "devices") else ""
        raise BadPlan(f"{path}: field {field}: {twice!r} is there twice", expected="each once", hint=hint)


def _count(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"
