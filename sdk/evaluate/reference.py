"""PyTorch's own row: the network that was exported, built again and checked against the bundle's golden answers."""

from pathlib import Path
from typing import Any

import numpy as np

from models_zoo import MODELS
from runtime_py.bundle import Bundle, open_bundle
from runtime_py.errors import SdkError
from runtime_py.manifest import Artifact
from runtime_py.session import Session
from sdk.compare import compare
from sdk.golden import load_golden
from sdk.source import Wishes
from sdk.sources import find_source

SAME_DB = 90.0
"""Another build of torch, or another number of threads, may add in another order; another network is far below."""


class NoReference(SdkError):
    """The network that a bundle was exported from cannot be built again here."""

    id = "no-reference"


class _Torch:
    """A network with the interface of runtime_py's engines."""

    def __init__(self, network: Any, bundle: Bundle) -> None:
        self._network = network
        self._inputs = [spec.name for spec in bundle.manifest.inputs]
        self._outputs = [spec.name for spec in bundle.manifest.outputs]

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        import torch

        with torch.inference_mode():
            answer = self._network(*(torch.from_numpy(inputs[name]) for name in self._inputs))
        leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
        return dict(zip(self._outputs, (leaf.numpy() for leaf in leaves), strict=True))

    def close(self) -> None:
        """Free the network."""
        self._network = None


def torch_session(path: str, model: str, weights: str, threads: int) -> Session:
    """A session over torch. Raises NoReference where the network cannot be built, or answers as another does."""
    import torch

    torch.set_num_threads(threads)
    bundle = open_bundle(path)
    manifest = bundle.manifest
    if not model and manifest.source != "zoo":
        raise NoReference(f"the bundle was made of {manifest.source}", hint="--model SOURCE, as for sdk export")
    if not model and not weights and manifest.weights not in MODELS[manifest.model].weights:
        raise NoReference(f"the bundle was made with the weights {manifest.weights!r}", hint="--weights FILE")
    shapes = tuple(tensor.shape for tensor in manifest.inputs)
    square = manifest.task in ("classify", "detect") and not model
    wishes = Wishes(
        weights=weights or (None if model else manifest.weights),
        input_size=shapes[0][-1] if square else None,
        inputs=() if square else shapes,
    )
    engine = _Torch(find_source(model or manifest.model, wishes).network, bundle)
    _check(engine, bundle)
    artifact = Artifact(target="pytorch", precision="fp32", file="", bytes=0, sha256="", status="executed")
    return Session(bundle, artifact, engine, "pytorch: the network itself")


def _check(engine: _Torch, bundle: Bundle) -> None:
    golden = load_golden(Path(bundle.path, "golden.npz"), bundle.manifest)
    kind, inputs = next(iter(golden.inputs.items()))
    found = engine.run({name: np.ascontiguousarray(array) for name, array in inputs.items()})
    near = compare(kind, golden.outputs[kind], found).sqnr_db
    if near < SAME_DB:
        raise NoReference(
            f"the network built again answers otherwise than when the bundle was made ({near:.0f} dB)",
            expected="the same weights",
            hint="--weights FILE with the file of the export",
        )
