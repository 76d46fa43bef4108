"""The operators of a captured network as plain rows: kinds, shapes and multiply-accumulates, in the network's order."""

from math import prod
from typing import TYPE_CHECKING, Any

import torch

from exporters.base import module_of, operators
from runtime_py.manifest import Node

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node as Traced

aten = torch.ops.aten
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose2d", "conv_transpose3d")
PRODUCTS = ("matmul", "mm", "bmm", "scaled_dot_product_attention")
KINDS = {
    **dict.fromkeys(("linear", "addmm"), "linear"),
    **dict.fromkeys(PRODUCTS, "product"),
    **dict.fromkeys(("add", "sub", "add_", "sub_"), "add"),
    **dict.fromkeys(("mul", "div", "mul_", "div_"), "multiply"),
    **dict.fromkeys(("cat", "stack"), "join"),
    **dict.fromkeys(("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean"), "pool"),
    **dict.fromkeys(("upsample_nearest2d", "upsample_nearest3d", "upsample_bilinear2d", "pixel_shuffle"), "resize"),
    **dict.fromkeys(("softmax", "_softmax"), "softmax"),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "rms_norm", "_native_batch_norm_legit_no_training",
                     "native_layer_norm", "native_group_norm"), "norm"),
    **dict.fromkeys(("relu", "relu_", "relu6", "relu6_", "hardtanh", "hardtanh_", "hardswish", "hardswish_", "silu",
                     "silu_", "hardsigmoid", "hardsigmoid_", "sigmoid", "sigmoid_", "gelu", "clamp", "clamp_", "mish",
                     "tanh", "leaky_relu", "leaky_relu_"), "activation"),
    **dict.fromkeys(("view", "reshape", "flatten", "permute", "transpose", "slice", "squeeze", "unsqueeze", "split",
                     "split_with_sizes", "chunk", "select", "expand", "contiguous", "clone", "dropout", "dropout_",
                     "pad", "constant_pad_nd", "narrow", "repeat", "t"), "move"),
}  # fmt: skip
"""By the name of PyTorch's operator; any other is `other`."""


def nodes_of(program: "ExportedProgram") -> tuple[Node, ...]:
    """A row for each operator of `program` that gives one tensor of static shape; roundings to integers and back, which
    a quantised program has between them, are none of the network's."""
    computing = (node for node in operators(program) if "quantize_per_" not in str(node.target))
    return tuple(_row(node) for node in computing if isinstance(node.meta.get("val"), torch.Tensor))


def _row(node: "Traced") -> Node:
    name = str(getattr(node.target, "_opname", node.name))
    shapes = [_shape(argument) for argument in node.args if _shape(argument)]
    given, made = (shapes[0] if shapes else ()), _shape(node)
    if not shapes and node.args and isinstance(node.args[0], list | tuple):  # cat and stack take a list
        given = next((_shape(one) for one in node.args[0] if _shape(one)), ())
    weight = shapes[1] if len(shapes) > 1 else ()
    if name in CONVOLUTIONS:
        return _convolution(node, name, given, weight, made)
    kind = KINDS.get(name, "other")
    macs, weights, kernel, stride = 0, 0, tuple[int, ...](), tuple[int, ...]()
    if kind == "linear":
        weight = shapes[2] if name == "addmm" else weight
        given = shapes[1] if name == "addmm" else given
        macs, weights = prod(made) * given[-1], prod(weight)
    elif name == "scaled_dot_product_attention":
        macs = 2 * prod(given) * weight[-2]  # queries by keys, then by values
    elif kind == "product":
        macs = prod(made) * given[-1]
    elif name in ("max_pool2d", "avg_pool2d"):
        kernel, stride = _numbers(node.args[1]), _numbers(node.args[2] if len(node.args) > 2 else ())
    return Node(
        module=module_of(node), kind=kind, operator=name.rstrip("_"), input=given, output=made, macs=macs,
        weights=weights, kernel=kernel, stride=stride or kernel,
    )  # fmt: skip


def _convolution(
    node: "Traced", name: str, given: tuple[int, ...], weight: tuple[int, ...], made: tuple[int, ...]
) -> Node:
    values = {argument.name: value for argument, value in zip(_arguments(node), node.args, strict=False)} | node.kwargs
    groups: Any = values.get("groups", 1)
    transposed = "transpose" in name or bool(values.get("transposed", False))
    depthwise = groups > 1 and groups == given[1]
    return Node(
        module=module_of(node),
        kind="deconv" if transposed else "depthwise" if depthwise else "conv",
        operator=name,
        input=given,
        output=made,
        macs=prod(given if transposed else made) * prod(weight[1:]),
        weights=prod(weight),
        kernel=weight[2:],
        stride=_numbers(values.get("stride", ())) or (1,) * len(weight[2:]),
        groups=groups,
    )


def _arguments(node: "Traced") -> Any:
    return node.target._schema.arguments  # type: ignore[union-attr]  # of operators, which a call_function's are


def _shape(value: Any) -> tuple[int, ...]:
    tensor = value.meta.get("val") if isinstance(value, torch.fx.Node) else None
    return tuple(int(size) for size in tensor.shape) if isinstance(tensor, torch.Tensor) else ()


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(one) for one in value) if isinstance(value, list | tuple) else (int(value), int(value))
