"""A captured program in half precision: which values are rounded, and which would leave float16's range."""

from collections.abc import Sequence
from copy import deepcopy
from math import prod
from operator import attrgetter
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.nn.utils import fuse_conv_bn_weights
from torch.utils._pytree import tree_leaves, tree_map, tree_unflatten

aten = torch.ops.aten
_SQUARES = frozenset({aten.square.default, aten.pow.Tensor_Scalar, aten.var.correction})
_CONVOLUTIONS = frozenset({aten.conv1d.default, aten.conv2d.default, aten.conv3d.default})
_SUMS = _CONVOLUTIONS | {aten.linear.default}


class _InHalf(Interpreter):
    """Runs a graph in float16, but for squares and what is computed from them alone.

    Squares leave float16's range beyond 256, and the epsilon that a norm adds to their mean lies below it.
    """

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Casts to what the operator computes in."""
        floats = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        follows = target is aten.mean.dim or torch.Tag.pointwise in getattr(target, "tags", ())
        exact = follows and bool(floats) and all(x.dtype == torch.float32 for x in floats)
        dtype = torch.float32 if target in _SQUARES or exact else torch.float16
        args, kwargs = _cast((args, kwargs), dtype)
        return super().call_function(target, args, kwargs)


def _cast(values: Any, dtype: torch.dtype) -> Any:
    """Tensors of the other of both float types, and a float32 that an operator shall make, as `dtype`."""

    def cast(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.float32):
            return value.to(dtype)
        return dtype if value is torch.float32 else value

    return tree_map(cast, values)


class Half(torch.nn.Module):
    """A program with float16 weights and activations, between casts from and to float32."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.training = False
        network = deepcopy(program.module(check_guards=False))  # half() changes the parameters in place
        fold_norms(network)
        self.network = network.half()
        self.structure = program.call_spec.out_spec

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run in float16; the outputs have the program's own structure."""
        inputs = _cast(tree_leaves((args, kwargs)), torch.float16)
        with torch.fx.traceback.preserve_node_meta():  # so that errors still name the network's own lines
            answer = _InHalf(self.network).run(*inputs, enable_io_processing=False)
        return tree_unflatten(_cast(tree_leaves(answer), torch.float32), self.structure)


def fold_norms(network: GraphModule) -> None:
    """Multiply batch norms into the convolutions before them, in place.

    A converter that folds them once all is float16 rounds twice, and a variance below 6e-8 becomes 0.
    """
    for norm in list(network.graph.nodes):
        if norm.target is not aten.batch_norm.default or norm.args[5]:
            continue
        conv, *stored = norm.args[:5]
        args = [*conv.args, None][: max(len(conv.args), 3)]
        if conv.target not in _CONVOLUTIONS or len(conv.users) > 1 or not _all_stored((*args[1:3], *stored)):
            continue
        old_weight, old_bias, scale, shift, mean, variance = (_value(network, node) for node in (*args[1:3], *stored))
        folded = fuse_conv_bn_weights(old_weight, old_bias, mean, variance, norm.args[7], scale, shift)
        with network.graph.inserting_before(conv):
            for index, kind in ((1, "weight"), (2, "bias")):
                key = f"folded_{norm.name}_{kind}"
                network.register_parameter(key, folded[index - 1])
                args[index] = network.graph.get_attr(key)
        conv.args = tuple(args)
        norm.replace_all_uses_with(conv)
        network.graph.erase_node(norm)
    network.graph.eliminate_dead_code()
    network.recompile()


def _all_stored(nodes: Sequence[Any]) -> bool:
    """Whether all are tensors of the network itself, or None."""
    return all(node is None or (isinstance(node, Node) and node.op == "get_attr") for node in nodes)


def _value(network: GraphModule, node: Any) -> Any:
    return None if node is None else attrgetter(str(node.target))(network)


def in_half(program: ExportedProgram) -> ExportedProgram:
    """The program in float16, between casts from and to float32; squares and their means stay in float32."""
    args, kwargs = program.example_inputs
    return torch.export.export(Half(program), args, kwargs)


def with_half_weights(program: ExportedProgram) -> ExportedProgram:
    """The program in float32, with weights rounded to float16."""
    args, kwargs = program.example_inputs
    network = deepcopy(program.module(check_guards=False))
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.dtype == torch.float32:
            tensor.data = tensor.data.half().float()
    return torch.export.export(network, args, kwargs)


def longest_sum(program: ExportedProgram) -> int:
    """The most products that any output of a convolution or a linear layer adds up."""
    weights = (node.args[1] for node in program.graph.nodes if node.target in _SUMS)
    return max((prod(weight.meta["val"].shape[1:]) for weight in weights), default=0)
