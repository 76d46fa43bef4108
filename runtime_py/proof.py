"""How near an artifact's answers are to PyTorch's, and when that is not near enough."""

import math
from collections.abc import Callable, Iterable, Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from runtime_py.errors import SdkError
from runtime_py.golden import Golden
from runtime_py.integers import real_outputs
from runtime_py.manifest import Manifest, Proof, Top

Array = npt.NDArray[np.generic]
GATE_DB = {"fp32": 60.0, "fp16": 40.0, "w8": 20.0, "w4": 10.0, "w8a8": 10.0, "w8a16": 20.0, "mixed": 10.0}
"""By precision, the SQNR below which a file has failed. Of integers it says only that nothing broke: what they cost is
told in the task's metric, where there is data to measure it on."""
LOWERING_DB = 6.0
"""What a target may lose beyond the quantised program that it was lowered from: one bit, as its kernels round, add up
and, on some CPUs, store weights otherwise. Measured: 0.1 to 0.5 dB, and 3 dB with 7-bit weights."""
CEILING_DB = 200.0
"""Identical answers have no noise; float32 cannot tell anything beyond this apart."""


class ProofFailed(SdkError):
    """An artifact runs and answers differently from PyTorch."""

    id = "proof-failed"


def prove(run: Callable[[dict[str, Array]], dict[str, Array]], golden: Golden, manifest: Manifest) -> tuple[Proof, ...]:
    """A Proof of each golden input, answered by `run`, which gives outputs by name as the artifact does.

    Raises ProofFailed for outputs of another shape, or not finite; whether they are near enough is for `gate` to say.
    """
    proofs: tuple[Proof, ...] = ()
    for kind, inputs in golden.inputs.items():
        found = real_outputs(run(dict(inputs)), manifest.outputs)
        proof = compare(kind, golden.outputs[kind], found)
        if golden.quantised is not None:
            program = golden.quantised[kind]
            proof = msgspec.structs.replace(
                proof,
                fidelity_db=compare(kind, program, found).sqnr_db,
                quantised_db=compare(kind, golden.outputs[kind], program).sqnr_db,
            )
        if manifest.task == "classify":
            proof = msgspec.structs.replace(proof, top5=top5_of(found[manifest.outputs[0].name]))
        proofs += (proof,)
    return proofs


def compare(kind: str, expected: Mapping[str, Array], found: Mapping[str, Array]) -> Proof:
    """The Proof of one golden input. SQNR and cosine are the worst output's, so that no output hides another."""
    pairs = [(expected[name], found[name]) for name in expected]
    for name, (a, b) in zip(expected, pairs, strict=True):
        if a.shape != b.shape or not np.isfinite(b.astype(np.float64)).all():
            problem = f"shape {b.shape}" if a.shape != b.shape else "values that are not finite"
            raise ProofFailed(f"on the golden input {kind!r} output {name!r} has {problem}", expected=f"{a.shape}")
    flat = [(a.astype(np.float64).ravel(), b.astype(np.float64).ravel()) for a, b in pairs]
    return Proof(
        input=kind,
        sqnr_db=min(sqnr_db(a, b) for a, b in flat),
        cosine=min(cosine(a, b) for a, b in flat),
        max_error=max(float(np.abs(a - b).max(initial=0.0)) for a, b in flat),
        top1=min(top1(a, b) for a, b in pairs),
    )


def sqnr_db(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float:
    """10 log10 of signal energy over error energy, at most 200; 0 where there is an error and no signal."""
    signal, noise = float(expected @ expected), float(((expected - found) ** 2).sum())
    if noise == 0.0:
        return CEILING_DB
    return min(10.0 * math.log10(signal / noise), CEILING_DB) if signal > 0.0 else 0.0


def cosine(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float64]) -> float:
    """Cosine of the angle between two vectors; 1 where both are zero."""
    norms = float(np.linalg.norm(expected) * np.linalg.norm(found))
    return float(expected @ found) / norms if norms else float(np.array_equal(expected, found))


def top1(expected: Array, found: Array) -> float:
    """Share of rows (along the last axis) whose largest element agrees."""
    if expected.ndim == 0 or expected.shape[-1] < 2:
        return 1.0
    return float((expected.argmax(-1) == found.argmax(-1)).mean())


def top5_of(logits: Array) -> tuple[Top, ...]:
    """The five most probable classes of logits (1, classes), best first."""
    values = logits.astype(np.float64).ravel()
    scores = np.exp(values - values.max())
    scores /= scores.sum()
    best = np.argsort(-scores, kind="stable")[:5]
    return tuple(Top(index=int(index), score=float(scores[index])) for index in best)


def gate(target: str, precision: str, proofs: tuple[Proof, ...]) -> None:
    """Raise ProofFailed where an artifact is below its precision's limit on any golden input."""
    worst = min(proofs, key=lambda proof: proof.sqnr_db)
    limit = GATE_DB.get(precision)
    if limit is None:
        raise ProofFailed(f"{target} has the unknown precision {precision!r}", expected=f"one of {', '.join(GATE_DB)}")
    if worst.sqnr_db < limit:
        raise ProofFailed(
            f"{target} answers differently from PyTorch: SQNR {worst.sqnr_db:.1f} dB on the golden input "
            f"{worst.input!r}, largest error {worst.max_error:.3g}",
            expected=f"{limit:.0f} dB or more for {precision}",
            hint=_WAYS_OUT.get(precision, "report it with the bundle"),
        )
    judged = [(proof.sqnr_db, proof.quantised_db) for proof in proofs if proof.quantised_db is not None]
    if judged:
        own, programs = (pooled_db(values) for values in zip(*judged, strict=True))
        if own < programs - LOWERING_DB:
            raise ProofFailed(
                f"{target} loses {programs - own:.1f} dB against the quantised program that it was lowered from, over "
                f"{len(judged)} samples",
                expected=f"{LOWERING_DB:.0f} dB at most",
                hint="report it with the bundle",
            )


def pooled_db(values: Iterable[float]) -> float:
    """Of several samples' SQNR: that of their mean noise. One sample of two numbers may be right by luck."""
    noises = [10.0 ** (-value / 10.0) for value in values]
    return -10.0 * math.log10(sum(noises) / len(noises))


_WAYS_OUT = {
    "fp16": "export with --precision fp32 and compare",
    "w8": "export with --precision fp16 and compare",
    "w4": "--precision w8: 4 bits are too few for this network's weights",
    "w8a8": "--precision mixed keeps layers in float where they need it; or calibrate on data like the device's",
    "w8a16": "--precision fp16: 8 bits are too few for this network's weights",
    "mixed": "a smaller --max-drop keeps more layers in float; or calibrate on data like the device's",
}
