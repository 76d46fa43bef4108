"""A small detector for ONNX Runtime, made without torch: it finds red, green and blue squares of 16 pixels on black.

The share of a colour in each window of 16 x 16 pixels, every 4 pixels, is the window's score.
"""

from pathlib import Path

import numpy as np
import pytest

from runtime_py.bundle import describe, write_bundle
from runtime_py.manifest import Artifact, Detect, Manifest, Preprocessing, Tensor

WIDTH, HEIGHT, SIDE, STRIDE = 64, 48, 16, 4
LABELS = ("red", "green", "blue")


def save_squares(path: Path) -> int:
    """Writes the network; how many windows it looks at."""
    onnx = pytest.importorskip("onnx", reason="onnx builds the test's network")
    from onnx import TensorProto, helper, numpy_helper

    xs, ys = (np.arange(0, size - SIDE + 1, STRIDE) + SIDE / 2 for size in (WIDTH, HEIGHT))
    centres = np.stack([grid.ravel() for grid in np.meshgrid(xs, ys)])
    count = centres.shape[1]
    boxes = np.concatenate((centres, np.full((2, count), SIDE)))[None].astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["image"], ["shares"], kernel_shape=[SIDE, SIDE], strides=[STRIDE, STRIDE]),
            helper.make_node("Reshape", ["shares", "shape"], ["scores"]),
            helper.make_node("Concat", ["boxes", "scores"], ["found"], axis=1),
        ],
        "squares",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 7, count])],
        [numpy_helper.from_array(boxes, "boxes"), numpy_helper.from_array(np.array([1, 3, count]), "shape")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return int(count)


def make_squares(folder: Path) -> Path:
    """The bundle of the detector."""
    folder.mkdir()
    count = save_squares(folder / "squares.onnx")
    size, sha256 = describe(folder / "squares.onnx")
    artifact = Artifact(
        target="onnx", precision="fp32", file="squares.onnx", bytes=size, sha256=sha256, status="executed",
        inputs=("image",), outputs=("found",),
    )  # fmt: skip
    manifest = Manifest(
        model="squares",
        task="detect",
        inputs=(Tensor(name="photo", shape=(1, 3, HEIGHT, WIDTH)),),
        outputs=(Tensor(name="found", shape=(1, 7, count)),),
        preprocessing=Preprocessing(input="photo", width=WIDTH, height=HEIGHT, resize_type="letterbox"),
        postprocessing=Detect(output="found", confidence_threshold=0.6, iou_threshold=0.2),
        labels=LABELS,
        artifacts=(artifact,),
        files=(),
    )
    write_bundle(folder, manifest)
    return folder


def picture(*squares: tuple[str, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """An image (H, W, 3) with squares of a colour, by their left upper corners."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for colour, x, y in squares:
        image[max(y, 0) : max(y + SIDE, 0), max(x, 0) : max(x + SIDE, 0), LABELS.index(colour)] = 255
    return image
