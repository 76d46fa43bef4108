"""Predictions to metrics: shares of 1, or dB."""

import contextlib
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from sdk.evaluate.datasets import Dataset

MAIN = {"classify": "top1", "detect": "map50_95", "decode_video": "psnr_db"}
"""By task, the metric that a drop is told in."""
Prediction = dict[str, Any]


def score(task: str, dataset: Dataset, found: dict[int, Prediction]) -> dict[str, float]:
    """The metrics of `task` for predictions by sample key."""
    if task == "detect":
        return _coco(dataset, found)
    if task == "decode_video":
        return {name: float(np.mean([row[name] for row in found.values()])) for name in ("psnr_db", "ssim")}
    truths = {sample.key: sample.truth for sample in dataset.samples}
    ranks = [row["top5"].index(truths[key]) if truths[key] in row["top5"] else 5 for key, row in found.items()]
    return {"top1": float(np.mean([rank == 0 for rank in ranks])), "top5": float(np.mean([rank < 5 for rank in ranks]))}


def _coco(dataset: Dataset, found: dict[int, Prediction]) -> dict[str, float]:
    """COCO's own evaluation (Lin et al., 2014, and its toolkit): IoU 0.50 to 0.95, 100 boxes an image, all areas."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [
        {"image_id": key, "category_id": dataset.categories[label], "bbox": box, "score": score}
        for key, row in found.items()
        for label, score, box in row["boxes"]
        if dataset.categories[label]
    ]
    if not rows:
        return {"map50_95": 0.0, "map50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):  # the toolkit prints its progress
        truth = COCO(dataset.coco)
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.params.imgIds = sorted(found)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"map50_95": float(evaluation.stats[0]), "map50": float(evaluation.stats[1])}


def psnr_db(found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """10 log10(255² / MSE) over all frames; identical frames count as 100."""
    error = float(np.mean((found.astype(np.float64) - truth) ** 2))
    return min(100.0, 10 * float(np.log10(255**2 / error))) if error else 100.0


def ssim(found: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]) -> float:
    """Mean structural similarity of frames (T, H, W, 3): Gaussian window, sigma 1.5 (Wang et al., 2004)."""
    from skimage.metrics import structural_similarity

    values = [
        structural_similarity(
            a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for a, b in zip(found, truth, strict=True)
    ]
    return float(np.mean(values))
