"""Operators that torch does not emit, built one by one.

They are compared with closed forms in numpy, or with coremltools' own folding of the same constant operator.
"""
# ruff: noqa: E501  # the tables read best with one line an operator

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

mil = pytest.importorskip("coremltools.converters.mil", reason="programs are built with coremltools")
mb = mil.Builder

from exporters.mil.interpreter import Interpreter  # noqa: E402
from exporters.mil.ops import OPERATORS  # noqa: E402

X = np.random.default_rng(0).normal(size=(2, 4, 4, 6)).astype(np.float32)
ROWS = np.array([[3.0, -1.0, 2.0, 0.0], [5.0, 7.0, -2.0, 1.0]], np.float32)


def evaluate(build: Callable[..., Any], function: Callable[..., Any], x: np.ndarray, target: str) -> list[np.ndarray]:
    program = build(function, x, target=target)
    return list(Interpreter(program).run({"x": x}).values())


def blocks(x: np.ndarray, b: int) -> np.ndarray:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // b, b, w // b, b)


def windows(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    return np.stack([x[:, i : i + size] for i in range(0, x.shape[1] - size + 1, stride)], 1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


CLOSED: dict[str, tuple[Callable[..., Any], np.ndarray, Callable[[np.ndarray], Any]]] = {
    "clamped_relu": (lambda x: mb.clamped_relu(x=x, alpha=0.5, beta=1.0), X, lambda x: np.minimum(1, np.where(x >= 0, x, x / 2))),
    "linear_activation": (lambda x: mb.linear_activation(x=x, alpha=2.0, beta=3.0), X, lambda x: 2 * x + 3),
    "scaled_tanh": (lambda x: mb.scaled_tanh(x=x, alpha=2.0, beta=0.5), X, lambda x: 2 * np.tanh(x / 2)),
    "gelu_sigmoid": (lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), X, lambda x: x * sigmoid(1.702 * x)),
    "gelu_tanh": (lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"), X, lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "softplus_parametric": (
        lambda x: mb.softplus_parametric(x=x, alpha=np.float32([1, 2, 3, 4]), beta=np.float32([1, -1, 2, 0.5])),
        X,
        lambda x: np.float32([1, 2, 3, 4]).reshape(4, 1, 1) * np.log1p(np.exp(x * np.float32([1, -1, 2, 0.5]).reshape(4, 1, 1))),
    ),
    "threshold": (lambda x: mb.threshold(x=x, alpha=0.3), X, lambda x: np.maximum(x, np.float32(0.3))),
    "xor": (lambda x: mb.cast(x=mb.logical_xor(x=mb.greater(x=x, y=0.0), y=mb.less(x=x, y=1.0)), dtype="fp32"), X, lambda x: (x > 0) ^ (x < 1)),
    "l2_norm": (lambda x: mb.l2_norm(x=x, epsilon=1e-6), X, lambda x: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-6)),
    "l2_pool": (lambda x: mb.l2_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"), X, lambda x: np.sqrt((blocks(x, 2) ** 2).sum((3, 5)))),
    "lrn": (lambda x: mb.local_response_norm(x=x, size=1, alpha=0.5, beta=0.75, k=2.0), X, lambda x: x / (2 + 0.5 * x**2) ** 0.75),
    "depth_to_space": (lambda x: mb.depth_to_space(x=x, block_size=2), X, lambda x: x.reshape(2, 2, 2, 1, 4, 6).transpose(0, 3, 4, 1, 5, 2).reshape(2, 1, 8, 12)),
    "space_to_depth": (lambda x: mb.space_to_depth(x=x, block_size=2), X, lambda x: blocks(x, 2).transpose(0, 3, 5, 1, 2, 4).reshape(2, 16, 2, 3)),
    "batch_to_space": (
        lambda x: mb.batch_to_space(
            x=mb.space_to_batch(x=x, block_shape=[2, 3], paddings=np.int32([[0, 2], [1, 2]])),
            block_shape=[2, 3],
            crops=np.int32([[0, 2], [1, 2]]),
        ),
        X,
        lambda x: x,
    ),
    "space_to_batch": (lambda x: mb.space_to_batch(x=x, block_shape=[2, 2], paddings=np.int32([[0, 0], [0, 0]])), X, lambda x: np.concatenate([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])),
    "sliding_windows": (lambda x: mb.sliding_windows(x=x, axis=1, size=2, stride=2), X, lambda x: windows(x, 2, 2)),
    "reverse_sequence": (lambda x: mb.reverse_sequence(x=x, lengths=[2, 3], seq_axis=1, batch_axis=0), X, lambda x: np.stack([x[0][[1, 0, 2, 3]], x[1][[2, 1, 0, 3]]])),
    "interleave": (lambda x: mb.concat(values=(x, mb.mul(x=x, y=2.0)), axis=1, interleave=True), X, lambda x: np.stack([x, 2 * x], 2).reshape(2, 8, 4, 6)),
    "flatten2d": (lambda x: mb.flatten2d(x=x, axis=2), X, lambda x: x.reshape(8, 24)),
    "reshape_zero": (lambda x: mb.reshape(x=x, shape=[1, 8, 0, -1]), X, lambda x: x.reshape(1, 8, 4, 6)),
    "slice_by_size": (lambda x: mb.slice_by_size(x=x, begin=[0, 1, 2, 0], size=[1, 2, -1, 3]), X, lambda x: x[:1, 1:3, 2:, :3]),
    "slice_negative": (lambda x: mb.slice_by_index(x=x, begin=[0, 3, 0, 5], end=[0, 0, 0, 1], stride=[1, -1, 1, -2], begin_mask=[True, False, True, False], end_mask=[True, False, True, False]), X, lambda x: x[:, 3:0:-1, :, 5:1:-2]),
    "crop": (lambda x: mb.crop(x=x, crop_height=[1, 0], crop_width=[2, 1]), X, lambda x: x[:, :, 1:, 2:-1]),
    "cumsum_exclusive": (lambda x: mb.cumsum(x=x, axis=1, exclusive=True, reverse=True), X, lambda x: np.flip(np.cumsum(np.flip(x, 1), 1), 1) - x),
    "band_part": (lambda x: mb.band_part(x=x, lower=1, upper=0), X, lambda x: x * (np.tri(4, 6) - np.tri(4, 6, -2)).astype(np.float32)),
    "log_sum": (lambda x: mb.reduce_log_sum(x=mb.square(x=x), axes=[1], keep_dims=True), X, lambda x: np.log((x**2).sum(1, keepdims=True))),
    "prod": (lambda x: mb.reduce_prod(x=x, axes=[1, -1]), X, lambda x: x.prod((1, 3))),
    "sum_square": (lambda x: mb.reduce_sum_square(x=x), X, lambda x: (x**2).sum()),
    "one_hot": (lambda x: mb.one_hot(indices=mb.reduce_argmax(x=x, axis=1), one_hot_vector_size=4, axis=0, on_value=2.0, off_value=-1.0), ROWS, lambda x: np.float32([[-1, -1], [-1, 2], [-1, -1], [-1, -1]]) + 3 * np.float32([[1, 0], [0, 0], [0, 0], [0, 0]])),
    "argsort": (lambda x: mb.argsort(x=x, axis=1), ROWS, lambda x: np.argsort(-x, 1)),
    "topk": (lambda x: mb.topk(x=x, k=2, axis=1, ascending=True), ROWS, lambda x: [np.sort(x, 1)[:, :2], np.argsort(x, 1)[:, :2]]),
    "shape": (lambda x: mb.fill(shape=mb.shape(x=x), value=2.5), X, lambda x: np.full_like(x, 2.5)),
    "range": (lambda x: mb.range_1d(start=mb.reduce_min(x=x), end=6.0, step=2.0), ROWS, lambda x: np.float32([-2, 0, 2, 4])),
    "non_zero": (lambda x: mb.non_zero(x=x), ROWS, lambda x: np.argwhere(x)),
    "gather_nd": (lambda x: mb.gather_nd(x=x, indices=np.int32([[1, 0], [0, 3]])), X, lambda x: x[[1, 0], [0, 3]]),
    "gather_batch": (lambda x: mb.gather(x=x, indices=np.int32([[1, 0], [3, 3]]), axis=1, batch_dims=1), X, lambda x: np.stack([x[0][[1, 0]], x[1][[3, 3]]])),
    "scatter_add": (lambda x: mb.scatter(data=x, indices=np.int32([1, 0, 1]), updates=np.ones((3, 4), np.float32), axis=0, mode="add"), ROWS, lambda x: x + np.float32([[1], [2]])),
    "scatter_update": (lambda x: mb.scatter(data=x, indices=np.int32([2]), updates=np.float32([[9], [8]]), axis=1, mode="update"), ROWS, lambda x: np.float32([[3, -1, 9, 0], [5, 7, 8, 1]])),
    "scatter_along": (lambda x: mb.scatter_along_axis(data=x, indices=np.int32([[0, 1], [3, 2]]), updates=np.float32([[2, 4], [5, 6]]), axis=1, mode="div"), ROWS, lambda x: x / np.float32([[2, 4, 1, 1], [1, 1, 6, 5]])),
    "scatter_nd": (lambda x: mb.scatter_nd(data=x, indices=np.int32([[0, 1], [1, 3]]), updates=np.float32([4, -9]), mode="max"), ROWS, lambda x: np.float32([[3, 4, 2, 0], [5, 7, -2, 1]])),
    "scatter_sub": (lambda x: mb.scatter_nd(data=x, indices=np.int32([[1]]), updates=np.float32([[1, 2, 3, 4]]), mode="sub"), ROWS, lambda x: x - np.float32([[0, 0, 0, 0], [1, 2, 3, 4]])),
    "same_lower": (lambda x: mb.max_pool(x=x, kernel_sizes=[2, 2], strides=[1, 1], pad_type="same_lower"), X, lambda x: np.maximum.reduce([np.pad(x, ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=-np.inf)[:, :, i : i + 4, j : j + 6] for i in (0, 1) for j in (0, 1)])),
    "conv_same": (lambda x: mb.conv(x=x, weight=np.ones((1, 4, 2, 2), np.float32), pad_type="same"), X, lambda x: sum(np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)))[:, :, i : i + 4, j : j + 6] for i in (0, 1) for j in (0, 1)).sum(1, keepdims=True)),
    "deconv_same": (lambda x: mb.conv_transpose(x=x, weight=np.ones((4, 1, 2, 2), np.float32), bias=np.float32([0.5]), strides=[2, 2], pad_type="same"), X, lambda x: x.sum(1, keepdims=True).repeat(2, 2).repeat(2, 3) + 0.5),
    "resize_default": (lambda x: mb.resize_bilinear(x=x, target_size_height=4, target_size_width=12, sampling_mode="DEFAULT"), X, lambda x: np.stack([x, (x + np.concatenate([x[..., 1:], x[..., -1:]], -1)) / 2], -1).reshape(2, 4, 4, 12)),
    "resize_offset": (lambda x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=6, sampling_mode="ALIGN_CORNERS"), X, lambda x: (x[:, :, 1:2] + x[:, :, 2:3]) / 2),
    "resize_nearest": (lambda x: mb.resize(x=x, shape=[0, 12], resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR"), X, lambda x: x.repeat(2, 3)),
    "affine": (lambda x: mb.affine(x=x, transform_matrix=np.float32([[-1, 0, 0, 0, 1, 0]]), output_height=4, output_width=6, sampling_mode="bilinear", padding_mode="constant", padding_value=0.0, coordinates_mode="normalized_minus_one_to_one", align_corners=True), X, lambda x: x[..., ::-1]),
    "resample": (lambda x: mb.resample(x=x, coordinates=np.float32([[[[0, 1], [9, 0]]]] * 2), sampling_mode="nearest", padding_mode="constant", padding_value=7.0, coordinates_mode="unnormalized", align_corners=True), X, lambda x: np.stack([x[:, :, 1, 0], np.full((2, 4), 7, np.float32)], -1)[:, :, None]),
    "quantize": (lambda x: mb.dequantize(input=mb.quantize(input=x, scale=np.float32([0.1, 0.2, 0.3, 0.4]), zero_point=np.int8([0, 1, 2, 3]), axis=1, output_dtype="int8"), scale=np.float32([0.1, 0.2, 0.3, 0.4]), zero_point=np.int8([0, 1, 2, 3]), axis=1), X, lambda x: np.round(x / np.float32([0.1, 0.2, 0.3, 0.4]).reshape(4, 1, 1)) * np.float32([0.1, 0.2, 0.3, 0.4]).reshape(4, 1, 1)),
    "quantize_clips": (lambda x: mb.cast(x=mb.quantize(input=x, scale=0.01, zero_point=np.uint8(9), output_dtype="uint8"), dtype="fp32"), ROWS, lambda x: np.clip(np.round(x / np.float32(0.01)) + 9, 0, 255)),
    "cast_uint16": (lambda x: mb.cast(x=mb.cast(x=mb.abs(x=x), dtype="uint16"), dtype="fp32"), ROWS, lambda x: np.abs(x)),
}  # fmt: skip


@pytest.mark.parametrize("case", CLOSED)
def test_closed_form(build: Callable[..., Any], case: str) -> None:
    function, x, closed = CLOSED[case]
    expected = closed(x)
    results = evaluate(build, function, x, "iOS17")
    for result, wanted in zip(results, expected if isinstance(expected, list) else [expected], strict=True):
        assert result.shape == np.shape(wanted)
        np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=2e-6)


RNG = np.random.default_rng(1)
MASK = RNG.integers(0, 2, (4, 4, 1, 6)).astype(np.uint8)


def sub_byte(name: str, values: np.ndarray) -> np.ndarray:
    from coremltools.converters.mil.mil import types

    return values.astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def lut(bits: int, *shape: int) -> np.ndarray:
    return RNG.normal(size=(*shape[:-1], 2**bits, shape[-1])).astype(np.float32)


def palette(bits: int) -> Callable[[], Any]:
    indices = RNG.integers(0, 2**bits, (4, 4, 1, 6))
    return lambda: mb.constexpr_lut_to_dense(indices=sub_byte(f"uint{bits}", indices), lut=lut(bits, 2, 1, 1, 1, 1))


def packed(bits: int, count: int) -> np.ndarray:
    flat = RNG.integers(0, 2, count * bits).astype(np.uint8)
    return np.packbits(flat, bitorder="little")


COMPRESSED: dict[str, tuple[str, Callable[[], Any]]] = {
    "affine_scalar": ("iOS16", lambda: mb.constexpr_affine_dequantize(quantized_data=RNG.integers(-99, 99, (4, 4, 1, 6)).astype(np.int8), zero_point=np.int8(3), scale=np.float32(0.1), axis=0)),
    "affine_channel": ("iOS16", lambda: mb.constexpr_affine_dequantize(quantized_data=RNG.integers(0, 255, (4, 4, 1, 6)).astype(np.uint8), zero_point=np.uint8([1, 2, 3, 4]), scale=np.float32([0.1, 0.2, 0.3, 0.4]), axis=1)),
    "lut_packed_4": ("iOS16", lambda: mb.constexpr_lut_to_dense(indices=packed(4, 96), lut=RNG.normal(size=16).astype(np.float32), shape=np.uint32([4, 4, 1, 6]))),
    "lut_packed_6": ("iOS16", lambda: mb.constexpr_lut_to_dense(indices=packed(6, 96), lut=RNG.normal(size=64).astype(np.float32), shape=np.uint32([4, 4, 1, 6]))),
    "sparse_packed": ("iOS16", lambda: mb.constexpr_sparse_to_dense(nonzero_data=np.arange(1, MASK.sum() + 1).astype(np.float32), mask=np.packbits(MASK.flatten(), bitorder="little"), shape=np.uint32(MASK.shape))),
    "cast": ("iOS16", lambda: mb.constexpr_cast(source_val=RNG.normal(size=(4, 4, 1, 6)).astype(np.float16), output_dtype="fp32")),
    "blockwise_int4": ("iOS18", lambda: mb.constexpr_blockwise_shift_scale(data=sub_byte("int4", RNG.integers(-8, 8, (4, 4, 1, 6))), scale=RNG.random((4, 2, 1, 3)).astype(np.float32), offset=sub_byte("int4", RNG.integers(-8, 8, (4, 2, 1, 3))))),
    "blockwise_uint8": ("iOS18", lambda: mb.constexpr_blockwise_shift_scale(data=RNG.integers(0, 255, (4, 4, 1, 6)).astype(np.uint8), scale=RNG.random((4, 1, 1, 1)).astype(np.float32))),
    **{f"palette_{bits}": ("iOS18", palette(bits)) for bits in (1, 2, 3, 4, 6, 8)},
    "palette_vector": ("iOS18", lambda: mb.constexpr_lut_to_dense(indices=sub_byte("uint2", RNG.integers(0, 4, (2, 4, 1, 6))), lut=lut(2, 1, 1, 1, 1, 2), vector_axis=0)),
    "sparse_mask": ("iOS18", lambda: mb.constexpr_sparse_to_dense(nonzero_data=np.arange(1, MASK.sum() + 1).astype(np.float32), mask=sub_byte("uint1", MASK))),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPRESSED)
def test_weights_decompress_as_coremltools_does(build: Callable[..., Any], case: str) -> None:
    target, make = COMPRESSED[case]
    weights: list[np.ndarray] = []

    def program(x: Any) -> Any:
        weight = make()
        weights.append(weight.op.materialized_val_inference())
        return mb.conv(x=x, weight=weight)

    x = np.eye(24, dtype=np.float32).reshape(24, 4, 1, 6)  # each image reads one weight of each filter
    (result,) = evaluate(build, program, x, target)
    np.testing.assert_allclose(result.reshape(24, -1).T, weights[-1].reshape(-1, 24), rtol=1e-6)


def test_sparse_chain(build: Callable[..., Any]) -> None:
    weights: list[np.ndarray] = []

    def program(x: Any) -> Any:
        mask, data = mb.constexpr_lut_to_sparse(
            indices_mask=sub_byte("uint1", MASK),
            indices_nonzero_data=sub_byte("uint2", np.arange(MASK.sum()) % 4),
            lut=np.float32([3, 5, 7, 9]).reshape(1, 1, 1, 1, 4, 1),
        )
        weight = mb.constexpr_sparse_to_dense(nonzero_data=data, mask=mask)
        weights.append(weight.op.materialized_val_inference())
        return mb.conv(x=x, weight=weight)

    x = np.eye(24, dtype=np.float32).reshape(24, 4, 1, 6)
    (result,) = evaluate(build, program, x, "iOS18")
    np.testing.assert_allclose(result.reshape(24, -1).T, weights[-1].reshape(-1, 24))


def test_every_operator_is_one_of_mil() -> None:
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    assert set(OPERATORS) <= set(SSAOpRegistry.core_ops)
