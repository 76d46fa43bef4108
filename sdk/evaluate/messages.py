"""What the parent asks of an evaluating process, and the lines that it answers: one message a line of JSON."""

import msgspec


class EvalJob(msgspec.Struct, frozen=True, kw_only=True):
    """All samples for one artifact, by its place in the manifest; None is PyTorch's own row.

    That network is the one saved in `program`, or built again as `model` and `weights` say.
    """

    bundle: str
    artifact: int | None
    threads: int
    samples: str
    model: str = ""
    weights: str = ""
    program: str = ""


class Message(msgspec.Struct, frozen=True, tag=True):
    """One line."""


class Loaded(Message, frozen=True):
    """The first line: how the artifact runs here, or why it cannot (no other line but Done follows then)."""

    status: str
    reason: str = ""


class Unread(Message, frozen=True):
    """A sample that is damaged, or does not fit its description: no target is scored on it."""

    key: int
    why: str


class Classes(Message, frozen=True):
    """The best classes of an image, at most five, and their probabilities."""

    key: int
    best: tuple[int, ...]
    scores: tuple[float, ...]


class Boxes(Message, frozen=True):
    """The objects of an image, best first: indices of labels, scores, and x0, y0, x1, y1 in its own pixels."""

    key: int
    labels: tuple[int, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, float, float, float], ...]


class Frames(Message, frozen=True):
    """How near a decoded clip is to the true one."""

    key: int
    psnr_db: float
    ssim: float


class Done(Message, frozen=True):
    """The last line: seconds from the first sample to the last."""

    seconds: float


class Failed(Message, frozen=True):
    """The last line of a target that failed, with the fields of SdkError."""

    error: dict[str, str]


Answer = Classes | Boxes | Frames
Line = Loaded | Unread | Classes | Boxes | Frames | Done | Failed
