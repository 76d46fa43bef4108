"""A small bundle for ONNX Runtime, made without torch: y = W mean(image) + b, with four classes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from runtime_py.bundle import describe, write_bundle
from runtime_py.manifest import Artifact, Classify, File, Manifest, Preprocessing, Tensor

WEIGHT = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]], np.float32)
LABELS = ("red", "green", "blue", "black")


def save_onnx(path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx builds the test's network")
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weight"], ["scores"]),
        ],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 12])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.ascontiguousarray(WEIGHT.T), "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))


def make_bundle(folder: Path, *, weight: npt.NDArray[np.float32] = WEIGHT, **changes: object) -> Path:
    """`weight` is what the golden answers go by; the network's own is WEIGHT."""
    folder.mkdir()
    save_onnx(folder / "colours.onnx")
    (folder / "report.html").write_text("<!doctype html><title>colours</title>")
    photo = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    np.savez(folder / "golden.npz", **{"in.random.photo": photo, "out.random.logits": photo.mean((2, 3)) @ weight.T})
    size, sha256 = describe(folder / "colours.onnx")
    files = [
        File(file=name, bytes=describe(folder / name)[0], sha256=describe(folder / name)[1])
        for name in ("golden.npz", "report.html")
    ]
    fields: dict[str, object] = {
        "model": "colours",
        "task": "classify",
        "inputs": (Tensor(name="photo", shape=(1, 3, 8, 12)),),
        "outputs": (Tensor(name="logits", shape=(1, 4)),),
        "preprocessing": Preprocessing(input="photo", width=12, height=8),
        "postprocessing": Classify(output="logits"),
        "labels": LABELS,
        "artifacts": (
            Artifact(
                target="onnx", precision="fp32", file="colours.onnx", bytes=size, sha256=sha256, status="executed",
                inputs=("image",), outputs=("scores",),
            ),
        ),
        "files": tuple(files),
    }  # fmt: skip
    write_bundle(folder, Manifest(**fields | changes))  # type: ignore[arg-type]
    return folder
