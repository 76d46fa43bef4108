"""Calibration data: the samples that a quantised network's ranges are measured on, checked before anything is lowered.

Ranges come from what the layers answer on these samples. Too few of them, or ones that are all alike, give ranges that
fit nothing else, and the artifact would be wrong without any error: so they are refused here.
"""

import hashlib
import tempfile
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime_py.damaged import DAMAGED_ZIP
from runtime_py.manifest import Calibrated, Manifest
from sdk.evaluate.classes import is_class
from sdk.evaluate.coco import image_file, images_of, parse_instances
from sdk.evaluate.datasets import BadData, evenly
from sdk.evaluate.folders import SUFFIXES, by_class, in_folder, in_zip, unpacked
from sdk.quantize.samples import ArrayFile, Arrays, BadCalibration, Reader, Sample, Taken, Unreadable, wanted

__all__ = ["MINIMUM", "BadCalibration", "Calibration", "read_calibration"]

MINIMUM = 16
"""Usable samples below which a range is a matter of chance."""
KINDS = "a folder or .zip of images, COCO's instances .json, or an .npz or a folder of them"
COLLAPSE = (
    "a range is the span of the values that a layer gives on these samples; where nothing differs it shrinks to a "
    "point (range collapse), and what a real sample gives is cut off there"
)
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Calibration:
    """What ranges are measured on; read one sample at a time, so that memory does not grow with the number.

    Iterates, as often as one likes and in order, over the inputs by name as the network takes them: of a photo
    (1, 3, H, W), float32. Raises BadCalibration where a sample is gone or is no longer what it was.
    """

    record: Calibrated
    """Of the whole, for both parts of a `split` too."""
    manifest: Manifest = field(repr=False)
    samples: tuple[Sample, ...] = field(repr=False)
    hashes: tuple[str, ...] = field(repr=False)
    """SHA-256 of each sample's names, types, shapes and values."""

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Arrays]:
        with Reader(self.manifest) as reader:
            for sample, known in zip(self.samples, self.hashes, strict=True):
                try:
                    arrays = reader.read(sample).arrays
                except Unreadable as error:
                    raise BadCalibration(f"{sample.name}: {error.given}", expected=error.expected) from error
                if _hash(arrays) != known:
                    raise BadCalibration(
                        f"{sample.name} has changed since the calibration data was read",
                        expected="files that stay as they are while the network is quantised",
                        hint="run it again",
                    )
                yield arrays

    def split(self, held: int) -> tuple["Calibration", "Calibration"]:
        """The samples to calibrate on, and `held` evenly spaced ones that are held out of them; none is in both.

        `record` stays the whole's in both. Raises BadCalibration where none would be left.
        """
        if not 0 <= held < len(self):
            raise BadCalibration(f"{held} of {len(self)} samples held out", expected=f"0 to {len(self) - 1}")
        out = frozenset(evenly(range(len(self)), held))
        return self.at([at for at in range(len(self)) if at not in out]), self.at(sorted(out))

    def part(self, count: int) -> "Calibration":
        """At most `count` of the samples, evenly spaced."""
        return self.at(evenly(range(len(self)), count))

    def at(self, places: list[int]) -> "Calibration":
        """The samples of these numbers, in this order."""
        samples, hashes = (self.samples[at] for at in places), (self.hashes[at] for at in places)
        return replace(self, samples=tuple(samples), hashes=tuple(hashes))


@dataclass(frozen=True)
class _Found:
    """The chosen of `total` samples, those of them that are lost already, and why all might be of one class."""

    samples: list[Sample]
    total: int
    lost: tuple[str, ...] = ()
    one_class: tuple[str, str] | None = None
    """What to say of it, and what to try."""


def read_calibration(
    data: Path,
    manifest: Manifest,
    *,
    images: Path | None = None,
    size: int = 300,
    work: Path,
    tick: Tick = lambda *_: None,
) -> Calibration:
    """`size` samples of `data`, evenly spread over its sorted names. Raises BadCalibration.

    `data` is a folder or .zip of images, in class folders or not; COCO's instances .json, whose images lie in `images`,
    in a folder `images` beside it or beside it; or, for other inputs too, an .npz or a folder of them, with an array
    for each input, of its shape or (N, ...) for N samples (a video decoder's may be called `latent`).

    Every sample is read once, to hash and to check it: `tick` is told how many of how many. A damaged one is left out
    and stands in `record.skipped`. A zip's images are unpacked into `work`, which must stay while they are iterated.
    """
    if size < MINIMUM:
        raise BadCalibration(f"a calibration on {size} samples", expected=f"{MINIMUM} or more")
    if not data.exists():
        raise BadCalibration(f"{data} does not exist", expected=KINDS)
    if images is not None and data.suffix.lower() != ".json":
        raise BadCalibration(f"a folder of images beside {data}", expected="none: it is for COCO's .json")
    try:
        found = _found(data, manifest, images, size, work)
    except BadData as error:
        raise BadCalibration(error.given, expected=error.expected, hint=error.hint) from error
    return _read(data, manifest, found, tick)


def _read(data: Path, manifest: Manifest, found: _Found, tick: Tick) -> Calibration:
    good, hashes, skipped, flat = [], [], list(found.lost), True
    with Reader(manifest) as reader:
        for done, sample in enumerate(found.samples, 1):
            try:
                taken = reader.read(sample)
            except Unreadable as error:
                skipped.append(f"{sample.name}: {error.given}")
            else:
                good.append(sample)
                hashes.append(_hash(taken.arrays))
                flat = flat and _is_flat(taken)
            tick(done, len(found.samples))
    _check(data, found, hashes, skipped, flat)
    whole = hashlib.sha256("".join(hashes).encode()).hexdigest()
    name = data.name or data.resolve().name  # of "." too
    record = Calibrated(data=name, count=len(good), sha256=whole, skipped=tuple(skipped))
    return Calibration(record, manifest, tuple(good), tuple(hashes))


def _check(data: Path, found: _Found, hashes: list[str], skipped: list[str], flat: bool) -> None:
    """Whether ranges can be measured on what was read."""
    if not hashes and skipped:
        raise BadCalibration(
            f"none of {len(skipped)} samples of {data} could be read; the first: {skipped[0]}", expected=KINDS
        )
    if len(hashes) < MINIMUM:
        lost = f", {len(skipped)} were skipped as unreadable; the first: {skipped[0]}" if skipped else ""
        raise BadCalibration(
            f"{len(hashes)} usable samples of {found.total:,} in {data}{lost}",
            expected=f"{MINIMUM} or more, and better some hundred",
            hint="more samples of what the network will see"
            if found.total == len(hashes) + len(skipped)
            else "choose more of them",
        )
    if len(set(hashes)) == 1:
        raise BadCalibration(
            f"all {len(hashes)} samples of {data} are the same: {COLLAPSE}", expected="different samples"
        )
    if flat:
        raise BadCalibration(
            f"each of the {len(hashes)} samples of {data} is a single colour or value: {COLLAPSE}",
            expected="samples of what the network will see",
        )
    if found.one_class:
        said, hint = found.one_class
        raise BadCalibration(
            f"{said}: ranges of one class cut off what the others give",
            expected="samples of several classes",
            hint=hint,
        )


def _found(data: Path, manifest: Manifest, images: Path | None, size: int, work: Path) -> _Found:
    suffix = data.suffix.lower()
    if data.is_dir():
        found = in_folder(data)
        arrays = [path for path in found if path.suffix.lower() == ".npz"]
        photos = {path: place for path, place in found.items() if path.suffix.lower() in SUFFIXES}
        if arrays and (manifest.preprocessing is None or not photos):
            return _arrays({path.as_posix(): found[path] for path in sorted(arrays)}, manifest, size)
        return _photos(data, photos, manifest, size)
    if suffix == ".npz":
        return _arrays({data.name: data}, manifest, size)
    if suffix == ".json":
        return _coco(data, images, manifest, size)
    try:
        with zipfile.ZipFile(data) as archive:
            members = in_zip(data, archive)
            inside = {path: place for path, place in members.items() if path.suffix.lower() in SUFFIXES}
            return _photos(data, inside, manifest, size, archive, work)
    except DAMAGED_ZIP as error:
        raise BadCalibration(f"{data} could not be read: {error}", expected=KINDS) from error


def _photos(
    data: Path,
    photos: dict[PurePosixPath, Path] | dict[PurePosixPath, zipfile.ZipInfo],
    manifest: Manifest,
    size: int,
    archive: zipfile.ZipFile | None = None,
    work: Path | None = None,
) -> _Found:
    if not photos:
        raise BadCalibration(f"{data} holds no image", expected=f"{', '.join(sorted(SUFFIXES))} files", hint=KINDS)
    _takes_photos(data, manifest)
    if work is not None and archive is not None:
        work.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="calibration-", dir=work))  # another zip's images may lie in `work`
    samples, lost = [], []
    for key, path in enumerate(evenly(sorted(photos), size)):
        try:
            samples.append(Sample(path.as_posix(), unpacked(archive, photos[path], work, key)))
        except BadData as error:
            lost.append(f"{path}: {error.given}")
    return _Found(samples, len(photos), tuple(lost), _one_folder(data, photos, manifest))


def _takes_photos(data: Path, manifest: Manifest) -> None:
    how = manifest.preprocessing
    if how is None or [spec.name for spec in manifest.inputs] != [how.input]:
        raise BadCalibration(
            f"{data} holds images, and the bundle of {manifest.model} does not say how one becomes its inputs",
            expected=f"an .npz, or a folder of them, with {wanted(manifest)}",
        )


def _one_folder(data: Path, photos: Collection[PurePosixPath], manifest: Manifest) -> tuple[str, str] | None:
    """A classifier's images that all lie in one class folder.

    Zips have a folder around what was zipped: there, one counts only where its name is a class's.
    """
    if manifest.task != "classify" or len(manifest.labels) == 1:
        return None
    inside, stray = by_class(dict.fromkeys(photos, data), manifest.labels, None)
    folders = {photo.folder for photo in inside}
    if stray or len(folders) != 1:
        return None
    folder = folders.pop()
    if not data.is_dir() and not is_class(folder, manifest.labels, None):
        return None
    said = f"all {len(photos):,} images of {data} are of one class, {folder!r}"
    return said, f"a folder that holds several classes; if {folder!r} is none, give that folder itself"


def _coco(data: Path, images: Path | None, manifest: Manifest, size: int) -> _Found:
    read, folder = parse_instances(data), images_of(data, images)
    _takes_photos(data, manifest)
    chosen = evenly(read.images, size)
    samples = [Sample(row.file_name, image_file(row, folder, data)) for row in chosen]
    if not any(sample.file.is_file() for sample in samples):
        raise BadCalibration(
            f"{folder} holds none of the {len(samples)} images of {data.name}, such as {samples[0].name}",
            hint="name the folder that holds the json's images",
        )
    ids = {row.id for row in chosen}
    seen = {row.category_id for row in read.annotations if row.image_id in ids}
    one = None
    if len(seen) == 1 and len(manifest.labels) > 1:
        name = next((row.name for row in read.categories if row.id in seen), str(min(seen)))
        said = f"all objects in the {len(chosen):,} images of {data} are of one class, {name!r}"
        one = (said, f"images with more of the bundle's {len(manifest.labels)} classes")
    return _Found(samples, len(read.images), one_class=one)


def _arrays(files: dict[str, Path], manifest: Manifest, size: int) -> _Found:
    """Rows evenly spread over all files; only their headers are read here."""
    names, counts = list(files), [_rows(path, manifest) for path in files.values()]
    ends = list(accumulate(counts))
    if not ends[-1]:
        raise BadCalibration(f"{next(iter(files.values()))} holds no sample", expected=wanted(manifest))
    samples = []
    for place in evenly(range(ends[-1]), size):
        at = bisect_right(ends, place)
        row = place - (ends[at] - counts[at])
        samples.append(Sample(names[at] if counts[at] == 1 else f"{names[at]}[{row}]", files[names[at]], row))
    return _Found(samples, ends[-1])


def _rows(path: Path, manifest: Manifest) -> int:
    try:
        file = ArrayFile(path, manifest)
    except Unreadable:
        return 1  # chosen or not as one sample, which then is skipped
    file.close()
    return file.count


def _hash(arrays: Arrays) -> str:
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _is_flat(taken: Taken) -> bool:
    """Whether nothing in the sample differs from place to place: what a single number is says nothing."""
    arrays = [array for array in taken.content.values() if array.size > 1]
    return bool(arrays) and all(map(_constant, arrays))


def _constant(array: npt.NDArray[Any]) -> bool:
    """Of images and videos, channel by channel."""
    planes = array.reshape(array.shape[0] * array.shape[1], -1) if array.ndim > 3 else array.reshape(1, -1)
    if planes.shape[1] == 1:
        planes = planes.reshape(1, -1)
    return bool(np.all(planes.min(1) == planes.max(1)))
