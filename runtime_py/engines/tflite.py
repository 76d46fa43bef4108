"""LiteRT, or its predecessor tflite-runtime where a device has only that."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from runtime_py.engines import Engine, failed
from runtime_py.manifest import Artifact, Manifest


class LiteRT:
    """An interpreter with XNNPACK, LiteRT's default."""

    def __init__(self, path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> None:
        package = "ai_edge_litert" if find_spec("ai_edge_litert") else "tflite_runtime"
        interpreter = import_module(f"{package}.interpreter").Interpreter
        try:
            self._interpreter = interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except Exception as error:  # the runtime raises ValueError, RuntimeError and more
            raise failed("LiteRT", path, error) from error
        self._path = path
        details = (self._interpreter.get_input_details(), self._interpreter.get_output_details())
        inputs = _indices(artifact.inputs, details[0], self._tensors("inputs"))
        outputs = _indices(artifact.outputs, details[1], self._tensors("outputs"))
        self._inputs = {spec.name: index for spec, index in zip(manifest.inputs, inputs, strict=True)}
        self._outputs = {spec.name: index for spec, index in zip(manifest.outputs, outputs, strict=True)}

    def _tensors(self, side: str) -> dict[str, int]:
        """Tensor indices by the signature's names; the order of a file's tensors is not the program's."""
        signatures = self._interpreter.get_signature_list()
        if not signatures:
            return {}
        runner = self._interpreter.get_signature_runner(next(iter(signatures)))
        details = runner.get_input_details() if side == "inputs" else runner.get_output_details()
        return {name: int(detail["index"]) for name, detail in details.items()}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        answers = {}
        try:
            for name, array in inputs.items():
                self._interpreter.set_tensor(self._inputs[name], array)
            self._interpreter.invoke()
            for name, index in self._outputs.items():
                answers[name] = self._interpreter.get_tensor(index)
        except (ValueError, RuntimeError) as error:
            raise failed("LiteRT", self._path, error) from error
        return answers

    def close(self) -> None:
        """Free the interpreter."""
        del self._interpreter


def _indices(names: tuple[str, ...], details: list[dict[str, Any]], signature: dict[str, int]) -> list[int]:
    if names and set(names) <= set(signature):
        return [signature[name] for name in names]
    return [int(detail["index"]) for detail in details]


def load(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Engine:
    """Load a .tflite file."""
    return LiteRT(path, artifact, manifest, threads)
