"""From a latent of any size to frames: tiles overlap in space, chunks in time, and are blended where they meet."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from itertools import pairwise
from os import PathLike, getpid
from pathlib import Path
from shutil import rmtree
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime_py.errors import SdkError, missing_extra
from runtime_py.manifest import DecodeVideo

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Frames = npt.NDArray[np.uint8]
MOVING = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
SPACE_OVERLAP = 4
"""Steps of the latent. A decoder that tests/benchmarks/seam.py trained on a fixed code gains nothing from more, which
only costs work."""


class BadLatent(SdkError):
    """A latent that this decoder does not take."""

    id = "bad-latent"


@dataclass(frozen=True, eq=False)
class Video:
    """Frames (T, H, W, 3), uint8, RGB; iterates over frames."""

    frames: Frames
    fps: float = 24.0

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frames]:
        return iter(self.frames)

    def __str__(self) -> str:
        count, height, width = self.frames.shape[:3]
        return f"{count} frames of {width} x {height}"

    def to_dict(self) -> dict[str, Any]:
        """Its size as plain data."""
        count, height, width = self.frames.shape[:3]
        return {"frames": count, "height": height, "width": width, "fps": self.fps}

    def save(self, path: str | PathLike[str]) -> None:
        """Write an animated .webp or .png (both lossless) or .gif, an .mp4, or, without suffix, a folder of PNGs.

        It is written beside its final name and renamed. Raises SdkError, or MissingExtra for .mp4 without PyAV.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (*MOVING, ".mp4", ""):
            raise SdkError(f"{path.name} for a video", expected=f"one of {', '.join(MOVING)}, .mp4, or no suffix")
        if not len(self):
            raise SdkError(f"{path.name} would hold no frame", expected="a video of one frame or more")
        if not suffix and path.exists():
            raise SdkError(f"{path} exists already", expected="a new folder for the frames")
        beside = path.with_name(f".{path.stem}.{getpid()}{path.suffix}")
        try:
            if suffix == "":
                _write_folder(self, beside)
            elif suffix == ".mp4":
                _write_mp4(self, beside)
            else:
                _write_moving(self, beside, MOVING[suffix])
            beside.replace(path)
        finally:
            rmtree(beside, ignore_errors=True) if suffix == "" else beside.unlink(missing_ok=True)


def _write_moving(video: Video, path: Path, kind: str) -> None:
    """Pillow's animations; durations are rounded so that their sum stays the clip's length."""
    tick = 10 if kind == "GIF" else 1  # milliseconds that the format can tell apart
    ends = [round(index * 1000 / video.fps / tick) * tick for index in range(len(video) + 1)]
    first, *others = (Image.fromarray(frame) for frame in video)
    first.save(
        path,
        kind,
        save_all=True,
        append_images=others,
        duration=[end - start for start, end in pairwise(ends)],
        loop=0,
        lossless=True,  # only .webp asks
    )


def _write_folder(video: Video, path: Path) -> None:
    path.mkdir()
    for index, frame in enumerate(video):
        Image.fromarray(frame).save(path / f"{index:06d}.png")


def _write_mp4(video: Video, path: Path) -> None:
    """H.264 where PyAV has it, otherwise MPEG-4; both want even sides, so an odd one loses its last line."""
    try:
        av = import_module("av")
    except ModuleNotFoundError:
        raise missing_extra("av", "video", "writing an .mp4") from None
    height, width = (side - side % 2 for side in video.frames.shape[1:3])
    if not height or not width:
        raise SdkError(
            f"a video of {video.frames.shape[2]} x {video.frames.shape[1]} as .mp4", expected="2 x 2 or more"
        )
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(video.fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "18"}  # to the eye as good as the frames
        else:
            stream.bit_rate = 8 * width * height
        for frame in video:
            cut = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        container.mux(stream.encode())


def read_latent(path: str | PathLike[str]) -> Array:
    """The array of an .npy file, or of an .npz that holds one or calls one `latent`. Pickles are refused.

    Raises BadLatent.
    """
    path = Path(path)
    expected = "one array, saved by numpy.save or numpy.savez"
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            name = "latent" if "latent" in found.files or len(found.files) != 1 else found.files[0]
            if name not in found.files:
                raise BadLatent(f"{path} holds {', '.join(found.files) or 'no array'}", expected="an array `latent`")
            array: Array = found[name]
            return array
    except FileNotFoundError:
        raise BadLatent(f"{path} does not exist", expected=expected) from None
    except (OSError, ValueError, EOFError, MemoryError, BadZipFile, KeyError, zlib.error) as error:
        raise BadLatent(f"{path} could not be read: {error}", expected=expected) from error


def decode_tiles(
    run: Callable[[Floats], Array],
    latent: Array,
    tile: tuple[int, ...],
    how: DecodeVideo,
    overlap: tuple[int, int] | None = None,
) -> Iterator[Frames]:
    """Frames (T, H, W, 3) of a latent (C, t, h, w) of any size, in chunks; `run` decodes one tile (1, C, t, h, w).

    Tiles overlap by `overlap` (time, space) steps of the latent and are blended linearly; by default by half a tile,
    in space by no more than `SPACE_OVERLAP`.
    A latent that is smaller than the tile is padded by its last frame, row and column, and the video cut again.
    No more than two chunks of frames are held at a time. Raises BadLatent.
    """
    whole = _checked(latent, tile)
    size = whole.shape[1:]
    if how.causal and tile[2] == 1 < size[0]:
        raise BadLatent(
            f"a latent of {size[0]} steps for a bundle of 1",
            expected="1 step",
            hint=f"export the decoder with --input 1,{tile[1]},3,{tile[3]},{tile[4]}",
        )
    steps = _overlaps(overlap, tile, how.causal)
    padded = np.pad(whole, [(0, 0), *((0, max(0, t - n)) for t, n in zip(tile[2:], size, strict=True))], mode="edge")
    starts = [_starts(n, t, o) for n, t, o in zip(padded.shape[1:], tile[2:], steps, strict=True)]
    height, width = size[1] * how.scale[1], size[2] * how.scale[2]
    frames = how.scale[0] * (size[0] - 1) + 1 if how.causal else how.scale[0] * size[0]
    for chunk in _join(_chunks(run, padded, starts, tile, how), starts[0], how.scale[0]):
        part = chunk[:frames, :height, :width]
        frames -= len(part)
        if len(part):
            yield _bytes(part)


def _bytes(video: Floats) -> Frames:
    """From -1..1 to 0..255; what is no number becomes black."""
    values = (video + 1) * 127.5
    np.fmin(np.fmax(np.rint(values, out=values), 0, out=values), 255, out=values)
    return values.astype(np.uint8)


Chunk = tuple[int, Floats]
"""Where it starts, in steps of the latent, and its frames (T, H, W, 3)."""


def _chunks(
    run: Callable[[Floats], Array],
    latent: Floats,
    starts: list[list[int]],
    tile: tuple[int, ...],
    how: DecodeVideo,
) -> Iterator[Chunk]:
    """Each chunk of time, its tiles blended over height and width."""
    rows = _ramps([y * how.scale[1] for y in starts[1]], tile[3] * how.scale[1])
    columns = _ramps([x * how.scale[2] for x in starts[2]], tile[4] * how.scale[2])
    sides = (latent.shape[2] * how.scale[1], latent.shape[3] * how.scale[2])
    for first in starts[0]:
        chunk: Floats | None = None
        for y, row in zip(starts[1], rows, strict=True):
            for x, column in zip(starts[2], columns, strict=True):
                part = latent[None, :, first : first + tile[2], y : y + tile[3], x : x + tile[4]]
                video = np.asarray(run(np.ascontiguousarray(part)), np.float32)[0].transpose(1, 2, 3, 0)
                if chunk is None:
                    chunk = np.zeros((video.shape[0], *sides, 3), np.float32)
                top, left = y * how.scale[1], x * how.scale[2]
                place = chunk[:, top : top + video.shape[1], left : left + video.shape[2]]
                place += video * (row[:, None] * column)[..., None]
        assert chunk is not None  # there is at least one tile
        yield first, chunk


def _join(chunks: Iterator[Chunk], starts: list[int], rate: int) -> Iterator[Floats]:
    """The chunks one after the other, blended over the frames that they share.

    Frame 0 of a chunk that starts at step s is frame `rate` * s of the video, for causal decoders too: there the
    first step of a chunk gives the last frame of its group. It knows nothing of what came before, as the last frame
    of the chunk before knows nothing of what comes: measured, a blend of both is nearer to the whole than either.
    """
    held, begun = np.empty((0, 0, 0, 0), np.float32), 0
    weights: list[Floats] = []
    for index, (start, frames) in enumerate(chunks):
        weights = weights or _ramps([first * rate for first in starts], len(frames))
        frames *= weights[index][:, None, None, None]
        shared = len(held) - (start * rate - begun) if index else 0
        if index:
            yield held[: len(held) - shared]
            frames[:shared] += held[len(held) - shared :]
        held, begun = frames, start * rate
    yield held


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin: evenly, so that neighbours share `overlap` or more and the last ends with the latent."""
    count = max(1, -(-(length - overlap) // (tile - overlap)))
    return [round(index * (length - tile) / max(count - 1, 1)) for index in range(count)]


def _ramps(starts: list[int], length: int) -> list[Floats]:
    """Weights (length,) of tiles that begin at `starts`: they rise and fall where tiles overlap, and sum to 1."""
    ramps, total = [], np.zeros(starts[-1] + length, np.float32)
    for index, start in enumerate(starts):
        weights = np.ones(length, np.float32)
        if index:
            shared = starts[index - 1] + length - start
            weights[:shared] *= np.arange(1, shared + 1, dtype=np.float32) / (shared + 1)
        if index + 1 < len(starts):
            shared = start + length - starts[index + 1]
            weights[length - shared :] *= np.arange(shared, 0, -1, dtype=np.float32) / (shared + 1)
        total[start : start + length] += weights
        ramps.append(weights)
    return [weights / total[start : start + length] for weights, start in zip(ramps, starts, strict=True)]


def _overlaps(overlap: tuple[int, int] | None, tile: tuple[int, ...], causal: bool) -> tuple[int, int, int]:
    """Steps that neighbours share over time, height and width: no more than half a tile.

    Chunks of a causal decoder share one step at least: the first step of each gives one frame instead of a group.
    """
    limits = [max(side // 2, 1) if side > 1 else 0 for side in tile[2:]]
    least = 1 if causal else 0
    if overlap is None:
        return limits[0], min(limits[1], SPACE_OVERLAP), min(limits[2], SPACE_OVERLAP)
    time, space = overlap
    if not (least <= time <= limits[0] and 0 <= space <= min(limits[1:])):
        raise BadLatent(
            f"an overlap of {time} steps in time and {space} in space",
            expected=f"{least} to {limits[0]} in time and at most {min(limits[1:])} in space, half a tile",
        )
    return time, space, space


def _checked(latent: Array, tile: tuple[int, ...]) -> Floats:
    """The latent (C, t, h, w) as float32."""
    expected = f"float32 of shape ({tile[1]}, T, H, W), with or without a batch of 1"
    if not isinstance(latent, np.ndarray) or not np.issubdtype(latent.dtype, np.floating):
        given = f"an array of {latent.dtype}" if isinstance(latent, np.ndarray) else f"a {type(latent).__name__}"
        raise BadLatent(given, expected=expected)
    array = latent[0] if latent.ndim == 5 and len(latent) == 1 else latent
    if array.ndim != 4 or array.shape[0] != tile[1] or 0 in array.shape:
        hint = "each decoder takes the latents of its own encoder only" if array.ndim == 4 else ""
        raise BadLatent(f"a latent of shape {latent.shape}", expected=expected, hint=hint)
    if not np.isfinite(array).all():
        raise BadLatent("a latent with values that are no numbers", expected="finite values")
    return array.astype(np.float32, copy=False)
