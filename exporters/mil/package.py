"""Reads a saved Core ML `.mlpackage` back from disk, as untrusted data, into a `Program`."""

import json
from pathlib import Path
from typing import Any

from exporters.mil.dtypes import STRING
from exporters.mil.errors import CorruptPackage, UnsupportedProgram
from exporters.mil.program import Argument, Constant, NamedType, Operation, Program, Reference
from exporters.mil.proto import model_messages
from exporters.mil.values import ConstantReader, tensor_type


def read_program(path: Path) -> Program:
    """The ML Program of the package at `path`, its weights mapped from the package's own weight file.

    Raises `CorruptPackage` when any file is missing or contradicts another, `UnsupportedProgram` when the
    model is of another kind (a neural network, a pipeline, several functions), `MissingExtra` without
    coremltools.
    """
    file = _model_file(path)
    model = _parse(file)
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise UnsupportedProgram(
            f"{path.name} is a Core ML model of type {kind!r}",
            expected="an ML Program",
            hint="convert with convert_to='mlprogram'",
        )
    if set(model.mlProgram.functions) != {"main"}:
        raise UnsupportedProgram(
            f"{path.name} has the functions {sorted(model.mlProgram.functions)}", expected="'main' only"
        )
    main = model.mlProgram.functions["main"]
    if main.opset not in main.block_specializations:
        raise CorruptPackage(f"{path.name} has no block for its opset {main.opset!r}")
    block = main.block_specializations[main.opset]
    inputs = tuple(_input(i) for i in main.inputs)
    constants = ConstantReader(file.parent)
    operations = tuple(_operation(o, constants) for o in block.operations)
    known = _definitions(inputs, operations)
    return Program(
        inputs=_described(model.description.input, {i.name: i for i in inputs}, "input"),
        outputs=_described(model.description.output, {n: known[n] for n in block.outputs if n in known}, "output"),
        operations=operations,
        opset=str(main.opset),
    )


def _model_file(path: Path) -> Path:
    """The file that Manifest.json calls the root model."""
    manifest = path / "Manifest.json"
    if not manifest.is_file():
        raise CorruptPackage(f"{path} has no Manifest.json", expected="a .mlpackage folder")
    try:
        content = json.loads(manifest.read_bytes())
        items = {key: str(item["path"]) for key, item in content["itemInfoEntries"].items()}
        root = items[content["rootModelIdentifier"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptPackage(f"{manifest} is not a package manifest: {error!r}") from error
    data = (path / "Data").resolve()
    for item in items.values():
        if "\0" in item or not (data / item).resolve().is_relative_to(data):
            raise CorruptPackage(f"{manifest} lists {item!r}", expected="paths inside the package's Data folder")
    if not (data / root).is_file():
        raise CorruptPackage(f"{path.name} has no file Data/{root}", expected="the model that Manifest.json lists")
    return (data / root).resolve()


def _parse(file: Path) -> Any:
    from google.protobuf.message import DecodeError  # comes with coremltools

    try:
        return model_messages().Model.FromString(file.read_bytes())
    except DecodeError as error:
        raise CorruptPackage(f"{file.name} is not a Core ML model: {error}") from error


def _input(message: Any) -> NamedType:
    declared = NamedType(message.name, tensor_type(message.type))
    if declared.type.dtype == STRING:
        raise UnsupportedProgram(f"the input {declared.name!r} is a string", expected="tensors of numbers")
    return declared


def _operation(message: Any, constants: ConstantReader) -> Operation:
    outputs = tuple(NamedType(o.name, tensor_type(o.type)) for o in message.outputs)
    owner = f"{message.type} {outputs[0].name if outputs else ''!r}"
    return Operation(
        type=message.type,
        inputs={name: _argument(message.inputs[name], constants, owner) for name in message.inputs},
        outputs=outputs,
        attributes={
            name: constants.read(message.attributes[name], owner) for name in message.attributes if name != "name"
        },
    )


def _argument(message: Any, constants: ConstantReader, owner: str) -> Argument:
    return tuple(
        Reference(a.name) if a.WhichOneof("binding") == "name" else constants.read(a.value, owner)
        for a in message.arguments
    )


def _definitions(inputs: tuple[NamedType, ...], operations: tuple[Operation, ...]) -> dict[str, NamedType]:
    """Every name with its type, after checking that each is defined once and before its use."""
    known: dict[str, NamedType] = {i.name: i for i in inputs}
    for operation in operations:
        for argument in operation.inputs.values():
            for value in argument:
                if isinstance(value, Reference) and value.name not in known:
                    raise CorruptPackage(f"{operation.type} uses {value.name!r} before it is defined")
        if operation.type == "const":
            _check_constant(operation)
        for output in operation.outputs:
            if output.name in known:
                raise CorruptPackage(f"{operation.type} defines {output.name!r} again")
            known[output.name] = output
    return known


def _check_constant(operation: Operation) -> None:
    value: Constant | None = operation.attributes.get("val")
    if value is None or len(operation.outputs) != 1 or value.type != operation.outputs[0].type:
        raise CorruptPackage(
            f"the const {[o.name for o in operation.outputs]} has a value of {value.type if value else None}",
            expected=f"{[o.type for o in operation.outputs]}, as its output declares",
        )


def _described(features: Any, known: dict[str, NamedType], what: str) -> tuple[NamedType, ...]:
    names = [feature.name for feature in features]
    if sorted(names) != sorted(known):
        raise CorruptPackage(
            f"the model describes the {what}s {names}", expected=f"the program's {what}s, {sorted(known)}"
        )
    return tuple(known[name] for name in names)
