"""Integer inputs and outputs of the canonical quantised program, made once, so that every target is lowered with them.

The program quantises its inputs first and, where its last layer's answer is an output, dequantises last. With `int8`
those two operators are the caller's business; with `uint8` the network takes pixels, and normalises them itself. What
the program computes in float at its ends (a detector's decoding) stays float32.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from runtime_py.errors import SdkError
from runtime_py.manifest import Affine, Manifest, Preprocessing, Tensor

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node


class NoIntegers(SdkError):
    """Integers were asked for of a program that begins and ends in float."""

    id = "no-integers"


class NoPixels(SdkError):
    """Pixels were asked for of a network that takes no image."""

    id = "no-pixels"


def check_pixels(io: str, manifest: Manifest) -> None:
    """Raise NoPixels where `io` is uint8 and the network's input is no image."""
    if io == "uint8" and manifest.preprocessing is None:
        raise NoPixels(
            f"--io uint8 for {manifest.model}, whose bundle says of no input how it is made of an image",
            expected="a network with one RGB image, (1, 3, H, W), as its input",
            hint="--io int8, whose inputs have a scale and a zero point",
        )


def with_edges(program: "ExportedProgram", manifest: Manifest, io: str) -> "tuple[ExportedProgram, Manifest]":
    """The program with integer inputs and outputs, and the manifest that says so.

    int8, before: x float32 -> quantize -> dequantize -> ... -> quantize -> dequantize -> float32
    int8, after:  x int8               -> dequantize -> ... -> quantize                -> int8
    uint8, after: pixels uint8 -> float -> * 1 / scale -> - mean / scale -> quantize -> dequantize -> ...
                  ... -> quantize -> dequantize -> quantize with zero point + 128 -> uint8

    An input that some operator reads in float, and an output that was computed in float, stay as they are. Raises
    NoIntegers where all do.
    """
    import torch

    network: GraphModule = program.module(check_guards=False)
    before = manifest.preprocessing if io == "uint8" else None
    placeholders = [node for node in network.graph.nodes if node.op == "placeholder"]
    examples, inputs = list(torch.utils._pytree.tree_leaves(program.example_inputs)), []
    for index, (node, spec) in enumerate(zip(placeholders, manifest.inputs, strict=True)):
        if before is not None:
            made = _pixels(network, node, spec, before) if spec.name == before.input else spec
        else:
            made = _integer_input(network, node, spec)
        inputs.append(made)
        examples[index] = examples[index].to(getattr(torch, made.dtype))
    outputs = _integer_outputs(network, manifest.outputs, io)
    if all(spec.dtype != io for spec in (*inputs, *outputs)):
        raise NoIntegers(
            f"--io {io}: the quantised program reads all its inputs, and computes all its outputs, in float",
            expected="a network whose first layer or last layer is in integers",
            hint="--io float32; or --precision w8a8, which keeps no layer in float",
        )
    network.graph.eliminate_dead_code()
    network.graph.lint()
    network.recompile()
    args, kwargs = torch.utils._pytree.tree_unflatten(examples, program.call_spec.in_spec)
    rewritten = torch.export.export(network, args, kwargs)
    return rewritten, msgspec.structs.replace(
        manifest,
        io=io,
        inputs=tuple(inputs),
        outputs=outputs,
        preprocessing=msgspec.structs.replace(before, folded=True) if before else manifest.preprocessing,
    )


def in_float(manifest: Manifest) -> Manifest:
    """The manifest of the network that all was made from: what it takes and gives is float32."""
    if manifest.io == "float32":
        return manifest

    def real(spec: Tensor, pixels: bool) -> Tensor:
        integer = spec.quantization is not None or pixels
        return msgspec.structs.replace(spec, dtype="float32", quantization=None) if integer else spec

    before = manifest.preprocessing
    folded = before.input if before is not None and before.folded else None
    return msgspec.structs.replace(
        manifest,
        io="float32",
        inputs=tuple(real(spec, spec.name == folded) for spec in manifest.inputs),
        outputs=tuple(real(spec, False) for spec in manifest.outputs),
        preprocessing=msgspec.structs.replace(before, folded=False) if before else None,
    )


def told(manifest: Manifest) -> str:
    """One line for people: what is an integer now, and what stays float and why."""
    sides = (("input", manifest.inputs), ("output", manifest.outputs))
    whole = [f"{side} {spec.name} {spec.dtype}" for side, specs in sides for spec in specs if _is_whole(spec, manifest)]
    real = [f"{side} {spec.name}" for side, specs in sides for spec in specs if not _is_whole(spec, manifest)]
    kept = f"{', '.join(real)} {'stays' if len(real) == 1 else 'stay'} as before: computed in float" if real else ""
    return "; ".join(filter(None, (", ".join(whole), kept)))


def _is_whole(spec: Tensor, manifest: Manifest) -> bool:
    before = manifest.preprocessing
    return spec.quantization is not None or (before is not None and before.folded and before.input == spec.name)


def _integer_input(network: "GraphModule", node: "Node", spec: Tensor) -> Tensor:
    """Drop the quantisation behind an input where it is all that reads it."""
    from exporters.quantized import q

    users = list(node.users)
    same = {_params(user) for user in users if user.target is q.quantize_per_tensor.default and user.args[0] is node}
    if len(same) != 1 or any(user.target is not q.quantize_per_tensor.default for user in users):
        return spec
    scale, zero_point, *_ = next(iter(same))
    for user in users:
        user.replace_all_uses_with(node)
        network.graph.erase_node(user)
    return msgspec.structs.replace(spec, dtype="int8", quantization=_affine(scale, zero_point))


def _pixels(network: "GraphModule", node: "Node", spec: Tensor, how: Preprocessing) -> Tensor:
    """Put the normalisation of pixels in front of what reads an input."""
    import torch

    aten = torch.ops.aten
    graph, users = network.graph, list(node.users)
    for key, values in (
        ("pixels_factor", [1.0 / scale for scale in how.scale_values]),
        ("pixels_offset", [-mean / scale for mean, scale in zip(how.mean_values, how.scale_values, strict=True)]),
    ):
        network.register_buffer(key, torch.tensor(values, dtype=torch.float64).float().reshape(1, 3, 1, 1))
    with graph.inserting_before(min(users)):
        real = graph.call_function(aten.to.dtype, (node, torch.float32))
        factor, offset = graph.get_attr("pixels_factor"), graph.get_attr("pixels_offset")
        product = graph.call_function(aten.mul.Tensor, (real, factor))
        normalised = graph.call_function(aten.add.Tensor, (product, offset))
    for user in users:
        user.replace_input_with(node, normalised)
    return msgspec.structs.replace(spec, dtype="uint8")


def _integer_outputs(network: "GraphModule", specs: Sequence[Tensor], io: str) -> tuple[Tensor, ...]:
    """Give the integers of every output that is nothing but dequantised, and moved about."""
    import torch

    from exporters.quantized import q

    end = next(node for node in network.graph.nodes if node.op == "output")
    leaves, structure = torch.utils._pytree.tree_flatten(end.args[0])
    made: list[Tensor] = []
    for index, spec in enumerate(specs):
        source = _dequantised(leaves[index])
        if source is None:
            made.append(spec)
            continue
        scale, zero_point, low, high, dtype = _params(source)
        if io == "int8" and source is leaves[index]:
            leaves[index] = source.args[0]
        else:
            shift = 128 if io == "uint8" else 0
            kind = torch.uint8 if shift else dtype
            arguments = (leaves[index], scale, zero_point + shift, low + shift, high + shift, kind)
            with network.graph.inserting_before(end):
                leaves[index] = network.graph.call_function(q.quantize_per_tensor.default, arguments)
        whole = _affine(scale, zero_point + (128 if io == "uint8" else 0))
        made.append(msgspec.structs.replace(spec, dtype=io, quantization=whole))
    end.args = (torch.utils._pytree.tree_unflatten(leaves, structure),)
    return tuple(made)


def _dequantised(node: Any) -> "Node | None":
    """The dequantisation of an activation that a value comes from by moves alone; None where something is computed."""
    from torch.fx import Node

    from exporters.quantized import q
    from sdk.quantize.regions import SAME_SCALE

    while isinstance(node, Node) and node.target in SAME_SCALE:
        node = node.args[0]
    if not isinstance(node, Node) or node.target is not q.dequantize_per_tensor.default:
        return None
    stored = not isinstance(node.args[0], Node) or node.args[0].target is not q.quantize_per_tensor.default
    return None if stored else node


def _params(node: "Node") -> tuple[Any, ...]:
    """Scale, zero point, least and largest integer, and their type."""
    return node.args[1:6]


def _affine(scale: Any, zero_point: Any) -> Affine:
    return Affine(scale=float(scale), zero_point=int(zero_point))
