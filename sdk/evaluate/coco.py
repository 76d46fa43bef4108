"""Boxes to find, from COCO's instances json, and COCO's own evaluation of the boxes that were found."""

import contextlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from runtime_py.errors import missing_extra
from runtime_py.manifest import Manifest
from sdk.evaluate.datasets import BadData, Dataset, Sample, evenly, limited
from sdk.evaluate.messages import Boxes
from sdk.evaluate.results import Score

COCO_CLASSES = 80
SIZES = ("ap75", "ap_small", "ap_medium", "ap_large")
"""Where COCO's summary has them: after AP and AP50."""


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int = 0
    height: int = 0


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True)
class Truth:
    """The objects of the chosen images; `category_of` gives the category's id of a label's index."""

    images: tuple[int, ...]
    annotations: tuple[_Annotation, ...]
    names: dict[int, str]
    category_of: dict[int, int]


def read_coco(manifest: Manifest, data: Path, images: Path | None, limit: int | None) -> Dataset:
    """The images of an instances json, and its objects of the bundle's classes. Raises BadData."""
    read, folder = parse_instances(data), images_of(data, images)
    category_of, notes = _categories(read.categories, manifest, data)
    rows = read.images
    chosen = evenly(rows, limit or len(rows))
    samples = tuple(
        Sample(row.id, row.file_name, str(image_file(row, folder, data)), size=_size(row)) for row in chosen
    )  # what is missing is left out later, by its name
    if not any(Path(sample.file).is_file() for sample in samples):
        example = f", such as {samples[0].name}" if samples else ""
        raise BadData(f"{folder} holds none of the {len(samples)} images of {data.name}{example}", hint="--images DIR")
    ids, known = {sample.key for sample in samples}, set(category_of.values())
    names = {row.id: row.name for row in read.categories if row.id in known}
    objects = tuple(row for row in read.annotations if row.image_id in ids and row.category_id in known)
    if not objects:
        raise BadData(f"{data} has no object of the bundle's classes in the {len(samples)} images")
    notes += limited("images", len(samples), len(rows), "evenly spread")
    return Dataset(samples, Truth(tuple(sorted(ids)), objects, names, category_of), notes=notes)


def score_boxes(truth: Truth, answers: Iterable[Boxes]) -> Score:
    """COCO's AP (Lin et al., 2014): IoU 0.50 to 0.95, the best 100 boxes of each image and class. Raises MissingExtra.

    Images without an answer do not count, and neither do labels that the json has no category for.
    """
    found = {answer.key: answer for answer in answers}
    evaluation = matched(truth, found)
    with contextlib.redirect_stdout(io.StringIO()):  # the toolkit prints its progress
        evaluation.accumulate()
        evaluation.summarize()
    stats, names = [float(value) for value in evaluation.stats], truth.names
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class; all areas, 100 boxes
    classes = {names[id_]: precision[:, :, at] for at, id_ in enumerate(evaluation.params.catIds)}
    return Score(
        {"map50_95": stats[0], "map50": stats[1]},
        {name: value for name, value in zip(SIZES, stats[2:6], strict=True) if value >= 0},
        {name: float(values[values > -1].mean()) for name, values in classes.items() if (values > -1).any()},
    )


def coco_rows(truth: Truth, answer: Boxes) -> list[dict[str, Any]]:
    """An image's boxes as rows of COCO's result format: x, y, width and height from 0."""
    return [
        {
            "image_id": answer.key,
            "category_id": truth.category_of[label],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": score,
        }
        for label, score, (x0, y0, x1, y1) in zip(answer.labels, answer.scores, answer.boxes, strict=True)
        if label in truth.category_of
    ]


def matched(truth: Truth, found: Mapping[int, Boxes], *, sizes: bool = True) -> Any:
    """COCO's toolkit with boxes matched to objects, image by image: a COCOeval before `accumulate`.

    Its `evalImgs` is by class, then by size of objects (all of them alone without `sizes`), then by image in order of
    ids. Images without an answer are not in it. Raises MissingExtra.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError:
        raise missing_extra("pycocotools", "eval", "COCO's mAP") from None
    true, guessed = COCO(), COCO()
    images = [{"id": key} for key in truth.images if key in found]
    categories = [{"id": key, "name": name} for key, name in sorted(truth.names.items())]
    objects = [row for row in truth.annotations if row.image_id in found]
    boxes = [row for answer in found.values() for row in coco_rows(truth, answer)]
    true.dataset = {"images": images, "categories": categories, "annotations": list(map(_row, objects))}
    guessed.dataset = {"images": images, "categories": categories, "annotations": boxes}
    for rows in (true.dataset["annotations"], boxes):
        for number, row in enumerate(rows, 1):  # from 1: the toolkit takes the id 0 for no match
            row |= {"id": number, "area": row.get("area", row["bbox"][2] * row["bbox"][3])}
            row.setdefault("iscrowd", 0)
    with contextlib.redirect_stdout(io.StringIO()):
        for side in (true, guessed):
            side.createIndex()
        evaluation = COCOeval(true, guessed, "bbox")
        if not sizes:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.evaluate()
    return evaluation


def _row(annotation: _Annotation) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(annotation) | {"bbox": list(annotation.bbox)}  # it takes no tuples
    if annotation.area is None:
        del row["area"]
    return row


def parse_instances(data: Path) -> _Instances:
    """The whole json, its images in the order of their ids. Raises BadData."""
    try:
        read = msgspec.json.decode(data.read_bytes(), type=_Instances)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadData(
            f"{data} is not COCO's format: {error}",
            expected="a json with `images`, `annotations` (with `bbox`) and `categories`",
        ) from error
    if not read.images:
        raise BadData(f"{data} lists no images")
    if len({row.id for row in read.images}) < len(read.images):
        raise BadData(f"{data} lists an image's id twice", expected="each image once")
    read.images.sort(key=lambda row: row.id)
    return read


def images_of(data: Path, given: Path | None) -> Path:
    """The folder of a json's images: the `given` one, `images` beside the json, or the json's own."""
    beside = data.parent / "images"
    return given or (beside if beside.is_dir() else data.parent)


def image_file(row: _Image, folder: Path, data: Path) -> Path:
    """Where an image of the json `data` should lie. Raises BadData where it would leave the folder."""
    path = PurePosixPath(row.file_name)
    if path.is_absolute() or ".." in path.parts:
        raise BadData(f"{data} names the image {row.file_name!r}", expected="a path inside the images' folder")
    return folder / path


def _size(row: _Image) -> tuple[int, int] | None:
    return (row.width, row.height) if row.width > 0 and row.height > 0 else None


def _categories(rows: list[_Category], manifest: Manifest, data: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    """The category's id of each label: by name, and for COCO's 80 classes under other names by order."""
    ordered, labels = sorted(rows, key=lambda row: row.id), manifest.labels
    by_name = {_plain(row.name): row.id for row in ordered}
    found = {index: by_name[_plain(label)] for index, label in enumerate(labels) if _plain(label) in by_name}
    if len(labels) == len(ordered) == COCO_CLASSES and all(ordered[index].id == id_ for index, id_ in found.items()):
        other = COCO_CLASSES - len(found)
        note = f"{other} of COCO's {COCO_CLASSES} classes have other names in {data.name}: taken in the order of ids"
        return {index: row.id for index, row in enumerate(ordered)}, (note,) if other else ()
    if not found:
        raise BadData(
            f"no category of {data.name} is a label of {manifest.model}: {_some(row.name for row in ordered)}",
            expected=f"names such as {_some(labels)}",
            hint="rename the json's categories as the bundle's labels are",
        )
    strangers = [row.name for row in ordered if row.id not in found.values()]
    return found, ((f"not scored, as no label of the bundle: {_some(strangers)}",) if strangers else ())


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "none"
