"""Which class a folder stands for: by its label, its ImageNet id, its number, or a list of the user's."""

import csv
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from sdk.evaluate.datasets import BadData

LABELS = Path(__file__).parents[2] / "models_zoo" / "labels"
WNID = re.compile(r"n\d{8}")


def class_numbers(folders: Iterable[str], labels: tuple[str, ...], file: Path | None) -> dict[str, int]:
    """The class of each folder. Raises BadData, which names the first folder that has none and the nearest labels.

    In this order: the lines FOLDER,NUMBER of `file`; a label, or one of its synonyms between commas, whatever the
    case; the id of an ImageNet class; a class's number.
    """
    names, own = sorted(folders), _listed(file, len(labels)) if file else {}
    known = _by_number(labels) | _by_wnid(labels) | _by_label(labels)
    found = {name: own.get(name, known.get(_plain(name))) for name in names}
    for name, number in found.items():
        if number is None:
            raise _stranger(name, labels)
    return {name: number for name, number in found.items() if number is not None}


def is_class(folder: str, labels: tuple[str, ...], file: Path | None) -> bool:
    """Whether a folder of this name would stand for a class."""
    try:
        return bool(class_numbers([folder], labels, file))
    except BadData:
        return False


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _by_label(labels: tuple[str, ...]) -> dict[str, int]:
    """Whole labels, and the synonyms that belong to one class only."""
    owners: dict[str, set[int]] = {}
    for number, label in enumerate(labels):
        for synonym in label.split(","):
            owners.setdefault(_plain(synonym), set()).add(number)
    single = {synonym: next(iter(numbers)) for synonym, numbers in owners.items() if len(numbers) == 1}
    whole = {_plain(label): number for number, label in reversed(list(enumerate(labels)))}
    twice = {_plain(label) for label in labels if labels.count(label) > 1}
    return {name: number for name, number in (single | whole).items() if name and name not in twice}


def _by_wnid(labels: tuple[str, ...]) -> dict[str, int]:
    """Ids of ImageNet's classes, where the labels are those of its 1000 or carry names of theirs."""
    wnids, imagenet = (_lines(f"imagenet_1000{part}.txt") for part in ("_wnids", ""))
    if len(labels) == len(imagenet):
        return dict(zip(wnids, range(len(wnids)), strict=True))
    own = _by_label(labels)
    pairs = ((wnid, own.get(_plain(label))) for wnid, label in zip(wnids, imagenet, strict=True))
    return {wnid: number for wnid, number in pairs if number is not None}


def _by_number(labels: tuple[str, ...]) -> dict[str, int]:
    return {str(number): number for number in range(len(labels))}


def _lines(name: str) -> tuple[str, ...]:
    return tuple((LABELS / name).read_text(encoding="utf-8").splitlines())


def _listed(file: Path, classes: int) -> dict[str, int]:
    expected = f"lines FOLDER,NUMBER with numbers from 0 to {classes - 1}"
    try:
        rows = [row for row in csv.reader(file.read_text(encoding="utf-8-sig").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{file} could not be read: {error}", expected=expected, hint="--classes FILE") from error
    found = {}
    for line, row in enumerate(rows, 1):
        number = row[1].strip() if len(row) == 2 else ""
        if not number.isdecimal() or int(number) >= classes:
            raise BadData(f"{file}, line {line}: {','.join(row)!r}", expected=expected)
        found[row[0].strip()] = int(number)
    return found


def _stranger(folder: str, labels: tuple[str, ...]) -> BadData:
    plain = {_plain(label): label for label in labels}
    near = [plain[name] for name in get_close_matches(_plain(folder), plain, n=3, cutoff=0.4)]
    what = "an ImageNet id that this bundle's labels do not tell" if WNID.fullmatch(folder) else "no class"
    return BadData(
        f"the folder {folder!r} is {what} of this bundle",
        expected="a label, an ImageNet id, or a number from 0 to " + str(len(labels) - 1),
        hint=(f"the nearest labels: {', '.join(near)}; or " if near else "")
        + "--classes FILE with lines FOLDER,NUMBER; --data names the folder that holds the classes",
    )
