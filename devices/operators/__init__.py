"""How long each operator of an artifact takes in its own runtime, and which of the network's it is.

One file a runtime: `timed(bundle, artifact, threads, inputs)` gives its operators in the order in which they run. Those
that have a profile of their own are asked for it; LiteRT's file is cut into its operators, and a microcontroller's C is
compiled with a clock. `matching` finds each one's place in the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from runtime_py.bundle import Bundle
from runtime_py.errors import SdkError
from runtime_py.manifest import Artifact

TIMERS: dict[str, str] = {
    "tflite": "devices.operators.tflite",
    "executorch": "devices.operators.executorch",
    "openvino": "devices.operators.openvino",
    "onnx": "devices.operators.onnx",
    "mcu": "devices.operators.mcu",
}
CUT_OFF_MS = 5e-4
"""What a clock that rounds down to whole microseconds leaves out on average: to be added."""


class NotTimed(SdkError):
    """A runtime that does not say, here, what its operators take."""

    id = "operators-not-timed"


@dataclass(frozen=True)
class Timed:
    """One operator by the runtime's own name and kind.

    `weights` and `output` are elements of its weight and of its output, None where the runtime does not say;
    `integers` is whether it multiplies them.
    """

    name: str
    kind: str
    ms: float
    weights: int | None = None
    output: int | None = None
    integers: bool = False


class Timer(Protocol):
    """What a file of this folder holds."""

    def timed(self, bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
        """The operators in the order in which they run; raises NotTimed or EngineFailed."""


def timer(target: str) -> Timer:
    """What times the operators of `target`. Raises NotTimed."""
    if target not in TIMERS:
        raise NotTimed(f"{target} has no profile of its operators here", expected=", ".join(TIMERS))
    found: Timer = import_module(TIMERS[target])
    return found
