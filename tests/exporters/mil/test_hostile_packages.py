"""Damaged or dishonest packages are refused with a clear error, before or when they run."""
# ruff: noqa: E501  # the table reads best with one line a defect

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporters.mil.errors import (
    CorruptPackage,
    UnsupportedOperator,
    UnsupportedProgram,
    WrongInput,
    WrongOutput,
)
from exporters.mil.interpreter import Interpreter, missing_operators, operator_counts
from exporters.mil.ops import OPERATORS
from exporters.mil.package import read_program
from exporters.mil.proto import model_messages

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")
RECORD = 64  # of the first blob, after the header


@pytest.fixture(scope="module")
def sound(convert: Callable[..., Path]) -> Path:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    return convert(module, torch.randn(1, 3, 8, 8))


@pytest.fixture
def package(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model.mlpackage"))


def edit_bytes(path: Path, offset: int, layout: str, value: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, offset, value)
    path.write_bytes(data)


def edit_model(package: Path, edit: Callable[[Any], None]) -> None:
    model = model_messages().Model.FromString((package / MODEL).read_bytes())
    edit(model)
    (package / MODEL).write_bytes(model.SerializeToString())


def operations(model: Any, kind: str) -> list[Any]:
    main = model.mlProgram.functions["main"]
    return [o for o in main.block_specializations[main.opset].operations if o.type == kind]


def first_blob(model: Any) -> Any:
    return next(
        o.attributes["val"]
        for o in operations(model, "const")
        if o.attributes["val"].WhichOneof("value") == "blobFileValue"
    )


def edit_manifest(package: Path, path: str) -> None:
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = path
    (package / "Manifest.json").write_text(json.dumps(manifest))


def flip_constant(model: Any) -> None:
    value = first_blob(model)
    value.type.tensorType.dimensions[0].constant.size += 1


def set_blob(model: Any, name: str, value: Any) -> None:
    setattr(first_blob(model).blobFileValue, name, value)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated weights": (lambda p: (p / WEIGHTS).write_bytes((p / WEIGHTS).read_bytes()[:-900]), "past the end"),
    "no header": (lambda p: (p / WEIGHTS).write_bytes(b"\1"), "at least 64"),
    "version": (lambda p: edit_bytes(p / WEIGHTS, 4, "<I", 3), "version 2"),
    "sentinel": (lambda p: edit_bytes(p / WEIGHTS, RECORD, "<I", 0xDEADBEE0), "sentinel"),
    "blob type": (lambda p: edit_bytes(p / WEIGHTS, RECORD + 4, "<I", 1), "fp32"),
    "blob size": (lambda p: edit_bytes(p / WEIGHTS, RECORD + 8, "<Q", 4), "elements"),
    "huge blob": (lambda p: edit_bytes(p / WEIGHTS, RECORD + 8, "<Q", 2**63), "past the end"),
    "data offset": (lambda p: edit_bytes(p / WEIGHTS, RECORD + 16, "<Q", 2**40), "past the end"),
    "unaligned data": (lambda p: edit_bytes(p / WEIGHTS, RECORD + 16, "<Q", 129), "aligned"),
    "record offset": (lambda p: edit_model(p, lambda m: set_blob(m, "offset", 2**30)), "past the end"),
    "unaligned record": (lambda p: edit_model(p, lambda m: set_blob(m, "offset", 65)), "aligned"),
    "blob outside": (lambda p: edit_model(p, lambda m: set_blob(m, "fileName", "@model_path/../../../x")), "@model_path"),
    "absolute blob": (lambda p: edit_model(p, lambda m: set_blob(m, "fileName", "/etc/passwd")), "@model_path"),
    "other blob": (lambda p: edit_model(p, lambda m: set_blob(m, "fileName", "@model_path/none.bin")), "missing"),
    "manifest outside": (lambda p: edit_manifest(p, "../../../etc/passwd"), "inside"),
    "manifest absolute": (lambda p: edit_manifest(p, "/etc/passwd"), "inside"),
    "manifest names nothing": (lambda p: edit_manifest(p, "none.mlmodel"), "no file"),
    "manifest is a list": (lambda p: (p / "Manifest.json").write_text("[]"), "manifest"),
    "manifest is not JSON": (lambda p: (p / "Manifest.json").write_bytes(b"\xff{"), "manifest"),
    "no manifest": (lambda p: (p / "Manifest.json").unlink(), "Manifest.json"),
    "no model": (lambda p: (p / MODEL).unlink(), "no file"),
    "no weights": (lambda p: shutil.rmtree((p / WEIGHTS).parent), "missing"),
    "garbage model": (lambda p: (p / MODEL).write_bytes(b"\xff" * 99), "not a Core ML model"),
    "half a model": (lambda p: (p / MODEL).write_bytes((p / MODEL).read_bytes()[:-7]), "not a Core ML model"),
    "constant's shape": (lambda p: edit_model(p, flip_constant), "elements"),
    "no opset": (lambda p: edit_model(p, lambda m: setattr(m.mlProgram.functions["main"], "opset", "X")), "opset"),
    "undefined name": (lambda p: edit_model(p, lambda m: setattr(operations(m, "relu")[0].inputs["x"].arguments[0], "name", "no")), "before it is defined"),
    "described output": (lambda p: edit_model(p, lambda m: setattr(m.description.output[0], "name", "no")), "outputs"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused(package: Path, damage: str) -> None:
    apply, says = DAMAGE[damage]
    apply(package)
    with pytest.raises(CorruptPackage, match=says) as caught:
        read_program(package)
    assert caught.value.id == "corrupt-mlpackage"


def test_link_out_of_the_package_is_refused(package: Path) -> None:
    outside = package.parent / "elsewhere.bin"
    shutil.move(package / WEIGHTS, outside)
    (package / WEIGHTS).symlink_to(outside)
    with pytest.raises(CorruptPackage, match="@model_path"):
        read_program(package)


def test_neural_network_is_refused(package: Path) -> None:
    edit_model(package, lambda m: m.neuralNetwork.layers.add())
    with pytest.raises(UnsupportedProgram, match="neuralNetwork"):
        read_program(package)


def test_wrong_declared_output_is_named(package: Path) -> None:
    def swap(model: Any) -> None:
        dimensions = operations(model, "relu")[0].outputs[0].type.tensorType.dimensions
        dimensions[1].constant.size += 1

    edit_model(package, swap)
    with pytest.raises(WrongOutput, match="relu"):
        run(package)


def test_wrong_declared_dtype_is_named(package: Path) -> None:
    edit_model(package, lambda m: setattr(operations(m, "relu")[0].outputs[0].type.tensorType, "dataType", 10))
    with pytest.raises(WrongOutput, match=r"relu(.|\n)*fp16"):
        run(package)


def test_failing_operator_is_named(package: Path) -> None:
    def swap(model: Any) -> None:
        dimensions = next(o for o in operations(model, "const") if len(o.outputs[0].type.tensorType.dimensions) == 2)
        for kind in (dimensions.outputs[0].type, dimensions.attributes["val"].type):
            sizes = [d.constant.size for d in kind.tensorType.dimensions]
            for d, size in zip(kind.tensorType.dimensions, sizes[::-1], strict=True):
                d.constant.size = size

    edit_model(package, swap)
    with pytest.raises(WrongOutput, match="linear"):
        run(package)


def run(package: Path, x: np.ndarray | None = None) -> dict[str, np.ndarray]:
    program = read_program(package)
    x = np.zeros((1, 3, 8, 8), np.float32) if x is None else x
    return Interpreter(program).run({program.inputs[0].name: x})


def test_missing_operators_are_named(package: Path) -> None:
    program = read_program(package)
    known = {name: operator for name, operator in OPERATORS.items() if name not in ("relu", "linear")}
    assert missing_operators(program, known) == ("linear", "relu")
    with pytest.raises(UnsupportedOperator, match="linear, relu") as caught:
        Interpreter(program, known).run({program.inputs[0].name: np.zeros((1, 3, 8, 8), np.float32)})
    assert caught.value.id == "mil-operator-missing"


def test_unknown_input_of_a_known_operator_is_named(package: Path) -> None:
    edit_model(
        package,
        lambda m: operations(m, "relu")[0].inputs["slope"].CopyFrom(operations(m, "relu")[0].inputs["x"]),
    )
    with pytest.raises(UnsupportedOperator, match=r"relu(.|\n)*slope"):
        run(package)


def test_counts_leave_constants_out(package: Path) -> None:
    assert operator_counts(read_program(package)) == {"conv": 1, "linear": 1, "relu": 1, "reshape": 1}


@pytest.mark.parametrize("x", [np.zeros((1, 3, 8, 9), np.float32), np.zeros((1, 3, 8, 8)), np.zeros(3, np.float32)])
def test_wrong_input_is_refused(package: Path, x: np.ndarray) -> None:
    with pytest.raises(WrongInput, match="float32"):
        run(package, x)


def test_read_only_input_is_accepted(package: Path) -> None:
    x = np.frombuffer(bytes(4 * 3 * 64), np.float32).reshape(1, 3, 8, 8)
    assert not x.flags.writeable
    (result,) = run(package, x).values()
    assert result.shape == (1, 5)


def test_wrong_input_name_is_refused(package: Path) -> None:
    with pytest.raises(WrongInput, match="nothing"):
        Interpreter(read_program(package)).run({"nothing": np.zeros(1, np.float32)})


SCRIPT = """
import sys, time
import torch
from pathlib import Path
start = time.perf_counter()
from exporters.mil.package import read_program
from exporters.mil.interpreter import Interpreter
read_program(Path(sys.argv[1]))
assert "coremltools" not in sys.modules, "coremltools was imported"
print(time.perf_counter() - start)
"""


def test_reading_is_fast_and_does_not_import_coremltools(convert: Callable[..., Path]) -> None:
    large = convert(torch.nn.Sequential(*[torch.nn.Linear(512, 512) for _ in range(5)]), torch.randn(1, 512))
    assert (large / WEIGHTS).stat().st_size > 5_000_000
    script = [sys.executable, "-W", "error::UserWarning:google", "-c", SCRIPT, str(large)]
    root = Path(__file__).parents[3]
    done = subprocess.run(script, capture_output=True, text=True, cwd=root, check=True)
    assert float(done.stdout) < 1.0
