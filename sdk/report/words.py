"""Numbers and status words as the page prints them."""

import math

from runtime_py.manifest import Accuracy, DecodeVideo, Detect, Postprocessing, Preprocessing, Status, Tensor
from runtime_py.proof import CEILING_DB

STATUS_MEANINGS: dict[Status, str] = {
    "executed": "Ran on the exporting machine in its own runtime, and agrees with PyTorch.",
    "interpreted": "The saved Core ML program and weights, run one by one over PyTorch; they agree.",
    "converted": "Written, but nothing on the exporting machine could run it.",
    "failed": "Refused, crashed, or differs from PyTorch more than its precision allows.",
}

PUBLISHED = {
    "params": "published parameters",
    "macs": "MACs",
    "top1": "published top-1",
    "source": "paper",
    "map50_95": "published mAP50-95",
    "map50": "published mAP50",
    "weights_map50_95": "mAP50-95 of these weights",
    "weights_map50": "mAP50 of these weights",
    "weights_top1": "top-1 of these weights",
    "weights_top5": "top-5 of these weights",
    "weights_data": "measured on",
}
"""The manifest's `published` keys as the header says them."""

METRICS = {
    "top1": "top-1",
    "top5": "top-5",
    "map50_95": "mAP50-95",
    "map50": "mAP50",
    "psnr_db": "PSNR",
    "ssim": "SSIM",
    "sqnr_db": "SQNR",
}
"""Metrics as a reader knows them."""


def fact(name: str, value: float | str) -> str:
    """A published value: accuracies, shares of 1, as percent."""
    if isinstance(value, str):
        return value
    return f"{value:.1%}" if "top-" in name or "mAP" in name else f"{value:,.12g}"


def size(count: int | None) -> str:
    """Bytes as B, kB or MB (10**6)."""
    if count is None:
        return "–"
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def sqnr(db: float | None) -> str:
    """SQNR in dB: a dash where nothing ran, a word where nothing differs."""
    return "identical" if db is not None and db >= CEILING_DB else number(db, ".1f")


def number(value: float | None, pattern: str) -> str:
    """The value in a format such as `.3f`, or a dash where it is absent."""
    return "–" if value is None else format(value, pattern)


def cosine(value: float | None) -> str:
    """Cosine similarity to six digits."""
    return number(value, ".6f")


def metric(name: str) -> str:
    """A metric's name as a reader knows it."""
    return METRICS.get(name, name)


def in_db(metric: str) -> bool:
    """Whether a metric is in dB; all others are shares of 1."""
    return metric.endswith("_db")


def scale(metric: str) -> float:
    """From a metric's value to the number that is printed: percent of shares, dB as they are."""
    return 1.0 if in_db(metric) else 100.0


def unit(metric: str) -> str:
    """What a difference of two values is told in."""
    return "dB" if in_db(metric) else "points"


def score(metric: str, value: float) -> str:
    """A metric's value: percent, or dB."""
    return f"{scale(metric) * value:.2f} {'dB' if in_db(metric) else '%'}"


def drop(metric: str, value: float | None) -> str:
    """What was lost, in points or dB; more than before has a minus."""
    return "–" if value is None else f"{_signed(scale(metric) * value)} {unit(metric)}"


def interval(found: Accuracy) -> str:
    """The ends of a drop's interval, in the drop's unit."""
    return f"{_signed(scale(found.metric) * found.low)} to {_signed(scale(found.metric) * found.high)}"


def _signed(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")


def share(value: float) -> str:
    """A share of 1 in percent: two digits of what is small, and 100 only where nothing is missing."""
    percent = 100 * value
    if 0 < percent < 0.01:
        return "< 0.01 %"
    if 99.9 < percent < 100:
        return f"{math.floor(percent * 100) / 100:.2f} %"
    return f"{percent:.{2 if 0 < percent < 1 else 1}f} %".replace(".0 %", " %")


def count(value: int) -> str:
    """A count with k, M or G (powers of 1000)."""
    for letter, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= size:
            return f"{value / size:.{0 if value >= 100 * size else 1}f} {letter}"
    return str(value)


def schedule(how: str) -> str:
    """How a microcontroller runs a stage."""
    return {"rows": "row by row", "whole": "one layer"}.get(how, how.replace(" x ", " × "))


def tensor(given: Tensor) -> str:
    """A tensor's name, shape, type, and what its integers stand for."""
    text = f"{given.name} {' × '.join(map(str, given.shape))} {given.dtype}"
    own = given.quantization
    return text if own is None else f"{text} = (value − {own.zero_point}) × {own.scale:.6g}".replace("− -", "+ ")


def preprocessing(given: Preprocessing, inputs: tuple[Tensor, ...] = ()) -> list[str]:
    """The steps from a photo to the network's input, in words and numbers."""
    own = next((one.quantization for one in inputs if one.name == given.input), None)
    normalised = "Each channel: (value − mean) ÷ scale, in float32."
    if own is not None:
        normalised += f" Then ÷ {own.scale:.6g}, rounded, + {own.zero_point}, clipped to int8.".replace("+ -", "− ")
    return [
        f"Decode to {given.color}, 8 bits a channel.",
        _resize(given),
        "Bytes as they are: the network itself computes (value − mean) ÷ scale." if given.folded else normalised,
        f"Arrange as (1, 3, {given.height}, {given.width}): channel, row, column. Input {given.input!r}.",
    ]


def postprocessing(given: Postprocessing) -> str:
    """What the output means, in one or two sentences."""
    if isinstance(given, Detect):
        classes = "whatever their class" if given.agnostic_nms else "of the same class"
        return (
            f"Output {given.output!r}: each column a box (centre x, centre y, width, height, in input pixels), "
            f"then its class scores. Keep scores over {given.confidence_threshold:g}, drop boxes {classes} "
            f"that overlap a better one by more than {given.iou_threshold:g} (IoU), "
            f"and keep the best {given.max_detections}."
        )
    if isinstance(given, DecodeVideo):
        return f"Output {given.output!r} holds frames of RGB, −1 to 1: clip, then (value + 1) × 127.5."
    meaning = "holds logits: softmax makes them scores" if given.softmax else "holds scores"
    return f"Output {given.output!r} {meaning}."


def _resize(given: Preprocessing) -> str:
    box = f"{given.width} × {given.height}"
    if given.resize_type == "standard":
        return f"Resize to {box} px, {given.interpolation}."
    if given.resize_type == "letterbox":
        pad = f"pad with {given.pad_value}"
        return f"Resize, {given.interpolation}, keeping the shape, to fit inside {box} px; {pad}."
    covered = " × ".join(str(math.floor(side / given.crop_fraction)) for side in (given.width, given.height))
    return f"Resize, {given.interpolation}, keeping the shape, to cover {covered} px; cut {box} from the centre."


def channels(given: Preprocessing) -> list[tuple[float, float]]:
    """Mean and scale of each channel, on the scale 0 to 255."""
    return list(zip(given.mean_values, given.scale_values, strict=True))
