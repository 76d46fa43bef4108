"""OpenVINO on the CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime_py.engines import Engine, failed, own_names
from runtime_py.manifest import Artifact, Manifest


class OpenVino:
    """A compiled OpenVINO model and one inference request; with `profile` it times each operator."""

    def __init__(
        self, path: Path, artifact: Artifact, manifest: Manifest, threads: int | None, profile: bool = False
    ) -> None:
        import openvino

        # Arm CPUs and some servers would otherwise compute fp32 networks in a half precision of their own choice.
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if profile:
            settings["PERF_COUNT"] = "YES"
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            model = openvino.Core().compile_model(str(path / "model.xml"), "CPU", settings)
        except Exception as error:  # the runtime raises RuntimeError and more
            raise failed("OpenVINO", path, error) from error
        self.request, self._path = model.create_infer_request(), path
        given = [[_name(port, index) for index, port in enumerate(side)] for side in (model.inputs, model.outputs)]
        inputs = own_names(artifact.inputs, given[0], manifest.inputs)
        outputs = own_names(artifact.outputs, given[1], manifest.outputs)
        # views of the request's own tensors: handing it another array with each call takes longer than copying one does
        get_in, get_out = self.request.get_input_tensor, self.request.get_output_tensor
        self._inputs = {name: get_in(given[0].index(own)).data for name, own in inputs.items()}
        self._outputs = {name: get_out(given[1].index(own)).data for name, own in outputs.items()}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        for name, array in inputs.items():
            self._inputs[name][...] = array
        try:
            self.request.infer(share_outputs=True)
        except Exception as error:  # as above
            raise failed("OpenVINO", self._path, error) from error
        answers = {}
        for name, view in self._outputs.items():
            answers[name] = view.copy()
        return answers

    def close(self) -> None:
        """Free the request."""
        del self.request, self._inputs, self._outputs


def _name(port: Any, index: int) -> str:
    names = sorted(port.get_names())
    return names[0] if names else f"{index}"


def load(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
    """Load a folder with model.xml and model.bin."""
    return OpenVino(path, artifact, manifest, threads)
