"""A .tflite with everything that is equal stored once.

In a small quantised network a quarter of the file is no weight. A scale a channel comes with a zero point a channel,
eight bytes each, of weights and biases alike, and in symmetric schemes all of them are zeros; bands of one kernel have
the same scales; layers of one kind have the same options and shapes. FlatBuffers may point to one vector or table from
many places. What cannot go: LiteRT refuses a tensor with fewer zero points than scales, and XNNPACK leaves a layer out
whose bias has no scales.
"""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt

from exporters.tflite_file import read_model, write_model

ALIGNMENT = 16
"""Of constants: the schema's `force_align`, which the generated Python code does not know."""


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # which has no types
    """Gives the place of what is there already for a string, a vector of numbers or a table that is equal to it."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._places: dict[Any, int] = {}
        self._fields: list[Any] = []

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802
        text = s.encode(encoding, errors) if isinstance(s, str) else bytes(s)
        if text not in self._places:
            self._places[text] = super().CreateString(text)
        return self._places[text]

    def CreateNumpyVector(self, x: npt.NDArray[Any]) -> int:  # noqa: N802
        values = np.ascontiguousarray(x).astype(x.dtype.newbyteorder("<"), copy=False)
        raw = values.tobytes()
        key = (values.dtype.str, raw)
        if key not in self._places:
            self.StartVector(values.itemsize, values.size, ALIGNMENT if values.dtype == np.uint8 else values.itemsize)
            self.head -= len(raw)
            self.Bytes[self.head : self.head + len(raw)] = raw
            self._places[key] = self.EndVector()
        return self._places[key]

    def StartObject(self, numfields: int) -> None:  # noqa: N802
        super().StartObject(numfields)
        self._fields = [numfields]

    def PrependSlot(self, flags: Any, o: int, x: Any, d: Any) -> None:  # noqa: N802
        super().PrependSlot(flags, o, x, d)
        if x != d:
            self._fields.append((flags, o, x))

    def PrependUOffsetTRelativeSlot(self, o: int, x: int, d: int) -> None:  # noqa: N802
        super().PrependUOffsetTRelativeSlot(o, x, d)
        if x != d:
            self._fields.append((o, x))  # places, which are the same where what lies there is

    def EndObject(self) -> int:  # noqa: N802
        key = tuple(self._fields)
        if key not in self._places:
            self._places[key] = super().EndObject()
            return self._places[key]
        self.head = len(self.Bytes) - self.objectEnd  # as if it had not been started
        self.current_vtable, self.nested = None, False
        return self._places[key]


def store_once(path: Path) -> None:
    """Write the file again with everything equal once, and numbers for names inside. It answers bit for bit alike."""
    model = read_model(path)
    for graph in model.subgraphs:
        ends = {*graph.inputs, *graph.outputs}
        for number, tensor in enumerate(graph.tensors):
            if number not in ends:  # the converter's names say nothing: exporters.named.Named;9
                tensor.name = str(number)
            if model.buffers[tensor.buffer].data is None and not model.buffers[tensor.buffer].offset:
                tensor.buffer = 0  # by convention the empty one
    write_model(path, model, SharingBuilder(path.stat().st_size))
