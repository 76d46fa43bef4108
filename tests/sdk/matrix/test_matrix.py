"""The matrix goes on where it stopped, tries failures again, and draws what it found."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from runtime_py.errors import SdkError
from sdk.matrix.cells import Cell, Matrix, read_matrix, write_matrix
from sdk.matrix.page import markdown, picture
from sdk.matrix.runner import open_tasks, run_tasks

VERSIONS = {"torch": "2.13.0"}


def cell(target: str, status: str = "executed", **more: object) -> Cell:
    row = {"model": "mcunet_in0", "precision": "fp32", "target": target, "status": status, "sqnr_db": 120.0, "bytes": 9}
    return msgspec.convert(row | more, Cell)


def test_proven_cells_are_not_tried_again_and_failed_ones_are(tmp_path: Path) -> None:
    found = (cell("onnx"), cell("tflite", "failed", sqnr_db=None, why="no such operator"))
    write_matrix(Matrix(versions=VERSIONS).with_cells(found), tmp_path / "matrix.json")
    matrix = read_matrix(tmp_path / "matrix.json", VERSIONS)
    targets = ("onnx", "tflite", "openvino")
    assert open_tasks(matrix, ["mcunet_in0"], ["fp32"], targets) == [("mcunet_in0", "fp32", ("tflite", "openvino"))]
    done = matrix.with_cells((cell("tflite"), cell("openvino")))
    assert open_tasks(done, ["mcunet_in0"], ["fp32"], targets) == []
    assert len(done.cells) == 3, "a second try takes the place of the first"


def test_cells_of_other_tools_are_forgotten(tmp_path: Path) -> None:
    write_matrix(Matrix(versions=VERSIONS, cells=(cell("onnx"),)), tmp_path / "matrix.json")
    assert read_matrix(tmp_path / "matrix.json", {"torch": "2.14.0"}).cells == ()
    (tmp_path / "matrix.json").write_text("{")
    with pytest.raises(SdkError, match="is no matrix"):
        read_matrix(tmp_path / "matrix.json", VERSIONS)


def test_the_page_and_the_picture_say_what_failed_and_why() -> None:
    matrix = Matrix(versions=VERSIONS).with_cells((cell("onnx"), cell("tflite", "failed", sqnr_db=None, why="no <op>")))
    page = markdown(matrix, ["mcunet_in0"], ["fp32"])
    assert "| mcunet_in0 | – | **failed** | – | – | 120 dB, 0.0 MB, 0 s |" in page
    assert "- **mcunet_in0**, fp32, tflite: no <op>" in page
    drawing = ElementTree.fromstring(picture(matrix, ["mcunet_in0"], ["fp32"]))
    titles = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert "mcunet_in0, fp32, onnx: executed, 120.0 dB" in titles
    assert "mcunet_in0, fp32, tflite: failed" in titles


def test_a_network_is_exported_in_a_process_of_its_own() -> None:
    begun: list[object] = []
    tasks = [("mcunet_in0", "fp32", ("onnx",)), ("no_such_network", "fp32", ("onnx", "tflite"))]
    real, wrong = run_tasks(tasks, 1, begun.append)
    assert begun == tasks
    assert [(c.target, c.status) for c in real] == [("onnx", "executed")]
    assert (real[0].sqnr_db or 0) > 60
    assert [c.status for c in wrong] == ["failed", "failed"]
    assert "no_such_network" in wrong[0].why
