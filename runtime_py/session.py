"""A bundle, loaded: photos in, typed answers out."""

import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numpy import ndarray

from runtime_py.archive import unpacked
from runtime_py.bundle import Bundle, check_files, open_bundle
from runtime_py.choice import Choice, NoRuntime, absent, ranked, why_not
from runtime_py.cores import default_threads
from runtime_py.crashes import watched
from runtime_py.detection import Detections, detections
from runtime_py.engines import Engine, EngineFailed, failed, get_engine, load_engine
from runtime_py.errors import MissingExtra, SdkError
from runtime_py.integers import real_outputs, whole
from runtime_py.manifest import Artifact, Classify, DecodeVideo, Detect, Manifest, Tensor
from runtime_py.memory import keep_freed
from runtime_py.preprocess import Fit, ImageSource, decode_image, placed
from runtime_py.results import Classification, classification
from runtime_py.signing import Keys, remember
from runtime_py.video import Frames, Video, decode_tiles

Array = npt.NDArray[Any]


class FellBack(UserWarning):
    """The best artifact for this device cannot run here, and another one does."""


class BadInput(SdkError):
    """Arrays that are not what the network takes."""

    id = "bad-input"


class WrongTask(SdkError):
    """A question that this bundle's network does not answer."""

    id = "wrong-task"


class Session:
    """A network that is ready to answer. Use as a context manager, or `close()` it.

    `spec` is the manifest (`spec.inputs[0].name`) of the bundle at `path`, `target` what runs, and `why` the reason in
    one sentence. Threads may share a session: they prepare images side by side, and take turns with the network.
    """

    def __init__(self, bundle: Bundle, artifact: Artifact, engine: Engine, why: str) -> None:
        self.path = bundle.path
        self.spec: Manifest = bundle.manifest
        self.artifact = artifact
        self.target = artifact.target
        self.why = why
        self._engine: Engine | None = engine
        self._turn = threading.Lock()
        self._taken = tuple((spec.name, _layout(np.empty(spec.shape, spec.dtype))) for spec in self.spec.inputs)

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
        # each call finds the caches emptied by the network before: no more is looked up here than is needed
        if len(inputs) != len(self._taken):
            raise self._other_names(inputs)
        for name, layout in self._taken:
            array = inputs.get(name)
            if type(array) is not ndarray or (array.dtype, array.shape, array.strides) != layout:
                inputs = {**inputs, name: self._contiguous(name, inputs)}
        with self._turn:
            if self._engine is None:
                raise SdkError("the session is closed", hint="runtime_py.load the bundle again")
            return self._engine.run(inputs)

    def warm_up(self) -> None:
        """Answer zeros once: the first answer takes several times longer, as runtimes allocate and choose kernels."""
        self.run({spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.spec.inputs})

    def close(self) -> None:
        """Free the runtime, after the answer that is being made; the session cannot be used any more."""
        with self._turn:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

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

    def _contiguous(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """The array for an input as engines take it; raises BadInput where it is missing or does not fit."""
        if name not in inputs:
            raise self._other_names(inputs)
        spec, array = self._input(name), inputs[name]
        if not isinstance(array, ndarray) or array.dtype != spec.dtype or array.shape != spec.shape:
            raise self._unfit(name, array)
        return np.ascontiguousarray(array)

    def _other_names(self, inputs: Mapping[str, Array]) -> BadInput:
        return BadInput(f"inputs {sorted(inputs)}", expected=f"exactly {[spec.name for spec in self.spec.inputs]}")

    def _unfit(self, name: str, array: Any) -> BadInput:
        spec = self._input(name)
        found = f"{array.dtype} {array.shape}" if isinstance(array, ndarray) else type(array).__name__
        return BadInput(
            f"input {name!r} is {found}",
            expected=f"{spec.dtype} {spec.shape}{f' ({spec.layout})' if spec.layout else ''}",
            hint=f"numpy.asarray(values, {spec.dtype!r}).reshape({spec.shape})",
        )


def _layout(array: Array) -> tuple[Any, ...]:
    """What `run` compares, which spares itself this call."""
    return array.dtype, array.shape, array.strides


def load(
    path: str | os.PathLike[str],
    target: str | None = None,
    threads: int | None = None,
    *,
    key: Keys | None = None,
    strict: bool = False,
    older: bool = False,
    warm_up: bool = True,
) -> Session:
    """Open a bundle, check the artifact's hash before any runtime parses it, load it, and `warm_up` by one answer.

    A NAME.bundle.zip is unpacked into this machine's cache first. `key`, a public key or the path of a file of them,
    must have signed the bundle; releases older than one that this device has seen are refused, but for `older`.

    Without `target` the best artifact for this device is taken: what was measured fastest on it, or else the first by
    the rule for its kind; `session.why` says which and why. One whose runtime is missing or fails is passed over with a
    warning, `FellBack`; with `strict`, or with a `target`, that is an error. `threads` is by default the number of big
    cores. Raises NotABundle, CorruptBundle, NewerBundle, UnknownName, MissingExtra, EngineFailed or NoRuntime, and with
    a key BadKey, Unsigned, UnknownKey, BadSignature or RolledBack.
    """
    if threads is not None and threads < 1:
        raise BadInput(f"{threads} threads", expected="1 or more")
    folder = unpacked(path, key, older=older) if os.fspath(path).endswith(".zip") else path
    bundle = open_bundle(folder, key, older=older)
    choices, passed = ranked(bundle.manifest, target), list[tuple[Choice, SdkError]]()
    for choice in choices:
        try:
            session = _started(bundle, choice, threads, [one.target for one in choices if one is not choice], warm_up)
        except (EngineFailed, NoRuntime, MissingExtra) as error:
            if strict or target is not None:
                raise
            passed.append((choice, error))
            continue
        if bundle.signed is not None and not older:
            remember(bundle.signed)
        return _explained(session, passed)
    raise NoRuntime(
        f"nothing here can run this bundle: {_reasons(passed)}",
        hint=next(filter(None, (e.hint for _, e in passed)), ""),
    )


def _started(bundle: Bundle, choice: Choice, threads: int | None, others: list[str], warm_up: bool) -> Session:
    if why_not(choice) is not None:
        raise absent(choice, others)
    artifact, count = choice.artifact, threads or choice.threads or default_threads()
    check_files(bundle, [artifact])
    with watched(bundle.path, artifact, count):
        session = Session(bundle, artifact, _engine(bundle, artifact, count), choice.why)
        keep_freed()  # not before: what the runtime frees while it loads may go back
        try:
            if warm_up and bundle.manifest.task != "decode_video":  # a tile takes seconds, and comes with its fellows
                session.warm_up()
        except BaseException:
            session.close()
            raise
    return session


def _engine(bundle: Bundle, artifact: Artifact, threads: int) -> Engine:
    path = bundle.file(artifact)
    try:
        return load_engine(artifact.target).load(path, artifact, bundle.manifest, threads)
    except (ImportError, OSError) as error:  # installed, but for another system, or without a library that it needs
        raise failed(get_engine(artifact.target).title, path, error) from error


def try_out(path: str, target: str, file: str, threads: str) -> None:
    """Load and run one artifact, in a process that may end by it (`runtime_py.crashes`)."""
    bundle = open_bundle(path)
    artifact = next(one for one in bundle.manifest.artifacts if (one.target, one.file) == (target, file))
    check_files(bundle, [artifact])
    Session(bundle, artifact, _engine(bundle, artifact, int(threads)), "").warm_up()


def _explained(session: Session, passed: list[tuple[Choice, SdkError]]) -> Session:
    """The session, which says what was passed over; a warning says it too, where that is no matter of course."""
    if passed:
        session.why += f"; passed over: {_reasons(passed)}"
    told = [(choice, error) for choice, error in passed if get_engine(choice.target).runs_here]
    if told:
        warnings.warn(FellBack(f"{session.target} runs in place of {_reasons(told)}"), stacklevel=3)
    return session


def _reasons(passed: list[tuple[Choice, SdkError]]) -> str:
    return "; ".join(f"{choice.target}: {error.given}" for choice, error in passed)
