"""Bundles whose answers have a closed form, for ONNX Runtime; and the same networks for torch, as source code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_py.bundle import describe, write_bundle
from runtime_py.manifest import Artifact, Classify, DecodeVideo, Detect, File, Manifest, Preprocessing, Tensor

COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "black")
CORNERS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]], np.float32)
"""Of the RGB cube. A class's score is (2 corner - 1) . (2 mean - 1): 3 at its own corner, 1 at that corner's
neighbours, -1 and -3 further off."""
NETS = f"""
import os, signal, torch

CORNERS = 2 * torch.tensor({CORNERS.tolist()}) - 1

class Colours(torch.nn.Module):
    def forward(self, x):
        return (2 * x.mean((2, 3)) - 1) @ CORNERS.T

class Inverted(torch.nn.Module):
    def forward(self, x):
        return (1 - 2 * x.mean((2, 3))) @ CORNERS.T

class Quantised(Colours):
    def forward(self, x):
        import torch.ao.quantization.fx._decomposed
        q = torch.ops.quantized_decomposed
        kind = (1 / 64, 0, -128, 127, torch.int8)
        return q.dequantize_per_tensor(q.quantize_per_tensor(super().forward(x) / 3, *kind), *kind) * 3

def killed():
    os.kill(os.getpid(), signal.SIGKILL)
"""

Answer = Callable[[np.ndarray], np.ndarray]


def solid(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def colours(folder: Path, *, swapped: bool = False, **changes: object) -> Path:
    """A classifier of the image's mean colour, input (1, 3, 16, 16).

    `swapped` makes the ONNX file, and not the golden answers, take red and cyan for each other.
    """
    from onnx import helper, numpy_helper

    corners = 2 * CORNERS - 1
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "two"], ["twice"]),
        helper.make_node("Sub", ["twice", "one"], ["signed"]),
        helper.make_node("MatMul", ["signed", "corners"], ["y"]),
    ]
    constants = {
        "axes": np.array([2, 3], np.int64),
        "two": np.float32(2),
        "one": np.float32(1),
        "corners": np.ascontiguousarray((corners[[4, 1, 2, 3, 0, 5, 6]] if swapped else corners).T),
    }
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return _bundle(
        folder, nodes, initial, (1, 3, 16, 16), (1, 7), lambda x: (2 * x.mean((2, 3)) - 1) @ corners.T,
        {"task": "classify", "postprocessing": Classify(output="y"), "labels": COLOURS,
         "preprocessing": Preprocessing(input="x", width=16, height=16), **changes},
    )  # fmt: skip


def boxes(folder: Path, **changes: object) -> Path:
    """A detector of two cells, input (1, 3, 32, 32): `box` 8 x 8 about (8, 8) as sure as the image is red, and `ball`
    8 x 8 about (24, 24) as sure as it is green."""
    from onnx import helper, numpy_helper

    sides = np.array([[8, 24], [8, 24], [8, 8], [8, 8]], np.float32)[None]
    place = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "place"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["scores"]),
        helper.make_node("Concat", ["sides", "scores"], ["y"], axis=1),
    ]
    constants = {
        "axes": np.array([2, 3], np.int64),
        "place": place,
        "shape": np.array([1, 2, 2], np.int64),
        "sides": sides,
    }
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _bundle(
        folder, nodes, initial, (1, 3, 32, 32), (1, 6, 2),
        lambda x: np.concatenate((sides, (x.mean((2, 3)) @ place).reshape(1, 2, 2)), 1),
        {"task": "detect", "postprocessing": Detect(output="y"), "labels": ("box", "ball"),
         "preprocessing": Preprocessing(input="x", width=32, height=32, resize_type="letterbox"), **changes},
    )  # fmt: skip


def frames(folder: Path) -> Path:
    """A video decoder that gives its latent (1, 3, 2, 16, 16) as it is."""
    from onnx import helper

    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    how = DecodeVideo(input="x", output="y", scale=(1, 1, 1))
    shape = (1, 3, 2, 16, 16)
    return _bundle(folder, nodes, [], shape, shape, lambda x: x, {"task": "decode_video", "postprocessing": how})


def _bundle(
    folder: Path,
    nodes: list[object],
    initial: list[object],
    taken: tuple[int, ...],
    given: tuple[int, ...],
    answer: Answer,
    fields: dict[str, object],
) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx builds the test's network")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the test's network")
    from onnx import TensorProto, helper

    folder.mkdir(parents=True)
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, given)], initial,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "net.onnx"))
    x = np.random.default_rng(0).random(taken, np.float32)
    np.savez(folder / "golden.npz", **{"in.random.x": x, "out.random.y": answer(x).astype(np.float32)})
    (folder / "broken.tflite").write_bytes(b"no flatbuffer at all")
    artifacts = [
        _artifact(folder, target, file) for target, file in (("onnx", "net.onnx"), ("tflite", "broken.tflite"))
    ]
    size, sha256 = describe(folder / "golden.npz")
    manifest: dict[str, object] = {
        "model": "net", "source": "nets.py:Colours",
        "inputs": (Tensor(name="x", shape=taken),), "outputs": (Tensor(name="y", shape=given),),
        "artifacts": tuple(artifacts), "files": (File(file="golden.npz", bytes=size, sha256=sha256),),
    }  # fmt: skip
    write_bundle(folder, Manifest(**manifest | fields))  # type: ignore[arg-type]
    return folder


def _artifact(folder: Path, target: str, file: str) -> Artifact:
    size, sha256 = describe(folder / file)
    return Artifact(
        target=target, precision="fp32", file=file, bytes=size, sha256=sha256, status="executed",
        inputs=("x",), outputs=("y",),
    )  # fmt: skip
