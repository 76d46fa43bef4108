"""Data as it is found on disks, and metrics against closed forms."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_py.manifest import Manifest, Tensor
from sdk.evaluate.datasets import BadData, Dataset, Sample, read_dataset
from sdk.evaluate.metrics import psnr_db, score, ssim

IMAGENET = tuple((Path(__file__).parents[3] / "models_zoo/labels/imagenet_1000.txt").read_text().splitlines())


def manifest(task: str, *labels: str) -> Manifest:
    tensor = Tensor(name="x", shape=(1, 3, 8, 8))
    return Manifest(model="net", task=task, inputs=(tensor,), outputs=(tensor,), labels=labels)  # type: ignore[arg-type]


def folders(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8)).save(root / name / f"{index}.png")
    return root


def read(task: Manifest, data: Path, tmp_path: Path, limit: int | None = None, classes: Path | None = None) -> Dataset:
    return read_dataset(task, data, None, classes, limit, tmp_path / "unpacked")


def test_folders_are_labels_numbers_or_imagenet_ids(tmp_path: Path) -> None:
    data = folders(tmp_path / "a", cat=2, **{"1": 1})
    assert [s.truth for s in read(manifest("classify", "Cat", "dog"), data, tmp_path).samples] == [0, 1, 0]
    data = folders(tmp_path / "b", n02979186=1, n01440764=1)
    assert [s.truth for s in read(manifest("classify", *IMAGENET), data, tmp_path).samples] == [0, 482]


def test_a_limit_takes_as_many_of_each_class(tmp_path: Path) -> None:
    data = folders(tmp_path / "a", cat=6, dog=6, bird=2)
    found = read(manifest("classify", "cat", "dog", "bird"), data, tmp_path, limit=6)
    assert sorted(sample.truth for sample in found.samples) == [0, 0, 1, 1, 2, 2]


def test_a_folder_that_is_no_class_is_named_with_what_is_near(tmp_path: Path) -> None:
    data = folders(tmp_path / "a", kat=1)
    with pytest.raises(BadData) as caught:
        read(manifest("classify", "cat", "dog"), data, tmp_path)
    assert "'kat'" in caught.value.given
    assert "cat" in caught.value.hint
    (tmp_path / "classes.csv").write_text("kat,0\n")
    found = read(manifest("classify", "cat", "dog"), data, tmp_path, classes=tmp_path / "classes.csv")
    assert found.samples[0].truth == 0


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a\\..\\evil.png", "C:evil.png"])
def test_a_zip_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("cat/0.png", b"")
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, b"")
    with pytest.raises(BadData):
        read(manifest("classify", "cat"), tmp_path / "data.zip", tmp_path)
    assert not list(tmp_path.rglob("evil.png"))


def coco(tmp_path: Path, **changes: object) -> Path:
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 100}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [60, 60, 20, 20], "area": 400, "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    } | changes
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "boxes.json"


def test_coco_categories_are_found_by_name_and_scored(tmp_path: Path) -> None:
    """One class found exactly, the other not at all: the mean of precision 1 and 0, at every overlap."""
    dataset = read(manifest("detect", "bird", "dog", "cat"), coco(tmp_path), tmp_path)
    assert dataset.categories == (0, 5, 3)
    exact = {7: {"boxes": [[2, 0.9, [10.0, 10.0, 40.0, 40.0]], [0, 0.8, [0.0, 0.0, 9.0, 9.0]]]}}
    assert score("detect", dataset, exact) == pytest.approx({"map50_95": 0.5, "map50": 0.5})
    # an overlap of 40 x 30 in 40 x 40: IoU 0.75, which six of the ten thresholds from 0.50 to 0.95 accept
    partial = {7: {"boxes": [[2, 0.9, [10.0, 10.0, 40.0, 30.0]]]}}
    assert score("detect", dataset, partial) == pytest.approx({"map50_95": 0.3, "map50": 0.5})
    assert score("detect", dataset, {7: {"boxes": []}}) == {"map50_95": 0.0, "map50": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": 3},
        {"categories": [{"id": 1, "name": "horse"}]},
        {"images": []},
        {"images": [{"id": 7, "file_name": "../a.png"}]},
        {"images": [{"id": 7, "file_name": "absent.png"}]},
    ],
)
def test_a_json_that_cannot_be_used_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(BadData):
        read(manifest("detect", "cat"), coco(tmp_path, **changes), tmp_path)


def test_classes_are_counted() -> None:
    dataset = Dataset((Sample(0, "a", 3), Sample(1, "b", 4), Sample(2, "c", 9), Sample(3, "d", 1)))
    found = {key: {"top5": [3, 4, 5, 6, 7]} for key in range(4)}
    assert score("classify", dataset, found) == {"top1": 0.25, "top5": 0.5}


def test_psnr_and_ssim_are_their_closed_forms() -> None:
    a, b = np.full((2, 16, 16, 3), 100, np.uint8), np.full((2, 16, 16, 3), 110, np.uint8)
    assert psnr_db(a, b) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr_db(a, a) == 100
    bright = (0.01 * 255) ** 2  # the constant of the luminance term; flat frames have no other
    assert ssim(a, b) == pytest.approx((2 * 100 * 110 + bright) / (100**2 + 110**2 + bright))
    assert ssim(a, a) == pytest.approx(1)
