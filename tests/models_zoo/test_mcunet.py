"""MCUNet against its authors' own int8 file, on real photos, and its integers with the norms folded."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models_zoo import create_model, load_weights

FOLDED = {
    "mcunet_in0": 743_008, "mcunet_in1": 630_224, "mcunet_in2": 721_648, "mcunet_in3": 729_720,
    "mcunet_in4": 1_721_936, "mcunet_vww1": 420_520 + 6_114,
}  # fmt: skip
"""Weights and biases once each norm is folded into its convolution, as the authors' tools count them."""


@pytest.mark.parametrize("name", FOLDED)
def test_parameters_with_folded_norms(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    norms = sum(norm.num_features for norm in model.modules() if isinstance(norm, nn.BatchNorm2d))
    assert sum(parameter.numel() for parameter in model.parameters()) - norms == FOLDED[name]


@pytest.mark.slow
def test_answers_are_those_of_the_authors_int8_file(shared: Path) -> None:
    """Quantised by them, loaded from their checkpoint by us: photos get the same class, and logits go together."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT runs the authors' file")
    theirs = litert.Interpreter(str(shared / "weights" / "mcunet_in3_imagenet_int8.tflite"), num_threads=1)
    theirs.allocate_tensors()
    given, answered = theirs.get_input_details()[0], theirs.get_output_details()[0]
    ours = create_model("mcunet_in3").eval()
    load_weights(ours, shared / "weights" / "mcunet_in3_imagenet.pth")
    correlations, same, photos = [], 0, 60
    with zipfile.ZipFile(shared / "data" / "imagenette224_val500.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png")))
        for name in names[:: len(names) // photos][:photos]:
            photo = (
                Image.open(io.BytesIO(archive.read(name))).convert("RGB").resize((201, 201), Image.Resampling.BILINEAR)
            )
            pixels = np.asarray(photo.crop((12, 12, 188, 188)), np.float32) / 127.5 - 1
            scale, zero = given["quantization"]
            theirs.set_tensor(given["index"], np.clip(np.rint(pixels / scale + zero), -128, 127).astype(np.int8)[None])
            theirs.invoke()
            scale, zero = answered["quantization"]
            expected = (theirs.get_tensor(answered["index"]).astype(np.float32)[0] - zero) * scale
            with torch.inference_mode():
                found = ours(torch.from_numpy(pixels.transpose(2, 0, 1))[None])[0].numpy()
            same += int(expected.argmax() == found.argmax())
            above = expected > expected.min()  # their last layer clips what is far from winning
            correlations.append(float(np.corrcoef(expected[above], found[above])[0, 1]))
    assert same >= 0.75 * photos
    assert np.median(correlations) > 0.98
