"""Published and independently measured accuracy, of trained networks on real data that lies beside the checkout."""

import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sdk.evaluate import EvalResult, evaluate
from sdk.exporting import export

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_workers")]


def exported(model: str, out: Path, **more: object) -> Path:
    result = export(model, ["onnx", "openvino", "tflite"], out=out, jobs=2, **more)  # type: ignore[arg-type]
    assert result.bundle is not None
    assert result.ok
    return result.bundle


def agree(result: EvalResult, metric: str, expected: float, near: float, apart: float) -> None:
    """PyTorch is `near` the expected metric, and every target within `apart` of PyTorch."""
    assert result.ok
    assert [row.target for row in result] == ["pytorch", "tflite", "openvino", "onnx"]
    reference = result.rows[0].metrics[metric]
    assert reference == pytest.approx(expected, abs=near)
    for row in result.rows[1:]:
        assert row.metrics[metric] == pytest.approx(reference, abs=apart), row.target
        assert row.drop == pytest.approx(reference - row.metrics[metric]) or metric not in ("top1", "map50_95")


def test_mcunet_on_imagenettes_photos(shared: Path, tmp_path: Path) -> None:
    """62.8 % of 500 photos over all 1000 classes, measured apart from this project."""
    weights = str(shared / "weights" / "mcunet_in3_imagenet.pth")
    bundle = exported("mcunet_in3", tmp_path, weights=weights)
    result = evaluate(bundle, shared / "data" / "imagenette224_val500.zip", weights=weights)
    assert result.rows[0].images == 500
    agree(result, "top1", 0.628, 0.002, 0.002)


def test_leyolo_on_cocos_images(shared: Path, tmp_path: Path) -> None:
    """AP 34.4 and AP50 48.7 at 416 px, measured apart from this project."""
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    weights = str(shared / "weights" / "leyolo_nano_coco.pt")
    with tarfile.open(shared / "data" / "coco507_416.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    bundle = exported("leyolo_nano", tmp_path, weights=weights, input_size=416)
    result = evaluate(bundle, tmp_path / "coco507_416" / "instances_val.json", weights=weights)
    assert result.rows[0].images == 164
    agree(result, "map50_95", 0.344, 0.003, 0.002)
    agree(result, "map50", 0.487, 0.003, 0.002)


def test_the_packaged_weights_on_tiny_imagenet(shared: Path, tmp_path: Path) -> None:
    """The card's 59.99 % of 10,000 images is within three standard errors of what 600 of them give."""
    images = 600
    with np.load(io.BytesIO(lzma.decompress((shared / "data" / "tiny_imagenet_val.npz.xz").read_bytes()))) as shard:
        data, offsets, labels = shard["data"].tobytes(), shard["offsets"], shard["labels"]
    for index in range(len(labels)):
        folder = tmp_path / "val" / str(int(labels[index]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:05}.jpg").write_bytes(data[offsets[index] : offsets[index + 1]])
    bundle = exported("mobilenetv4_conv_small", tmp_path)
    result = evaluate(bundle, tmp_path / "val", limit=images)
    assert result.rows[0].images == images
    assert "as many of each class" in result.notes[0]
    agree(result, "top1", 0.5999, 3 * (0.24 / images) ** 0.5, 0.002)
    agree(result, "top5", 0.8259, 3 * (0.144 / images) ** 0.5, 0.002)
