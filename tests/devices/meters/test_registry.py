import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from devices.meters import METERS, find, get_meter, open_meter
from devices.meters.samples import MeterFailed
from runtime_py.errors import UnknownName
from tests.devices.meters.simulated import Board
from tests.devices.meters.test_rapl import zones

ROOT = Path(__file__).parents[3]


def meters_of(path: Path) -> set[str]:
    """Public functions of a module that take an access first and give a meter."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and isinstance(node.returns, ast.Name)
        and node.returns.id in ("Polled", "Streamed", "CsvLog")
    }


def test_the_table_and_the_folder_name_the_same_meters() -> None:
    paths = (ROOT / "devices/meters").glob("*.py")
    assert {f"devices.meters.{path.stem}:{name}" for path in paths for name in meters_of(path)} == {
        row.factory for row in METERS.values()
    }


@pytest.mark.parametrize("name", METERS)
def test_a_row_makes_its_meter(name: str, tmp_path: Path) -> None:
    module, _, function = METERS[name].factory.partition(":")
    assert callable(getattr(import_module(module), function))
    meter = open_meter(name, Board().access(root=tmp_path))
    assert meter.name == name
    assert meter.rail
    assert meter.kind in ("measured", "estimated")


def test_an_unknown_name_and_an_unknown_option() -> None:
    with pytest.raises(UnknownName, match="tegrastats"):
        get_meter("tegrastat")
    with pytest.raises(MeterFailed, match="no option 'shunt'") as caught:
        open_meter("ina219", shunt=0.1)
    assert "shunt_ohms" in caught.value.expected


def test_what_works_here_is_found_and_the_rest_has_its_reason(tmp_path: Path) -> None:
    def run(command: object) -> str:
        raise MeterFailed("no such command")

    access = Board().access(root=tmp_path, run=run, has=lambda program: False)
    meter, why_not = find(access)
    assert meter is None
    assert set(why_not) == {name for name, row in METERS.items() if not row.external}
    assert all(why_not.values())
    zones(tmp_path, [1])
    meter, why_not = find(access)
    assert meter is not None
    assert meter.name == "rapl"
    assert "rapl" not in why_not


def test_listing_meters_opens_none() -> None:
    program = "import sys, devices.meters; print([n for n in sys.modules if n.startswith('devices.meters.')])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(ast.literal_eval(said.stdout)) == ["devices.meters.access", "devices.meters.samples"]
