"""Which class a folder stands for."""

from pathlib import Path

import pytest

from sdk.evaluate.classes import LABELS, class_numbers
from sdk.evaluate.datasets import BadData

ANIMALS = ("goldfish, Carassius auratus", "tench, Tinca tinca", "crane", "crane", "great_white shark", "7")
IMAGENETTE = {  # fast.ai's ten classes and torchvision's numbers of them
    "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
    "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip


def imagenet() -> tuple[str, ...]:
    return tuple((LABELS / "imagenet_1000.txt").read_text(encoding="utf-8").splitlines())


def test_imagenettes_folders_are_known_by_their_ids() -> None:
    assert class_numbers(IMAGENETTE, imagenet(), None) == IMAGENETTE


def test_ids_find_classes_of_other_labels_by_name() -> None:
    assert class_numbers(["n01443537", "n01440764"], ANIMALS, None) == {"n01443537": 0, "n01440764": 1}


@pytest.mark.parametrize(
    ("folder", "number"),
    [
        ("goldfish, Carassius auratus", 0), ("Goldfish", 0), ("tinca_tinca", 1), ("Great White  Shark", 4),
        ("7", 5),  # a label, though it looks like a number
        ("2", 2), ("0", 0),
    ],
)  # fmt: skip
def test_a_folder_is_found_by_label_synonym_or_number(folder: str, number: int) -> None:
    assert class_numbers([folder], ANIMALS, None) == {folder: number}


def test_the_users_own_list_comes_first(tmp_path: Path) -> None:
    table = tmp_path / "folders.csv"
    table.write_text("fish one, 4\nGoldfish,1\n", encoding="utf-8")
    found = class_numbers(["fish one", "Goldfish", "tench"], ANIMALS, table)
    assert found == {"fish one": 4, "Goldfish": 1, "tench": 1}


def test_a_stranger_is_named_with_the_nearest_labels() -> None:
    with pytest.raises(BadData) as caught:
        class_numbers(["tench", "golden retreiver"], imagenet(), None)
    assert "'golden retreiver'" in caught.value.given
    assert "golden retriever" in caught.value.hint
    assert "--classes" in caught.value.hint


@pytest.mark.parametrize("folder", ["crane", "6", "-1", "n09999999", ""])
def test_what_stands_for_no_class_or_for_two_is_refused(folder: str) -> None:
    with pytest.raises(BadData):
        class_numbers([folder], ANIMALS, None)


@pytest.mark.parametrize("text", ["a,6", "a,-1", "a,b", "a", "a,1,2"])
def test_a_wrong_line_of_the_list_is_named(tmp_path: Path, text: str) -> None:
    table = tmp_path / "folders.csv"
    table.write_text(f"b,0\n{text}\n", encoding="utf-8")
    with pytest.raises(BadData) as caught:
        class_numbers(["a"], ANIMALS, table)
    assert "line 2" in caught.value.given
    assert "0 to 5" in caught.value.expected


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"nowhere\.csv"):
        class_numbers(["a"], ANIMALS, tmp_path / "nowhere.csv")
