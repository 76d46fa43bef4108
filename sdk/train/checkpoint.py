"""Checkpoints: a plain dict of tensors and numbers, written beside and renamed, read with weights_only."""

import pickle
from pathlib import Path
from typing import Any

import torch

from runtime_py.errors import SdkError


class CheckpointError(SdkError):
    """A checkpoint that cannot be read, or that belongs to another run."""

    id = "bad-checkpoint"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Atomic: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def load_checkpoint(path: Path, run: str) -> dict[str, Any]:
    """The state saved by the run that `run` identifies. Raises `CheckpointError`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}", hint="start over with --fresh"
        ) from error
    if not isinstance(state, dict) or state.get("run") != run:
        raise CheckpointError(
            f"{path} belongs to a run with another recipe, data or number of epochs",
            expected="the checkpoint of this very run",
            hint="another --out folder, or start over with --fresh",
        )
    return state
