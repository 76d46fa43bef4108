"""A runtime's operators and the network's, in cases that are small enough to be told by hand."""

from math import prod

import pytest

from devices.operators import Timed, timer
from devices.operators.matching import ceiling, kinds_of, matched, rows
from devices.operators.onnx import timed as timed_by_onnx
from runtime_py.manifest import Node, OperatorRow, Roofline


def layer(module: str, kind: str, given: int, made: int, kernel: int = 1, side: int = 8, stride: int = 1) -> Node:
    """A convolution of `given` to `made` channels, or a linear layer."""
    if kind == "linear":
        return Node(module=module, kind=kind, input=(1, given), output=(1, made), macs=given * made,
                    weights=given * made)  # fmt: skip
    weights = made * (1 if kind == "depthwise" else given) * kernel * kernel
    out = side // stride
    return Node(
        module=module, kind=kind, input=(1, given, side, side), output=(1, made, out, out), weights=weights,
        macs=weights * out * out, kernel=(kernel, kernel), stride=(stride, stride),
        groups=given if kind == "depthwise" else 1,
    )  # fmt: skip


def light(kind: str, like: Node, module: str = "") -> Node:
    return Node(module=module, kind=kind, input=like.output, output=like.output)


def ran(kind: str, node: Node | None = None, *, ms: float = 1.0, name: str = "", **changes: int | None) -> Timed:
    """What a runtime says of `node`, or of something of its own."""
    told: dict[str, int | None] = {
        "weights": node.weights if node is not None and node.weights else None,
        "output": prod(node.output) if node is not None else None,
    } | changes
    return Timed(name, kind, ms, weights=told["weights"], output=told["output"])


A, B, C = layer("a", "conv", 3, 8, 3), layer("b", "depthwise", 8, 8, 5), layer("c", "conv", 8, 16)
RELU = light("activation", A, "a.relu")
SUM = light("add", C)


def test_a_fused_activation_leaves_no_row_and_moves_no_other() -> None:
    network = (A, RELU, B, light("activation", B, "b.swish"), C)
    found = matched([ran("CONV_2D", A), ran("DEPTHWISE_CONV_2D", B), ran("HARD_SWISH", B), ran("CONV_2D", C)], network)
    assert found == [0, 2, 3, 4]


def test_an_activation_alone_is_the_one_that_runs_between_its_neighbours() -> None:
    """All of them have outputs of one size, and the first was fused."""
    network = (A, light("activation", A, "first"), B, light("activation", B, "second"), B, light("activation", B))
    assert matched([ran("Conv", A), ran("Conv", B), ran("HardSigmoid", B), ran("Conv", B)], network) == [0, 2, 3, 4]


def test_padded_channels_are_told_by_the_order() -> None:
    """ONNX Runtime's blocked layout has other numbers of weights and of outputs than the network."""
    network = (A, B, C)
    padded = [ran("Conv", A, weights=288, output=1024), ran("Conv", B, weights=400, output=1024), ran("Conv", C)]
    assert matched(padded, network) == [0, 1, 2]


def test_one_that_was_left_out_does_not_shift_the_others() -> None:
    """The runtime computed `b` from constants, say; the numbers of the others still fit."""
    assert matched([ran("Conv", A), ran("Conv", C)], (A, B, C)) == [0, 2]


def test_executorch_says_no_shapes() -> None:
    network = (A, RELU, B, C, light("pool", C), layer("head", "linear", 16, 10))
    kinds = ["Transpose (ND, X32)", "Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) DWConv",
             "Fully Connected (NC, F32) GEMM", "mean.out", "Fully Connected (NC, F32) GEMM"]  # fmt: skip
    assert matched([ran(kind) for kind in kinds], network) == [None, 0, 2, 3, 4, 5]


def test_executorch_s_branches_in_another_order() -> None:
    """A matrix product is no layer with a window, so that it cannot be taken for one; what is left is the branch."""
    wide = layer("wide", "conv", 8, 16, 3)
    network = (A, B, C, wide, light("join", C), layer("head", "linear", 32, 10))
    kinds = ["Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) DWConv",
             "Fully Connected (NC, F32) GEMM", "Copy (NC, X32)", "Fully Connected (NC, F32) GEMM"]  # fmt: skip
    assert matched([ran(kind) for kind in kinds], network) == [0, 3, 1, 2, None, 5]


def test_a_strided_layer_without_a_window_is_no_matrix_product() -> None:
    strided = layer("strided", "conv", 8, 16, stride=2)
    kinds = ["Convolution (NHWC, F32) IGEMM", "Fully Connected (NC, F32) GEMM"]
    assert matched([ran(kind) for kind in kinds], (strided, C)) == [0, 1]
    assert matched([ran("Fully Connected (NC, F32) GEMM")], (strided, C)) == [1]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 2, 1)])
def test_parallel_branches_in_any_order(order: tuple[int, ...]) -> None:
    """Their outputs have one size, their weights have not: as many wrong pairs must not outdo one right one."""
    network = (A, layer("one", "conv", 8, 16, 1), layer("three", "conv", 8, 16, 3), layer("five", "conv", 8, 16, 5))
    assert matched([ran("Convolution", network[at]) for at in order], network) == list(order)


def test_a_microcontroller_s_layers_keep_their_names() -> None:
    """A layer of no operator, then one whose kind alone would fit both."""
    network = (A, layer("x", "conv", 8, 8), layer("y", "conv", 8, 8), SUM)
    told = [ran("read", name="image"), ran("conv", name="a"), ran("pointwise", name="y"), ran("add")]
    assert matched(told, network) == [None, 0, 2, 3]


def test_own_operators_count_with_the_next_one_and_trailing_ones_with_the_last() -> None:
    found = rows(
        [ran("Reorder"), ran("QuantizeLinear"), ran("Conv", A), ran("Transpose"), ran("Conv", C), ran("Reorder")],
        (A, C),
    )
    assert [(one.node, one.own) for one in found] == [
        (0, True), (0, True), (0, False), (1, True), (1, False), (1, True),
    ]  # fmt: skip
    assert [one.module for one in found] == ["a", "a", "a", "c", "c", "c"]
    assert [one.macs for one in found] == [0, 0, A.macs, 0, C.macs, 0]


def test_steps_that_an_operator_was_taken_apart_into_count_with_it() -> None:
    """SiLU as a sigmoid and a product, where the network has no product."""
    network = (A, light("activation", A, "a.silu"), C)
    found = rows([ran("Conv", A), ran("Sigmoid", A), ran("Mul", A), ran("Conv", C)], network)
    assert [(one.module, one.own) for one in found] == [
        ("a", False), ("a.silu", False), ("a.silu", True), ("c", False),
    ]  # fmt: skip


def test_a_bundle_without_a_network_names_nothing() -> None:
    told = [ran("Conv", A), ran("Relu", A)]
    assert matched(told, ()) == [None, None]
    assert rows(told, (), Roofline(float_gmacs_per_s=1.0)) == tuple(
        OperatorRow(name="", kind=one.kind, ms=1.0, own=True) for one in told
    )


def test_nothing_timed_is_nothing_found() -> None:
    assert rows([], (A, B)) == ()


def test_a_layer_that_was_split_is_put_together_again() -> None:
    """Bands of a large kernel in the network, one layer in the runtime: all its work is counted, once."""
    bands = tuple(layer("large", "depthwise", 8, 8, 3) for _ in range(3))
    whole = ran("depthwise", ms=2.0, name="large")
    (first, last) = rows([whole, ran("CONV_2D", C)], (*bands, SUM, SUM, C))
    assert first.macs == sum(band.macs for band in bands)
    assert first.gmacs_per_s == pytest.approx(3 * bands[0].macs / 2e-3 / 1e9)
    assert last.macs == C.macs


def test_a_layer_that_is_split_on_both_sides_counts_each_part_once() -> None:
    bands = tuple(layer("large", "depthwise", 8, 8, 3) for _ in range(3))
    found = rows([ran("DEPTHWISE_CONV_2D", band) for band in bands], bands)
    assert [one.macs for one in found] == [band.macs for band in bands]
    assert [one.node for one in found] == [0, 1, 2]


def test_what_a_product_reads_second_are_no_weights() -> None:
    product = Node(module="attention", kind="product", input=(1, 4, 9, 8), output=(1, 4, 9, 9), macs=4 * 9 * 9 * 8)
    linear = layer("out", "linear", 8, 324)
    found = matched([ran("MatMul", linear), Timed("", "MatMul", 1.0, weights=4 * 8 * 9, output=324)], (linear, product))
    assert found == [0, 1]


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("CONV_2D", {"conv", "depthwise", "deconv", "linear"}),
        ("Convert (NC, F32, QS8)", set()),
        ("QLinearConv", {"conv", "depthwise", "deconv", "linear"}),
        ("ConvTranspose", {"deconv"}),
        ("TRANSPOSE_CONV", {"deconv"}),
        ("Deconvolution", {"deconv"}),
        ("Transpose (ND, X32)", set()),
        ("Convolution (NHWC, QC8) DWConv", {"depthwise"}),
        ("Fully Connected (NC, QS8, QC8W) GEMM", {"conv", "linear"}),
        ("FullyConnected", {"conv", "linear"}),
        ("AVERAGE_POOL_2D", {"pool"}),
        ("ReduceMean", {"pool"}),
        ("SUB", {"add"}),
        ("Subgraph", set()),
        ("RESIZE_NEAREST_NEIGHBOR", {"resize"}),
        ("HSwish", {"activation"}),
        ("Softmax", {"softmax"}),
        ("Reorder", set()),
        ("DEQUANTIZE", set()),
    ],
)
def test_the_names_of_five_runtimes(kind: str, kinds: set[str]) -> None:
    assert kinds_of(kind) == kinds


# 8 x 8 x 8 inputs, 8 x 16 weights, 8 x 8 x 16 outputs: 8192 MACs, 1664 elements
def test_the_ceiling_is_the_lower_of_the_peak_and_of_what_memory_feeds() -> None:
    assert (C.macs, prod(C.input) + C.weights + prod(C.output)) == (8192, 1664)
    fed = 10.0 * 8192 / (4 * 1664)
    assert ceiling(C, Roofline(float_gmacs_per_s=100.0, gbytes_per_s=10.0), False) == pytest.approx(fed)
    assert ceiling(C, Roofline(float_gmacs_per_s=5.0, gbytes_per_s=10.0), False) == 5.0
    assert ceiling(C, Roofline(int8_gmacs_per_s=100.0, gbytes_per_s=10.0), True) == pytest.approx(4 * fed)
    assert ceiling(C, Roofline(int8_gmacs_per_s=7.0), True) == 7.0


def test_without_a_peak_or_work_there_is_no_ceiling() -> None:
    assert ceiling(C, Roofline(float_gmacs_per_s=100.0, gbytes_per_s=10.0), True) is None
    assert ceiling(C, Roofline(gbytes_per_s=10.0), False) is None
    assert ceiling(RELU, Roofline(float_gmacs_per_s=100.0, gbytes_per_s=10.0), False) is None


def test_the_roof_is_the_share_of_the_ceiling_by_what_is_multiplied() -> None:
    """8192 MACs in 2 us are 4.096 G a second."""
    roofline = Roofline(float_gmacs_per_s=8.192, int8_gmacs_per_s=40.96)
    floats = Timed("", "Conv", 2e-3, weights=C.weights, output=prod(C.output))
    integers = Timed("", "QLinearConv", 2e-3, output=prod(C.output), integers=True)
    (one,), (other,) = rows([floats], (C,), roofline), rows([integers], (C,), roofline)
    assert (one.gmacs_per_s, one.roof) == (pytest.approx(4.096), pytest.approx(0.5))
    assert (other.gmacs_per_s, other.roof) == (pytest.approx(4.096), pytest.approx(0.1))
    (without,) = rows([floats], (C,))
    assert without.roof is None
    (instant,) = rows([ran("Conv", C, ms=0.0)], (C,), roofline)
    assert (instant.gmacs_per_s, instant.roof) == (None, None)


def test_what_has_no_profile_is_said() -> None:
    assert timer("onnx").timed is timed_by_onnx
    with pytest.raises(Exception, match="coreml has no profile") as caught:
        timer("coreml")
    assert "openvino" in caught.value.expected  # type: ignore[attr-defined]
