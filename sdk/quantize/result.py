"""What the quantising process leaves: the canonical program, and the samples that every artifact is judged on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from runtime_py.manifest import Manifest, Quantization
from sdk.programs import save_program
from sdk.quantize.job import PROGRAM, SAMPLES
from sdk.quantize.pipeline import Made

Arrays = dict[str, npt.NDArray[Any]]


def write_result(made: Made, folder: Path, manifest: Manifest, example: Sequence[torch.Tensor]) -> Quantization:
    """Write quantized.pt2 and samples.npz into `folder`; the record with the program's hash."""
    save_program(torch.export.export(made.network, tuple(example)), folder / PROGRAM)
    arrays: Arrays = {}
    for index, sample in enumerate(made.samples):
        for spec, tensor in zip(manifest.inputs, sample, strict=True):
            arrays[f"in.{index}.{spec.name}"] = tensor.numpy()
        for side, answers in (("float", made.expected), ("quantised", made.found)):
            for spec, tensor in zip(manifest.outputs, answers[index], strict=True):
                arrays[f"{side}.{index}.{spec.name}"] = tensor.detach().numpy()
    with (folder / SAMPLES).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return msgspec.structs.replace(made.record, program_sha256=hash_of(made.network))


def hash_of(network: torch.fx.GraphModule) -> str:
    """SHA-256 of a graph: its code, and the bytes of its tensors by name. The same program has the same, whenever it
    is saved."""
    digest = hashlib.sha256(network.code.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
