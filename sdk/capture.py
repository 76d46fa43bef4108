"""One torch.export capture of a network; every target is lowered from it."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from runtime_py.errors import SdkError
from runtime_py.manifest import Tensor

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from sdk.source import Source

LAYOUTS = {4: "NCHW", 5: "NCDHW"}


class CaptureFailed(SdkError):
    """torch.export refused the network, or the network itself failed on its inputs."""

    id = "capture-failed"


@dataclass(frozen=True)
class Captured:
    """A program, the network that it came from (the reference), and the names of its inputs and outputs."""

    program: "ExportedProgram"
    reference: Any
    examples: tuple[torch.Tensor, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int

    def answer(self, arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The network's outputs, flat, in the manifest's order."""
        with torch.no_grad():
            leaves = torch.utils._pytree.tree_leaves(self.reference(*arrays))
        return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))


def capture(source: "Source") -> Captured:
    """Export `source`'s network once, with static shapes. Raises CaptureFailed with torch's reason and the line."""
    if isinstance(source.network, torch.export.ExportedProgram):
        program, reference = source.network, source.network.module()
        examples = tuple(program.example_inputs[0])
    else:
        reference = source.network
        examples = tuple(torch.zeros(shape) for shape in source.shapes)
        program = _export(reference, examples)
    _drop_detach(program)
    names = [str(name) for name in program.graph_signature.user_inputs]
    with torch.no_grad():
        answer = reference(*examples)
    paths = torch.utils._pytree.tree_flatten_with_path(answer)[0]
    tensors = [(path, leaf) for path, leaf in paths if isinstance(leaf, torch.Tensor)]
    if not tensors or len(tensors) != len(program.graph_signature.user_outputs):
        raise CaptureFailed(
            "the network's outputs are not all tensors", expected="a tensor, or a tuple or dict of them"
        )
    single = "logits" if source.task == "classify" else "output"
    return Captured(
        program=program,
        reference=reference,
        examples=examples,
        inputs=tuple(_tensor(name, value) for name, value in zip(names, examples, strict=True)),
        outputs=tuple(
            _tensor(single if len(tensors) == 1 else _output_name(path, index), leaf)
            for index, (path, leaf) in enumerate(tensors)
        ),
        parameters=sum(value.numel() for value in program.parameters()),
    )


def _export(network: torch.nn.Module, examples: tuple[torch.Tensor, ...]) -> "ExportedProgram":
    try:
        with torch.no_grad():
            network(*examples)
    except Exception as error:  # the user's own code may raise anything
        shapes = ", ".join(str(tuple(example.shape)) for example in examples)
        raise CaptureFailed(
            f"the network itself failed on inputs {shapes}: {type(error).__name__}: {error}{_line(error)}",
            hint="check --input",
        ) from error
    try:
        return torch.export.export(network, examples, strict=False)
    except Exception as error:  # torch.export has dozens of error types
        raise CaptureFailed(
            f"torch.export refused the network: {_reason(error)}{_line(error)}",
            expected="a network whose control flow does not depend on the values of tensors",
            hint="torch.where or torch.cond in place of `if`, or save a program of your own with torch.export.save",
        ) from error


def _drop_detach(program: "ExportedProgram") -> None:
    """Take out `detach`, which a tensor made in `forward` leaves behind: it means nothing where nothing is trained,
    and converters that trace the program again refuse the in-place one."""
    aten, graph = torch.ops.aten, program.graph_module.graph
    for node in list(graph.nodes):
        detaches = node.target in (aten.detach.default, aten.detach_.default)
        if detaches and not any(user.op == "output" for user in node.users):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}" if lines else type(error).__name__


def _line(error: BaseException) -> str:
    """The last line of the user's own code in the traceback."""
    library = str(Path(torch.__file__).parent)
    own = Path(__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((library, "<")) and Path(frame.filename) != own
    ]
    return f"\n  {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _output_name(path: Any, index: int) -> str:
    keys = [str(getattr(key, "key", "")) for key in path]
    named = "_".join(key for key in keys if key.isidentifier())
    return named or f"output_{index}"


def _tensor(name: str, value: torch.Tensor) -> Tensor:
    dtype = str(value.dtype).removeprefix("torch.")
    return Tensor(name=name, shape=tuple(value.shape), dtype=dtype, layout=LAYOUTS.get(value.dim(), ""))
