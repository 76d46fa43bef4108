"""The precisions by the field's names, and what takes them."""

from dataclasses import dataclass
from typing import get_args

from exporters import TARGETS
from runtime_py.errors import SdkError, unknown_name
from runtime_py.manifest import Io


@dataclass(frozen=True)
class Scheme:
    """Bits of weights and activations (None: float). `calibrated`: ranges are measured on data."""

    weights: int | None
    activations: int | None
    what: str

    @property
    def calibrated(self) -> bool:
        """Whether it needs calibration data."""
        return self.quantised and self.activations is not None

    @property
    def quantised(self) -> bool:
        """Whether it has integers at all."""
        return self.weights is not None and self.weights < 16


SCHEMES: dict[str, Scheme] = {
    "fp32": Scheme(None, None, "as trained"),
    "fp16": Scheme(16, 16, "half precision"),
    "w8": Scheme(8, None, "weights in 8 bits, computed in float"),
    "w4": Scheme(4, None, "weights in 4 bits where they can be grouped, others in 8, computed in float"),
    "w8a8": Scheme(8, 8, "weights and activations in 8 bits"),
    "w8a16": Scheme(8, 16, "weights in 8 bits, activations in 16"),
    "mixed": Scheme(8, 8, "w8a8, but for the layers whose accuracy needs more"),
}


LACKING = {
    **dict.fromkeys(
        ((target, "w8a16") for target in TARGETS if target != "tflite"),
        "of these runtimes LiteRT alone has integer kernels for activations in 16 bits",
    ),
    **dict.fromkeys(
        (("mcu", precision) for precision in ("fp32", "fp16", "w8", "w4", "mixed")),
        "a microcontroller's program computes in bytes alone",
    ),
    ("executorch", "w8"): "XNNPACK has no convolution of float activations with 8-bit weights",
    ("executorch", "w4"): "XNNPACK has no convolution of float activations with 4-bit weights",
    ("tflite", "w4"): "its converter stores groups of 4-bit weights as bytes, in a file larger than that of w8",
}
"""Why a target has not what others have; see weights.py."""


NO_BYTES = {
    "coreml": "Core ML's arrays are float16, float32 or int32",
    "mcu": "a microcontroller's program takes signed bytes",
}
"""Why a target has not these inputs and outputs."""


class CannotTake(SdkError):
    """A precision, or a type of inputs and outputs, that a target does not take."""

    id = "precision-refused"


def check_scheme(precision: str, targets: list[str]) -> Scheme:
    """The scheme of that name. Raises UnknownName, or CannotTake where one of the targets has it not."""
    if precision not in SCHEMES:
        raise unknown_name("precision", precision, sorted(SCHEMES))
    unable = [name for name in targets if precision not in TARGETS[name].precisions]
    if unable:
        reasons = "; ".join(dict.fromkeys(LACKING[name, precision] for name in unable if (name, precision) in LACKING))
        able = [name for name, row in TARGETS.items() if precision in row.precisions]
        raise CannotTake(
            f"{', '.join(unable)} cannot take {precision}{f': {reasons}' if reasons else ''}",
            expected="; ".join(f"{name}: {', '.join(TARGETS[name].precisions)}" for name in unable),
            hint=f"another --precision, or --target {','.join(able)}",
        )
    return SCHEMES[precision]


def check_io(io: str, precision: str, targets: list[str]) -> None:
    """Raise UnknownName for no such `--io`, CannotTake where the precision or one of the targets has it not."""
    names = get_args(Io)
    if io not in names:
        raise unknown_name("io", io, sorted(names))
    if io == "float32":
        return
    if SCHEMES[precision].activations != 8:
        able = ", ".join(name for name, scheme in SCHEMES.items() if scheme.activations == 8)
        raise CannotTake(
            f"--io {io} with --precision {precision}, whose activations are not in 8 bits",
            expected=f"--precision {able.replace(', ', ' or ')}",
            hint="--io float32, which is the default",
        )
    unable = [name for name in targets if io not in TARGETS[name].io]
    if unable:
        reasons = "; ".join(NO_BYTES[name] for name in unable if name in NO_BYTES)
        rest = [name for name in targets if name not in unable]
        rest = rest or [name for name, row in TARGETS.items() if io in row.io]
        raise CannotTake(
            f"{', '.join(unable)} cannot take --io {io}{f': {reasons}' if reasons else ''}",
            expected="; ".join(f"{name}: {', '.join(TARGETS[name].io)}" for name in unable),
            hint=f"--io float32, or --target {','.join(rest)}",
        )
