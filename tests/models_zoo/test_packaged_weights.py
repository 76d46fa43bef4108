"""The weights that ship: their accuracy, and their answers to the demo photos."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models_zoo import MODELS, create_model
from models_zoo.weights import find_weights, labels_of

TAGS = [(spec.name, tag) for spec in MODELS.values() for tag in spec.weights]
PROMISED_TOP1 = 0.57


@pytest.mark.parametrize(("name", "tag"), TAGS)
def test_weights_labels_and_card_belong_together(name: str, tag: str) -> None:
    found = find_weights(MODELS[name], tag)
    assert found.row is not None
    labels = labels_of(found.row)
    assert len(labels) == len(set(labels)) == found.row.num_classes
    card = found.path.with_suffix(".md").read_text(encoding="utf-8")
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() in card, "the card describes another file"
    told = [float(number) / 100 for number in re.findall(r"([\d.]+)%", card)]
    assert told[:2] == pytest.approx(list(found.row.accuracy.values()), abs=5e-4), "the card says another accuracy"
    assert "ImageNet" in found.row.licence


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tag"), TAGS)
def test_accuracy_on_the_validation_images(name: str, tag: str, shared: Path, tmp_path: Path) -> None:
    from sdk.train.data import load_split
    from sdk.train.evaluate import evaluate

    row = MODELS[name].weights[tag]
    pattern = "tiny_imagenet_val.npz*"
    split = load_split(shared / "data", pattern, classes=row.num_classes, side=64, cache=tmp_path)
    accuracy = evaluate(
        create_model(name, tag).eval(), split.images, split.labels, mean=row.mean, std=row.std, size=row.input_size
    )
    assert accuracy.images == 10_000
    assert accuracy.top1 >= PROMISED_TOP1
    assert accuracy.top1 == pytest.approx(row.accuracy["top1"], abs=5e-4), "the registry says another accuracy"
    assert accuracy.top5 == pytest.approx(row.accuracy["top5"], abs=5e-4)


@pytest.mark.parametrize(
    ("photo", "answers"), [("chelsea.png", {"tabby", "Egyptian cat"}), ("coffee.png", {"espresso"})]
)
def test_answers_to_the_demo_photos(photo: str, answers: set[str], repository: Path) -> None:
    row = MODELS["mobilenetv4_conv_small"].weights["tin200"]
    side = row.input_size
    image = Image.open(repository / "sdk/photos" / photo).convert("RGB")
    scale = side / min(image.size)
    image = image.resize([round(edge * scale) for edge in image.size], Image.Resampling.BILINEAR)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), np.float32) / 255
    normalised = (pixels - np.float32(row.mean)) / np.float32(row.std)
    model = create_model("mobilenetv4_conv_small", "tin200").eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(normalised).permute(2, 0, 1)[None].float())
    label = labels_of(row)[int(logits.argmax())]
    assert label.partition(",")[0] in answers
