"""From one captured program to one file a target. Importing this package imports no converter, no torch."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from exporters.base import Exporter
from runtime_py.errors import missing_extra, unknown_name


@dataclass(frozen=True)
class TargetRow:
    """One target: where its exporter lies, what it writes, and what must be installed.

    `packages` are names that `import` takes; `extra` is the option of `pip install 'edge-sdk[EXTRA]'` that
    brings them. `io` is what its inputs and outputs may be.
    """

    module: str
    title: str
    suffix: str
    extra: str
    packages: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32", "fp16", "w8", "w4", "w8a8", "mixed")
    io: tuple[str, ...] = ("float32", "int8", "uint8")
    on_request: bool = False
    """Whether `all` leaves it out."""

    def file(self, name: str) -> str:
        """What its artifact is called in the bundle NAME: NAME.suffix, or a folder of one name for all."""
        return name + self.suffix if self.suffix.startswith(".") else self.suffix.rstrip("/")


TARGETS: dict[str, TargetRow] = {
    "coreml": TargetRow(
        "exporters.coreml", "Core ML", ".mlpackage", "coreml", ("torch", "coremltools"), io=("float32",)
    ),
    "tflite": TargetRow(
        "exporters.tflite",
        "LiteRT",
        ".tflite",
        "tflite",
        ("torch", "litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
        ("fp32", "fp16", "w8", "w8a8", "w8a16", "mixed"),
    ),
    "executorch": TargetRow(
        "exporters.executorch",
        "ExecuTorch (XNNPACK)",
        ".pte",
        "xnnpack",
        ("torch", "executorch", "torchao"),
        ("fp32", "fp16", "w8a8", "mixed"),
    ),
    "openvino": TargetRow("exporters.openvino", "OpenVINO", ".openvino", "openvino", ("torch", "openvino")),
    "onnx": TargetRow("exporters.onnx", "ONNX", ".onnx", "onnx", ("torch", "onnx", "onnxscript", "onnxruntime")),
    "mcu": TargetRow(
        "exporters.mcu",
        "Microcontroller C",
        "mcu/",
        "quantize",
        ("torch",),
        ("w8a8",),
        ("float32", "int8"),
        on_request=True,
    ),
}
ALL = tuple(name for name, row in TARGETS.items() if not row.on_request)
"""What `--target all` means: the runtimes that take any network."""


def get_target(name: str) -> TargetRow:
    """The row of a target; `unknown-name` with the nearest names where there is none."""
    try:
        return TARGETS[name]
    except KeyError:
        raise unknown_name("target", name, list(TARGETS)) from None


def load_exporter(name: str) -> Exporter:
    """Import a target's exporter and its converter; `missing-extra` where a package is not installed."""
    row = get_target(name)
    for package in row.packages:
        if find_spec(package) is None:
            raise missing_extra(package, row.extra, f"exporting to {row.title}")
    exporter: Exporter = import_module(row.module).exporter
    return exporter
