"""A captured program as a module again: with named inputs and outputs, or in half precision."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only, tree_unflatten


class Named(torch.nn.Module):
    """Takes tensors by name and returns them by name, in the program's order.

    For converters that name a signature by a module's keywords and by the keys of the dict that it returns.
    """

    def __init__(self, program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.training = False
        self.network = program.module(check_guards=False)
        self.structure = program.call_spec.in_spec
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the program on its inputs by name."""
        args, kwargs = tree_unflatten([tensors[name] for name in self.inputs], self.structure)
        return dict(zip(self.outputs, tree_leaves(self.network(*args, **kwargs)), strict=True))


def sample_inputs(program: ExportedProgram, names: Sequence[str]) -> dict[str, Any]:
    """The tensors that the program was captured with, by name."""
    return dict(zip(names, tree_leaves(program.example_inputs), strict=True))


class Half(torch.nn.Module):
    """A program with float16 weights and activations, between casts from and to float32."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.training = False
        network = deepcopy(program.module(check_guards=False)).half()  # half() changes the parameters in place
        for node in network.graph.nodes:
            node.args = tree_map(_halved, node.args)
            node.kwargs = tree_map(_halved, node.kwargs)
        network.recompile()
        self.network = network

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run in float16; the outputs have the program's own structure."""
        args, kwargs = tree_map_only(torch.Tensor, torch.Tensor.half, (args, kwargs))
        return tree_map_only(torch.Tensor, torch.Tensor.float, self.network(*args, **kwargs))


def _halved(value: Any) -> Any:
    return torch.float16 if value is torch.float32 else value


def in_half(program: ExportedProgram) -> ExportedProgram:
    """The program in float16, between casts from and to float32."""
    args, kwargs = program.example_inputs
    return torch.export.export(Half(program), args, kwargs)
