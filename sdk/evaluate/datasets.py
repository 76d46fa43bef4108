"""What to evaluate on. Names and annotations are read here; images and clips by the processes that answer them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from runtime_py.errors import SdkError
from runtime_py.manifest import Manifest

if TYPE_CHECKING:
    from sdk.evaluate.coco import Truth

Item = TypeVar("Item")


class BadData(SdkError):
    """Data that cannot be evaluated on."""

    id = "bad-data"


class Sample(msgspec.Struct, frozen=True):
    """One image or clip. `name` is what the user calls it, `truth` its class, `size` the pixels that it must have."""

    key: int
    name: str
    file: str
    truth: int = -1
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Dataset:
    """The samples, a detector's truth, what was damaged already, and what a reader of the numbers must know."""

    samples: tuple[Sample, ...]
    truth: "Truth | None" = None
    damaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_dataset(
    manifest: Manifest,
    data: Path,
    *,
    images: Path | None = None,
    classes: Path | None = None,
    limit: int | None = None,
    work: Path,
) -> Dataset:
    """The data at `data` for the bundle's task; what a zip holds is unpacked into `work`. Raises BadData."""
    from sdk.evaluate.clips import read_clips
    from sdk.evaluate.coco import read_coco
    from sdk.evaluate.folders import read_folders

    task = manifest.task
    if manifest.postprocessing is None or (task in ("classify", "detect") and manifest.preprocessing is None):
        raise BadData(
            f"the bundle of {manifest.model} does not say what its inputs and outputs mean (task {task!r})",
            expected="a classifier, a detector or a video decoder",
            hint="export it with --labels FILE",
        )
    for option, given, of in (("--images", images, "detect"), ("--classes", classes, "classify")):
        if given is not None and task != of:
            raise BadData(f"{option} for a bundle of the task {task!r}", expected=f"none: it is for {of!r}")
    if not data.exists():
        raise BadData(f"{data} does not exist", expected="what `sdk eval --help` says of --data")
    if task == "detect":
        return read_coco(manifest, data, images, limit)
    if task == "decode_video":
        return read_clips(data, limit)
    return read_folders(manifest, data, classes, limit, work)


def evenly(rows: Sequence[Item], count: int) -> list[Item]:
    """`count` of the rows, evenly spaced from the first to the last."""
    if count >= len(rows):
        return list(rows)
    step = (len(rows) - 1) / max(count - 1, 1)
    return [rows[round(index * step)] for index in range(count)]


def limited(what: str, chosen: int, of: int, how: str) -> tuple[str, ...]:
    """The note on a part of the data."""
    return (f"{chosen:,} of {of:,} {what}, {how}",) if chosen < of else ()
