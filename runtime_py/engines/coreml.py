"""Core ML, on Apple systems."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime_py.engines import Engine, failed, own_names
from runtime_py.manifest import Artifact, Manifest


class CoreML:
    """A compiled Core ML model on all compute units. Core ML chooses its own threads."""

    def __init__(self, path: Path, artifact: Artifact, manifest: Manifest) -> None:
        import coremltools

        try:
            self._model = coremltools.models.MLModel(str(path))
        except Exception as error:  # the framework's errors arrive as RuntimeError and more
            raise failed("Core ML", path, error) from error
        description = self._model.get_spec().description
        self._inputs = own_names(artifact.inputs, [row.name for row in description.input], manifest.inputs)
        self._outputs = own_names(artifact.outputs, [row.name for row in description.output], manifest.outputs)
        self._path = path

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        try:
            found = self._model.predict({self._inputs[name]: array for name, array in inputs.items()})
        except Exception as error:  # as above
            raise failed("Core ML", self._path, error) from error
        return {name: found[own] for name, own in self._outputs.items()}

    def close(self) -> None:
        """Free the model."""
        del self._model


def load(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
    """Load an .mlpackage."""
    return CoreML(path, artifact, manifest)
