"""The captured program as a graph to be quantised: norms folded, nothing in place."""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.utils import _fuse_conv_bn_

aten = torch.ops.aten
IN_PLACE = {
    aten.relu_.default: aten.relu.default,
    aten.relu6_.default: aten.relu6.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.clamp_.default: aten.clamp.default,
    aten.silu_.default: aten.silu.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.sigmoid_.default: aten.sigmoid.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
}


def network_of(program: ExportedProgram) -> GraphModule:
    """A graph of its own: what follows changes it in place, and the program stays as it is."""
    network: GraphModule = program.module(check_guards=False)
    _fuse_conv_bn_(network)
    for node in network.graph.nodes:
        node.target = IN_PLACE.get(node.target, node.target)
    network.recompile()
    return network


def stored(network: GraphModule, node: Node) -> Tensor:
    """A tensor that the network holds, by the node that reads it."""
    value: Any = attrgetter(str(node.target))(network)
    found: Tensor = value
    return found


def store(network: GraphModule, node: Node, value: Tensor) -> None:
    """Put `value` where `node` reads."""
    owner, _, name = str(node.target).rpartition(".")
    holder = attrgetter(owner)(network) if owner else network
    old = getattr(holder, name)
    if isinstance(old, torch.nn.Parameter):
        value = torch.nn.Parameter(value, requires_grad=False)
    setattr(holder, name, value)
