"""What an export starts from: a network and all that its bundle says of it, and what the user asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime_py.errors import SdkError
from runtime_py.manifest import Classify, DecodeVideo, Detect, Postprocessing, Preprocessing, Task, Tensor

LETTERBOX_GREY = 114
"""What the YOLO family is trained with around an image."""


class SourceError(SdkError):
    """MODEL names nothing that can be built."""

    id = "model-source"


@dataclass(frozen=True)
class Source:
    """A network in eval mode (or an ExportedProgram) with example inputs and all that the bundle says of it."""

    network: Any
    shapes: tuple[tuple[int, ...], ...]
    name: str
    kind: str
    task: Task = "raw"
    weights: str = ""
    licence: str = ""
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize_type: str = "crop"
    interpolation: str = "bilinear"
    crop_fraction: float = 1.0
    scale: tuple[int, int, int] = (1, 1, 1)
    causal: bool = True
    published: dict[str, float | str] | None = None

    def preprocessing(self, input_name: str) -> Preprocessing | None:
        """How a photo becomes this network's input; None where it does not take one RGB image."""
        shape = self.shapes[0]
        if len(self.shapes) != 1 or len(shape) != 4 or shape[:2] != (1, 3):
            return None
        return Preprocessing(
            input=input_name,
            width=shape[3],
            height=shape[2],
            resize_type=self.resize_type,  # type: ignore[arg-type]  # the registry's words are the manifest's
            interpolation=self.interpolation,  # type: ignore[arg-type]  # as above
            crop_fraction=self.crop_fraction,
            pad_value=LETTERBOX_GREY if self.resize_type == "letterbox" else 0,
            mean_values=tuple(round(value * 255, 9) for value in self.mean),
            scale_values=tuple(round(value * 255, 9) for value in self.std),
        )

    def postprocessing(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> Postprocessing | None:
        """What the network's first output means. Raises SourceError where labels and output do not fit together."""
        first = outputs[0]
        if self.task == "raw":
            return None
        if self.task == "decode_video":
            return DecodeVideo(input=inputs[0].name, output=first.name, scale=self.scale, causal=self.causal)
        classes = first.shape[1] - 4 if self.task == "detect" else first.shape[-1]
        if len(self.labels) != classes:
            raise SourceError(f"{len(self.labels)} labels for {classes} classes", hint="--labels FILE")
        return Detect(output=first.name) if self.task == "detect" else Classify(output=first.name)


@dataclass(frozen=True)
class Fetching:
    """Told of bytes (done, in all; 0 while unknown) while weights are fetched, and of their licence on first use."""

    progress: Callable[[int, int], None] | None = None
    notice: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Wishes:
    """What the user asked of the network, beside its name."""

    weights: str | None = None
    input_size: int | None = None
    inputs: tuple[tuple[int, ...], ...] = ()
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
