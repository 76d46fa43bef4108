"""From a captured program and calibration data to the one quantised program that every target is lowered from."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule

from exporters.base import quiet
from runtime_py.manifest import LayerError, Manifest, Quantization, Trial
from sdk.quantize.calibration import Calibration
from sdk.quantize.choice import FLOAT_BYTES, NoChoice, keep_in_float
from sdk.quantize.errors import Error, answer_error
from sdk.quantize.network import OtherOperators, network_of, put_back
from sdk.quantize.recipes import (
    LEARNED,
    REMEDIES,
    TUNED,
    NothingToQuantise,
    Prepared,
    Recipe,
    Sample,
    prepared,
    quantised,
)
from sdk.quantize.regions import layers_of
from sdk.quantize.sensitivity import Sensitivity, sensitivity
from sdk.quantize.student import Student, take_over
from sdk.quantize.tuning import Lesson, affordable, tune
from sdk.quantize.wide import check_joins, widen

HELD = 16
"""Samples that nothing is calibrated on: remedies are judged on them."""
TRIED = 64
"""Samples that remedies are tried with; those that are kept are calibrated on all."""
LESSON, LONG_LESSON = 800, 1600
"""Answers that a network is tuned on; the long one where they are worse than HARD_DB before."""
ENOUGH_DB, HARD_DB = 25.0, 12.0
"""From the first on nothing is tuned: a classifier's or a detector's metric no longer feels such noise."""
SENSED = 6
"""Of the held samples, the ones that sensitivity is measured on."""
STEPS = (0.5, 0.25, 0.125, 0.06)
"""What `mixed` brings the noise to, one after the other, until the answer is good enough. Where its limits forbid one,
the least noise that they allow is the last."""
Score = Callable[[Any], float]
"""The task's metric of a network in this process, a share of 1 (dB of a video decoder)."""


@dataclass(frozen=True)
class Progress:
    """What a caller may show."""

    say: Callable[[str], None] = lambda _: None
    tick: Callable[[int, int], None] = lambda *_: None


@dataclass(frozen=True)
class Limits:
    """What `mixed` must reach, and what it may cost. `max_drop` is a share of 1 of the task's metric, or dB."""

    max_drop: float = 0.01
    float_macs: float | None = None
    float_bytes: int | None = None


@dataclass(frozen=True)
class Made:
    """The quantised graph, how it was made, and the samples that it was judged on with both networks' answers."""

    network: GraphModule
    record: Quantization
    samples: list[Sample]
    expected: list[list[Tensor]]
    found: list[list[Tensor]]


@dataclass
class _Attempt:
    recipe: Recipe
    network: GraphModule
    error: Error
    seconds: float
    floats: frozenset[str] = frozenset()
    tuned: bool = False

    @property
    def name(self) -> str:
        """The recipe, and whether it was tuned."""
        return f"{self.recipe}, tuned" if self.tuned else str(self.recipe)


def quantise(
    program: ExportedProgram,
    calibration: Calibration,
    manifest: Manifest,
    progress: Progress | None = None,
    *,
    wide: bool = False,
) -> Made:
    """Try every remedy, keep those that bring the answers nearer to the float network's on held-out samples.

    `wide`: activations in 16 bits, whose ranges need no search; what is left is the weights' rounding. Raises
    BadActivations, NothingToQuantise, and NoWideJoin.
    """
    work = _Quantising(program, calibration, manifest, None, progress or Progress())
    return work.made(work.wide() if wide else work.best(), [], "w8a16" if wide else "w8a8")


def mix(
    program: ExportedProgram,
    calibration: Calibration,
    manifest: Manifest,
    whole: tuple[GraphModule, Quantization],
    limits: Limits,
    tried: Sequence[Trial] = (),
    known: Sensitivity | None = None,
    score: Score | None = None,
    progress: Progress | None = None,
) -> tuple[Made, Sensitivity]:
    """Of what `quantise` made (`whole`) put operators back to float until `score` (the task's metric; agreement where
    there is none) drops by no more than its limit.

    With the trials of an earlier call (`tried`) and its sensitivity it goes on after them. Raises NoChoice where they
    were all.
    """
    work = _Quantising(program, calibration, manifest, score, progress or Progress())
    start = work.again(*whole)
    found = known or work.sensitivity(start)
    best = work.mix(start, found, limits, tried)
    return work.made(best, [_marked(row, best.floats) for row in found.rows], "mixed"), found


class _Quantising:
    def __init__(
        self,
        program: ExportedProgram,
        calibration: Calibration,
        manifest: Manifest,
        score: Score | None,
        progress: Progress,
    ) -> None:
        self.program, self.manifest, self.score, self.progress = program, manifest, score, progress
        self.calibration = calibration
        self.fit, held = calibration.split(min(HELD, len(calibration) // 4))
        self.names = [spec.name for spec in manifest.inputs]
        self.held = [self._sample(arrays) for arrays in held]
        self.exact = network_of(program)
        self.expected = self._answers(self.exact)
        self.trials: list[Trial] = []
        self.recipes: list[Trial] = []
        self.ready: dict[bool, Prepared] = {}
        self.macs = {layer.name: layer.macs for layer in layers_of(self.exact.graph)}
        if not self.macs:
            raise NothingToQuantise(
                f"{manifest.model} has no layer that computes in integers",
                expected="two-dimensional convolutions, or linear layers",
                hint="--precision fp16, or w8 for weights alone",
            )

    def again(self, network: GraphModule, record: Quantization) -> _Attempt:
        """What was made before, with the names that its nodes had before it was saved."""
        self.recipes = list(record.trials)
        tuned, recipe = record.ranges.endswith(", tuned"), Recipe.named(record.ranges)
        named = self._attempt(replace(recipe, corrected=False, rounded=False), count=1).network
        try:
            put_back(network, named)
        except OtherOperators:
            self.progress.say("saving changed the program's operators: quantising once more")
            self.recipes = []
            return self.best()
        return _Attempt(recipe, named, self._error(named), 0.0, tuned=tuned)

    def best(self) -> _Attempt:
        """Every remedy that brings the answers nearer, on all samples in the end."""
        few = min(TRIED, len(self.fit))
        learned = affordable(self.exact, LESSON) > 0
        best = self._attempt(Recipe(), count=few)
        self._note(best)
        for remedy, title in REMEDIES.items():
            recipe = replace(best.recipe, **{remedy: True})
            if learned and remedy in LEARNED:
                continue
            if recipe.equalised and not self._ready(recipe).equalised:
                self.progress.say(f"{title}: nothing to do")
                continue
            best = self._better(best, self._attempt(recipe, count=few), title)
        if not learned:
            best = self._attempt(best.recipe) if few < len(self.fit) else best
        if learned and best.error.quality_db < ENOUGH_DB:
            answers = LESSON if best.error.quality_db > HARD_DB else LONG_LESSON
            best = self._better(best, self._tuned(best, answers), TUNED)
        self.recipes = [msgspec.structs.replace(row, chosen=row.name == best.name) for row in self.recipes]
        return best

    def wide(self) -> _Attempt:
        """The extremes that were seen, in 16 bits, and the remedies for weights that bring the answers nearer."""
        check_joins(self.exact.graph)
        best = self._widened(Recipe())
        self._note(best)
        for remedy in LEARNED:
            best = self._better(best, self._widened(replace(best.recipe, **{remedy: True})), REMEDIES[remedy])
        self.recipes = [msgspec.structs.replace(row, chosen=row.name == best.name) for row in self.recipes]
        return best

    def _widened(self, recipe: Recipe) -> _Attempt:
        made = self._attempt(recipe)
        widen(made.network)
        return replace(made, error=self._error(made.network))

    def _better(self, best: _Attempt, made: _Attempt, title: str) -> _Attempt:
        gain = made.error.quality_db - best.error.quality_db
        self.progress.say(f"{title}: {gain:+.1f} dB, {'kept' if gain > 0 else 'left out'}")
        self._note(made)
        return made if gain > 0 else best

    def _note(self, attempt: _Attempt) -> None:
        self.recipes.append(
            Trial(
                name=attempt.name,
                metric="sqnr_db",
                score=round(attempt.error.quality_db, 2),
                seconds=round(attempt.seconds, 1),
            )
        )

    def _ready(self, recipe: Recipe) -> Prepared:
        """The float network for a recipe; made once."""
        if recipe.equalised not in self.ready:
            self.progress.say("looking at the network's values")
            self.ready[recipe.equalised] = prepared(self.program, self._samples, equalised=recipe.equalised)
        return self.ready[recipe.equalised]

    def _attempt(self, recipe: Recipe, floats: frozenset[str] = frozenset(), count: int | None = None) -> _Attempt:
        started, ticks, count = time.monotonic(), 0, count or len(self.fit)
        ready = self._ready(recipe)
        self.progress.say(f"quantising: {recipe}{self._kept(floats)}")

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            self.progress.tick(min(ticks, count), count)

        with quiet():
            network = quantised(ready, recipe, self._samples, count, floats, tick)
        return _Attempt(recipe, network, self._error(network), time.monotonic() - started, floats)

    def _tuned(self, start: _Attempt, answers: int) -> _Attempt:
        """Taught to answer as the float network; the start where nothing came of it."""
        started, ready, network = time.monotonic(), self._ready(start.recipe), copy.deepcopy(start.network)
        answers = affordable(self.exact, answers)
        self.progress.say(f"tuning on {answers:,} answers of the float network")
        student = Student(network, ready.weights())
        lesson = Lesson(self._read, len(self.fit), self.manifest)
        if tune(student, ready.network, lesson, answers, self.progress.tick):
            student.write()
        seconds = time.monotonic() - started
        return replace(start, network=network, error=self._error(network), seconds=seconds, tuned=True)

    def _error(self, network: GraphModule) -> Error:
        found = self._answers(network)
        return answer_error([answer[0] for answer in self.expected], [answer[0] for answer in found], self.manifest)

    def sensitivity(self, start: _Attempt) -> Sensitivity:
        """Of each of its roundings."""
        self.progress.say("measuring what each rounding does to the answer")
        ready = self._ready(start.recipe)
        student = Student(copy.deepcopy(start.network), ready.weights())
        return sensitivity(student, ready.network, self.held[:SENSED], self.manifest, self.progress.tick)

    def mix(self, start: _Attempt, found: Sensitivity, limits: Limits, tried: Sequence[Trial]) -> _Attempt:
        """The next attempt that is good enough, or the best of the rest. All in integers, `start`, comes first."""
        self.trials = list(tried)
        best, least, chosen = start, math.inf, 0
        if not tried:
            self._measure("fp32", None)
            least, chosen = self._measure(start.name, start), 1
        choices = choices_of(found, limits)[max(len(tried) - 2, 0) :]
        if tried and not choices:
            raise NoChoice(
                f"{len(tried) - 1} programs were tried, up to the most that the limits allow",
                expected="layers that are not in float yet",
                hint="a larger --max-mac-share or --max-size, or a larger --max-drop",
            )
        for floats in choices:
            if least <= limits.max_drop:
                break
            made = self._in_part(start, floats)
            drop = self._measure(self._kept(floats).removeprefix(", "), made)
            if drop < least:
                best, least, chosen = made, drop, len(self.trials) - 1
        self.trials = [msgspec.structs.replace(row, chosen=index == chosen) for index, row in enumerate(self.trials)]
        return best

    def _in_part(self, start: _Attempt, floats: frozenset[str]) -> _Attempt:
        """What `start` is, with some operators in float."""
        made = self._attempt(start.recipe, floats, count=min(TRIED, len(self.fit)))
        if start.tuned:
            student = Student(copy.deepcopy(start.network), self._ready(start.recipe).weights())
            take_over(made.network, student)
            made = self._tuned(made, LESSON)
        return made

    def _kept(self, floats: frozenset[str]) -> str:
        layers = len(floats & self.macs.keys())
        return f", {layers} layers in float" if floats else ""

    def _measure(self, name: str, attempt: _Attempt | None) -> float:
        """How far the metric of an attempt (None: the float network) drops, kept as a trial."""
        network = self.exact if attempt is None else attempt.network
        started = time.monotonic()
        if self.score is not None:
            self.progress.say(f"scoring: {name}")
            value = self.score(network)
        else:
            value = 1.0 if attempt is None else 1.0 - attempt.error.content
        drop = round(self.trials[0].score - value, 6) if self.trials else 0.0
        if self.trials:
            self.progress.say(f"{name}: drop {100 * drop:.2f} points")
        seconds = time.monotonic() - started + (attempt.seconds if attempt else 0.0)
        self.trials.append(
            Trial(
                name=name,
                metric=self._metric(),
                score=round(value, 6),
                drop=drop,
                bytes=self._bytes(attempt),
                int8_macs=0.0 if attempt is None else self._int8_macs(attempt.floats),
                seconds=round(seconds, 1),
            )
        )
        return drop

    def _metric(self) -> str:
        from sdk.evaluate.results import MAIN

        return MAIN[self.manifest.task] if self.score is not None else "agreement"

    def _bytes(self, attempt: _Attempt | None) -> int:
        """What the parameters take, without any file's own."""
        whole = 4 * int(sum(tensor.numel() for tensor in self.program.state_dict.values()))
        if attempt is None:
            return whole
        layers = layers_of(self.exact.graph)
        return whole - FLOAT_BYTES * sum(layer.weights for layer in layers if layer.name not in attempt.floats)

    def _int8_macs(self, floats: frozenset[str]) -> float:
        total = sum(self.macs.values())
        return sum(macs for name, macs in self.macs.items() if name not in floats) / total

    def made(self, best: _Attempt, layers: list[LayerError], scheme: str) -> Made:
        """With its record, but for the program's hash."""
        record = Quantization(
            scheme=scheme,
            program_sha256="",
            calibration=self.calibration.record,
            ranges=best.name,
            sqnr_db=round(best.error.quality_db, 2),
            agreement=1.0 - best.error.content if self.manifest.task in ("classify", "detect") else None,
            trials=(*self.recipes, *self.trials),
            layers=tuple(layers),
            int8_macs=self._int8_macs(best.floats),
        )
        return Made(best.network, record, self.held, self.expected, self._answers(best.network))

    def _sample(self, arrays: dict[str, Any]) -> Sample:
        return tuple(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in self.names)

    def _samples(self, count: int) -> Iterator[Sample]:
        """`count` of those to calibrate on, evenly spread: data are sorted, often by class."""
        return (self._sample(arrays) for arrays in self.fit.part(count))

    def _read(self, places: list[int]) -> list[Sample]:
        """Those of these numbers."""
        return [self._sample(arrays) for arrays in self.fit.at(places)]

    def _answers(self, network: GraphModule) -> list[list[Tensor]]:
        with torch.no_grad():
            return [torch.utils._pytree.tree_leaves(network(*sample)) for sample in self.held]


def _marked(row: LayerError, floats: frozenset[str]) -> LayerError:
    kept = row.name in floats
    why = f"alone it leaves {row.quality_db:.1f} dB and changes {100 * row.content:.2f} % of the answers"
    return msgspec.structs.replace(row, kept=kept, why=why if kept else "")


def choices_of(found: Sensitivity, limits: Limits) -> list[frozenset[str]]:
    """What stays in float, one step after the other; as long as the limits allow, and then as much as they do."""
    total = sum(rounding.noise for rounding in found.roundings)
    bounds = {"float_macs": limits.float_macs, "float_bytes": limits.float_bytes}
    choices: list[frozenset[str]] = []
    for share in (*STEPS, None):
        try:
            budget = None if share is None else share * total
            floats = keep_in_float(found.roundings, found.operators, budget, **bounds)  # type: ignore[arg-type]
        except NoChoice:
            continue
        if (
            floats
            and floats not in choices
            and (share is not None or any(bound is not None for bound in bounds.values()))
        ):
            choices.append(floats)
    return choices
