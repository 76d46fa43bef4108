"""Each registry is a literal table beside a folder of modules: neither may hold what the other lacks."""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from devices.operators import TIMERS
from exporters import TARGETS, get_target
from exporters.base import Exporter
from models_zoo import MODELS, get_spec
from models_zoo.weights import labels_of
from runtime_py.engines import ENGINES, get_engine
from runtime_py.errors import UnknownName
from sdk.commands import COMMANDS

ROOT = Path(__file__).parents[1]
MARKS = {"exporters": "exporter", "runtime_py/engines": "load", "sdk/commands": "command", "devices/operators": "timed"}
"""The name that every module of a table defines, and no other module of its folder."""
TABLES = {
    "exporters": {row.module for row in TARGETS.values()},
    "runtime_py/engines": {row.module for row in ENGINES.values()},
    "sdk/commands": {row.module for row in COMMANDS.values()},
    "devices/operators": set(TIMERS.values()),
}


def defined(path: Path) -> set[str]:
    """Names that a module's top level defines."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("folder", TABLES)
def test_the_table_and_the_folder_name_the_same_modules(folder: str) -> None:
    files = {path.stem: path for path in (ROOT / folder).glob("*.py") if path.stem != "__init__"}
    files |= {path.parent.name: path for path in (ROOT / folder).glob("*/__init__.py")}
    entries = {f"{folder.replace('/', '.')}.{name}" for name, path in files.items() if MARKS[folder] in defined(path)}
    assert entries == TABLES[folder]


def test_every_architecture_of_the_zoo_is_in_its_table() -> None:
    others = {"__init__", "registry", "weights", "fetch", "download", "hub", "misfit", "pickled"}
    files = {path.stem for path in (ROOT / "models_zoo").glob("*.py")} - others
    factories = {spec.factory for spec in MODELS.values()}
    assert {factory.partition(":")[0].removeprefix("models_zoo.") for factory in factories} == files
    for factory in factories:
        module, _, function = factory.partition(":")
        assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize(
    "table", ["exporters/__init__.py", "runtime_py/engines/__init__.py", "sdk/commands/__init__.py"]
)
def test_a_key_of_a_table_stands_there_once(table: str) -> None:
    tree = ast.parse((ROOT / table).read_text(encoding="utf-8"))
    tables = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)]
    keys = [ast.literal_eval(key) for node in tables for key in node.keys if key is not None]
    assert keys, f"{table} holds no literal table"
    assert len(keys) == len(set(keys))


def test_every_target_has_an_engine() -> None:
    assert list(TARGETS) == list(ENGINES)


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_of_a_target_fits_its_exporter(name: str) -> None:
    row = TARGETS[name]
    absent = [package for package in row.packages if find_spec(package) is None]
    if absent:
        pytest.skip(f"{row.title} needs {', '.join(absent)}, not installed here")
    exporter: Exporter = import_module(row.module).exporter
    assert (exporter.name, exporter.suffix) == (name, row.suffix)
    assert callable(exporter.check)
    assert callable(exporter.lower)


@pytest.mark.parametrize("name", ENGINES)
def test_a_row_of_an_engine_fits_its_module(name: str) -> None:
    assert callable(import_module(ENGINES[name].module).load)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_its_name_and_examples(name: str) -> None:
    command = import_module(COMMANDS[name].module).command
    assert command.help
    assert f"sdk {name}" in (command.epilog or ""), "--help shows no example"
    assert COMMANDS[name].summary.endswith(".")


@pytest.mark.parametrize("name", MODELS)
def test_a_row_of_a_model_is_complete(name: str) -> None:
    spec = MODELS[name]
    assert spec.name == name
    assert spec.source
    assert min(spec.params, spec.macs, *spec.shape) > 0
    assert (spec.num_classes > 0) == bool(spec.labels) == bool(spec.classifier) == (spec.task != "decode_video")
    assert not spec.labels or len(labels_of(spec)) == spec.num_classes
    assert all(0 < share < 1 for share in spec.accuracy.values())
    assert len(spec.mean) == len(spec.std) == 3
    assert spec.default_weights is None or spec.default_weights in spec.weights


@pytest.mark.parametrize(
    ("look_up", "near", "hint"),
    [
        (get_target, "corml", "coreml"),
        (get_engine, "onx", "onnx"),
        (get_spec, "mobilenetv4_conv_smal", "mobilenetv4_conv_small"),
    ],
)
def test_an_unknown_name_gets_the_nearest(look_up: object, near: str, hint: str) -> None:
    assert callable(look_up)
    with pytest.raises(UnknownName) as caught:
        look_up(near)
    assert hint in caught.value.hint
    assert hint in caught.value.expected
