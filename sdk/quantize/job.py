"""What the parent asks of the quantising process, and the lines that it answers. Light, so that the parent may import
it."""

import msgspec

from runtime_py.manifest import Manifest, Quantization, Trial

PROGRAM, SAMPLES = "quantized.pt2", "samples.npz"
"""What the process leaves in its folder: the canonical program, and what every artifact is judged on."""
NO_CHOICE = "no-mixed-choice"
"""The error's id where `mixed` may put nothing more into float."""


class QuantizeJob(msgspec.Struct, frozen=True, kw_only=True):
    """Quantise the program at `program` for `precision`; write quantized.pt2 and samples.npz into `folder`.

    `data` is what to calibrate on and `eval_data` what `mixed` may lose no more than `max_drop` (a share of 1) on.
    `tried` are its earlier trials, after which it goes on: their files lost too much.
    """

    program: str
    manifest: Manifest
    precision: str
    folder: str
    data: str
    images: str = ""
    size: int = 300
    eval_data: str = ""
    eval_images: str = ""
    max_drop: float = 0.01
    max_size: int | None = None
    max_float_macs: float | None = None
    tried: tuple[Trial, ...] = ()
    threads: int = 1
    cache: str = ""


class Message(msgspec.Struct, frozen=True, tag=True):
    """One line."""


class Saying(Message, frozen=True):
    """What happens now."""

    text: str


class Counting(Message, frozen=True):
    """How far the present step is."""

    done: int
    total: int


class Quantised(Message, frozen=True):
    """The last line: what was made."""

    record: Quantization


class Refused(Message, frozen=True):
    """The last line where nothing was, with the fields of SdkError."""

    error: dict[str, str]


Line = Saying | Counting | Quantised | Refused
