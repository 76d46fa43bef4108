"""ONNX Runtime on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime_py.engines import Engine, failed, own_names
from runtime_py.manifest import Artifact, Manifest


class Onnx:
    """An ONNX Runtime session; with `profile` it times each operator, into a file whose name begins so."""

    def __init__(
        self, path: Path, artifact: Artifact, manifest: Manifest, threads: int | None, profile: str = ""
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        if threads:
            options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own types derive from nothing narrower
            raise failed("ONNX Runtime", path, error) from error
        given = [[node.name for node in side] for side in (self.session.get_inputs(), self.session.get_outputs())]
        self._inputs = own_names(artifact.inputs, given[0], manifest.inputs)
        outputs = own_names(artifact.outputs, given[1], manifest.outputs)
        self._outputs, self._own_outputs = list(enumerate(outputs)), list(outputs.values())
        self._path = path

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        given, answers = {}, {}
        for name, array in inputs.items():
            given[self._inputs[name]] = array
        try:
            found = self.session.run(self._own_outputs, given)
        except Exception as error:  # as above
            raise failed("ONNX Runtime", self._path, error) from error
        for index, name in self._outputs:
            answers[name] = found[index]
        return answers

    def close(self) -> None:
        """Free the session."""
        del self.session


def load(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
    """Load an .onnx file."""
    return Onnx(path, artifact, manifest, threads)
