"""A .tflite with what its tensors have in common stored once.

A scale a channel comes with a zero point a channel, eight bytes each, of weights and biases alike, and in symmetric
schemes all of them are zeros: 14 % of MCUNet-in3's file. FlatBuffers may point to one vector from many places.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Of constants: the schema's `force_align`, which the generated Python code does not know."""


def share_vectors(path: Path) -> None:
    """Write the file again, each zero-point vector once."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(path.read_bytes()), 0))
    builder = flatbuffers.Builder(path.stat().st_size)
    kept: dict[bytes, int] = {}

    def vector(values: npt.NDArray[Any] | None, size: int) -> int:
        return 0 if values is None else _bytes(builder, np.ascontiguousarray(values), size)

    def pack_quantization(own: Any, _: Any) -> int:
        if own.details is not None:  # custom schemes: none that we write
            return int(plain_quantization(own, builder))
        lows, highs, scales = (vector(_array(values, np.float32), 4) for values in (own.min, own.max, own.scale))
        zeros = _array(own.zeroPoint, np.int64)
        key = b"" if zeros is None else zeros.tobytes()
        if key and key not in kept:
            kept[key] = vector(zeros, 8)
        schema.QuantizationParametersStart(builder)
        for offset, add in (
            (lows, schema.QuantizationParametersAddMin),
            (highs, schema.QuantizationParametersAddMax),
            (scales, schema.QuantizationParametersAddScale),
            (kept.get(key, 0), schema.QuantizationParametersAddZeroPoint),
        ):
            if offset:
                add(builder, offset)
        schema.QuantizationParametersAddQuantizedDimension(builder, own.quantizedDimension)
        return int(schema.QuantizationParametersEnd(builder))

    def pack_buffer(own: Any, _: Any) -> int:
        data = None if own.data is None else np.asarray(own.data, np.uint8)
        place = 0 if data is None else _bytes(builder, data, 1, ALIGNMENT)
        schema.BufferStart(builder)
        if place:
            schema.BufferAddData(builder, place)
        return int(schema.BufferEnd(builder))

    plain_quantization, plain_buffer = schema.QuantizationParametersT.Pack, schema.BufferT.Pack
    schema.QuantizationParametersT.Pack, schema.BufferT.Pack = pack_quantization, pack_buffer
    try:
        builder.Finish(model.Pack(builder), IDENTIFIER)
    finally:
        schema.QuantizationParametersT.Pack, schema.BufferT.Pack = plain_quantization, plain_buffer
    path.write_bytes(builder.Output())


def _array(values: Any, dtype: Any) -> npt.NDArray[Any] | None:
    return None if values is None else np.asarray(values, dtype)


def _bytes(builder: Any, values: npt.NDArray[Any], size: int, alignment: int | None = None) -> int:
    """A vector of little-endian numbers of `size` bytes."""
    builder.StartVector(size, len(values), alignment or size)
    raw = values.tobytes()
    builder.head -= len(raw)
    builder.Bytes[builder.head : builder.head + len(raw)] = raw
    return int(builder.EndVector())
