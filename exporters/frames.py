"""Video networks as networks of pictures: time becomes the batch, so that 2-D kernels and layouts apply.

A rule computes an operator on pictures (T, C, H, W) in place of the tensor (1, C, T, H, W); an operator without
one gets the tensor itself. So nothing is transposed between one convolution and the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter
from torch.nn import functional as F
from torch.utils._pytree import tree_any, tree_leaves, tree_map, tree_map_only, tree_unflatten

aten = torch.ops.aten


@dataclass(frozen=True)
class Frames:
    """A tensor (1, C, T, H, W), or (1, T, C, H, W) where time comes first, held as `pictures` (T, C, H, W)."""

    pictures: Tensor
    time_first: bool = False

    @classmethod
    def of(cls, tensor: Tensor, time_first: bool = False) -> Frames:
        """The pictures of a tensor of rank 5 or, as broadcasting has it, less."""
        tensor = tensor.reshape((1,) * (4 - tensor.dim()) + tuple(tensor.shape)) if tensor.dim() < 4 else tensor
        whole = tensor.reshape(tensor.shape[1:]) if tensor.dim() == 5 else tensor
        return cls(whole if time_first else whole.transpose(0, 1), time_first)

    def tensor(self) -> Tensor:
        """The tensor of rank 5 that this stands for."""
        whole = self.pictures if self.time_first else self.pictures.transpose(0, 1)
        return whole.reshape(1, *whole.shape)

    def axis(self, dim: int) -> int | None:
        """Where an axis of the tensor lies in `pictures`; None for the batch."""
        axes = (None, 0, 1, 2, 3) if self.time_first else (None, 1, 0, 2, 3)
        return axes[dim]


Value = Tensor | Frames
Rule = Callable[..., Value | None]
"""Takes an operator's arguments, Frames among them; answers None where it does not apply after all."""

RULES: dict[Any, Rule] = {}


def rule(*operators: Any) -> Callable[[Rule], Rule]:
    """Enter a function for `operators`."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return enter


def _video(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 5 and value.shape[0] == 1


def planes(weight: Tensor, groups: int) -> list[Tensor]:
    """The 2-D kernels of a 3-D one (O, C, K, R, S): one (O, K * C, R, S), or K of (O, C, R, S) if grouped."""
    slices = list(weight.unbind(2))
    return [torch.cat(slices, 1)] if groups == 1 and len(slices) > 1 else slices


@rule(aten.conv3d.default)
def conv3d(
    x: Value,
    weight: Tensor | list[Tensor],
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] = (0, 0, 0),
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
) -> Value | None:
    """One convolution over the channels of all the frames that a kernel spans; grouped ones as a sum over them.

    before: x (1, C, T, H, W) -> conv3d, weight (O, C / groups, K, R, S) -> (1, O, E, P, Q)
    after:  frames k, k + 1, ... of x, for k in 0..K-1 -> concatenated, (E, K * C, H, W) -> conv2d -> (E, O, P, Q)
    """
    if isinstance(x, Tensor) and not _video(x):
        return None
    if isinstance(x, Tensor) or x.time_first:
        x = Frames.of(x if isinstance(x, Tensor) else x.tensor())
    kernels = planes(weight, groups) if isinstance(weight, Tensor) else weight
    channels = x.pictures.shape[1]
    depth = kernels[0].shape[1] // channels if groups == 1 else len(kernels)
    pictures = F.pad(x.pictures, (0, 0, 0, 0, 0, 0, padding[0], padding[0])) if padding[0] else x.pictures
    count = (pictures.shape[0] - dilation[0] * (depth - 1) - 1) // stride[0] + 1
    span = (count - 1) * stride[0] + 1
    shifted = [pictures[k * dilation[0] : k * dilation[0] + span : stride[0]] for k in range(depth)]
    if groups == 1 and depth > 1:
        shifted = [torch.cat(shifted, 1)]
    total = None
    for frames, kernel in zip(shifted, kernels, strict=True):
        part = F.conv2d(frames, kernel, bias if total is None else None, stride[1:], padding[1:], dilation[1:], groups)
        total = part if total is None else total + part
    assert total is not None  # a kernel has at least one plane
    return Frames(total)


@rule(aten.pixel_shuffle.default)
def pixel_shuffle(x: Value, factor: int) -> Value | None:
    """Of each picture."""
    if isinstance(x, Tensor) and _video(x):
        x = Frames.of(x, time_first=True)
    if not isinstance(x, Frames) or not x.time_first:
        return None
    return replace(x, pictures=F.pixel_shuffle(x.pictures, factor))


@rule(aten.transpose.int)
def transpose(x: Value, dim0: int, dim1: int) -> Value | None:
    """Of channels and time, which costs nothing here."""
    if isinstance(x, Frames) and {dim0 % 5, dim1 % 5} == {1, 2}:
        return replace(x, time_first=not x.time_first)
    return None


@rule(aten.permute.default)
def permute(x: Value, dims: Sequence[int]) -> Value | None:
    """Of channels and time, which costs nothing here."""
    if isinstance(x, Frames) and [dim % 5 for dim in dims] == [0, 2, 1, 3, 4]:
        return replace(x, time_first=not x.time_first)
    return None


@rule(aten.mean.dim)
def mean(x: Value, dim: Sequence[int] | None, keepdim: bool = False, **options: Any) -> Value | None:
    """Over channels, height, width."""
    if not isinstance(x, Frames) or not dim or not keepdim:
        return None
    axes = [x.axis(each) for each in dim]
    return None if None in axes or 0 in axes else replace(x, pictures=aten.mean.dim(x.pictures, axes, True, **options))


@rule(aten.slice.Tensor)
def slice_(x: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Value | None:
    """Of any axis but the batch."""
    if not isinstance(x, Frames):
        return None
    axis = x.axis(dim)
    return None if axis is None else replace(x, pictures=aten.slice.Tensor(x.pictures, axis, start, end, step))


@rule(aten.cat.default)
def cat(values: Sequence[Value], dim: int = 0) -> Value | None:
    """Along any axis but the batch."""
    first = next((value for value in values if isinstance(value, Frames)), None)
    if first is None or not all(_agrees(value, first) or _video(value) for value in values):
        return None
    axis = first.axis(dim)
    return None if axis is None else replace(first, pictures=torch.cat(list(_pictures(values, first)), axis))


@rule(aten.flatten.using_ints)
def flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value | None:
    """Of the batch and time, which gives the pictures themselves."""
    return x.pictures if isinstance(x, Frames) and x.time_first and (start_dim, end_dim) == (0, 1) else None


@rule(aten.unflatten.int)
def unflatten(x: Value, dim: int, sizes: Sequence[int]) -> Value | None:
    """Of pictures into a batch of one and time."""
    if isinstance(x, Tensor) and x.dim() == 4 and dim == 0 and list(sizes) == [1, x.shape[0]]:
        return Frames(x, time_first=True)
    return None


@rule(aten.view.default, aten.reshape.default)
def view(x: Value, size: Sequence[int]) -> Value | None:
    """Of a batch of one and time into pictures, and back."""
    if isinstance(x, Frames):
        return x.pictures if x.time_first and list(size) == list(x.pictures.shape) else None
    return Frames(x, time_first=True) if x.dim() == 4 and list(size) == [1, *x.shape] else None


@rule(aten.to.dtype, aten._to_copy.default)
def to(x: Value, *args: Any, **kwargs: Any) -> Value | None:
    """To another type."""
    return replace(x, pictures=x.pictures.to(*args, **kwargs)) if isinstance(x, Frames) else None


@rule(aten.batch_norm.default)
def batch_norm(x: Value, *args: Any) -> Value | None:
    """Of channels, as in two dimensions."""
    if isinstance(x, Frames) and not x.time_first:
        return replace(x, pictures=aten.batch_norm.default(x.pictures, *args))
    return None


def _pointwise(operator: Any, args: Any, kwargs: Any) -> Value | None:
    """An operator of single elements, with broadcasting."""
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Frames | Tensor)]
    first = next(leaf for leaf in leaves if isinstance(leaf, Frames))
    if not all(_agrees(leaf, first) for leaf in leaves):
        return None

    def on_pictures(value: Any) -> Any:
        return next(_pictures([value], first)) if isinstance(value, Frames | Tensor) else value

    args, kwargs = tree_map(on_pictures, (args, kwargs))
    return replace(first, pictures=operator(*args, **kwargs))


def _agrees(value: Value, first: Frames) -> bool:
    """Whether a value's axes are those of `first`, or can be made so for nothing."""
    if isinstance(value, Frames):
        return value.time_first == first.time_first
    return value.dim() < 5 or value.shape[0] == 1


def _pictures(values: Sequence[Value], first: Frames) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Frames):
            yield value.pictures
        else:
            yield value if value.dim() < 3 else Frames.of(value, first.time_first).pictures


class _OnPictures(Interpreter):
    """Runs a graph with Frames in place of tensors where rules allow it."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """By rule, else on whole tensors."""
        framed = tree_any(lambda leaf: isinstance(leaf, Frames), (args, kwargs))
        answer = None
        if target in RULES:
            answer = RULES[target](*args, **kwargs)
        elif framed and torch.Tag.pointwise in getattr(target, "tags", ()):
            answer = _pointwise(target, args, kwargs)
        if answer is not None:
            return answer
        args, kwargs = tree_map_only(Frames, Frames.tensor, (args, kwargs))
        return super().call_function(target, args, kwargs)

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Whole tensors."""
        return super().output(target, tree_map_only(Frames, Frames.tensor, args), kwargs)


def _store_planes(network: GraphModule) -> None:
    """Replace the stored weights of 3-D convolutions by their planes: converters are slow at folding constants."""
    for node in network.graph.find_nodes(op="call_function", target=aten.conv3d.default):
        stored = node.args[1]
        readers = network.graph.find_nodes(op="get_attr", target=stored.target) if stored.op == "get_attr" else []
        if readers != [stored] or len(stored.users) > 1 or not _video(node.args[0].meta.get("val")):
            continue
        groups = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
        nodes = []
        with network.graph.inserting_before(node):
            for k, plane in enumerate(planes(attrgetter(stored.target)(network).detach(), groups)):
                network.register_buffer(f"{node.name}_plane_{k}", plane.contiguous())
                nodes.append(network.graph.get_attr(f"{node.name}_plane_{k}"))
        node.update_arg(1, nodes)
        network.graph.erase_node(stored)
        owner, _, name = stored.target.rpartition(".")
        delattr(network.get_submodule(owner), name)
    network.recompile()


class _Folded(torch.nn.Module):
    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.training = False
        self.network = program.module(check_guards=False)
        self.structure = program.call_spec.out_spec
        _store_planes(self.network)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.fx.traceback.preserve_node_meta():  # so that errors still name the network's own lines
            leaves = tree_leaves((args, kwargs))
            answer = _OnPictures(self.network).run(*leaves, enable_io_processing=False)
        return tree_unflatten(tree_leaves(answer), self.structure)


def fold_time(program: ExportedProgram) -> ExportedProgram:
    """The program with the time of videos (1, C, T, H, W) as a batch of pictures, from its first Conv3d on."""
    args, kwargs = program.example_inputs
    return torch.export.export(_Folded(program), args, kwargs)
