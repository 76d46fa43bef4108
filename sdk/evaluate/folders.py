"""A folder, or a .zip of one, whose subfolders are classes."""

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime_py.damaged import DAMAGED_ZIP
from runtime_py.manifest import Manifest
from sdk.evaluate.classes import class_numbers, is_class
from sdk.evaluate.datasets import BadData, Dataset, Sample, evenly, limited

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
MEMBER_LIMIT = 256 * 2**20
"""No image file is larger; a member of a zip that is would fill the disk."""


@dataclass(frozen=True)
class Photo:
    """An image, by its class's folder and its path below it, and where it lies."""

    folder: str
    name: str
    place: Path | zipfile.ZipInfo


def read_folders(manifest: Manifest, data: Path, classes: Path | None, limit: int | None, work: Path) -> Dataset:
    """The images of class folders, class by class; `limit` takes as many of each class. Raises BadData."""
    if data.is_dir():
        return _dataset(manifest, data, in_folder(data), classes, limit)
    try:
        with zipfile.ZipFile(data) as archive:
            dataset = _dataset(manifest, data, in_zip(data, archive), classes, limit, archive, work)
    except DAMAGED_ZIP as error:
        raise BadData(f"{data} could not be read: {error}", expected="a folder, or a whole .zip of one") from error
    return dataset


def _dataset(
    manifest: Manifest,
    data: Path,
    found: Mapping[PurePosixPath, Path | zipfile.ZipInfo],
    classes: Path | None,
    limit: int | None,
    archive: zipfile.ZipFile | None = None,
    work: Path | None = None,
) -> Dataset:
    images = {path: place for path, place in found.items() if path.suffix.lower() in SUFFIXES}
    photos, stray = by_class(images, manifest.labels, classes)
    if not photos:
        raise BadData(
            f"{data} holds no images in folders",
            expected=f"a folder for each class, with {', '.join(sorted(SUFFIXES))} files",
        )
    numbers = class_numbers({photo.folder for photo in photos}, manifest.labels, classes)
    chosen = _balanced(photos, limit)
    samples, damaged = [], []
    for key, photo in enumerate(chosen):
        name = f"{photo.folder}/{photo.name}"
        try:
            file = unpacked(archive, photo.place, work, key)
        except BadData as error:
            damaged.append(f"{name}: {error.given}")
        else:
            samples.append(Sample(key, name, str(file), numbers[photo.folder]))
    notes = limited("images", len(chosen), len(photos), "evenly spread, as many of each class")
    outside = (f"{stray:,} images lie outside the class folders and were not used",) if stray else ()
    return Dataset(tuple(samples), damaged=tuple(damaged), notes=notes + outside)


def in_folder(data: Path) -> dict[PurePosixPath, Path]:
    """The files of a folder, at any depth, by their paths inside it; hidden ones are passed."""
    paths = {PurePosixPath(path.relative_to(data).as_posix()): path for path in sorted(data.rglob("*"))}
    return {path: place for path, place in paths.items() if not _hidden(path) and place.is_file()}


def in_zip(data: Path, archive: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The same of the zip `data`. Raises BadData where a path leaves it."""
    found = {}
    for entry in sorted((one for one in archive.infolist() if not one.is_dir()), key=lambda one: one.filename):
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
            raise BadData(f"{data} holds {entry.filename!r}", expected="paths that stay inside the zip")
        if not _hidden(path):
            found[path] = entry
    return found


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def by_class(
    images: Mapping[PurePosixPath, Path | zipfile.ZipInfo], labels: tuple[str, ...], classes: Path | None
) -> tuple[list[Photo], int]:
    """The images by class folder, and how many lie in none. Folders around all classes, such as `val`, are passed."""
    depth = 0
    while images and all(len(path.parts) > depth + 2 for path in images):
        tops = {path.parts[depth] for path in images}
        if len(tops) > 1 or is_class(next(iter(tops)), labels, classes):
            break
        depth += 1
    inside = {path: place for path, place in images.items() if len(path.parts) > depth + 1}
    photos = [
        Photo(path.parts[depth], "/".join(path.parts[depth + 1 :]), place) for path, place in sorted(inside.items())
    ]
    return photos, len(images) - len(inside)


def _balanced(photos: list[Photo], limit: int | None) -> list[Photo]:
    """`limit` images, as many of each class where it has so many, evenly spread within it."""
    if limit is None or limit >= len(photos):
        return photos
    groups: dict[str, list[Photo]] = {}
    for photo in photos:
        groups.setdefault(photo.folder, []).append(photo)
    names = evenly(sorted(groups), limit)
    share, left = {}, limit
    for done, name in enumerate(sorted(names, key=lambda name: len(groups[name]))):  # small classes leave some over
        share[name] = min(len(groups[name]), left // (len(names) - done))
        left -= share[name]
    return [photo for name in names for photo in evenly(groups[name], share[name])]


def unpacked(archive: zipfile.ZipFile | None, place: Path | zipfile.ZipInfo, work: Path | None, key: int) -> Path:
    """The image as a file: a zip's member is written into `work`, under a name of our own. Raises BadData."""
    if isinstance(place, Path):
        return place
    assert archive is not None  # members come with their archive and a place to go
    assert work is not None
    if place.file_size > MEMBER_LIMIT:
        raise BadData(f"{place.file_size:,} bytes", expected=f"at most {MEMBER_LIMIT:,}")
    path = work / f"{key}{PurePosixPath(place.filename).suffix}"
    try:
        with archive.open(place) as member, path.open("wb") as file:
            shutil.copyfileobj(member, file)
    except DAMAGED_ZIP as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, full maybe, and not of this image
            raise
        raise BadData(f"damaged in the zip: {error}") from error
    return path
