"""The quantiser that NNCF follows: symmetric int8 weights a channel, int8 activations, layer and clamp as one."""

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.observer import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)

from sdk.quantize.regions import inputs_of, regions

ACTIVATIONS = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
    observer_or_fake_quant_ctr=MinMaxObserver,
)
WEIGHTS = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-127,
    quant_max=127,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
    observer_or_fake_quant_ctr=PerChannelMinMaxObserver,
)
"""Without -128, so that a product of two never overflows the sums of kernels that add pairs."""
ANNOTATION = "quantization_annotation"


class EdgeQuantizer(Quantizer):  # type: ignore[misc]  # torchao has no types
    """Annotates what `regions` says, but for the layers named in `floats`.

    The same scheme suits XNNPACK, LiteRT, OpenVINO, ONNX Runtime and Core ML; a scheme of any one of them suits only
    itself. A convolution and the ReLU or ReLU6 behind it are one layer, whose output has the clamped range:
    quantising between them costs MCUNet-in3 seven points.
    """

    def __init__(self, floats: frozenset[str] = frozenset()) -> None:
        self.floats = floats

    def annotate(self, model: GraphModule) -> GraphModule:
        """Write torchao's annotations into the nodes' meta."""
        found = regions(model.graph, self.floats)
        for node, end in found.layers.items():
            weight = node.args[1]
            assert isinstance(weight, Node)  # a layer's weight is stored
            _annotate(node, {next(inputs_of(node)): ACTIVATIONS, weight: WEIGHTS}, end)
        for node, end in found.pairs.items():
            _annotate(node, dict.fromkeys(inputs_of(node), ACTIVATIONS), end)
        for node, end in found.joins.items():
            first, *others = inputs_of(node)
            shared = SharedQuantizationSpec((first, node))
            inputs = {first: ACTIVATIONS, **dict.fromkeys(others, shared)}
            _annotate(node, inputs, end, shared)
        for node in found.movers:
            source = next(inputs_of(node))
            node.meta[ANNOTATION] = QuantizationAnnotation(
                {source: ACTIVATIONS}, SharedQuantizationSpec((source, node)), _annotated=True
            )
        return model

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: every annotation comes from one rule."""


def _annotate(
    node: Node, inputs: dict[Node, QuantizationSpecBase], end: Node, output: QuantizationSpecBase = ACTIVATIONS
) -> None:
    """Quantise a node's inputs, and the output of `end`, which may be the node itself."""
    own = output if end is node else None
    node.meta[ANNOTATION] = QuantizationAnnotation(inputs, own, _annotated=True)
    if end is not node:
        end.meta[ANNOTATION] = QuantizationAnnotation({}, output, _annotated=True)
