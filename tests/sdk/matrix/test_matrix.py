"""The matrix goes on where it stopped, tries failures again, and draws what it found."""

import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from runtime_py.errors import SdkError
from sdk.matrix.cells import Cell, Matrix, read_matrix, write_matrix
from sdk.matrix.page import markdown, picture
from sdk.matrix.runner import open_tasks, run_tasks

VERSIONS, QUANTISERS = {"torch": "2.13.0"}, {"nncf": "3.4.0"}


def cell(target: str, status: str = "executed", **more: object) -> Cell:
    row = {"model": "mcunet_in0", "precision": "fp32", "target": target, "status": status, "sqnr_db": 120.0, "bytes": 9}
    return msgspec.convert(row | more, Cell)


def integer_cell(target: str, status: str = "executed", **more: object) -> Cell:
    own = {"precision": "w8a8", "model": "ghostnet_050", "sqnr_db": 21.4, "bytes": 3_000_000}
    program = {"program_db": 22.6, "agreement": 0.94, "fidelity_db": 31.2}
    row = own | {"integers": program} | more
    return cell(target, status, **{name: value for name, value in row.items() if value is not msgspec.UNSET})


def test_proven_cells_are_not_tried_again_and_failed_ones_are(tmp_path: Path) -> None:
    found = (cell("onnx"), cell("tflite", "failed", sqnr_db=None, why="no such operator"))
    write_matrix(Matrix(versions=VERSIONS).with_cells(found), tmp_path / "matrix.json")
    matrix = read_matrix(tmp_path / "matrix.json", VERSIONS, {})
    targets = ("onnx", "tflite", "openvino")
    assert open_tasks(matrix, ["mcunet_in0"], ["fp32"], targets) == [("mcunet_in0", "fp32", ("tflite", "openvino"))]
    done = matrix.with_cells((cell("tflite"), cell("openvino")))
    assert open_tasks(done, ["mcunet_in0"], ["fp32"], targets) == []
    assert len(done.cells) == 3, "a second try takes the place of the first"


def test_cells_of_other_tools_are_forgotten(tmp_path: Path) -> None:
    write_matrix(Matrix(versions=VERSIONS, cells=(cell("onnx"),)), tmp_path / "matrix.json")
    assert read_matrix(tmp_path / "matrix.json", {"torch": "2.14.0"}, {}).cells == ()
    (tmp_path / "matrix.json").write_text("{")
    with pytest.raises(SdkError, match="is no matrix"):
        read_matrix(tmp_path / "matrix.json", VERSIONS, {})


def test_other_quantisers_forget_the_integers_alone(tmp_path: Path) -> None:
    found = Matrix(versions=VERSIONS, quantisers=QUANTISERS, cells=(cell("onnx"), integer_cell("onnx")))
    write_matrix(found, tmp_path / "matrix.json")
    same = read_matrix(tmp_path / "matrix.json", VERSIONS, QUANTISERS)
    assert same.cells == (integer_cell("onnx"), cell("onnx")), "sorted by name"
    other = read_matrix(tmp_path / "matrix.json", VERSIONS, {"nncf": "3.5.0"})
    assert (other.cells, other.quantisers) == ((cell("onnx"),), {"nncf": "3.5.0"})


def test_a_matrix_from_before_there_were_integers_keeps_its_cells_as_they_are(repository: Path, tmp_path: Path) -> None:
    """The published file's float cells, read and written again: not a byte of them changes."""
    published = repository / "docs/matrix.json"
    before = json.loads(published.read_bytes())
    floats = [row for row in before["cells"] if row["precision"] in ("fp32", "fp16")]
    assert len(floats) == 240
    assert all("integers" not in row for row in floats)
    old = tmp_path / "old.json"
    old.write_text(json.dumps({"versions": before["versions"], "cells": floats}))
    write_matrix(read_matrix(old, before["versions"], QUANTISERS), tmp_path / "new.json")
    assert json.loads((tmp_path / "new.json").read_bytes())["cells"] == floats


def test_the_page_and_the_picture_say_what_failed_and_why() -> None:
    matrix = Matrix(versions=VERSIONS).with_cells((cell("onnx"), cell("tflite", "failed", sqnr_db=None, why="no <op>")))
    page = markdown(matrix, ["mcunet_in0"], ["fp32"])
    assert "| mcunet_in0 | not tried | **failed** | not tried | not tried | 120 dB, 0.0 MB, 0 s |" in page
    assert "- **mcunet_in0**, fp32, tflite: no <op>" in page
    drawing = ElementTree.fromstring(picture(matrix, ["mcunet_in0"], ["fp32"]))
    titles = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert "mcunet_in0, fp32, onnx: executed, 120.0 dB" in titles
    assert "mcunet_in0, fp32, tflite: failed" in titles


def test_integers_show_their_program_their_refusals_and_who_has_no_row() -> None:
    why = "SQNR 4.2 dB, and 50% of the answers are the same"
    low = {"program_db": 4.2, "agreement": 0.5}
    refused = [
        integer_cell(name, "refused", model="leyolo_nano", sqnr_db=None, bytes=None, integers=low, why=why)
        for name in ("onnx", "tflite")
    ]
    broken = integer_cell(
        "onnx", "failed", model="turbo_vaed_hunyuan", sqnr_db=None, integers=msgspec.UNSET, why="nothing to quantise"
    )
    matrix = Matrix(versions=VERSIONS, quantisers=QUANTISERS, cells=(integer_cell("onnx"), *refused, broken))
    models, kinds = ["ghostnet_050", "ghostnet_100", "leyolo_nano", "turbo_vaed_hunyuan"], ["fp32", "fp16", "w8a8"]
    page = markdown(matrix, models, kinds)
    empty = "not tried | not tried | not tried | not tried |"
    assert f"| ghostnet_050 | 22.6 dB, 94% the same | {empty} 21 dB (31), 3.0 MB, 0 s |" in page
    assert "| ghostnet_100 | – | – | – | – | – | – |" in page
    assert "| leyolo_nano | 4.2 dB, 50% the same | not tried | **refused** at 4.2 dB | not tried |" in page
    assert "| turbo_vaed_hunyuan | none: its convolutions are three-dimensional" in page
    assert f"- **leyolo_nano**, w8a8, onnx, tflite: {why}" in page, "a reason once, for all its targets"
    assert "fp32, fp16 and w8a8" in page
    assert "nncf 3.4.0" in page
    drawing = ElementTree.fromstring(picture(matrix, models, kinds))
    titles = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert "ghostnet_100, w8a8, onnx: not in this column" in titles
    assert "ghostnet_100, fp16, onnx: not tried" in titles
    assert "leyolo_nano, w8a8, onnx: refused" in titles


def test_integers_have_greens_of_their_own() -> None:
    """21 dB is good for 8 bits, and would be a failure in half precision."""
    integers = picture(Matrix(versions=VERSIONS, cells=(integer_cell("onnx"),)), ["ghostnet_050"], ["w8a8"])
    halves = picture(
        Matrix(versions=VERSIONS, cells=(integer_cell("onnx", precision="fp16"),)), ["ghostnet_050"], ["fp16"]
    )
    shades = [colours(drawing) for drawing in (integers, halves)]
    assert shades == ["#57b37c", "#d9534f"]


def colours(drawing: str) -> str:
    """Of the last column's cell in a picture of one network."""
    svg = "{http://www.w3.org/2000/svg}"
    cells = list(ElementTree.fromstring(drawing).iter(f"{svg}g"))
    return cells[-1].find(f"{svg}rect").attrib["fill"]  # type: ignore[union-attr]


def test_a_network_is_exported_in_a_process_of_its_own() -> None:
    begun: list[object] = []
    tasks = [("mcunet_in0", "fp32", ("onnx",)), ("no_such_network", "fp32", ("onnx", "tflite"))]
    real, wrong = run_tasks(tasks, 1, begun.append)
    assert begun == tasks
    assert [(c.target, c.status) for c in real] == [("onnx", "executed")]
    assert (real[0].sqnr_db or 0) > 60
    assert [c.status for c in wrong] == ["failed", "failed"]
    assert "no_such_network" in wrong[0].why
