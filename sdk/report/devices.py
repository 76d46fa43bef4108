"""How to run a bundle on each device: code with the bundle's own names and shapes."""

import json
import shlex
from dataclasses import dataclass
from math import prod
from pathlib import Path

from runtime_py.engines import get_engine
from runtime_py.manifest import Artifact, Manifest


@dataclass(frozen=True)
class Device:
    """A device: its `targets` in the order of preference, and its blocks of code, each a template's name."""

    title: str
    targets: tuple[str, ...]
    note: str
    blocks: tuple[str, ...] = ("install", "python")


@dataclass(frozen=True)
class Guide:
    """A device and its code. Where the bundle has nothing for it, `export` is the command that makes it."""

    device: str
    note: str
    blocks: tuple[str, ...] = ()
    export: str = ""


DEVICES = (
    Device(
        "Raspberry Pi",
        ("tflite", "onnx", "openvino"),
        "64-bit Raspberry Pi OS. PyTorch is not installed there.",
    ),
    Device(
        "Jetson",
        ("onnx",),
        "ONNX Runtime on the CPU; for the GPU, JetPack's TensorRT builds an engine of the same file.",
        ("install", "python", "tensorrt"),
    ),
    Device("Android", ("tflite",), "LiteRT's interpreter, on the CPU through XNNPACK.", ("kotlin",)),
    Device("iPhone", ("coreml",), "Core ML chooses between Neural Engine, GPU and CPU.", ("swift",)),
    Device("Mac", ("coreml", "onnx"), "Core ML's own predict, called from Python."),
    Device("Windows, Linux", ("openvino", "onnx", "tflite", "executorch"), "On the CPU of a PC or server."),
)

MICROCONTROLLER = Device(
    "Microcontroller",
    ("mcu",),
    "C99 without dependencies. Copy the bundle's folder mcu/ into your project; with CMake, add_subdirectory(mcu).",
    ("c",),
)
"""Only for bundles that have it: not every network fits one."""

BYTES = {"float64": 8, "int64": 8, "float16": 2, "int16": 2, "int8": 1, "uint8": 1, "bool": 1}


def guides(manifest: Manifest) -> list[Guide]:
    """One guide for each device; failed artifacts are not offered, and no microcontroller where no file is for it."""
    usable = {a.target: a for a in reversed(manifest.artifacts) if a.status != "failed"}
    devices = (*DEVICES, MICROCONTROLLER) if "mcu" in usable else DEVICES
    return [_guide(manifest, device, usable) for device in devices]


def _guide(manifest: Manifest, device: Device, usable: dict[str, Artifact]) -> Guide:
    target = next((name for name in device.targets if name in usable), None)
    if target is None:
        model = manifest.source if manifest.source not in ("", "zoo") else manifest.model
        export = f"sdk export {shlex.quote(model)} --target {device.targets[0]}"
        return Guide(device.title, device.note, export=export)
    blocks = tuple(_write(block, manifest, usable[target]) for block in device.blocks)
    return Guide(device.title, device.note, blocks)


def _write(block: str, manifest: Manifest, artifact: Artifact) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # code, not HTML: the page escapes the whole of it
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"quoted": _quoted, "shell": shlex.quote, "bytes": _bytes}
    return environment.get_template(f"snippet_{block}.j2").render(
        manifest=manifest,
        artifact=artifact,
        bundle=f"{manifest.model}.bundle",
        extra=get_engine(artifact.target).extra,
        inputs=artifact.inputs or tuple(tensor.name for tensor in manifest.inputs),
        outputs=artifact.outputs or tuple(tensor.name for tensor in manifest.outputs),
    )


def _quoted(text: str) -> str:
    """The text in double quotes, its quotes, backslashes and line breaks escaped."""
    return json.dumps(text, ensure_ascii=False)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return prod(shape) * BYTES.get(dtype, 4)
