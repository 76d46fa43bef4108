"""PyTorch's own row: the network that was exported, built again and checked against the bundle's golden answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_zoo import MODELS
from runtime_py.bundle import Bundle
from runtime_py.errors import SdkError
from runtime_py.golden import load_golden
from runtime_py.manifest import Artifact, Manifest
from runtime_py.proof import compare
from runtime_py.session import Session
from sdk.evaluate.results import PYTORCH
from sdk.programs import load_program
from sdk.quantize.edges import in_float
from sdk.source import Wishes
from sdk.sources import find_source

SAME_DB = 80.0
"""Other threads or another build of torch add in another order and stay far above; another network is far below."""


class NoReference(SdkError):
    """Nothing says how to build the network that a bundle was exported from."""

    id = "no-reference"


class AnotherNetwork(SdkError):
    """The network that was built does not answer as the exported one did."""

    id = "another-network"


class BadProgram(SdkError):
    """A saved program that cannot be read."""

    id = "bad-program"


class TorchEngine:
    """A network in float32 with the interface of runtime_py's engines."""

    def __init__(self, network: Any, manifest: Manifest) -> None:
        self._network = network
        self._inputs = [spec.name for spec in manifest.inputs]
        self._outputs = [spec.name for spec in manifest.outputs]

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names. Raises AnotherNetwork where there are more or fewer."""
        import torch

        with torch.inference_mode():
            answer = self._network(*(torch.from_numpy(inputs[name]) for name in self._inputs))
        tensors = [leaf for leaf in torch.utils._pytree.tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
        if len(tensors) != len(self._outputs):
            raise AnotherNetwork(
                f"the network has {len(tensors)} outputs", expected=f"the bundle's {', '.join(self._outputs)}"
            )
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, tensors, strict=True)}

    def close(self) -> None:
        """Free the network."""
        self._network = None


def torch_session(bundle: Bundle, model: str, weights: str) -> Session:
    """A session over torch, in this process's threads.

    `model` and `weights` are as for `sdk export`; without them the manifest tells what the zoo has. Raises
    NoReference where that is not enough, and AnotherNetwork where the network does not give the golden answers.
    """
    import torch

    manifest = bundle.manifest
    network = find_source(model or _zoo_name(manifest), _wishes(manifest, model, weights)).network
    if isinstance(network, torch.export.ExportedProgram):
        network = network.module()
    return _session(bundle, network)


def program_session(bundle: Bundle, path: Path) -> Session:
    """A session over a program of `save_program`, float or quantised. Raises BadProgram, and AnotherNetwork where it
    does not give the golden answers."""
    try:
        program = load_program(path)
    except Exception as error:  # a file, a zip, a schema: each with errors of its own
        raise BadProgram(
            f"{path} could not be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected="a .pt2 file saved by this version of torch",
        ) from error
    return _session(bundle, program.module())


def _session(bundle: Bundle, network: Any) -> Session:
    engine = TorchEngine(network, bundle.manifest)
    _check(engine, bundle)
    artifact = Artifact(target=PYTORCH, precision="fp32", file="", bytes=0, sha256="", status="executed")
    floats = Bundle(bundle.path, in_float(bundle.manifest))
    return Session(floats, artifact, engine, "pytorch: the network itself")


def _zoo_name(manifest: Manifest) -> str:
    if manifest.source != "zoo":
        raise NoReference(
            f"the bundle was exported from {manifest.source or 'an unknown source'}, which it does not hold",
            hint="--model SOURCE, and --weights FILE, as for `sdk export`",
        )
    if manifest.model not in MODELS:
        raise NoReference(f"the zoo has no {manifest.model!r} any more", hint="--model SOURCE, as for `sdk export`")
    return manifest.model


def _wishes(manifest: Manifest, model: str, weights: str) -> Wishes:
    shapes = tuple(spec.shape for spec in manifest.inputs)
    spec = MODELS.get((model or manifest.model).partition(".")[0])
    if spec is None:
        return Wishes(weights=weights or None, inputs=shapes)
    known = manifest.weights in spec.weights or manifest.weights.startswith("hf:")
    if not (known or weights or model):
        made = "random weights" if manifest.weights == "random" else f"the weights file {manifest.weights!r}"
        raise NoReference(
            f"the bundle was exported with {made}, which it does not hold", hint="--weights FILE of the export"
        )
    wanted = weights or (manifest.weights if known else None)
    if spec.task == "decode_video":
        return Wishes(weights=wanted, inputs=shapes)
    return Wishes(weights=wanted, input_size=shapes[0][-1])


def _check(engine: TorchEngine, bundle: Bundle) -> None:
    file = bundle.path / "golden.npz"
    if not file.exists():  # a bundle in the making; what a manifest lists is there, or check_files has raised
        return
    golden = load_golden(file, bundle.manifest)
    for kind, inputs in (golden.real or golden.inputs).items():
        found = compare(kind, golden.outputs[kind], engine.run(dict(inputs)))
        if found.sqnr_db < SAME_DB:
            raise AnotherNetwork(
                f"the network that was built is not the exported one: on the golden input {kind!r} its answer is "
                f"{found.sqnr_db:.1f} dB from the one that the bundle holds",
                expected=f"{SAME_DB:.0f} dB or more",
                hint="--weights FILE of the export, --model SOURCE where it is not of the zoo, or --no-pytorch",
            )
