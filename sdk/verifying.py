"""`sdk.verify`: prove a bundle again, from the bundle alone."""

import os
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from runtime_py.bundle import Bundle, check_files, open_bundle
from runtime_py.errors import SdkError
from runtime_py.golden import load_golden
from runtime_py.manifest import Artifact
from runtime_py.proof import gate
from runtime_py.signing import Keys
from sdk.jobs import Answer, Job
from sdk.pool import Chain, run_chains
from sdk.progress import Progress
from sdk.results import TargetResult, VerifyResult


class PreprocessingDiffers(SdkError):
    """The bundle's photo no longer becomes the bundle's input."""

    id = "preprocessing-differs"


def verify(
    bundle: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    key: Keys | None = None,
) -> VerifyResult:
    """Check every byte, then run every artifact that this machine can run on the golden inputs.

    Raises NotABundle or CorruptBundle before any runtime parses a byte; an artifact that answers differently
    is `failed` in the result, and one whose runtime is not here is `converted`, with the reason. With `key` the bundle
    must be signed by it, of whatever release.
    """
    progress = progress or Progress()
    progress.say(f"checking every byte of {bundle}")
    opened = open_bundle(bundle, key, older=True)  # a device remembers releases; a workstation looks at any
    check_files(opened, complete=True)
    _check_preprocessing(opened)
    with tempfile.TemporaryDirectory() as work:
        chains = [_chain(opened, artifact) for artifact in opened.manifest.artifacts]
        run_chains(chains, Path(work), jobs or max(1, (os.cpu_count() or 1)), progress.watch)
    pairs = zip(chains, opened.manifest.artifacts, strict=True)
    rows = tuple(_row(chain, artifact) for chain, artifact in pairs)
    return VerifyResult(opened.path, rows, opened.signed)


def _chain(bundle: Bundle, artifact: Artifact) -> Chain:
    unproven = msgspec.structs.replace(artifact, proofs=(), status="converted", reason="", sqnr_db=None)

    def next_job(answer: Answer | None) -> Job | None:
        if answer is not None:
            return None
        return Job(
            target=artifact.target,
            precision=artifact.precision,
            folder=str(bundle.path),
            manifest=bundle.manifest,
            file=artifact.file,
            artifact=unproven,
            golden=str(bundle.path / "golden.npz"),
        )

    return Chain(artifact.target, next_job)


def _check_preprocessing(bundle: Bundle) -> None:
    """The photo in golden.npz must become the golden input to the last bit."""
    golden, preprocessing = (
        load_golden(bundle.path / "golden.npz", bundle.manifest),
        bundle.manifest.preprocessing,
    )
    if preprocessing is None or golden.photo is None:
        return
    from runtime_py.preprocess import to_input

    tensor = next(tensor for tensor in bundle.manifest.inputs if tensor.name == preprocessing.input)
    if not np.array_equal(to_input(golden.photo, preprocessing, tensor), golden.inputs["photo"][tensor.name]):
        raise PreprocessingDiffers(
            "this machine's preprocessing gives another input than the bundle's golden photo",
            expected="the same bits",
            hint="compare the Pillow version here with the one in the manifest's tool_versions",
        )


def _row(chain: Chain, recorded: Artifact) -> TargetResult:
    artifact, error = chain.answer.artifact or recorded, chain.answer.error
    if artifact.proofs and not error:
        try:
            gate(chain.target, artifact.precision, artifact.proofs)
        except SdkError as failed:
            error = failed.to_dict()
    status = "failed" if error else artifact.status
    return TargetResult(chain.target, status, round(chain.seconds, 2), round(chain.peak_mb, 1), artifact, error)
