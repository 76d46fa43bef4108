"""A .tflite as plain objects, to be changed and written again."""

from pathlib import Path
from typing import Any

import flatbuffers

IDENTIFIER = b"TFL3"


def read_model(path: Path) -> Any:
    """The whole model."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(path.read_bytes()), 0))


def write_model(path: Path, model: Any, builder: Any = None) -> None:
    """In place of what is there; `builder` is a FlatBuffers builder, where not the usual one."""
    builder = builder or flatbuffers.Builder(path.stat().st_size)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    path.write_bytes(builder.Output())
