"""Ranges, weights and biases of a quantised network, learned together: it is taught to answer as the float one.

Nothing is labelled: the float network is the teacher, on the calibration's samples and their mirror images, for every
value that is rounded and for the answer (block reconstruction's aim, Li et al., 2021, arXiv:2102.05426, for all blocks
at once, since what one rounds the next can take back). Rounding is learned with the weights (AdaRound's aim, Nagel et
al., 2020, arXiv:2004.10568) and so are ranges, where most of the gain is: which outliers an answer can do without no
error of a single value tells.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule

from runtime_py.manifest import Manifest
from sdk.quantize.errors import noises
from sdk.quantize.regions import layers_of
from sdk.quantize.student import Batched, Reader, Student, same_alone

BATCH = 8
RATE = 0.005
"""Of weights and biases, in steps of their integers."""
RANGE_RATE = 0.05
"""Of ranges, whose bounds are learned as factors."""
DECAY = 0.99
"""Of Adam's second moment: there are some hundred steps, and its usual thousand would not end."""
AFFORDED = 1.5e12
"""Multiply-accumulates of the float network that a round may take: some minutes to a quarter of an hour on two
cores."""
LEAST = 160
"""Answers below which nothing is learned."""
HELD_BYTES = 2**31
"""What a batch may hold for its gradients; of larger networks a step takes several."""
KEPT_TIMES = 6
"""How often a value is held: of both networks, before and behind rounding, and for gradients."""


@dataclass(frozen=True)
class Lesson:
    """What a network is tuned on: `read` gives the samples of some numbers below `count`; photos may be mirrored."""

    read: Reader
    count: int
    manifest: Manifest

    @property
    def mirrored(self) -> bool:
        """Whether the samples are photos."""
        return self.manifest.preprocessing is not None


def affordable(network: GraphModule, answers: int) -> int:
    """How many of so many answers a round may take of a float network; 0 where that is too few to learn from."""
    macs = sum(layer.macs for layer in layers_of(network.graph))
    count = min(answers, int(AFFORDED / max(macs, 1)))
    return count if count >= min(LEAST, answers) else 0


def tune(student: Student, exact: GraphModule, lesson: Lesson, answers: int, tick: Callable[[int, int], None]) -> bool:
    """Teach `student` on so many samples, in steps of BATCH; whether it has learned numbers.

    `exact` is the float network with the same nodes' names. Nothing is written into the student's network.
    """
    teacher = Batched(exact, student.sources())
    generator = torch.Generator().manual_seed(0)
    order: list[int] = []
    size = _at_once(student, teacher, lesson)
    steps = max(answers // BATCH, 1)
    groups = student.groups(RATE, RANGE_RATE)
    optimiser = torch.optim.Adam(groups, betas=(0.9, DECAY))
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [group["lr"] for group in groups], total_steps=steps + 1, pct_start=0.1
    )
    for step in range(steps):
        if len(order) < BATCH:
            order += torch.randperm(lesson.count, generator=generator).tolist()
        places, order = order[:BATCH], order[BATCH:]
        optimiser.zero_grad()
        for at in range(0, BATCH, size):
            inputs = _inputs(lesson, sorted(places[at : at + size]), generator)  # an .npz is read forwards
            distance = _distance(student, teacher, inputs, lesson.manifest) * size / BATCH
            if not bool(torch.isfinite(distance)):
                return False
            distance.backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()
        rates.step()
        tick(step + 1, steps)
    return student.is_finite()


def _distance(student: Student, teacher: Batched, inputs: tuple[Tensor, ...], manifest: Manifest) -> Tensor:
    """The noise of all rounded values, on average, and that of the answer, in units of their signals."""
    with torch.no_grad():
        expected = teacher.answers(*inputs)
    found = student.answers(*inputs)
    names = teacher.values.keys() & student.values.keys()
    inner = [_noise(teacher.values[name], student.values[name]) for name in sorted(names)]
    return torch.stack(inner).mean() + torch.stack(noises(expected[0], found[0], manifest)).sum()


def _noise(expected: Tensor, found: Tensor) -> Tensor:
    return (found - expected).square().sum() / expected.square().sum().clamp(min=1e-9)


def _inputs(lesson: Lesson, places: list[int], generator: torch.Generator) -> tuple[Tensor, ...]:
    samples = lesson.read(places)
    if lesson.mirrored:
        sides = torch.rand(len(samples), generator=generator) < 0.5
        samples = [
            tuple(part.flip(-1) for part in sample) if side else sample
            for sample, side in zip(samples, sides.tolist(), strict=True)
        ]
    return tuple(torch.cat(parts) for parts in zip(*samples, strict=True))


def _at_once(student: Student, teacher: Batched, lesson: Lesson) -> int:
    """How many samples a batch may have: one, where the network does not answer each as it would alone."""
    two = lesson.read([0, lesson.count - 1])
    if not same_alone(teacher, two):
        return 1
    with torch.no_grad():
        teacher.answers(*two[0])
    held = KEPT_TIMES * sum(value.numel() * value.element_size() for value in teacher.values.values())
    fitting = max(HELD_BYTES // max(held, 1), 1)
    return min(BATCH, 1 << int(math.log2(fitting)))
