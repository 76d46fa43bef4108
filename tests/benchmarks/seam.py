"""What tiling a video decoder costs, in dB, against decoding the whole latent at once.

    python tests/benchmarks/seam.py --clips clips.tar --device cuda --cut 3,16,16 --cut 5,20,20 --out seam
    python tests/benchmarks/seam.py --clips clips.tar --pack clips.zip    # frames as JPEGs, for a machine without PyAV

Seams depend on how far a decoder really looks, which random weights do not tell. So the decoder is first trained on
the clips, from latents of a fixed code; one clip is kept out of training and measured. Clips are
videos (a .tar or a folder of them, read by PyAV) or a .zip that `--pack` wrote. Writes OUT.json, OUT.png and, with the
trained networks, OUT.npz.
"""

import argparse
import io
import json
import math
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from models_zoo.registry import MODELS
from models_zoo.turbo_vaed import turbo_vaed
from runtime_py.manifest import DecodeVideo
from runtime_py.video import decode_tiles

VIDEOS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
Clips = dict[str, torch.Tensor]
"""By name, frames (T, H, W, 3), uint8."""
Shown = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Seam:
    """One tile (t, h, w) and overlap (time, space), in steps of the latent: PSNR in dB, on two tiles or three an axis.

    `work` is what a large latent costs, in multiples of the whole decode.
    """

    tile: tuple[int, ...]
    overlap: tuple[int, int]
    latent: tuple[int, ...]
    whole_db: float
    tiled_db: float
    lost_db: float
    tiled_against_whole_db: float
    worst_frame_lost_db: float
    work: float


class Encoder(nn.Module):
    """Video (N, 3, T, H, W) to a latent (N, C, t, h, w): the cosine transform of each block of `scale`, of which the
    C coefficients are kept that vary most, each at unit variance.

    A fixed code, so that the decoder learns in minutes, and one that says all that it says where it belongs.
    """

    def __init__(self, channels: int, how: DecodeVideo) -> None:
        super().__init__()
        self.how = how
        for name, size in zip("thw", how.scale, strict=True):
            self.register_buffer(f"cosines_{name}", torch.from_numpy(_cosines(size)), persistent=False)
        self.register_buffer("colours", torch.from_numpy(_cosines(3)), persistent=False)
        self.register_buffer("kept", torch.zeros(channels, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def coefficients(self, video: Tensor) -> Tensor:
        """(N, 3 * blocks' volume, t, h, w)."""
        dt, dh, dw = self.how.scale
        if self.how.causal:  # these decoders never give the first group's other frames: the first stands for them
            video = torch.cat((video[:, :, :1].expand(-1, -1, dt - 1, -1, -1), video), 2)
        n, _, t, h, w = video.shape
        blocks = video.reshape(n, 3, t // dt, dt, h // dh, dh, w // dw, dw)
        for axis, basis in ((1, self.colours), (3, self.cosines_t), (5, self.cosines_h), (7, self.cosines_w)):
            blocks = torch.tensordot(blocks, basis, ([axis], [1])).movedim(-1, axis)
        return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, -1, t // dt, h // dh, w // dw)

    def fit(self, batches: Iterator[Tensor]) -> None:
        """Choose the coefficients."""
        seen = torch.cat([self.coefficients(video).transpose(0, 1).flatten(1) for video in batches], 1)
        deviation = seen.std(1)
        self.kept = deviation.topk(len(self.kept)).indices.sort().values
        self.mean, self.deviation = seen.mean(1)[self.kept], deviation[self.kept]

    def forward(self, video: Tensor) -> Tensor:
        """The latent."""
        wide = (1, -1, 1, 1, 1)
        return (self.coefficients(video)[:, self.kept] - self.mean.view(wide)) / self.deviation.view(wide)


def _cosines(size: int) -> np.ndarray:
    """The orthonormal cosine transform (DCT-II) of `size` samples, a row a frequency; float32."""
    frequency, sample = np.mgrid[:size, :size]
    basis = np.cos(np.pi * (sample + 0.5) * frequency / size) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def read_clips(path: Path, side: Callable[[str], int], most: int) -> Clips:
    """Up to `most` frames of every clip, their short side as `side` says for its name, in pixels."""
    if path.suffix == ".zip":
        clips: dict[str, list[np.ndarray]] = {}
        with zipfile.ZipFile(path) as packed:
            for file in sorted(packed.namelist()):
                name = file.partition("/")[0]
                frames = clips.setdefault(name, [])
                if len(frames) < most:
                    frames.append(_resized(Image.open(io.BytesIO(packed.read(file))), side(name)))
    else:
        clips = {name: list(_frames(source, side(name), most)) for name, source in _videos(path)}
    if not clips:
        sys.exit(f"{path} holds no video ({', '.join(VIDEOS)})")
    return {name: torch.from_numpy(np.stack(frames)) for name, frames in clips.items()}


def pack(clips: Clips, path: Path) -> None:
    """A .zip of CLIP/00000.jpg."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        for name, frames in clips.items():
            for index, frame in enumerate(frames.numpy()):
                jpeg = io.BytesIO()
                Image.fromarray(frame).save(jpeg, "JPEG", quality=92)
                packed.writestr(f"{name}/{index:05d}.jpg", jpeg.getvalue())


def _videos(path: Path) -> Iterator[tuple[str, Any]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in VIDEOS:
                yield file.stem, str(file)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(VIDEOS) else None
            if content is not None:
                yield Path(member.name).stem, io.BytesIO(content.read())


def _frames(source: Any, side: int, most: int) -> Iterator[np.ndarray]:
    import av

    with av.open(source) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == most:
                return
            yield _resized(frame.to_image(), side)


def _resized(image: Image.Image, side: int) -> np.ndarray:
    ratio = side / min(image.size)
    size = (round(image.width * ratio), round(image.height * ratio))
    return np.asarray(image.convert("RGB") if size == image.size else image.convert("RGB").resize(size))


class Trainer:
    """A decoder, trained on random cuts for a bounded time.

    Cuts of one size alone teach the decoder that size: it then does worse on any other, whole or tiled.
    """

    def __init__(self, options: argparse.Namespace, how: DecodeVideo, channels: int, sizes: list[list[int]]) -> None:
        torch.manual_seed(options.seed)
        self.how, self.sizes, self.device = how, sizes, torch.device(options.device)
        self.batch, self.rate = options.batch, options.rate
        self.decoder = turbo_vaed(
            options.name, latent_channels=channels, widths=options.widths, resnets=options.resnets
        ).to(self.device)
        self.encoder = Encoder(channels, how).to(self.device)

    def cuts(self, clips: list[Tensor]) -> Tensor:
        """A batch (N, 3, T, H, W) in -1..1: mirrored, reversed and in other colours by chance.

        The clips are few. Without that, the decoder learns their colours and fails on the one that is measured.
        """
        wanted = _video_size(self.sizes[int(torch.randint(len(self.sizes), ()))], self.how)
        batch = []
        for _ in range(self.batch):
            clip = clips[int(torch.randint(len(clips), ()))]
            first, top, left = (
                int(torch.randint(have - want + 1, ())) for have, want in zip(clip.shape[:3], wanted, strict=True)
            )
            cut = clip[first : first + wanted[0], top : top + wanted[1], left : left + wanted[2]]
            video = _to_video(cut[None])
            if torch.rand(()) < 0.5:
                video = video[:, torch.randperm(3).tolist()]
            video = video.flip([axis for axis in (2, 3, 4) if torch.rand(()) < 0.5])
            gain, shift = 0.8 + 0.4 * torch.rand(3), 0.2 * torch.rand(3) - 0.1
            colour = (1, 3, 1, 1, 1)
            batch.append(video * gain.view(colour).to(video) + shift.view(colour).to(video))
        return torch.cat(batch).clamp(-1, 1)

    def train(self, clips: list[Tensor], seconds: float) -> tuple[int, float]:
        """Steps done and the last hundred steps' mean L1."""
        clips = [clip.to(self.device) for clip in clips]
        if not bool(self.encoder.kept.any()):
            with torch.no_grad():
                self.encoder.fit(self.cuts(clips) for _ in range(20))
        parameters = list(self.decoder.parameters())
        optimiser = torch.optim.AdamW(parameters, self.rate, betas=(0.9, 0.95), weight_decay=1e-4, fused=True)
        started, step, recent, said = time.monotonic(), 0, [1.0], 0.0
        while (passed := time.monotonic() - started) < seconds:
            share = passed / seconds
            for group in optimiser.param_groups:
                group["lr"] = self.rate * min((step + 1) / 100, 0.5 + 0.5 * math.cos(math.pi * share))
            video = self.cuts(clips)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                found = self.decoder(self.encoder(video))
            loss = (found.float() - video).abs().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            step, recent = step + 1, [*recent[-99:], float(loss.detach())]
            if passed - said > 20:
                said = passed
                print(f"{passed:6.0f} s  step {step}  L1 {sum(recent) / len(recent):.4f}", file=sys.stderr, flush=True)
        return step, sum(recent) / len(recent)

    def save(self, path: Path, steps: int, loss: float) -> None:
        """Both networks' tensors, for `--trained`; the decoder's in half precision."""
        arrays = {f"encoder.{key}": value for key, value in self.encoder.state_dict().items()}
        arrays |= {f"decoder.{key}": value for key, value in self.decoder.state_dict().items()}
        halves = {
            key: (value.half() if key.startswith("decoder") else value).cpu().numpy() for key, value in arrays.items()
        }
        np.savez(path, steps=steps, loss=loss, **halves)  # type: ignore[arg-type]

    def load(self, path: Path) -> tuple[int, float]:
        """What `save` wrote: steps and loss."""
        with np.load(path, allow_pickle=False) as file:
            for name, network in (("encoder.", self.encoder), ("decoder.", self.decoder)):
                own = network.state_dict()
                network.load_state_dict({key: torch.from_numpy(file[name + key]).to(own[key]) for key in own})
            return int(file["steps"]), float(file["loss"])

    @torch.no_grad()
    def encode(self, frames: Tensor) -> np.ndarray:
        """The latent (1, C, t, h, w) of frames (T, H, W, 3)."""
        latent: np.ndarray = self.encoder(_to_video(frames[None].to(self.device))).cpu().numpy()
        return latent

    @torch.no_grad()
    def decode(self, latent: np.ndarray) -> np.ndarray:
        """What a bundle's artifact does: a video (1, 3, T, H, W), float32."""
        video: np.ndarray = self.decoder(torch.from_numpy(latent).to(self.device)).float().cpu().numpy()
        return video


def overlaps(tile: tuple[int, ...], how: DecodeVideo) -> list[tuple[int, int]]:
    """(time, space) from the least to half a tile."""
    least = 1 if how.causal else 0
    times = sorted({least, max(tile[0] // 4, least), max(tile[0] // 2, least)})
    return [(t, s) for t in times for s in sorted({0, *(count * tile[1] // 8 for count in (1, 2, 3, 4))})]


def measure(
    trainer: Trainer, tile: tuple[int, ...], chosen: Sequence[Sequence[int]], clip: Tensor
) -> Iterator[tuple[Seam, Shown]]:
    """Each overlap's seams on a clip, and a frame of the original, of the whole decode and of the tiled one."""
    for time_overlap, space_overlap in chosen or overlaps(tile, trainer.how):
        overlap = (time_overlap, space_overlap)
        free = _free(tile, overlap)
        size = _most_tiles(tile, free, clip, trainer.how)
        frames, height, width = _video_size(size, trainer.how)
        truth = clip[:frames, :height, :width]
        latent = trainer.encode(truth)
        whole, tiled = (
            np.concatenate(list(decode_tiles(trainer.decode, latent, shape, trainer.how, overlap)))
            for shape in (latent.shape, (1, latent.shape[1], *tile))
        )
        row = _seam(tile, overlap, size, truth.numpy(), whole, tiled, math.prod(tile) / math.prod(free))
        yield row, (truth[frames // 2].numpy(), whole[frames // 2], tiled[frames // 2])


def _free(tile: tuple[int, ...], overlap: tuple[int, int]) -> list[int]:
    """Steps of the latent from one tile to the next, an axis."""
    return [side - shared for side, shared in zip(tile, (overlap[0], overlap[1], overlap[1]), strict=True)]


def _most_tiles(tile: tuple[int, ...], free: list[int], clip: Tensor, how: DecodeVideo) -> tuple[int, ...]:
    """The latent of three tiles an axis, or of two, that the clip holds."""
    for more in (2, 1):
        if _fits(size := _several(tile, free, more), clip, how):
            return size
    sys.exit(f"the test clip, {tuple(clip.shape)}, does not hold two tiles of {tile}: --test-side, --frames")


def _several(tile: tuple[int, ...], free: list[int], more: int) -> tuple[int, ...]:
    """The latent that a tile and `more` others along each axis cover."""
    return tuple(side + more * step for side, step in zip(tile, free, strict=True))


def _fits(size: tuple[int, ...], clip: Tensor, how: DecodeVideo) -> bool:
    return all(want <= have for want, have in zip(_video_size(size, how), clip.shape, strict=False))


def _seam(
    tile: tuple[int, ...],
    overlap: tuple[int, int],
    size: tuple[int, ...],
    truth: np.ndarray,
    whole: np.ndarray,
    tiled: np.ndarray,
    work: float,
) -> Seam:
    whole_db, tiled_db = psnr_db(whole, truth), psnr_db(tiled, truth)
    frames = zip(truth, whole, tiled, strict=True)
    worst = max(psnr_db(whole_frame, true) - psnr_db(tiled_frame, true) for true, whole_frame, tiled_frame in frames)
    figures = (whole_db, tiled_db, whole_db - tiled_db, psnr_db(tiled, whole), worst, work)
    return Seam(tile, overlap, size, *(round(value, 3) for value in figures))


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Of uint8 images; identical ones count as 99 dB."""
    error = float(np.mean((a.astype(np.float32) - b.astype(np.float32)) ** 2, dtype=np.float64))
    return 10 * math.log10(255**2 / error) if error else 99.0


def _video_size(latent: Sequence[int], how: DecodeVideo) -> tuple[int, int, int]:
    frames = (latent[0] - 1) * how.scale[0] + 1 if how.causal else latent[0] * how.scale[0]
    return frames, latent[1] * how.scale[1], latent[2] * how.scale[2]


def _to_video(frames: Tensor) -> Tensor:
    return frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def picture(rows: list[tuple[Seam, Shown]]) -> Image.Image:
    """The middle frame of original, whole and tiled, with its difference to the whole; a line an overlap."""
    height, width = (max(shown[0].shape[axis] for _, shown in rows) for axis in (0, 1))
    canvas = Image.new("RGB", (4 * width, (height + 20) * len(rows)), (255, 255, 255))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for index, (row, (truth, whole, tiled)) in enumerate(rows):
        far = np.clip(np.abs(tiled.astype(np.float32) - whole) * 8, 0, 255).astype(np.uint8)
        texts = (
            "original",
            f"whole  {row.whole_db:.2f} dB",
            f"{row.tile}, overlap {row.overlap}  {row.tiled_db:.2f} dB",
            "x 8",
        )
        for column, (frame, text) in enumerate(zip((truth, whole, tiled, far), texts, strict=True)):
            canvas.paste(Image.fromarray(frame), (column * width, index * (height + 20) + 20))
            pen.text((column * width + 4, index * (height + 20) + 2), text, fill=(0, 0, 0), font=font)
    return canvas


def main() -> None:
    """Train, measure, print a markdown table, write JSON and picture."""
    options = _options()
    spec = MODELS[options.name]
    how = DecodeVideo(input="latent", output="video", scale=spec.scale, causal=spec.causal)
    tiles = options.tile or [spec.shape[1:]]
    clips = read_clips(
        options.clips, lambda name: options.test_side if name == options.test else options.side, options.frames
    )
    if options.pack:
        return pack(clips, options.pack)
    if options.test not in clips:
        sys.exit(f"no clip {options.test!r}; there are {', '.join(clips)}")
    sizes = options.cut or tiles
    frames, height, width = np.max([_video_size(size, how) for size in sizes], axis=0)
    for tile in tiles:  # before minutes of training
        for overlap in options.overlap or overlaps(tuple(tile), how):
            _most_tiles(tuple(tile), _free(tuple(tile), tuple(overlap)), clips[options.test], how)
    small = {n for n, c in clips.items() if any(h < w for h, w in zip(c.shape, (frames, height, width), strict=False))}
    learnt = [clip for name, clip in clips.items() if name not in {options.test, *small}]
    print(f"{len(learnt)} clips to train on, {len(small)} too small left out", file=sys.stderr)
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    trainer = Trainer(options, how, spec.shape[0], sizes)
    steps, loss = trainer.load(options.trained) if options.trained else (0, math.nan)
    if options.minutes:
        more, loss = trainer.train(learnt, options.minutes * 60)
        steps += more
    trainer.encoder.eval()
    trainer.decoder.eval()
    rows = [row for tile in tiles for row in measure(trainer, tuple(tile), options.overlap or (), clips[options.test])]
    result = {
        "name": options.name, "clip": options.test, "widths": options.widths, "resnets": options.resnets,
        "parameters": sum(p.numel() for p in trainer.decoder.parameters()),
        "steps": steps, "l1": loss, "minutes": options.minutes, "device": options.device,
        "seams": [asdict(row) for row, _ in rows],
    }  # fmt: skip
    if options.out:
        options.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
        picture(rows).save(options.out.with_suffix(".png"))
        if options.minutes:
            trainer.save(options.out.with_suffix(".npz"), steps, loss)
    print(f"{options.name}, {steps} steps, L1 {loss:.4f}\n")
    print("| tile | overlap time, space | whole, dB | tiled, dB | lost, dB | worst frame lost, dB | "
          "tiled to whole, dB | work |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for row, _ in rows:
        print(
            f"| {' x '.join(map(str, row.tile))} | {row.overlap[0]}, {row.overlap[1]} | {row.whole_db:.2f} | "
            f"{row.tiled_db:.2f} | {row.lost_db:.3f} | {row.worst_frame_lost_db:.2f} | "
            f"{row.tiled_against_whole_db:.2f} | {row.work:.2f}x |"
        )


def _options() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    names = [name for name, spec in MODELS.items() if spec.task == "decode_video"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help=".tar or folder of videos, or a .zip of --pack")
    parser.add_argument("--pack", type=Path, help="write the clips' frames to this .zip and stop")
    parser.add_argument("--name", choices=names, default="turbo_vaed_hunyuan")
    parser.add_argument("--widths", type=numbers, help="of the four up blocks, such as 64,48,32,16")
    parser.add_argument("--resnets", type=numbers, help="of the middle and the four up blocks, such as 1,1,1,1,1")
    parser.add_argument(
        "--tile", type=numbers, action="append", help="t,h,w, may be repeated; the registry's by default"
    )
    parser.add_argument("--overlap", type=numbers, action="append", help="time,space, again for more; many by default")
    parser.add_argument("--trained", type=Path, help="OUT.npz of an earlier run to go on from")
    parser.add_argument(
        "--cut", type=numbers, action="append", help="t,h,w trained on, again for more; the tiles' by default"
    )
    parser.add_argument("--test", default="vtest", help="the clip that is measured and not trained on")
    parser.add_argument("--side", type=int, default=192, help="short side of the frames, in pixels")
    parser.add_argument("--test-side", type=int, default=384, help="the same of the test clip")
    parser.add_argument("--frames", type=int, default=65, help="of each clip, at most")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=8, help="of training; 0 with --trained: measure only")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="OUT.json, OUT.png, OUT.npz")
    return parser.parse_args()


if __name__ == "__main__":
    main()
