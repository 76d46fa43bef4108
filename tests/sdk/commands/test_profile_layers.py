"""`sdk profile --layers` from end to end, on a network of two operators."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from devices.agent import NO_NETWORK, Job, operators_of
from runtime_py.bundle import check_files, open_bundle
from runtime_py.manifest import Node
from sdk.cli import cli
from tests.runtime_py.colours import make_bundle

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")
FEW = ("--samples", "5", "--seconds", "0.1", "--layers")
NETWORK = (
    Node(module="squeeze", kind="pool", input=(1, 3, 8, 12), output=(1, 3)),
    Node(module="head<b>", kind="linear", input=(1, 3), output=(1, 4), macs=12, weights=12),
)


def profiled(bundle: Path, *arguments: str) -> Any:
    found = CliRunner().invoke(cli, ["profile", str(bundle), *FEW, *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found


@pytest.fixture
def named(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "colours.bundle", network=NETWORK)


def test_operators_have_their_modules_and_are_kept_with_the_bundle(named: Path) -> None:
    (row,) = json.loads(profiled(named, "--save", "--json").stdout)["rows"]
    assert {one["module"] for one in row["operators"]} == {"squeeze", "head<b>"}
    (product,) = [one for one in row["operators"] if one["macs"]]
    assert (product["module"], product["node"], product["macs"], product["own"]) == ("head<b>", 1, 12, False)
    assert product["gmacs_per_s"] == pytest.approx(12 / product["ms"] / 1e6)
    assert all(one["ms"] > 0 for one in row["operators"])
    assert row["roofline"]["float_gmacs_per_s"] > 0
    assert product["roof"] > 0
    assert not {"operators", "modules"} & set(row["unmeasured"])
    saved = open_bundle(named)
    check_files(saved, complete=True)
    (kept,) = saved.manifest.profiles
    assert [one.to_dict() for one in kept.operators] == row["operators"]
    page = (named / "report.html").read_text()
    assert "Layers, targets side by side" in page
    assert "head&lt;b&gt;" in page
    assert "head<b>" not in page


def test_the_table_says_what_each_module_took(named: Path) -> None:
    text = profiled(named).output
    assert "the 2 slowest modules" in text
    for module in ("squeeze", "head<b>"):
        assert any(line.split()[:1] == [module] for line in text.splitlines())
    assert "operators of the" in text
    assert "the runtime's own" in text
    assert "layers:" not in text


def test_an_older_bundle_is_timed_without_names_and_that_is_said(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "colours.bundle")
    (row,) = json.loads(profiled(bundle, "--json").stdout)["rows"]
    assert row["operators"]
    assert {one["module"] for one in row["operators"]} == {""}
    assert row["unmeasured"]["modules"] == NO_NETWORK
    text = profiled(bundle).output
    assert "onnx, 1 thread, layers: the bundle does not list the network's operators" in text
    assert "export the bundle again" in text


def test_without_the_option_nothing_is_timed_or_said(named: Path) -> None:
    found = CliRunner().invoke(cli, ["profile", str(named), *FEW[:-1], "--json"], catch_exceptions=False)
    (row,) = json.loads(found.stdout)["rows"]
    assert (row["operators"], row["roofline"]) == ([], None)
    assert row["unmeasured"]["operators"] == "were not asked for"


def test_a_target_that_has_no_profile_says_why(named: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = SimpleNamespace(path=named, artifact=None, spec=open_bundle(named).manifest)
    found, why = operators_of(Job(str(named), "coreml", 1), session)
    assert found == {}
    assert why["operators"].startswith("coreml has no profile of its operators here")
    assert "operators" in capsys.readouterr().out  # its progress
