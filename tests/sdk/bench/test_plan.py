"""What a bench file may say, and how it is told what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from exporters import ALL
from runtime_py.errors import MissingExtra
from sdk.bench.plan import BadPlan, Cell, read_plan
from tests.runtime_py.colours import make_bundle

TOML = """
name = "nightly"
networks = ["mcunet_in0", {model = "leyolo_nano", name = "yolo", weights = "coco", input_size = 320}]
targets = ["tflite", "onnx"]
precisions = ["fp32", "w8a8"]
devices = ["local", {address = "ssh://pi@board/srv/models", name = "pi5", emulated = true, extras = ["litert"]}]
threads = [1, 4]
seconds = 2
meter = "auto"
page = "pages/nightly.md"
"""
YAML = """
name: nightly
networks:
  - mcunet_in0
  - {model: leyolo_nano, name: yolo, weights: coco, input_size: 320}
targets: [tflite, onnx]
precisions: [fp32, w8a8]
devices:
  - local
  - {address: "ssh://pi@board/srv/models", name: pi5, emulated: true, extras: [litert]}
threads: [1, 4]
seconds: 2
meter: auto
page: pages/nightly.md
"""


def write(folder: Path, text: str, name: str = "b.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_in_toml_and_the_same_in_yaml(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="PyYAML reads the second file")
    plan, other = read_plan(write(tmp_path, TOML)), read_plan(write(tmp_path, YAML, "b.yml"))
    assert list(plan.cells()) == list(other.cells())
    assert (plan.networks, plan.devices, plan.protocol, plan.page) == (
        other.networks, other.devices, other.protocol, other.page
    )  # fmt: skip
    assert len(list(plan.cells())) == 2 * 2 * 2 * 2 * 2
    assert next(plan.cells()) == Cell("mcunet_in0", "fp32", "tflite", 1, "local")
    assert plan.network("yolo").input_size == 320
    assert plan.devices[1].emulated
    assert (plan.protocol.seconds, plan.protocol.meter, plan.protocol.quick) == (2.0, "auto", False)
    assert plan.page == tmp_path / "pages/nightly.md"


def test_what_need_not_be_said(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, 'networks = ["mcunet_in0"]'), quick=True)
    assert (plan.name, plan.targets, plan.threads, plan.page) == ("b", ALL, (1,), None)
    assert [place.address for place in plan.devices] == ["local"]
    assert plan.protocol.quick
    assert {cell.precision for cell in plan.cells()} == {"fp32"}


def test_a_ready_bundle_has_the_cells_that_it_holds(tmp_path: Path) -> None:
    make_bundle(tmp_path / "colours.bundle")
    plan = read_plan(write(tmp_path, 'networks = ["colours.bundle"]\nthreads = [1, 2]'))
    assert list(plan.cells()) == [Cell("colours", "fp32", "onnx", count, "local") for count in (1, 2)]
    assert plan.networks[0].bundle == str(tmp_path / "colours.bundle")


WRONG: dict[str, tuple[str, str]] = {
    "no network": ("", "networks"),
    "empty": ("networks = []", "field networks: "),
    "a type": ('networks = ["mcunet_in0"]\nthreads = ["2"]', "field threads"),
    "a number": ('networks = ["mcunet_in0"]\nthreads = [0]', "field threads"),
    "a misspelt field": ('networks = ["mcunet_in0"]\ntarget = ["onnx"]', "unknown field `target`"),
    "a misspelt field of a network": ('networks = [{model = "mcunet_in0", weight = "x"}]', "field networks"),
    "an unknown network": ('networks = ["mcunet_in0", "mcunet_in9"]', "field networks[1]: unknown network"),
    "an unknown target": ('networks = ["mcunet_in0"]\ntargets = ["tensorrt"]', "field targets: unknown target"),
    "a target without a runtime": ('networks = ["mcunet_in0"]\ntargets = ["mcu"]', "field targets: unknown target"),
    "an unknown precision": ('networks = ["mcunet_in0"]\nprecisions = ["int8"]', "field precisions: unknown precision"),
    "mixed": ('networks = ["mcunet_in0"]\nprecisions = ["mixed"]', "field precisions: mixed"),
    "twice": ('networks = ["mcunet_in0"]\ntargets = ["onnx", "onnx"]', "field targets: 'onnx' is there twice"),
    "two of a name": ('networks = ["mcunet_in0", {model = "mcunet_in0", weights = "in1k"}]', "'mcunet_in0' is there"),
    "both": ('networks = [{model = "mcunet_in0", bundle = "x.bundle"}]', "field networks[0]: a network has either"),
    "neither": ('networks = [{name = "x"}]', "field networks[0]: a network has either"),
    "no bundle": ('networks = ["x.bundle"]', "field networks[0]: "),
    "weights of a bundle": ('networks = [{bundle = "x.bundle", weights = "w"}]', "field networks[0]: weights"),
    "no such file": ('networks = [{model = "mcunet_in0", weights = "w.pth"}]', "field networks[0].weights: "),
    "no such photos": ('networks = [{model = "mcunet_in0", calibration = "p"}]', "field networks[0].calibration: "),
    "an address": ('networks = ["mcunet_in0"]\ndevices = ["local", "rpi5"]', "field devices[1]: 'rpi5' is a kind"),
    "no folder": ('networks = ["mcunet_in0"]\ndevices = ["ssh://pi@board"]', "field devices[0]: 'ssh://pi@board'"),
    "too few repeats": ('networks = ["mcunet_in0"]\nrepeats = 2', "field repeats: "),
    "infinite": ('networks = ["mcunet_in0"]\nseconds = inf', "field seconds: "),
    "no TOML": ("networks = [", "is no TOML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_the_field(case: str, tmp_path: Path) -> None:
    text, said = WRONG[case]
    with pytest.raises(BadPlan) as caught:
        read_plan(write(tmp_path, text))
    assert said in caught.value.given
    assert caught.value.given.startswith(str(tmp_path / "b.toml"))


@pytest.mark.parametrize(
    "text", ["networks: [", "2026-99-99", "!!python/object/apply:os.getcwd []", "- mcunet_in0", ""]
)
def test_yaml_that_is_none_or_no_table(text: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="PyYAML reads the file")
    with pytest.raises(BadPlan, match=r"b\.yaml"):
        read_plan(write(tmp_path, text, "b.yaml"))


def test_other_files(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", write(tmp_path, "", "b.json"), tmp_path):
        with pytest.raises(BadPlan):
            read_plan(path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadPlan, match=r"UTF-8|utf-8"):
        read_plan(tmp_path / "bytes.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(BadPlan, match="larger"):
        read_plan(tmp_path / "long.toml")


def test_yaml_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtra, match="PyYAML"):
        read_plan(write(tmp_path, YAML, "b.yaml"))


def test_the_file_of_the_published_page_is_good(repository: Path) -> None:
    plan: Any = read_plan(repository / "docs/benchmarks.toml")
    assert len(list(plan.cells())) == 3 * 5 * 2
