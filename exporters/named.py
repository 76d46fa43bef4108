"""A captured program as a module again, with named inputs and outputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves, tree_unflatten


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
