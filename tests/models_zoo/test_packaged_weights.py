"""The weights that ship, with their accuracy and their answers to the demo photos, and those that are fetched."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models_zoo import MODELS, create_model
from models_zoo.fetch import cached_path
from models_zoo.weights import find_weights, labels_of

TAGS = [(spec.name, tag) for spec in MODELS.values() for tag, row in spec.weights.items() if row.file]
FETCHED = [(spec.name, tag) for spec in MODELS.values() for tag, row in spec.weights.items() if row.url]
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


def test_every_tag_is_packaged_or_fetched() -> None:
    assert not set(TAGS) & set(FETCHED)
    assert len(TAGS) + len(FETCHED) == sum(len(spec.weights) for spec in MODELS.values())


@pytest.mark.parametrize(("name", "tag"), FETCHED)
def test_what_is_fetched_is_pinned_and_described(name: str, tag: str) -> None:
    row = MODELS[name].weights[tag]
    assert re.fullmatch(r"https://\S+", row.url)
    assert re.search(r"/[0-9a-f]{40}/", row.url), "the address may change what it holds"
    assert re.fullmatch(r"[0-9a-f]{64}", row.sha256)
    assert row.bytes > 0
    assert row.licence
    assert len(labels_of(row)) == row.num_classes


@pytest.mark.parametrize(("name", "tag"), FETCHED)
def test_a_fetched_file_is_the_one_of_the_table_and_fits(
    name: str, tag: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = MODELS[name].weights[tag]
    copies = [path for path in (shared / "weights").iterdir() if path.stat().st_size == row.bytes]
    found = [path for path in copies if hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256]
    if not found:
        pytest.skip(f"no copy of {row.url} lies in {shared / 'weights'}")
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path))
    shutil.copy(found[0], cached_path(row.url, row.sha256))
    model = create_model(name, tag).eval()
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


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
