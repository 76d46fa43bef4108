"""A written .tflite whose activations have 16 bits, as LiteRT's kernels for them want it: with biases of 64 bits."""

from pathlib import Path
from typing import Any

import numpy as np

from exporters.tflite_file import read_model, write_model


def widen_biases(path: Path) -> None:
    """Write the file again: the int32 biases of layers that read int16 become int64. Their converter knows 32 alone."""
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(path)
    layers = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D}
    layers |= {schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.TRANSPOSE_CONV}
    widened: dict[int, int] = {}  # buffers: from 32 bits to 64
    for graph in model.subgraphs:
        for operator in graph.operators:
            read = [graph.tensors[at] for at in operator.inputs if at >= 0]
            code = model.operatorCodes[operator.opcodeIndex].builtinCode
            if code not in layers or all(tensor.type != schema.TensorType.INT16 for tensor in read):
                continue
            for tensor in read:
                if tensor.type == schema.TensorType.INT32 and _is_bias(tensor):
                    _widen(model, tensor, widened, schema)
    write_model(path, model)


def _is_bias(tensor: Any) -> bool:
    """A transposed convolution has its output's shape as int32 too, which has no scale."""
    return tensor.quantization is not None and tensor.quantization.scale is not None


def _widen(model: Any, tensor: Any, widened: dict[int, int], schema: Any) -> None:
    if tensor.buffer not in widened:
        new = schema.BufferT()
        values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), "<i4")
        new.data = np.frombuffer(values.astype("<i8").tobytes(), np.uint8)
        model.buffers.append(new)
        widened[tensor.buffer] = len(model.buffers) - 1
    tensor.buffer, tensor.type = widened[tensor.buffer], schema.TensorType.INT64
