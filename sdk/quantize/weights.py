"""w8 and w4: stored weights in 8 and 4 bits, all arithmetic in float, and no data to calibrate on.

NNCF's compress_weights is not used, as it was found to be less right and no simpler. Its 8 bits round to the nearest
and keep scales in half (51.4 dB where these rounded to the nearest have 52.1), and it leaves casts and products where
every target knows w8a8's dequantisation. Its 4 bits are for linear layers alone (none of LeYOLO's weights, 22 % of
MCUNet's), packed by shifts in the graph; these are for 1 x 1 convolutions too.

Who takes it, measured on files of a network of 437 000 parameters (1.75 MB in float32):

- w8: Core ML 3.7 times smaller, LiteRT 3.7, OpenVINO 3.7, ONNX 3.8. Not ExecuTorch, as XNNPACK has no convolution of
  float activations with 8-bit weights.
- w4: Core ML 5.8, from iOS 18 on; OpenVINO 5.7; ONNX 6.0, in opset 21. Not LiteRT: its converter keeps the
  groups' values as bytes, in a file 1.3 times that of w8, and their layers outside of XNNPACK. Not ExecuTorch, as
  above.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from runtime_py.manifest import Quantization
from sdk.programs import save_program
from sdk.quantize.network import network_of, stored
from sdk.quantize.recipes import NothingToQuantise
from sdk.quantize.regions import layers_of, weight_node
from sdk.quantize.result import hash_of
from sdk.quantize.scheme import SCHEMES

aten, q = torch.ops.aten, torch.ops.quantized_decomposed
GROUP = 32
"""At most so many weights, along the input axis, share a scale in 4 bits."""
SMALLEST_GROUP = 16
"""Below it a float32 scale costs more than two bits a weight, and 8 bits are the better use of them."""
SHRUNK = tuple(0.98 - 0.02 * step for step in range(20))
"""What a 4-bit scale is tried at, of the one that reaches the largest weight: cutting that off a little rounds all
others finer. In 4 bits that is worth 2 dB of MCUNet's answer, in 8 bits nothing."""


@dataclass(frozen=True)
class Rounded:
    """Rows of weights as symmetric integers -limit..limit: `whole` (R, N) int8, and a `scale` (R,) each."""

    whole: Tensor
    scale: Tensor
    limit: int

    def error(self, rows: Tensor) -> Tensor:
        """Of each row (R,): the squares of what rounding did."""
        return (self.whole * self.scale[:, None] - rows).square().sum(1)


def write_small(program: ExportedProgram, precision: str, path: Path) -> Quantization:
    """Write the canonical program of `w8` or `w4` to `path`; its record. Raises NothingToQuantise."""
    bits = SCHEMES[precision].weights
    assert bits is not None  # both have them
    network = with_small_weights(program, bits)
    save_program(torch.export.export(network, program.example_inputs[0]), path)
    return Quantization(scheme=precision, program_sha256=hash_of(network), int8_macs=0.0)


def with_small_weights(program: ExportedProgram, bits: int) -> GraphModule:
    """The program's graph, norms folded, with each layer's stored weight as int8 and a dequantisation.

    In 8 bits the stored tensor has the weight's shape and a scale an output channel. In 4 bits, weights of linear
    layers and of 1 x 1 convolutions are -7..7, as (groups, group) with a scale a group, and a view behind the
    dequantisation gives them their shape back; the others stay in 8. Raises NothingToQuantise.
    """
    network = network_of(program)
    nodes = {node.name: node for node in network.graph.nodes}
    layers = {weight_node(nodes[layer.name]): nodes[layer.name] for layer in layers_of(network.graph)}
    if not layers:
        raise NothingToQuantise(
            "the network has no layer whose weights could be integers",
            expected="a convolution in two dimensions, or a linear layer, with a stored weight",
            hint="--precision fp16",
        )
    for index, (weight, layer) in enumerate(layers.items()):
        _shrink(network, weight, layer, bits, f"small_{index}")
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.recompile()
    return network


def rounded(rows: Tensor, bits: int) -> Rounded:
    """Rows (R, N) in 8 or 4 bits; in 4, each row's scale is the best of SHRUNK. Each row keeps its sum."""
    limit = 2 ** (bits - 1) - 1
    largest = (rows.abs().amax(1) / limit).clamp(min=torch.finfo(torch.float32).tiny)  # of a row of zeros
    best, scale = _nearest(rows, largest, limit).error(rows), largest
    for share in SHRUNK if bits == 4 else ():
        error = _nearest(rows, largest * share, limit).error(rows)
        scale = torch.where(error < best, largest * share, scale)
        best = torch.minimum(error, best)
    return _with_sums(rows, _nearest(rows, scale, limit))


def _nearest(rows: Tensor, scale: Tensor, limit: int) -> Rounded:
    return Rounded(torch.round(rows / scale[:, None]).clamp(-limit, limit).to(torch.int8), scale, limit)


def _with_sums(rows: Tensor, made: Rounded) -> Rounded:
    """Those weights of a row rounded the other way that were nearest to it, until the row's errors add up to 0.

    After SQuant (Guo et al., ICLR 2022, section 3.2), for the sums of whole rows. What follows a ReLU has a mean, and
    a sum of errors shifts the layer's answer by that mean times itself. In 8 bits it brings MCUNet's answer from 20.6
    to 26.2 dB on photos, and from 4.7 to 20.1 dB on a grey image; no data is needed for it.
    """
    missing = rows / made.scale[:, None] - made.whole
    total = missing.sum(1, keepdim=True)
    gain = missing * total.sign()
    rank = gain.argsort(1, descending=True).argsort(1)
    turned = (rank < total.abs().round()) & (gain > 0)
    whole = made.whole + turned * total.sign().to(torch.int8)
    return replace(made, whole=whole.clamp(-made.limit, made.limit))


def group_of(weight: Tensor, layer: Node) -> int | None:
    """How many of a row's weights share a scale in 4 bits; None where 8 bits are kept.

    It divides the input channels, as no runtime has a shorter last group.
    """
    if layer.target is not aten.linear.default and weight[0, 0].numel() != 1:
        return None
    width = weight.shape[1]
    return next((size for size in range(GROUP, SMALLEST_GROUP - 1, -1) if width % size == 0), None)


def _shrink(network: GraphModule, node: Node, layer: Node, bits: int, key: str) -> None:
    """Put integers and their dequantisation in the place of a stored weight, for all that read it."""
    weight = stored(network, node).detach()
    group = group_of(weight, layer) if bits == 4 else None
    made = rounded(weight.flatten(1), 8) if group is None else rounded(weight.reshape(-1, group), 4)
    whole = made.whole.reshape(weight.shape) if group is None else made.whole
    zero = torch.zeros_like(made.scale, dtype=torch.int64)
    parts = {f"{key}_whole": whole, f"{key}_scale": made.scale, f"{key}_zero": zero}
    users = dict.fromkeys(node.users)
    with network.graph.inserting_before(next(each for each in network.graph.nodes if each in users)):
        for name, tensor in parts.items():
            network.register_buffer(name, tensor)
        read = [network.graph.get_attr(name) for name in parts]
        real = network.graph.call_function(
            q.dequantize_per_channel.default, (*read, 0, -made.limit, made.limit, torch.int8)
        )
        if group is not None:
            real = network.graph.call_function(aten.view.default, (real, list(weight.shape)))
    for user in users:
        user.replace_input_with(node, real)
