"""OpenVINO's engine on a network with a closed form."""

from pathlib import Path

import numpy as np
import pytest

from runtime_py.engines.openvino import load
from runtime_py.manifest import Artifact, Manifest, Tensor
from tests.runtime_py.colours import WEIGHT, save_onnx

openvino = pytest.importorskip("openvino", reason="needs OpenVINO")
MANIFEST = Manifest(
    model="colours", task="raw", inputs=(Tensor(name="photo", shape=(1, 3, 8, 12)),),
    outputs=(Tensor(name="logits", shape=(1, 4)),),
)  # fmt: skip


def test_answers_stay_as_they_are_and_inputs_too(tmp_path: Path) -> None:
    save_onnx(tmp_path / "colours.onnx")
    openvino.save_model(
        openvino.convert_model(tmp_path / "colours.onnx"), tmp_path / "model.xml", compress_to_fp16=False
    )
    artifact = Artifact(target="openvino", precision="fp32", file=".", bytes=0, sha256="", status="executed")
    engine = load(tmp_path, artifact, MANIFEST, 1)
    photos = np.random.default_rng(0).random((5, 1, 3, 8, 12), np.float32)
    given = photos.copy()
    answers = [engine.run({"photo": photo})["logits"] for photo in given]
    assert np.array_equal(given, photos)
    for photo, answer in zip(photos, answers, strict=True):
        np.testing.assert_allclose(answer, photo.mean((2, 3)) @ WEIGHT.T, rtol=1e-5)
    engine.close()
