"""A runtime by its own calls, with nothing of this project: the loop that a profile's figures are compared with.

python tests/benchmarks/profiling_bare.py JOB

JOB is JSON: `target`, `path` of the artifact, `array`, an .npy file of the input, `threads`, `samples`, and for mcu
`scale`, `zero_point` and `outputs`. Prints JSON: `p50_ms` (the lower median) and `least_ms`. At least 10 runs and a
second warm it up, as in a profile. tests/benchmarks/profiling.py calls it.
"""

import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP_RUNS, WARM_UP_S = 10, 1.0


@dataclass(frozen=True)
class Bare:
    """`whole`: from an array to arrays that stay as they are, which is what an app needs. `network`: the runtime's call
    alone, on an input that is in place and without taking the answer out."""

    whole: Callable[[], Any]
    network: Callable[[], Any]


def load_litert(path: Path, threads: int) -> Any:
    """LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    own = Interpreter(str(path), num_threads=threads)
    own.allocate_tensors()
    return own


def litert(own: Any, array: Any) -> Bare:
    """`set_tensor` and `get_tensor` copy."""
    given, gives = own.get_input_details()[0]["index"], [row["index"] for row in own.get_output_details()]
    own.set_tensor(given, array)

    def whole() -> Any:
        own.set_tensor(given, array)
        own.invoke()
        return [own.get_tensor(index) for index in gives]

    return Bare(whole, own.invoke)


def load_onnx(path: Path, threads: int) -> Any:
    """An ONNX Runtime session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx(own: Any, array: Any) -> Bare:
    """Its call, and that with the input bound."""
    name = own.get_inputs()[0].name
    binding = own.io_binding()
    binding.bind_cpu_input(name, array)
    for output in own.get_outputs():
        binding.bind_output(output.name)
    return Bare(lambda: own.run(None, {name: array}), lambda: own.run_with_iobinding(binding))


def load_openvino(path: Path, threads: int) -> Any:
    """A request of OpenVINO."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    return ov.Core().compile_model(str(path / "model.xml"), "CPU", settings).create_infer_request()


def openvino(own: Any, array: Any) -> Bare:
    """The array copied into the request's own tensor, and the answers out of them: both the quickest way there is."""
    given, gives = own.get_input_tensor().data, [tensor.data for tensor in own.output_tensors]

    def whole() -> Any:
        given[...] = array
        own.infer(share_outputs=True)
        return [view.copy() for view in gives]

    return Bare(whole, lambda: own.infer(share_outputs=True))


def load_executorch(path: Path, threads: int) -> Any:
    """A module of ExecuTorch's bindings, without `executorch.runtime`, which imports the whole exporter."""
    from executorch.extension.pybindings import _C as bindings

    if threads != bindings._threadpool_get_thread_count():
        bindings._unsafe_reset_threadpool(threads)
    return bindings._load_for_executorch(str(path))


def executorch(own: Any, array: Any) -> Bare:
    """Its `forward`, which copies the outputs unless it is told not to."""
    import torch

    tensor = torch.from_numpy(array)
    return Bare(
        lambda: [output.numpy() for output in own.forward((torch.from_numpy(array),))],
        lambda: own.forward((tensor,), clone_outputs=False),
    )


def mcu(path: Path, array: Any, scale: float, zero_point: int, outputs: int) -> Bare:
    """The C with its static arena, as a project builds it; a caller with floats rounds them to the bytes that it takes.

    The answer stays in bytes. One thread.
    """
    place = Path(tempfile.mkdtemp(prefix="bare-mcu-"))
    library = place / "model.so"
    sources = [str(path / name) for name in ("model.c", "kernels.c")]
    subprocess.run(["cc", "-std=c99", "-O2", "-shared", "-fPIC", *sources, "-o", str(library)], check=True)
    call = ctypes.CDLL(str(library)).model_invoke_image
    call.restype, call.argtypes = ctypes.c_int, [ctypes.c_void_p] * 2
    library.unlink()  # the loader has it
    place.rmdir()

    def bytes_of() -> Any:
        if array.dtype == np.int8:
            return np.ascontiguousarray(array[0].transpose(1, 2, 0))
        whole = np.clip(np.rint(array[0].transpose(1, 2, 0) / np.float32(scale)) + zero_point, -128, 127)
        return np.ascontiguousarray(whole, np.int8)

    ready, answer = bytes_of(), np.zeros(outputs, np.int8)

    def network(image: Any = ready) -> None:
        if call(image.ctypes.data, answer.ctypes.data):
            raise RuntimeError(f"model_invoke_image of {path} failed")

    def whole() -> Any:
        network(bytes_of())
        return answer.copy()

    return Bare(whole, network)


RUNTIMES: dict[str, tuple[Callable[[Path, int], Any], Callable[[Any, Any], Bare]]] = {
    "tflite": (load_litert, litert),
    "onnx": (load_onnx, onnx),
    "openvino": (load_openvino, openvino),
    "executorch": (load_executorch, executorch),
}


def bare(job: dict[str, Any]) -> Bare:
    """The calls of a job."""
    path, array = Path(job["path"]), np.load(job["array"])
    if job["target"] == "mcu":
        return mcu(path, array, job["scale"], job["zero_point"], job["outputs"])
    load, calls = RUNTIMES[job["target"]]
    return calls(load(path, job["threads"]), array)


def times_ms(call: Callable[[], Any], samples: int) -> list[float]:
    """Of so many calls, one after the other, after a warm-up."""
    began, runs = time.perf_counter(), 0
    while runs < WARM_UP_RUNS or time.perf_counter() - began < WARM_UP_S:
        call()
        runs += 1
    times = []
    for _ in range(samples):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return [time_ns / 1e6 for time_ns in times]


def main() -> None:
    job = json.loads(sys.argv[1])
    times = times_ms(bare(job).whole, job["samples"])
    print(json.dumps({"p50_ms": statistics.median_low(times), "least_ms": min(times)}))


if __name__ == "__main__":
    main()
