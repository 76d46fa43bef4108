"""What every exporter takes, returns and raises. Imports torch for the type checker only."""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runtime_py.errors import SdkError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch.export import ExportedProgram
    from torch.fx import Node

    from runtime_py.manifest import Microcontroller

    Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class McuOptions:
    """What a microcontroller's program may take.

    `patches` is `auto`, `off` (one layer after the other) or `N,P`: the first N blocks in P x P patches. `sram` and
    `flash` are bytes; `extra_macs` the share of the network's multiply-accumulates that may be made more than once:
    without it none, or what `sram` makes necessary. With `arena` `dynamic` the caller passes the memory.
    """

    patches: str = "auto"
    sram: int | None = None
    flash: int | None = None
    extra_macs: float | None = None
    arena: str = "static"


@dataclass(frozen=True)
class Options:
    """How to lower: `precision` is `fp32`, `fp16` or that of a quantised program; names are the bundle's, in the
    program's order."""

    precision: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    example: Array | None = None
    """The first input of the bundle's golden ones, as floats or integers; what a target's own test may run."""
    mcu: McuOptions | None = None


@dataclass(frozen=True)
class Unsupported:
    """An operator that a target lacks.

    `source` is `file:line: code` of the model's own source and `module` the submodule's path; both are empty
    where the program does not say.
    """

    operator: str
    source: str
    module: str
    way_out: str


@dataclass(frozen=True)
class Lowered:
    """What was written: the runtime's own names, in the program's order, and what runs in its fast path.

    Counts are None where this machine cannot know; `not_delegated` counts operators outside the fast path.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators_total: int | None
    operators_delegated: int | None
    not_delegated: dict[str, int]
    tool_versions: dict[str, str]
    mcu: Microcontroller | None = None


class Exporter(Protocol):
    """One target. `exporters/NAME.py` holds one, named `exporter`."""

    name: str
    suffix: str

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that the target lacks; empty where it has all."""

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the artifact, a file or a folder, to `path`; `lowering-failed` where it cannot."""


class UnsupportedOperators(SdkError):
    """The target lacks operators that the network uses."""

    id = "unsupported-operators"

    @classmethod
    def of(cls, title: str, found: Sequence[Unsupported]) -> UnsupportedOperators:
        """The error that names each operator, its source line and a way out."""
        lines = [f"{title} lacks {len(found)} operator{'s' * (len(found) > 1)} of this network:"]
        lines += [f"  {item.operator}{_at(item.source, item.module)}" for item in found]
        return cls(
            "\n".join(lines),
            expected=f"operators that {title} can run",
            hint="; ".join(dict.fromkeys(item.way_out for item in found)),
        )


class LoweringFailed(SdkError):
    """A converter refused or crashed."""

    id = "lowering-failed"

    @classmethod
    def of(cls, title: str, error: BaseException, program: ExportedProgram) -> LoweringFailed:
        """The error with the converter's reason, and the operator and source line where it names one."""
        node = _blamed(str(error), program)
        place = f"\nat {operator_name(node)}{_at(source_of(node), module_of(node))}" if node is not None else ""
        return cls(
            f"{title}: {_reason(error)}{place}",
            hint=way_out(operator_name(node), title) if node is not None else "export the other targets only",
        )


def refusal(exporter: Exporter, title: str, error: Exception, program: ExportedProgram) -> SdkError:
    """What to raise for a converter's exception: the operators that the target lacks, else its reason."""
    found = exporter.check(program)
    return UnsupportedOperators.of(title, found) if found else LoweringFailed.of(title, error, program)


def _at(source: str, module: str) -> str:
    return (f" at {source}" if source else "") + (f" (in {module})" if module else "")


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*\n\s*(?P<code>[^\n]*)')
_TORCH_FILE = re.compile(r"[/\\]torch[/\\]|<eval_with_key>|<frozen ")


def source_of(node: Node) -> str:
    """`file:line: code` of the innermost line of the model's own source behind this node; '' if unknown."""
    frames = list(_FRAME.finditer(node.meta.get("stack_trace") or ""))
    own = [frame for frame in frames if not _TORCH_FILE.search(frame["file"])]
    return f"{own[-1]['file']}:{own[-1]['line']}: {own[-1]['code'].strip()}" if own else ""


def module_of(node: Node) -> str:
    """Path of the submodule that made this node, such as `blocks.3.conv`; '' for the network itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return re.sub(r"^L\['self'\]\.?", "", path)


def operator_name(node: Node) -> str:
    """PyTorch's name of a node's operator, such as `aten::add.Tensor`."""
    return str(node.target.name())  # type: ignore[union-attr]  # of operators, which a call_function's are


def operators(program: ExportedProgram) -> Iterator[Node]:
    """The nodes of the graph and its branches that compute something."""
    for module in program.graph_module.modules():
        graph = getattr(module, "graph", None)
        if graph is not None:
            yield from (node for node in graph.nodes if node.op == "call_function")


def lacking(program: ExportedProgram, title: str, has: Callable[[Any], bool]) -> list[Unsupported]:
    """One row for each torch operator and source line of `program` whose target fails `has`."""
    rows = (
        Unsupported(operator_name(node), source_of(node), module_of(node), way_out(operator_name(node), title))
        for node in operators(program)
        if hasattr(node.target, "_schema") and not has(node.target)
    )
    return list(dict.fromkeys(rows))


_WAYS_OUT = {
    r"fft|stft": "take the transform out of the network (preprocess with numpy.fft), or write it as a product"
    " with a fixed DFT matrix",
    r"linalg|svd|eig|qr\b|cholesky": "take the factorisation out of the network: compute it once,"
    " before export, and keep its factors as buffers",
    r"conv3d|convolution": "write the convolution as a sum of Conv2d over slices of its depth",
    r"grid_sampl": "use F.interpolate where the grid is regular, or resample outside of the network",
}


def way_out(operator: str, title: str) -> str:
    """What to do about an operator that the target `title` lacks."""
    if not operator.startswith(("aten::", "prims::")):
        return f"write {operator} with plain torch operators: {title} does not know custom ones"
    for pattern, advice in _WAYS_OUT.items():
        if re.search(pattern, operator):
            return advice
    return f"replace {operator} by operators that {title} has, or export the other targets without it"


def _blamed(message: str, program: ExportedProgram) -> Node | None:
    """The node that a converter's message names: by the node's name, else by its operator's."""
    words = set(re.findall(r"[\w:.]+", message))
    nodes = [node for node in operators(program) if hasattr(node.target, "_schema")]
    for node in nodes:
        if node.name in words:
            return node
    for node in nodes:
        name = operator_name(node)
        bare = name.split(".")[0]
        if words & {name, bare, name.replace("::", "."), bare.replace("::", ".")}:
            return node
    return None


_NOISE = re.compile(r"Traceback|\.(cpp|cc|h|hpp):\d+:?$|^FrontEnd API failed")


def _reason(error: BaseException) -> str:
    """The first line of a converter's message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    telling = (line for line in lines if re.search(r"\w{3,}.*\s\w", line) and not _NOISE.search(line))
    return next(telling, f"{type(error).__name__}: {error}".strip(": "))


def tool_versions(*distributions: str) -> dict[str, str]:
    """Installed versions of torch and of a converter's distributions."""
    return {name: version(name) for name in ("torch", *distributions)}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a converter's logs, warnings and progress bars off the terminal; exceptions still come through."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """Let packages look uninstalled while a converter is imported that loads them only if they are there.

    Saves seconds: coremltools, for one, imports scikit-learn, transformers and executorch for the sake of
    models that never reach it here.
    """
    hidden = [package for package in packages if package not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))  # None there makes `import` raise ModuleNotFoundError
    try:
        yield
    finally:
        for package in hidden:
            del modules[package]
