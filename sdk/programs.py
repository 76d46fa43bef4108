"""Captured programs as files."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sdk.staging import replace_file

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def save_program(program: "ExportedProgram", path: Path) -> None:
    """Write a .pt2, through memory: torch ends the whole process where its own file writer meets a full disk."""
    import torch

    content = io.BytesIO()
    torch.export.save(program, content)
    replace_file(path, content.getvalue())


def load_program(path: Path) -> "ExportedProgram":
    """A .pt2 that `save_program` wrote; a quantised one needs operators that only this import registers."""
    import torch
    import torch.ao.quantization.fx._decomposed

    return torch.export.load(path)
