"""A bundle, loaded: photos in, typed answers out."""

import os
import platform
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from runtime_py.bundle import Bundle, check_files, open_bundle
from runtime_py.detection import Detections, detections
from runtime_py.engines import ENGINES, Engine, available, load_engine
from runtime_py.errors import SdkError, missing_extra, unknown_name
from runtime_py.integers import real_outputs, whole
from runtime_py.manifest import Artifact, Classify, DecodeVideo, Detect, Manifest, Tensor
from runtime_py.preprocess import Fit, ImageSource, decode_image, placed
from runtime_py.results import Classification, classification
from runtime_py.video import Frames, Video, decode_tiles

Array = npt.NDArray[Any]
PREFERENCE = ("tflite", "onnx", "openvino", "executorch", "coreml", "mcu")


class NoRuntime(SdkError):
    """None of a bundle's artifacts can run on this machine."""

    id = "no-runtime"


class BadInput(SdkError):
    """Arrays that are not what the network takes."""

    id = "bad-input"


class WrongTask(SdkError):
    """A question that this bundle's network does not answer."""

    id = "wrong-task"


class Session:
    """A network that is ready to answer. Use as a context manager, or `close()` it.

    `spec` is the manifest (`spec.inputs[0].name`), `target` what runs, and `why` the reason in one sentence.
    """

    def __init__(self, bundle: Bundle, artifact: Artifact, engine: Engine, why: str) -> None:
        self.spec: Manifest = bundle.manifest
        self.artifact = artifact
        self.target = artifact.target
        self.why = why
        self._engine = engine

    def __call__(self, source: Any) -> Any:
        """Answer by the bundle's task: an image gives a Classification or Detections, a latent a Video.

        An image is a path, a Pillow image or an HWC uint8 array; a list of sources is answered one by one.
        `classify`, `detect` and `decode` do the same with types that a checker knows.
        """
        if isinstance(source, list):
            return [self(one) for one in source]
        if self.spec.task == "detect":
            return self.detect(source)
        return self.decode(source) if self.spec.task == "decode_video" else self.classify(source)

    def classify(self, image: ImageSource) -> Classification:
        """The classes of an image. Raises BadImage, or WrongTask for another kind of network."""
        before, after = self.spec.preprocessing, self.spec.postprocessing
        if not isinstance(after, Classify) or before is None:
            raise self._wrong_task("classify")
        outputs = self.run_real({before.input: self.prepare(image)[0]})
        return classification(outputs[after.output], self.spec.labels, after.softmax)

    def detect(self, image: ImageSource, confidence: float | None = None) -> Detections:
        """The objects of an image, in its own pixels; `confidence` in place of the bundle's threshold.

        Raises BadImage, or WrongTask for another kind of network.
        """
        before, after = self.spec.preprocessing, self.spec.postprocessing
        if not isinstance(after, Detect) or before is None:
            raise self._wrong_task("detect")
        if confidence is not None:
            if not 0 <= confidence <= 1:
                raise BadInput(f"a confidence of {confidence}", expected="0 to 1")
            after = msgspec.structs.replace(after, confidence_threshold=confidence)
        array, place = self.prepare(image)
        outputs = self.run_real({before.input: array})
        return detections(outputs[after.output], after, self.spec.labels, place)

    def decode(self, latent: Array, overlap: tuple[int, int] | None = None, fps: float = 24.0) -> Video:
        """The video of a latent (C, t, h, w) or (1, C, t, h, w), float32, of any length and size.

        `fps` is how fast it is meant to be shown, which a latent does not tell. See `decode_chunks`, which holds one
        chunk at a time.
        """
        return Video(np.concatenate(list(self.decode_chunks(latent, overlap))), fps)

    def decode_chunks(self, latent: Array, overlap: tuple[int, int] | None = None) -> Iterator[Frames]:
        """Frames (T, H, W, 3), uint8, of a latent of any length and size, chunk by chunk.

        The bundle's own shape is the tile; tiles overlap by `overlap` steps of the latent, in time and in space,
        and are blended there. Memory does not grow with the length. Raises BadInput, or WrongTask.
        """
        after = self.spec.postprocessing
        if not isinstance(after, DecodeVideo):
            raise self._wrong_task("decode_video")
        given, output = self._input(after.input), after.output
        return decode_tiles(
            lambda part: self.run_real({given.name: whole(part, given)})[output], latent, given.shape, after, overlap
        )

    def prepare(self, image: ImageSource) -> tuple[Array, Fit]:
        """An image as the network takes it, (1, 3, H, W) of the input's own type, and where it lies in there.

        Raises BadImage, or WrongTask for a network that takes no image.
        """
        before = self.spec.preprocessing
        if before is None:
            raise self._wrong_task("an image")
        return placed(decode_image(image), before, self._input(before.input))

    def run_real(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As `run`, with outputs in integers turned into the real numbers, float32, that they stand for."""
        return real_outputs(self.run(inputs), self.spec.outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The network itself: arrays by input name in, arrays by output name out. Raises BadInput.

        Of a network that takes or gives integers these are the integers; the manifest's tensors say what they stand
        for (`spec.inputs[0].quantization`).
        """
        if self._engine is None:
            raise SdkError("the session is closed", hint="runtime_py.load the bundle again")
        return self._engine.run(self._checked(inputs))

    def close(self) -> None:
        """Free the runtime; the session cannot be used any more."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None  # type: ignore[assignment]  # so that a later run says so

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wrong_task(self, wanted: str) -> WrongTask:
        return WrongTask(
            f"the bundle of {self.spec.model} is for the task {self.spec.task!r}",
            expected=wanted,
            hint="session.run({name: array}) gives the outputs as they are"
            if self.spec.task == "raw"
            else "session(source) answers by the bundle's own task",
        )

    def _input(self, name: str) -> Tensor:
        return next(tensor for tensor in self.spec.inputs if tensor.name == name)

    def _checked(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [spec.name for spec in self.spec.inputs]
        if set(inputs) != set(names):
            raise BadInput(f"inputs {sorted(inputs)}", expected=f"exactly {names}")
        ready = {}
        for spec in self.spec.inputs:
            array = inputs[spec.name]
            if not isinstance(array, np.ndarray) or array.shape != spec.shape or array.dtype != spec.dtype:
                found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise BadInput(
                    f"input {spec.name!r} is {found}",
                    expected=f"{spec.dtype} {spec.shape}{f' ({spec.layout})' if spec.layout else ''}",
                    hint=f"numpy.asarray(values, {spec.dtype!r}).reshape({spec.shape})",
                )
            ready[spec.name] = np.ascontiguousarray(array)
        return ready


def load(path: str | os.PathLike[str], target: str | None = None, threads: int | None = None) -> Session:
    """Open a bundle, check the artifact's hash before any runtime parses it, and load it.

    Without `target` the first artifact that this machine can run is taken; `session.why` says which and why.
    Raises NotABundle, CorruptBundle, NewerBundle, UnknownName, MissingExtra or NoRuntime.
    """
    if threads is not None and threads < 1:
        raise BadInput(f"{threads} threads", expected="1 or more")
    bundle = open_bundle(path)
    artifact, why = _choose(bundle.manifest, target)
    check_files(bundle, [artifact])
    engine = load_engine(artifact.target).load(bundle.file(artifact), artifact, bundle.manifest, threads)
    return Session(bundle, artifact, engine, why)


def _choose(manifest: Manifest, target: str | None) -> tuple[Artifact, str]:
    """The artifact to run and why: the best proven one of `target`, or of the first target that runs here."""
    usable = [artifact for artifact in manifest.artifacts if artifact.status != "failed"]
    by_target = {artifact.target: artifact for artifact in sorted(usable, key=_trust)}
    if target is not None:
        return _asked_for(by_target, target), f"{target}: asked for"
    order = sorted(PREFERENCE, key=lambda name: platform.system() == "Darwin" and name != "coreml")
    present = sorted((name for name in order if name in by_target), key=lambda name: not _proven(by_target[name]))
    reasons = {name: available(name) for name in present}
    for name in present:
        if reasons[name] is None:
            passed = "; ".join(f"{other}: {reason}" for other, reason in reasons.items() if reason is not None)
            why = f"{name}: the first of {', '.join(present)} in this bundle that runs here"
            return by_target[name], why + (f" ({passed})" if passed else "")
    said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise NoRuntime(
        f"nothing here can run this bundle: {said or 'it holds no artifact that works'}",
        hint=f"pip install 'edge-sdk[{ENGINES[present[0]].extra}]'" if present else "export the bundle again",
    )


def _asked_for(by_target: Mapping[str, Artifact], target: str) -> Artifact:
    if target not in by_target:
        raise unknown_name("target of this bundle", target, sorted(by_target))
    reason, row = available(target), ENGINES[target]
    if reason is None:
        return by_target[target]
    if row.runs_here and not row.programs:
        raise missing_extra(row.package, row.extra, f"running the target {target}")
    raise NoRuntime(reason, hint=f"one of {', '.join(name for name in by_target if name != target)}")


def _trust(artifact: Artifact) -> tuple[bool, float]:
    """Sorts what is proven, and what is nearer to PyTorch, to the end."""
    return _proven(artifact), artifact.sqnr_db or 0.0


def _proven(artifact: Artifact) -> bool:
    return artifact.status in ("executed", "interpreted")
