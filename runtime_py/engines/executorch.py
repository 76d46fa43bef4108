"""ExecuTorch with XNNPACK, through its Python bindings, which need torch for their tensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime_py.engines import Engine, EngineFailed, failed
from runtime_py.manifest import Artifact, Manifest


class ExecuTorch:
    """A loaded program; inputs and outputs go by the manifest's order. With `profile` it notes each operator's time."""

    def __init__(self, path: Path, manifest: Manifest, threads: int | None, profile: bool = False) -> None:
        import torch

        # portable_lib, which wraps this one, takes seconds longer: it imports the whole exporter.
        from executorch.extension.pybindings import _C as bindings

        self._from_numpy = torch.from_numpy
        if threads and threads != bindings._threadpool_get_thread_count():  # it says so at length
            bindings._unsafe_reset_threadpool(threads)
        try:
            self.module = bindings._load_for_executorch(str(path), enable_etdump=profile)
            facts = self.module.method_meta("forward")
        except Exception as error:  # the bindings raise RuntimeError with a status code
            raise failed("ExecuTorch", path, error) from error
        given, gives = facts.num_inputs(), facts.num_outputs()
        if (given, gives) != (len(manifest.inputs), len(manifest.outputs)):
            raise EngineFailed(
                f"{path.name} takes {given} and gives {gives}",
                expected=f"{len(manifest.inputs)} and {len(manifest.outputs)}, as in the manifest",
                hint="export the bundle again",
            )
        self._path = path
        self._inputs = [spec.name for spec in manifest.inputs]
        self._outputs = [(index, spec.name) for index, spec in enumerate(manifest.outputs)]

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        given, answers = [], {}
        for name in self._inputs:
            given.append(self._from_numpy(inputs[name]))
        try:
            found = self.module.forward(given)
        except Exception as error:  # as above
            raise failed("ExecuTorch", self._path, error) from error
        for index, name in self._outputs:
            answers[name] = found[index].numpy()  # of a clone already
        return answers

    def close(self) -> None:
        """Free the program."""
        del self.module


def load(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
    """Load a .pte file."""
    return ExecuTorch(path, manifest, threads)
