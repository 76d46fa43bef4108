"""Resizing and resampling of images, the last two dimensions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from exporters.mil.ops.registry import Ints, operator


def _grid(size: int, target: int, sampling_mode: str) -> Tensor:
    """Where each of `target` samples lies in `[0, size - 1]`, as `resize_bilinear` defines its modes."""
    i = torch.arange(target, dtype=torch.float64)
    if sampling_mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if target > 1:
            points = i * (size - 1) / (target - 1)
        else:
            points = i + ((size - 1) / 2 if sampling_mode == "ALIGN_CORNERS" else 0.0)
    elif sampling_mode == "DEFAULT":
        points = i * size / target
    elif sampling_mode == "OFFSET_CORNERS":
        points = (i + 0.5) * max(1, size - 1) / target
    elif sampling_mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * size / target - 0.5
    else:
        raise ValueError(f"unknown sampling_mode {sampling_mode!r}")
    return points.clamp(0, size - 1)


def _linear(x: Tensor, axis: int, target: int, sampling_mode: str) -> Tensor:
    points = _grid(x.shape[axis], target, sampling_mode)
    low = points.floor().long()
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    share = (points - low).to(x.dtype).reshape(-1, *[1] * (-axis - 1))
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)


def _bilinear(x: Tensor, height: int, width: int, sampling_mode: str) -> Tensor:
    return _linear(_linear(x, -2, height, sampling_mode), -1, width, sampling_mode)


def _nearest(x: Tensor, axis: int, target: int) -> Tensor:
    """Sample i is element `floor(i * size / target)`."""
    return x.index_select(axis, torch.arange(target) * x.shape[axis] // target)


def _scaled(size: int, factor: float) -> int:
    return math.floor(size * factor + 1e-5)  # a factor rounded to float32 or 16 must not lose a pixel


@operator("upsample_nearest_neighbor")
def upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1.0, scale_factor_width: float = 1.0) -> Tensor:
    """Scale by repeating the nearest element before."""
    height, width = _scaled(x.shape[-2], scale_factor_height), _scaled(x.shape[-1], scale_factor_width)
    return resize_nearest_neighbor(x, height, width)


@operator("resize_nearest_neighbor")
def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """Resize by repeating the nearest element before."""
    return _nearest(_nearest(x, -2, target_size_height), -1, target_size_width)


@operator("upsample_bilinear")
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1.0,
    scale_factor_width: float = 1.0,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Scale linearly; the scale is recomputed from the floored target size."""
    half = not align_corners if half_pixel_centers is None else half_pixel_centers
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if half else "DEFAULT"
    height, width = _scaled(x.shape[-2], scale_factor_height), _scaled(x.shape[-1], scale_factor_width)
    return _bilinear(x, height, width, mode)


@operator("resize_bilinear")
def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Resize linearly, sampling at the points of `sampling_mode`."""
    return _bilinear(x, target_size_height, target_size_width, sampling_mode)


@operator("resize")
def resize(
    x: Tensor,
    shape: Ints,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """Resize the last `resized_dims` dimensions to the end of `shape`, where 0 keeps a size."""
    for axis in range(-resized_dims, 0):
        target = shape[axis] or x.shape[axis]
        if interpolation_mode == "LINEAR":
            x = _linear(x, axis, target, sampling_mode)
        elif sampling_mode == "DEFAULT":
            x = _nearest(x, axis, target)
        else:
            raise ValueError(f"nearest neighbours with sampling_mode {sampling_mode!r} are not defined")
    return x


@operator("crop")
def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    """Drop (top, bottom) rows and (left, right) columns."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@operator("resample")
def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Sample `x` (N, C, H, W) at (x, y) `coordinates` (N, H', W', 2)."""
    grid = coordinates.to(x.dtype)
    if coordinates_mode == "normalized_zero_to_one":
        grid = 2 * grid - 1
    elif coordinates_mode == "unnormalized":
        size = torch.tensor([x.shape[-1], x.shape[-2]], dtype=x.dtype)
        grid = 2 * grid / (size - 1) - 1 if align_corners else (2 * grid + 1) / size - 1
    if padding_mode == ("symmetric" if align_corners else "reflection"):
        raise ValueError(f"padding_mode {padding_mode!r} with align_corners={align_corners}")
    padding = {"constant": "zeros", "border": "border"}.get(padding_mode, "reflection")
    shift = padding_value if padding == "zeros" else 0.0  # outside, zero plus the shift is the value
    sampled = F.grid_sample(x - shift, grid, sampling_mode, padding, align_corners)
    return sampled + shift


@operator("affine")
def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str = "bilinear",
    padding_mode: str = "constant",
    padding_value: float = 0.0,
    coordinates_mode: str = "normalized_minus_one_to_one",
    align_corners: bool = True,
) -> Tensor:
    """Sample `x` (N, C, H, W) at the affine images of an output grid; `transform_matrix` (N or 1, 6)."""
    theta = transform_matrix.reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    grid = F.affine_grid(theta, [*x.shape[:2], output_height, output_width], align_corners)
    return resample(x, grid, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)
