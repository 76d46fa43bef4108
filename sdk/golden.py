"""Makes golden.npz: inputs that every artifact must answer as PyTorch does, and PyTorch's answers."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime_py.golden import KINDS, MOST_SAMPLES, Golden, load_golden
from runtime_py.integers import real_outputs, whole
from runtime_py.manifest import Manifest, Preprocessing, Tensor
from runtime_py.preprocess import normalised, pixels_of

if TYPE_CHECKING:
    from PIL import Image

    from sdk.capture import Captured

Array = npt.NDArray[np.generic]
PHOTO = Path(__file__).parent / "photos" / "chelsea.png"
SEED = 20260101
SAMPLES = 4
"""Of those that a quantised program was not calibrated on, how many a bundle carries at least."""
NUMBERS = 64
"""In the samples' answers: of fewer, two programs' SQNR differ by some dB by chance alone."""


def make_golden(captured: "Captured", preprocessing: Preprocessing | None, photo: "Image.Image") -> Golden:
    """Photo (of image networks), random values, zeros, both ends of the range: answered by PyTorch."""
    import torch

    inputs: dict[str, dict[str, Array]] = {}
    rng = np.random.default_rng(SEED)
    if preprocessing is not None:
        inputs["photo"] = {preprocessing.input: _from_pixels(np.asarray(photo), preprocessing)}
        size = (preprocessing.height, preprocessing.width, 3)
        noise = rng.integers(0, 256, size, dtype=np.uint8)
        ends = rng.choice(np.array([0, 255], np.uint8), size)
        inputs["random"] = {preprocessing.input: _from_pixels(noise, preprocessing)}
        inputs["saturated"] = {preprocessing.input: _from_pixels(ends, preprocessing)}
    else:
        examples = [example.numpy() for example in captured.examples]
        pairs = list(zip(captured.inputs, examples, strict=True))
        inputs["random"] = {spec.name: _random(spec, example, rng) for spec, example in pairs}
        inputs["saturated"] = {spec.name: _ends(spec, example, rng) for spec, example in pairs}
    inputs["zeros"] = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in captured.inputs}
    inputs = {kind: inputs[kind] for kind in KINDS if kind in inputs}
    outputs = {}
    for kind, arrays in inputs.items():
        answer = captured.answer(tuple(torch.from_numpy(arrays[spec.name]) for spec in captured.inputs))
        outputs[kind] = {
            spec.name: tensor.detach().numpy() for spec, tensor in zip(captured.outputs, answer, strict=True)
        }
    return Golden(inputs, outputs, np.asarray(photo) if preprocessing is not None else None)


def quantised_golden(golden: Golden, samples: Path, program: Path, manifest: Manifest) -> Golden:
    """The photo, and the first samples that nothing was calibrated on, with the quantised program's answers too.

    Noise and flat images are left out: ranges are made for what the network will see.
    """
    inputs, outputs = (
        {kind: side[kind] for kind in ("photo",) if kind in side} for side in (golden.inputs, golden.outputs)
    )
    quantised = _answers(program, inputs, manifest)
    with np.load(samples, allow_pickle=False) as file:
        for index in range(how_many(manifest, sum(key.startswith("in.") for key in file.files))):
            kind = f"sample{index}"
            inputs[kind] = {spec.name: file[f"in.{index}.{spec.name}"] for spec in manifest.inputs}
            outputs[kind] = {spec.name: file[f"float.{index}.{spec.name}"] for spec in manifest.outputs}
            quantised[kind] = {spec.name: file[f"quantised.{index}.{spec.name}"] for spec in manifest.outputs}
    return Golden(inputs, outputs, golden.photo if "photo" in inputs else None, quantised)


def how_many(manifest: Manifest, arrays: int) -> int:
    """Samples, of those whose `arrays` inputs there are: so many that their answers tell a good file from a bad one."""
    numbers = sum(math.prod(spec.shape) for spec in manifest.outputs)
    wanted = max(SAMPLES, min(MOST_SAMPLES, math.ceil(NUMBERS / numbers)))
    return min(wanted, arrays // len(manifest.inputs))


def taken_golden(golden: Golden, program: Path, captured: Path, manifest: Manifest) -> Golden:
    """The same for a `program` that takes integers, as `manifest` says, and for the `captured` float one.

    Where arrays, not photos, were calibrated on, they may not be pixels: then they are what the nearest pixels stand
    for, and PyTorch answers those.
    """
    inputs: dict[str, dict[str, Array]] = {}
    meant: dict[str, dict[str, Array]] = {}
    for kind, named in golden.inputs.items():
        pairs = {spec.name: _taken(named[spec.name], spec, manifest.preprocessing) for spec in manifest.inputs}
        inputs[kind] = {name: own for name, (own, _) in pairs.items()}
        meant[kind] = {name: real for name, (_, real) in pairs.items()}
    found = _answers(program, inputs, manifest)
    return replace(
        golden,
        inputs=inputs,
        outputs=golden.outputs if _same(meant, golden.inputs) else _answers(captured, meant, manifest),
        quantised={kind: real_outputs(named, manifest.outputs) for kind, named in found.items()},
        real=meant,
    )


def _taken(array: Array, spec: Tensor, before: Preprocessing | None) -> tuple[Array, Array]:
    """An input as the artifacts take it, and what the float network must be given for the same."""
    if before is None or not before.folded or before.input != spec.name:
        return whole(array, spec), array
    pixels = pixels_of(array, before)
    return pixels, normalised(pixels, before)


def _same(ones: dict[str, dict[str, Array]], others: dict[str, dict[str, Array]]) -> bool:
    return all(
        np.array_equal(array, others[kind][name]) for kind, named in ones.items() for name, array in named.items()
    )


def with_quantised(golden: Golden, program: Path, manifest: Manifest) -> Golden:
    """The same inputs, with the answers of a program whose weights alone are quantised: it has no ranges to leave."""
    return replace(golden, quantised=_answers(program, golden.inputs, manifest))


def _answers(program: Path, inputs: dict[str, dict[str, Array]], manifest: Manifest) -> dict[str, dict[str, Array]]:
    """A saved program's outputs by kind of input."""
    import torch

    from sdk.programs import load_program

    network = load_program(program).module(check_guards=False)
    found = {}
    for kind, arrays in inputs.items():
        with torch.no_grad():
            answer = network(*(torch.from_numpy(arrays[spec.name]) for spec in manifest.inputs))
        leaves = torch.utils._pytree.tree_leaves(answer)
        found[kind] = {spec.name: leaf.numpy() for spec, leaf in zip(manifest.outputs, leaves, strict=True)}
    return found


def save_golden(golden: Golden, path: Path) -> None:
    """Write golden.npz: `in.KIND.NAME`, `out.KIND.NAME`, `photo`, and `quantised` and `real` as `out` and `in`."""
    arrays = {f"in.{kind}.{name}": a for kind, named in golden.inputs.items() for name, a in named.items()}
    arrays |= {f"out.{kind}.{name}": a for kind, named in golden.outputs.items() for name, a in named.items()}
    for kind, named in (golden.quantised or {}).items():
        arrays |= {f"quantised.{kind}.{name}": a for name, a in named.items()}
    for kind, named in (golden.real or {}).items():
        arrays |= {f"real.{kind}.{name}": a for name, a in named.items()}
    if golden.photo is not None:
        arrays["photo"] = golden.photo
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def first_input(path: Path, manifest: Manifest) -> Array:
    """The first of a network's inputs of the first kind in golden.npz."""
    golden = load_golden(path, manifest)
    return next(iter(golden.inputs.values()))[manifest.inputs[0].name]


def _from_pixels(pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> Array:
    from runtime_py.preprocess import to_input

    return to_input(pixels, preprocessing)


def _random(spec: Tensor, example: Array, rng: np.random.Generator) -> Array:
    if np.issubdtype(example.dtype, np.floating):
        return rng.standard_normal(spec.shape).astype(spec.dtype)
    return rng.integers(int(example.min()), int(example.max()) + 1, spec.shape).astype(spec.dtype)


def _ends(spec: Tensor, example: Array, rng: np.random.Generator) -> Array:
    """Four standard deviations, both ways; an integer input keeps to its example's range."""
    if np.issubdtype(example.dtype, np.floating):
        return (4.0 * rng.choice([-1.0, 1.0], spec.shape)).astype(spec.dtype)
    return rng.choice([int(example.min()), int(example.max())], spec.shape).astype(spec.dtype)
