"""COCO's json, and its AP against hand-computed values."""

import json
from pathlib import Path
from typing import Any

import pytest

from runtime_py.manifest import Detect, Manifest, Preprocessing, Tensor
from sdk.evaluate.coco import score_boxes
from sdk.evaluate.datasets import BadData, Dataset, read_dataset
from sdk.evaluate.messages import Boxes
from tests.sdk.evaluate.bundles import solid

pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")


def manifest(labels: tuple[str, ...] = ("box", "ball")) -> Manifest:
    return Manifest(
        model="net", task="detect", inputs=(Tensor(name="x", shape=(1, 3, 32, 32)),),
        outputs=(Tensor(name="y", shape=(1, 4 + len(labels), 9)),), labels=labels, postprocessing=Detect(output="y"),
        preprocessing=Preprocessing(input="x", width=32, height=32, resize_type="letterbox"),
    )  # fmt: skip


def instances(objects: list[tuple[int, int, list[float]]], images: int = 2) -> dict[str, Any]:
    """Objects as image, category and box; annotations begin at id 0, which COCO's toolkit takes for no match."""
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 32, "height": 32} for n in range(1, images + 1)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[-1], "iscrowd": 0}
            for n, (image, category, box) in enumerate(objects)
        ],
        "categories": [{"id": 5, "name": "Ball"}, {"id": 9, "name": "box"}],
    }


def write(folder: Path, content: Any, images: int = 2) -> Path:
    for number in range(1, images + 1):
        solid(folder / "images" / f"{number}.png", (0, 0, 0), (32, 32))
    (folder / "a.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "a.json"


def read(path: Path, **more: Any) -> Dataset:
    return read_dataset(more.pop("of", manifest()), path, work=path.parent, **more)


def score(dataset: Dataset, *answers: tuple[int, list[tuple[int, float, tuple[float, float, float, float]]]]) -> Any:
    assert dataset.truth is not None
    messages = [
        Boxes(key, tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows))
        for key, rows in answers
    ]
    return score_boxes(dataset.truth, messages)


def test_a_perfect_detector_scores_one(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, instances([(1, 9, [4, 4, 8, 8]), (2, 5, [10, 10, 4, 4])])))
    found = score(dataset, (1, [(0, 0.9, (4, 4, 12, 12))]), (2, [(1, 0.8, (10, 10, 14, 14))]))
    assert found.metrics == pytest.approx({"map50_95": 1.0, "map50": 1.0})
    assert found.classes == pytest.approx({"box": 1.0, "Ball": 1.0})
    assert found.sizes["ap_small"] == pytest.approx(1.0)
    assert "ap_large" not in found.sizes


def test_half_of_the_objects_give_51_of_101_recall_points(tmp_path: Path) -> None:
    """One of two found, and a worse false alarm: precision is 1 at recalls 0, 0.01 to 0.50, and 0 beyond."""
    dataset = read(write(tmp_path, instances([(1, 9, [4, 4, 8, 8]), (2, 9, [4, 4, 8, 8])])))
    found = score(dataset, (1, [(0, 0.9, (4, 4, 12, 12))]), (2, [(0, 0.5, (20, 20, 28, 28))]))
    assert found.metrics["map50_95"] == pytest.approx(51 / 101)


def test_a_false_alarm_that_is_surer_halves_the_precision(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, instances([(1, 9, [4, 4, 8, 8])])))
    found = score(dataset, (1, [(0, 0.9, (4, 4, 12, 12))]), (2, [(0, 0.95, (4, 4, 12, 12))]))
    assert found.metrics["map50_95"] == pytest.approx(1 / 2)


def test_an_overlap_of_three_quarters_passes_five_of_ten_thresholds(tmp_path: Path) -> None:
    """IoU 0.74: over 0.50, 0.55, 0.60, 0.65 and 0.70."""
    dataset = read(write(tmp_path, instances([(1, 9, [0, 0, 10, 10])])))
    found = score(dataset, (1, [(0, 0.9, (0, 0, 7.4, 10))]))
    assert found.metrics == pytest.approx({"map50_95": 0.5, "map50": 1.0})


def test_crowds_images_without_answer_and_unknown_labels_do_not_count(tmp_path: Path) -> None:
    content = instances([(1, 9, [4, 4, 8, 8]), (1, 9, [16, 16, 16, 16]), (2, 9, [4, 4, 8, 8])])
    content["annotations"][1]["iscrowd"] = 1
    dataset = read(write(tmp_path, content), of=manifest(("box", "ghost")))
    assert dataset.notes == ("not scored, as no label of the bundle: Ball",)
    rows = [(0, 0.9, (4.0, 4.0, 12.0, 12.0)), (0, 0.95, (18.0, 18.0, 26.0, 26.0)), (1, 0.99, (0.0, 0.0, 9.0, 9.0))]
    found = score(dataset, (1, rows))
    assert found.metrics == pytest.approx({"map50_95": 1.0, "map50": 1.0})


def test_no_box_at_all_scores_nothing(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, instances([(1, 9, [4, 4, 8, 8])])))
    assert score(dataset, (1, []), (2, [])).metrics == {"map50_95": 0.0, "map50": 0.0}


def test_coco_itself_may_have_other_names_in_its_own_order(tmp_path: Path) -> None:
    content = instances([(1, 3, [4, 4, 8, 8])])
    content["categories"] = [{"id": 2 * n + 1, "name": f"class {n}"} for n in reversed(range(80))]
    labels = ("klasse 0", *(f"class {n}" for n in range(1, 80)))
    dataset = read(write(tmp_path, content), of=manifest(labels))
    assert dataset.truth is not None
    assert dataset.truth.category_of == {n: 2 * n + 1 for n in range(80)}
    assert "1 of COCO's 80 classes have other names" in dataset.notes[0]


def test_a_limit_keeps_the_objects_of_its_images(tmp_path: Path) -> None:
    objects = [(n, 9, [float(n), 4, 8, 8]) for n in range(1, 6)]
    dataset = read(write(tmp_path, instances(objects, images=5), images=5), limit=3)
    assert dataset.truth is not None
    assert dataset.truth.images == (1, 3, 5)
    assert [row.image_id for row in dataset.truth.annotations] == [1, 3, 5]
    assert dataset.notes == ("3 of 5 images, evenly spread",)


def test_images_lie_beside_the_json_or_where_they_are_said_to(tmp_path: Path) -> None:
    path = write(tmp_path, instances([(1, 9, [4, 4, 8, 8])]))
    beside = read(path).samples[0]
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    elsewhere = read(path, images=tmp_path / "elsewhere").samples[0]
    assert (beside.file, elsewhere.file) == (str(tmp_path / "images/1.png"), str(tmp_path / "elsewhere/1.png"))
    (tmp_path / "1.png").write_bytes(b"")
    assert read(path).samples[0].file == str(tmp_path / "1.png")
    with pytest.raises(BadData, match=r"none of the 2 images of a\.json") as caught:
        read(path, images=tmp_path / "nowhere")
    assert caught.value.hint == "--images DIR"


def without(key: str) -> dict[str, Any]:
    return {name: rows for name, rows in instances([(1, 9, [4, 4, 8, 8])]).items() if name != key}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "truncated"),
        ("[]", "got `array`"),
        (without("categories"), "`categories`"),
        (without("annotations"), "`annotations`"),
        (without("images") | {"images": []}, "lists no images"),
        (instances([(1, 9, [4, 4, 8])]), r"annotations\[0\]\.bbox"),
        (instances([(7, 9, [4, 4, 8, 8])]), "no object of the bundle's classes"),
        (without("images") | {"images": [{"id": 1, "file_name": "../a.png"}]}, "'../a.png'"),
        (without("images") | {"images": [{"id": 1, "file_name": "/etc/a.png"}]}, "'/etc/a.png'"),
        (without("images") | {"images": [{"id": 1, "file_name": "1.png"}] * 2}, "twice"),
    ],
)
def test_a_json_that_is_not_cocos_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(BadData, match=said):
        read(write(tmp_path, content))


def test_categories_that_fit_no_label_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="Ball, box") as caught:
        read(write(tmp_path, instances([(1, 9, [4, 4, 8, 8])])), of=manifest(("cat", "dog")))
    assert "cat, dog" in caught.value.expected


def test_a_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"nowhere\.json does not exist"):
        read(tmp_path / "nowhere.json")
