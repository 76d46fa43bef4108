"""Core ML's saved program over torch, with the interface of runtime_py's engines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.mil.interpreter import Interpreter, missing_operators, operator_counts
from exporters.mil.package import read_program
from runtime_py.engines import available
from runtime_py.errors import SdkError
from runtime_py.manifest import Artifact, Manifest
from runtime_py.session import Session


class Uninterpretable(SdkError):
    """A program with operators that the interpreter lacks; the package itself may be in order."""

    id = "mil-operators-missing"


class Interpreted:
    """A .mlpackage, read back from disk; `operators` is how many its program has. Raises Uninterpretable."""

    def __init__(self, path: Path, artifact: Artifact, manifest: Manifest) -> None:
        program = read_program(path)
        missing = missing_operators(program)
        if missing:
            raise Uninterpretable(f"the MIL interpreter lacks {', '.join(missing)}", hint="`sdk verify` on a Mac")
        self.operators = sum(operator_counts(program).values())
        self._interpreter = Interpreter(program)
        self._inputs = dict(zip(artifact.inputs, (spec.name for spec in manifest.inputs), strict=True))
        self._outputs = dict(zip((spec.name for spec in manifest.outputs), artifact.outputs, strict=True))

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by the manifest's names."""
        found = self._interpreter.run({own: inputs[name] for own, name in self._inputs.items()})
        return {name: found[own] for name, own in self._outputs.items()}

    def close(self) -> None:
        """Free the program."""
        del self._interpreter


def load_anywhere(bundle: str | os.PathLike[str], target: str | None = None, threads: int | None = None) -> Session:
    """`runtime_py.load`, and for `target` coreml, where there is no Core ML, a session over the interpreter."""
    from runtime_py.bundle import check_files, open_bundle
    from runtime_py.session import load

    if target != "coreml" or available("coreml") is None:
        return load(bundle, target, threads)
    opened = open_bundle(bundle)
    artifact = next((row for row in opened.manifest.artifacts if row.target == target), None)
    if artifact is None:
        return load(bundle, target, threads)  # says what the bundle holds
    check_files(opened, [artifact])
    engine = Interpreted(opened.file(artifact), artifact, opened.manifest)
    return Session(
        opened, artifact, engine, "coreml: asked for; its program runs over torch, as there is no Core ML here"
    )
