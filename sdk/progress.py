"""What a long call may show while it works."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdk.pool import Chain


@dataclass(frozen=True)
class Progress:
    """What a caller may show: what happens now, each target's stage, seconds and memory, and downloads."""

    say: Callable[[str], None] = lambda _: None
    watch: "Callable[[list[Chain]], None]" = lambda _: None
    fetch: Callable[[int, int], None] = lambda *_: None
    """Bytes done and in all (0 while unknown) of weights on their way."""
    count: Callable[[int, int], None] = lambda *_: None
    """How far the step is that was said last, of steps that count samples or layers."""
    score: Callable[[str, int, int], None] = lambda *_: None
    """Of evaluating: a target, the samples that it has answered, and how many there are."""
