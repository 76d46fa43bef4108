"""Opens, checks and writes bundles. Nothing here trusts a byte of a bundle before its hash was compared, or, with a
key, before the hash's signature was."""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runtime_py import durable
from runtime_py.errors import SdkError
from runtime_py.manifest import SCHEMA_VERSION, Artifact, DecodeVideo, Detect, File, Manifest, Tensor
from runtime_py.signing import LIMIT_BYTES, SIGNATURE, BadSignature, Keys, Statement, check, not_older

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
MANIFEST_LIMIT_BYTES = 8 * 2**20
AGAIN = "copy or export the bundle again"
TENSOR_LIMIT_BYTES = 4 * 2**30
"""Largest tensor that a manifest may name."""
WIDTHS = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4, "uint32": 4,
          "float32": 4, "int64": 8, "uint64": 8, "float64": 8}  # fmt: skip
"""Bytes of an element, by numpy's names: the only ones that a tensor may have."""
SIDE_LIMIT = 16384
"""Largest width and height in pixels that a manifest may ask a photo to be resized to."""


class NotABundle(SdkError):
    """A path that holds no bundle, or one whose manifest says something impossible."""

    id = "not-a-bundle"


class CorruptBundle(SdkError):
    """A file of a bundle is missing, unexpected, or not what the manifest says it is."""

    id = "corrupt-bundle"


class NewerBundle(SdkError):
    """A bundle whose format this version does not know yet."""

    id = "newer-bundle"


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder and its manifest, whose own hash and schema were checked.

    `signed` is what the signature says, where a key was given and it is right.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str = ""
    signed: Statement | None = None

    def file(self, entry: Artifact | File) -> Path:
        """Where an artifact or a further file of this bundle lies."""
        return self.path / entry.file


def open_bundle(path: str | os.PathLike[str], key: Keys | None = None, *, older: bool = False) -> Bundle:
    """Reads and validates the manifest of the bundle at `path`; `check_files` does the same for its files.

    With `key` the manifest must be signed by it, and, but for `older`, its release no older than what this device has
    used (`signing.remember`, which is for the caller to call once the files are checked). Raises `NotABundle`,
    `CorruptBundle` or `NewerBundle`; with a key also Unsigned, UnknownKey, BadSignature or RolledBack.
    """
    folder = Path(path)
    if not folder.exists():
        raise NotABundle(f"{folder} does not exist", expected="a folder NAME.bundle")
    if not (folder / MANIFEST).is_file():
        raise NotABundle(f"{folder} holds no {MANIFEST}", expected="a folder written by sdk export")
    text = _read_limited(folder / MANIFEST, MANIFEST_LIMIT_BYTES)
    _check_manifest_hash(folder, text)
    sha256 = hashlib.sha256(text).hexdigest()
    signed = None if key is None else check(_signature(folder), sha256, key)
    manifest = _parse(folder / MANIFEST, text)
    _check_names([entry.file for entry in _entries(manifest.artifacts, manifest.files)])
    _check_meaning(manifest)
    if signed is not None:
        if signed.model != manifest.model:
            raise BadSignature(f"the signature is for {signed.model!r}", expected=f"the manifest's {manifest.model!r}")
        if not older:
            not_older(signed)
    return Bundle(folder, manifest, sha256, signed)


def _signature(folder: Path) -> bytes | None:
    return _read_limited(folder / SIGNATURE, LIMIT_BYTES) if (folder / SIGNATURE).exists() else None


def check_files(bundle: Bundle, artifacts: Iterable[Artifact] | None = None, *, complete: bool = False) -> None:
    """Hashes `artifacts` (all of them where None) and every further file, and compares with the manifest.

    With `complete`, a file that the manifest does not mention is an error too. Raises `CorruptBundle`.
    """
    chosen = bundle.manifest.artifacts if artifacts is None else artifacts
    for entry in _entries(chosen, bundle.manifest.files):
        _check_entry(bundle, entry)
    if complete:
        _check_no_strangers(bundle)


def write_bundle(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json and manifest.sha256 into `folder`, each beside its final name and renamed."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    if len(text) > MANIFEST_LIMIT_BYTES:
        raise SdkError(f"the manifest of {folder} has {len(text)} bytes", expected=f"at most {MANIFEST_LIMIT_BYTES}")
    durable.write(folder / MANIFEST, text)
    durable.write(folder / MANIFEST_HASH, _hash_line(text))


def describe(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file, or of a folder: that of its sorted lines `HASH  RELATIVE/PATH`.

    Raises `CorruptBundle` for symbolic links, pipes and what else is no plain file.
    """
    if not path.is_dir() or path.is_symlink():
        return _describe_file(path)
    total, lines = 0, []
    for file in _plain_files(path):
        if not file.relative_to(path).as_posix().isprintable():  # a newline could make up lines of the listing
            raise CorruptBundle(f"{str(file)!r} has control characters in its name", expected="a printable name")
        size, digest = _describe_file(file)
        total += size
        lines.append(f"{digest}  {file.relative_to(path).as_posix()}\n")
    return total, hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _entries(artifacts: Iterable[Artifact], files: Iterable[File]) -> tuple[Artifact | File, ...]:
    return (*artifacts, *files)


def _read_limited(path: Path, limit: int) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise CorruptBundle(f"{path} is missing or no plain file", expected="a file of the bundle itself")
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise CorruptBundle(f"{path} is larger than {limit} bytes", expected=f"at most {limit} bytes")
    return content


def _hash_line(text: bytes) -> bytes:
    return f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()


def _check_manifest_hash(folder: Path, text: bytes) -> None:
    expected = _hash_line(text)
    found = _read_limited(folder / MANIFEST_HASH, len(expected))
    if found != expected:
        raise CorruptBundle(
            f"{MANIFEST} and {MANIFEST_HASH} of {folder} do not belong together",
            expected=f"{MANIFEST_HASH} to hold exactly {expected.decode().rstrip()!r} and a newline",
            hint=AGAIN,
        )


class _Head(msgspec.Struct):
    schema_version: str


def _parse(path: Path, text: bytes) -> Manifest:
    try:
        _check_version(path, msgspec.json.decode(text, type=_Head).schema_version)
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        expected = f"schema {SCHEMA_VERSION}"
        raise NotABundle(f"{path} is no valid manifest: {error}", expected=expected) from error


def _check_version(path: Path, version: str) -> None:
    major, dot, minor = version.partition(".")
    if not (dot and all(part.isascii() and part.isdigit() and len(part) < 6 for part in (major, minor))):
        raise NotABundle(f"{path} has the schema version {version!r}", expected="MAJOR.MINOR, such as 1.0")
    if int(major) > int(SCHEMA_VERSION.partition(".")[0]):
        raise NewerBundle(
            f"{path} has the schema version {version}",
            expected=f"{SCHEMA_VERSION.partition('.')[0]}.x, which this version reads",
            hint="pip install --upgrade edge-sdk",
        )


def _check_name(name: str) -> None:
    """Refuses what could leave the folder on any system; the file itself is looked at by `_check_entry`."""
    parts_ok = all(part not in ("", ".", "..") for part in name.split("/"))
    if not (parts_ok and name.isprintable() and "\\" not in name and ":" not in name):
        raise NotABundle(
            f"the manifest names the file {name!r}", expected="a path inside the bundle's folder, with / only"
        )


def _check_names(names: list[str]) -> None:
    """Each inside of the folder, and none twice or inside of another: a file is hashed once, and has one owner."""
    for name in names:
        _check_name(name)
    known = set(names)
    inside = {name for name in known if any(part in known for part in _above(name))}
    if inside or len(known) < len(names):
        twice = next(iter(inside), None) or next(name for name in names if names.count(name) > 1)
        raise NotABundle(f"the manifest names the file {twice!r} twice", expected="each file once")


def _above(name: str) -> Iterator[str]:
    """The folders that a name lies in."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _check_meaning(manifest: Manifest) -> None:
    pre, post = manifest.preprocessing, manifest.postprocessing
    for tensor in (*manifest.inputs, *manifest.outputs):
        _check_size(tensor)
        _check_quantization(tensor)
    if pre is not None:
        given = next((tensor for tensor in manifest.inputs if tensor.name == pre.input), None)
        shape = given.shape if given is not None else None
        if given is not None and (pre.folded or given.dtype == "uint8"):
            _expect(pre.folded and given.dtype == "uint8" and given.quantization is None,
                    f"pixels for {pre.input!r}, {given.dtype}", "folded and uint8, and no scale")  # fmt: skip
        _expect(shape == (1, 3, pre.height, pre.width), f"preprocessing for {pre.input!r}, shape {shape}",
                f"an input of shape (1, 3, {pre.height}, {pre.width})")  # fmt: skip
        _expect(0 < pre.width <= SIDE_LIMIT and 0 < pre.height <= SIDE_LIMIT,
                f"preprocessing to {pre.width} x {pre.height}", f"sides from 1 to {SIDE_LIMIT}")  # fmt: skip
        _expect(0.1 <= pre.crop_fraction <= 1, f"crop_fraction {pre.crop_fraction}", "0.1 to 1")
        _expect(0 <= pre.pad_value <= 255, f"pad_value {pre.pad_value}", "0 to 255")
        _expect(len(pre.mean_values) == len(pre.scale_values) == 3 and all(pre.scale_values),
                f"mean {pre.mean_values} and scale {pre.scale_values}", "three each, no scale 0")  # fmt: skip
    if post is None:
        _expect(manifest.task == "raw", f"the task {manifest.task} without postprocessing", "how outputs are read")
        return
    kind = type(post).__struct_config__.tag
    _expect(kind == manifest.task, f"postprocessing of type {kind!r}", f"the task's, {manifest.task}")
    shapes = {tensor.name: tensor.shape for tensor in manifest.outputs}
    _expect(post.output in shapes, f"postprocessing of {post.output!r}", f"one of {', '.join(shapes)}")
    shape = shapes[post.output]
    if isinstance(post, DecodeVideo):
        latent = next((tensor.shape for tensor in manifest.inputs if tensor.name == post.input), ())
        _expect(all(1 <= step <= 64 for step in post.scale), f"a scale of {post.scale}", "1 to 64")
        _expect(len(latent) == 5 and shape == video_shape(latent, post), f"latent {latent} to video {shape}",
                "(1, C, t, h, w) to (1, 3, T, H, W) by the scale")  # fmt: skip
        return
    _expect(pre is not None, f"the task {manifest.task} without preprocessing", "both")
    if isinstance(post, Detect):
        _expect(len(shape) == 3 and shape[1] == 4 + len(manifest.labels) > 4,
                f"{len(manifest.labels)} labels for an output of shape {shape}", "(1, 4 + classes, N)")  # fmt: skip
        _expect(0 <= post.confidence_threshold <= 1 and 0 <= post.iou_threshold <= 1,
                f"thresholds {post.confidence_threshold} and {post.iou_threshold}", "0 to 1")  # fmt: skip
        _expect(post.max_detections > 0, f"max_detections {post.max_detections}", "1 or more")


def _check_size(tensor: Tensor) -> None:
    _expect(tensor.dtype in WIDTHS, f"{tensor.name!r} of type {tensor.dtype!r}", f"one of {', '.join(WIDTHS)}")
    size = math.prod(tensor.shape) * WIDTHS[tensor.dtype]
    _expect(all(side > 0 for side in tensor.shape) and size <= TENSOR_LIMIT_BYTES,
            f"{tensor.name!r}, {tensor.dtype}, of shape {tensor.shape}",
            f"sides of 1 or more, and at most {TENSOR_LIMIT_BYTES:,} bytes")  # fmt: skip


def _check_quantization(tensor: Tensor) -> None:
    own = tensor.quantization
    if own is None:
        return
    low, high = {"int8": (-128, 127), "uint8": (0, 255)}.get(tensor.dtype, (1, 0))
    _expect(low <= own.zero_point <= high, f"{tensor.name!r}, {tensor.dtype}, with the zero point {own.zero_point}",
            "int8 or uint8, and a zero point that it can hold")  # fmt: skip
    _expect(0 < own.scale < float("inf"), f"{tensor.name!r} with the scale {own.scale}", "a scale over 0")


def video_shape(latent: tuple[int, ...], how: DecodeVideo) -> tuple[int, ...]:
    """The video's shape (1, 3, T, H, W) of a latent's (1, C, t, h, w)."""
    steps, sides = latent[2], latent[3:]
    frames = (steps - 1) * how.scale[0] + 1 if how.causal else steps * how.scale[0]
    return (latent[0], 3, frames, sides[0] * how.scale[1], sides[1] * how.scale[2])


def _expect(held: bool, given: str, expected: str) -> None:
    if not held:
        raise NotABundle(f"the manifest says: {given}", expected=expected)


def _check_entry(bundle: Bundle, entry: Artifact | File) -> None:
    path = bundle.file(entry)
    for place in (path, *path.parents[: entry.file.count("/")]):
        if place.is_symlink():
            raise CorruptBundle(f"{place} is a symbolic link", expected="a file of the bundle itself")
    if not path.exists():
        raise CorruptBundle(f"{path} is missing", expected="every file of the manifest", hint=AGAIN)
    size, digest = describe(path)
    if (size, digest) != (entry.bytes, entry.sha256):
        raise CorruptBundle(
            f"{path} has {size} bytes, sha256 {digest}",
            expected=f"{entry.bytes} bytes, sha256 {entry.sha256}",
            hint=AGAIN,
        )


def _check_no_strangers(bundle: Bundle) -> None:
    entries = _entries(bundle.manifest.artifacts, bundle.manifest.files)
    known = {MANIFEST, MANIFEST_HASH, SIGNATURE, *(entry.file for entry in entries)}
    for file in _plain_files(bundle.path):
        relative = file.relative_to(bundle.path)
        owners = {relative.as_posix(), *(parent.as_posix() for parent in relative.parents)}
        if not owners & known:
            raise CorruptBundle(
                f"{file} is not in the manifest", expected="only files that it names", hint=f"remove {file}"
            )


def _plain_files(folder: Path) -> Iterator[Path]:
    for entry in folder.rglob("*"):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise CorruptBundle(f"{entry} is a link or a special file", expected="plain files and folders")
        if entry.is_file():
            yield entry


def _describe_file(path: Path) -> tuple[int, str]:
    if path.is_symlink() or not path.is_file():
        raise CorruptBundle(f"{path} is missing or no plain file", expected="a file or a folder")
    if not path.name.isprintable():
        raise CorruptBundle(f"{str(path)!r} has control characters in its name", expected="a printable name")
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return stream.tell(), digest
    except OSError as error:
        raise CorruptBundle(f"{path} cannot be read: {error.strerror}", expected="a readable file") from error
