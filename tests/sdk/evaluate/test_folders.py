"""Folders of classes, and zips of them."""

import errno
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from runtime_py.manifest import Classify, Manifest, Preprocessing, Tensor
from sdk.evaluate.datasets import BadData, Dataset, evenly, read_dataset

LABELS = ("red", "green", "blue", "yellow")
MANIFEST = Manifest(
    model="net", task="classify", inputs=(Tensor(name="x", shape=(1, 3, 8, 8)),),
    outputs=(Tensor(name="y", shape=(1, 4)),), labels=LABELS, postprocessing=Classify(output="y"),
    preprocessing=Preprocessing(input="x", width=8, height=8),
)  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def fill(data: Path, counts: dict[str, int]) -> Path:
    """Empty files: only names are read here."""
    for folder, count in counts.items():
        (data / folder).mkdir(parents=True)
        for number in range(count):
            (data / folder / f"{number:03}.JPG").touch()
    return data


def zipped(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def read(data: Path, work: Path, limit: int | None = None) -> Dataset:
    return read_dataset(MANIFEST, data, limit=limit, work=work)


def chosen(dataset: Dataset) -> list[tuple[str, int]]:
    return [(sample.name, sample.truth) for sample in dataset.samples]


def test_a_folder_gives_its_images_with_their_classes(data: Path, work: Path) -> None:
    fill(data, {"green": 1, "red": 2, ".cache": 3, "red/deep": 1, "red/__MACOSX": 1})
    (data / "red" / "notes.txt").touch()
    (data / "readme.png").touch()
    dataset = read(data, work)
    expected = [("green/000.JPG", 1), ("red/000.JPG", 0), ("red/001.JPG", 0), ("red/deep/000.JPG", 0)]
    assert chosen(dataset) == expected
    assert [Path(sample.file) for sample in dataset.samples] == [data / name for name, _ in expected]
    assert dataset.notes == ("1 images lie outside the class folders and were not used",)


def test_folders_around_all_classes_are_passed(data: Path, work: Path) -> None:
    fill(data, {"photos/val/red/images": 1, "photos/val/blue/images": 1})
    assert chosen(read(data, work)) == [("blue/images/000.JPG", 2), ("red/images/000.JPG", 0)]


def test_a_single_class_is_no_folder_around_classes(data: Path, work: Path) -> None:
    fill(data, {"red/images": 2})
    assert [truth for _, truth in chosen(read(data, work))] == [0, 0]


def test_a_zip_is_read_like_its_folder(tmp_path: Path, work: Path) -> None:
    path = zipped(tmp_path / "a.zip", ["val/red/b.png", "val/green/a.jpg", "val/red/a.png", "val/red/.DS_Store"])
    dataset = read(path, work)
    assert chosen(dataset) == [("green/a.jpg", 1), ("red/a.png", 0), ("red/b.png", 0)]
    assert [Path(sample.file).read_text() for sample in dataset.samples] == [
        "val/green/a.jpg", "val/red/a.png", "val/red/b.png",
    ]  # fmt: skip
    assert all(Path(sample.file).parent == work for sample in dataset.samples)


@pytest.mark.parametrize("name", ["../red/a.png", "red/../../a.png", "/red/a.png", "C:\\red\\a.png", "red\\a.png"])
def test_a_zip_with_paths_that_leave_it_is_refused(tmp_path: Path, work: Path, name: str) -> None:
    with pytest.raises(BadData, match="holds") as caught:
        read(zipped(tmp_path / "a.zip", ["red/a.png", name]), work)
    assert repr(name) in caught.value.given
    assert list(work.iterdir()) == []


def test_a_damaged_member_of_a_zip_is_named_and_the_others_stay(tmp_path: Path, work: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("red/a.png", b"A" * 100)
        archive.writestr("red/b.png", b"B" * 100)
    path.write_bytes(path.read_bytes().replace(b"A" * 100, b"A" * 99 + b"X"))
    dataset = read(path, work)
    assert chosen(dataset) == [("red/b.png", 0)]
    assert len(dataset.damaged) == 1
    assert dataset.damaged[0].startswith("red/a.png: damaged in the zip")


def test_a_zip_with_a_name_that_is_no_text_is_refused(tmp_path: Path, work: Path) -> None:
    """It says that its names are UTF-8."""
    path = zipped(tmp_path / "a.zip", ["red/\N{BULLET}.png"])
    path.write_bytes(path.read_bytes().replace("\N{BULLET}".encode(), b"\xff\xff\xff"))
    with pytest.raises(BadData, match=r"a\.zip could not be read"):
        read(path, work)


def test_a_full_disk_is_no_damaged_image(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image would be called damaged, and left out."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sdk.evaluate.folders.shutil.copyfileobj", full)
    with pytest.raises(BadData, match=r"a\.zip could not be read: .*No space left on device"):
        read(zipped(tmp_path / "a.zip", ["red/a.png", "red/b.png"]), work)


@pytest.mark.parametrize("content", [b"", b"PK no zip at all"])
def test_what_is_no_zip_is_named(tmp_path: Path, work: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadData, match=r"a\.zip could not be read"):
        read(tmp_path / "a.zip", work)


def test_an_image_in_place_of_a_folder_is_named(tmp_path: Path, work: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(BadData, match=r"a\.png could not be read"):
        read(tmp_path / "a.png", work)


def test_data_without_images_is_refused(data: Path, work: Path) -> None:
    fill(data, {"red": 0})
    (data / "a.png").touch()
    with pytest.raises(BadData, match="no images in folders"):
        read(data, work)
    with pytest.raises(BadData, match="does not exist"):
        read(data / "nowhere", work)


def test_a_folder_of_no_class_stops_it(data: Path, work: Path) -> None:
    with pytest.raises(BadData, match="'gren'") as caught:
        read(fill(data, {"red": 1, "gren": 1}), work)
    assert "green" in caught.value.hint


@pytest.mark.parametrize(
    ("counts", "limit", "shares"),
    [
        ((10, 10, 10, 10), 8, (2, 2, 2, 2)),
        ((10, 10, 10, 10), 10, (2, 2, 3, 3)),
        ((1, 10, 2, 10), 12, (1, 4, 2, 5)),
        ((10, 10, 10, 10), 2, (1, 0, 0, 1)),
        ((3, 0, 0, 3), 99, (3, 0, 0, 3)),
    ],
)
def test_a_limit_takes_as_many_of_each_class(
    data: Path, work: Path, counts: tuple[int, ...], limit: int, shares: tuple[int, ...]
) -> None:
    names = ("a", "b", "c", "d")
    manifest_names = dict(zip(names, LABELS, strict=True))
    fill(data, {manifest_names[name]: count for name, count in zip(names, counts, strict=True)})
    dataset = read(data, work, limit)
    found = Counter(name.partition("/")[0] for name, _ in chosen(dataset))
    assert sorted(found[label] for label in LABELS) == sorted(shares)
    assert chosen(dataset) == chosen(read(data, work, limit))
    assert bool(dataset.notes) == (limit < sum(counts))


def test_a_limit_is_spread_evenly() -> None:
    assert evenly(range(9), 3) == [0, 4, 8]
    assert evenly(range(9), 1) == [0]
    assert evenly(range(3), 5) == [0, 1, 2]
