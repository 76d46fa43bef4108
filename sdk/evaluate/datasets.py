"""What to evaluate on: folders of classes, COCO's json, clips with their latents. Only names are read here."""

import csv
import json
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from runtime_py.errors import SdkError
from runtime_py.manifest import Manifest

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
UNPACKED_LIMIT = 20 << 30
LABELS = Path(__file__).parents[2] / "models_zoo" / "labels"


class BadData(SdkError):
    """Data that cannot be evaluated on."""

    id = "bad-data"


@dataclass(frozen=True)
class Sample:
    """One file, with an identity; `truth` is a class index, and -1 where the truth lies elsewhere."""

    key: int
    file: str
    truth: int = -1


@dataclass(frozen=True)
class Dataset:
    """The samples, and for detection the path of COCO's json and the category id of each label (0: none)."""

    samples: tuple[Sample, ...]
    coco: str = ""
    categories: tuple[int, ...] = ()


def read_dataset(
    manifest: Manifest, data: Path, images: Path | None, classes: Path | None, limit: int | None, unpacked: Path
) -> Dataset:
    """The data at `data` for the bundle's task; a zip is unpacked to `unpacked`. Raises BadData."""
    if not data.exists():
        raise BadData(f"{data} does not exist", hint="--data PATH")
    if manifest.task == "detect":
        return _coco(manifest, data, images, limit)
    if manifest.task == "raw":
        raise BadData(f"the bundle of {manifest.model} has no task, so no metric", hint="export it with --labels FILE")
    if data.suffix == ".zip":
        _unpack(data, unpacked)
        data = unpacked
    if not data.is_dir():
        raise BadData(f"{data} is a file", expected="a folder, or a .zip of one")
    return _clips(data, limit) if manifest.task == "decode_video" else _folders(manifest, data, classes, limit)


def _folders(manifest: Manifest, data: Path, classes: Path | None, limit: int | None) -> Dataset:
    while not any(path.suffix.lower() in PHOTOS for path in data.glob("*/*")):
        inside = [path for path in data.iterdir() if path.is_dir()]
        if len(inside) != 1:
            raise BadData(f"{data} holds no folders of images", expected="a folder for each class, of photos")
        data = inside[0]
    index = _class_index(manifest.labels, classes)
    found: list[tuple[int, int, Path]] = []
    for folder in sorted(path for path in data.iterdir() if path.is_dir()):
        truth = index.get(folder.name.lower())
        if truth is None:
            near = get_close_matches(folder.name.lower(), index, 3)
            raise BadData(
                f"the folder {folder.name!r} is no class of {manifest.model}",
                expected="a label, its number, or an ImageNet id",
                hint=f"--classes FILE, lines of FOLDER,NUMBER{'; near: ' + ', '.join(near) if near else ''}",
            )
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOS)
        found += [(rank, truth, file) for rank, file in enumerate(files)]
    # class after class in turn, so that a limit takes as many of each
    found.sort(key=lambda row: (row[0], row[1], row[2]))
    chosen = found[:limit]
    return Dataset(tuple(Sample(key, str(file), truth) for key, (_, truth, file) in enumerate(chosen)))


def _class_index(labels: tuple[str, ...], classes: Path | None) -> dict[str, int]:
    """Folder names, in lower case, that stand for a class."""
    index = {str(number): number for number in range(len(labels))}
    if labels == _lines("imagenet_1000.txt"):
        index |= {wnid: number for number, wnid in enumerate(_lines("imagenet_1000_wnids.txt"))}
    index |= {label.lower(): number for number, label in enumerate(labels)}
    if classes is None:
        return index
    try:
        rows = [row for row in csv.reader(classes.read_text(encoding="utf-8").splitlines()) if row]
        index |= {name.strip().lower(): int(number) for name, number in rows}
    except (OSError, ValueError) as error:
        raise BadData(f"{classes} could not be read: {error}", expected="lines of FOLDER,NUMBER") from error
    beyond = [number for number in index.values() if not 0 <= number < len(labels)]
    if beyond:
        raise BadData(f"{classes} names class {beyond[0]}", expected=f"0 to {len(labels) - 1}")
    return index


def _lines(name: str) -> tuple[str, ...]:
    return tuple((LABELS / name).read_text(encoding="utf-8").splitlines())


def _coco(manifest: Manifest, data: Path, images: Path | None, limit: int | None) -> Dataset:
    try:
        loaded = json.loads(data.read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{data} could not be read as JSON: {error}", expected="COCO's instances json") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(loaded, dict) or not all(isinstance(loaded.get(part), list) for part in parts):
        raise BadData(f"{data} is not COCO's format", expected=f"lists {', '.join(parts)}")
    ids = {str(row["name"]): int(row["id"]) for row in loaded["categories"]}
    categories = tuple(ids.get(label, 0) for label in manifest.labels)
    if not any(categories):
        raise BadData(
            f"no category of {data.name} is a label of {manifest.model}",
            expected=f"names such as {', '.join(manifest.labels[:4])}",
            hint=f"the file has {', '.join(list(ids)[:4])}",
        )
    rows = _evenly(sorted(loaded["images"], key=lambda row: int(row["id"])), limit)
    folders = [images] if images else [data.parent / "images", data.parent]
    samples = tuple(Sample(int(row["id"]), str(_image(row, folders, data))) for row in rows)
    if not samples:
        raise BadData(f"{data} lists no images")
    return Dataset(samples, str(data), categories)


def _image(row: dict[str, Any], folders: list[Path], data: Path) -> Path:
    name = str(row["file_name"])
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadData(f"{data.name} names the image {name!r}", expected="a path inside the images' folder")
    for folder in folders:
        for path in (folder / name, folder / Path(name).name):
            if path.is_file():
                return path
    raise BadData(f"{name} is not in {' or '.join(map(str, folders))}", hint="--images DIR")


def _clips(data: Path, limit: int | None) -> Dataset:
    files = _evenly(sorted(data.rglob("*.npz")), limit)
    if not files:
        raise BadData(f"{data} holds no .npz", expected="clips: `latent` (C, t, h, w) and `video` (T, H, W, 3) uint8")
    return Dataset(tuple(Sample(key, str(file)) for key, file in enumerate(files)))


def _evenly(rows: list[Any], limit: int | None) -> list[Any]:
    if limit is None or limit >= len(rows):
        return rows
    return [rows[index] for index in np.linspace(0, len(rows) - 1, limit).round().astype(int)]


def _unpack(data: Path, folder: Path) -> None:
    """Files of a zip into `folder`; a name that would leave it, a link or a bomb is refused."""
    try:
        with zipfile.ZipFile(data) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_names(data, (entry.filename for entry in entries))
            if sum(entry.file_size for entry in entries) > UNPACKED_LIMIT:
                raise BadData(f"{data} unpacks to more than {UNPACKED_LIMIT >> 30} GiB")
            archive.extractall(folder, entries)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise BadData(f"{data} could not be unpacked: {error}", expected="a whole .zip") from error


def _check_names(data: Path, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1 or name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
            raise BadData(f"{data} holds {name!r}", expected="paths inside the zip, each once")
