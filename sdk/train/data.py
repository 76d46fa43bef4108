"""Labelled images as one uint8 array: from npz shards of JPEGs or a folder of class folders."""

import hashlib
import io
import itertools
import lzma
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from rich.progress import Progress

from runtime_py.damaged import DAMAGED_NPZ
from runtime_py.errors import SdkError

_KEYS = ("data", "offsets", "labels", "wnids")
_SUFFIXES = {".jpg", ".jpeg", ".png", ".JPEG"}
_CHUNK = 500


class DataError(SdkError):
    """Training data that is absent, malformed, or does not fit the recipe."""

    id = "bad-training-data"


@dataclass(frozen=True)
class Split:
    """`images` (N, side, side, 3) uint8 RGB, `labels` (N,) int64 into `names`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Encoded:
    """The same, before decoding: one image file's bytes each."""

    files: list[bytes]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


def load_split(folder: Path, pattern: str, *, classes: int, side: int, cache: Path, limit: int | None = None) -> Split:
    """The images of `folder` that match `pattern`, decoded once and kept in `cache` as .npy files.

    `pattern` names npz shards, or one folder of class folders. `limit` takes that many images, evenly
    spaced. Raises `DataError`.
    """
    sources = sorted(folder.glob(pattern))
    if not sources:
        raise DataError(
            f"no {pattern} in {folder}", expected="npz shards of JPEGs, or one folder with a folder a class"
        )
    stem = cache / f"{_fingerprint(sources, side, limit)}"
    stored = [stem.with_suffix(f".{part}.npy") for part in ("images", "labels", "names")]
    if not all(path.exists() for path in stored):
        encoded = _read_folder(sources[0]) if sources[0].is_dir() else _read_shards(sources)
        _check(encoded, classes, pattern)
        encoded = _thin(encoded, limit)
        cache.mkdir(parents=True, exist_ok=True)
        images = _decode(encoded.files, side, pattern)
        arrays: tuple[NDArray[Any], ...] = (images, encoded.labels, np.array(encoded.names))
        for path, array in zip(stored, arrays, strict=True):
            _save(path, array)
    images, labels, names = (np.load(path, allow_pickle=False) for path in stored)
    return Split(images, labels, tuple(str(name) for name in names))


def _fingerprint(sources: Sequence[Path], side: int, limit: int | None) -> str:
    files = [f for s in sources for f in ([s] if s.is_file() else sorted(s.rglob("*"))) if f.is_file()]
    facts = [(str(f.name), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(repr((facts, side, limit)).encode()).hexdigest()[:16]


def _read_shards(paths: Sequence[Path]) -> Encoded:
    files: list[bytes] = []
    labels: list[NDArray[np.int64]] = []
    names: tuple[str, ...] | None = None
    for path in paths:
        shard = _read_shard(path)
        offsets, data = shard["offsets"].astype(np.int64), shard["data"].tobytes()
        shard_names = tuple(str(name) for name in shard["wnids"])
        if names is not None and shard_names != names:
            raise DataError(f"{path.name} lists other classes than {paths[0].name}", expected="the same wnids")
        names = shard_names
        files += [data[a:b] for a, b in itertools.pairwise(offsets)]
        labels.append(shard["labels"].astype(np.int64))
    return Encoded(files, np.concatenate(labels), names or ())


def _read_shard(path: Path) -> dict[str, NDArray[Any]]:
    try:
        raw = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        if not zipfile.is_zipfile(io.BytesIO(raw)):  # numpy reads a lone array, too
            raise ValueError("it is no zip")
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            shard = {key: archive[key] for key in _KEYS if key in archive}
    except DAMAGED_NPZ as error:
        raise DataError(f"{path.name} is not a readable npz: {error}") from error
    absent = [key for key in _KEYS if key not in shard]
    if absent:
        raise DataError(f"{path.name} lacks {', '.join(absent)}", expected=f"the arrays {', '.join(_KEYS)}")
    data, offsets, labels = shard["data"], shard["offsets"], shard["labels"]
    whole = data.dtype == np.uint8 and data.ndim == offsets.ndim == labels.ndim == 1
    whole = whole and offsets.dtype.kind in "iu" and labels.dtype.kind in "iu"
    if not whole or len(offsets) != len(labels) + 1 or len(labels) == 0:
        raise DataError(
            f"{path.name}: data {data.dtype}{data.shape}, offsets {offsets.shape}, labels {labels.shape}",
            expected="data uint8 (bytes,), integer labels (N,), integer offsets (N + 1,), N > 0",
        )
    if offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets.astype(np.int64)) <= 0).any():
        raise DataError(f"{path.name}: offsets point outside data or run backwards")
    return shard


def _read_folder(root: Path) -> Encoded:
    names = tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))
    found = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((root / name).rglob("*"))
        if path.suffix in _SUFFIXES
    ]
    if not found:
        raise DataError(f"{root} holds no images", expected=f"a folder a class with {sorted(_SUFFIXES)} files")
    return Encoded([path.read_bytes() for path, _ in found], np.array([label for _, label in found]), names)


def _check(encoded: Encoded, classes: int, pattern: str) -> None:
    labels = encoded.labels
    if len(encoded.names) != classes or labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{pattern}: {len(encoded.names)} classes, labels {labels.min()} to {labels.max()}",
            expected=f"{classes} classes, as the recipe's data.classes says",
        )


def _thin(encoded: Encoded, limit: int | None) -> Encoded:
    if limit is None or limit >= len(encoded.files):
        return encoded
    kept = np.linspace(0, len(encoded.files) - 1, limit).round().astype(int)
    return Encoded([encoded.files[i] for i in kept], encoded.labels[kept], encoded.names)


def _decode(files: list[bytes], side: int, title: str) -> NDArray[np.uint8]:
    images = np.empty((len(files), side, side, 3), np.uint8)
    starts = range(0, len(files), _CHUNK)
    chunks = [files[start : start + _CHUNK] for start in starts]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(chunks))) as pool, Progress() as progress:
        task = progress.add_task(f"decoding {title}", total=len(files))
        for start, decoded in zip(starts, pool.map(_decode_chunk, chunks, [side] * len(chunks)), strict=True):
            images[start : start + len(decoded)] = decoded
            progress.advance(task, len(decoded))
    return images


def _decode_chunk(files: list[bytes], side: int) -> NDArray[np.uint8]:
    images = np.empty((len(files), side, side, 3), np.uint8)
    for index, file in enumerate(files):
        try:
            image = Image.open(io.BytesIO(file)).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"an image does not decode: {error}") from error
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        images[index] = np.asarray(image)
    return images


def _save(path: Path, array: NDArray[Any]) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    part.replace(path)
