"""What a device could do at most: python -m devices.roofline THREADS prints a `Roofline` in JSON. A process of its own.

Its peak of float32 is that of numpy's matrix product, its peak of int8 that of a convolution in LiteRT, its bandwidth
that of a copy. The best of several tries counts: nothing makes a processor faster.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec

from runtime_py.manifest import Roofline

SIDE = 768
"""Of the square matrices."""
COPIED = 64 << 20
"""Bytes, read and written: more than a board's caches hold."""
SECONDS, LEAST = 0.4, 3
MOST_SECONDS = 60
"""Of the whole probe, for a device that is much slower than any."""
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def roofline(threads: int) -> Roofline:
    """The probe with so many threads. None of its figures where the process failed or hangs."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "devices.roofline", f"{threads}"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return Roofline()
    lines = done.stdout.splitlines()
    return msgspec.json.decode(lines[-1], type=Roofline) if done.returncode == 0 and lines else Roofline()


def fastest(call: Callable[[], Any]) -> float:
    """The least seconds of a call, over LEAST and SECONDS of them."""
    call()
    best, runs, began = float("inf"), 0, perf_counter()
    while runs < LEAST or perf_counter() - began < SECONDS:
        start = perf_counter()
        call()
        best, runs = min(best, perf_counter() - start), runs + 1
    return best


def of_floats() -> float:
    """Billions of float32 multiply-accumulates a second."""
    import numpy as np

    left = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    made = np.empty_like(left)
    return float(SIDE**3 / fastest(lambda: np.matmul(left, left, out=made)) / 1e9)


def of_bytes() -> float:
    """Billions of bytes a second that a copy reads and writes."""
    import numpy as np

    source = np.ones(COPIED, np.uint8)
    made = np.empty_like(source)
    return 2 * COPIED / fastest(lambda: np.copyto(made, source)) / 1e9


def of_integers(threads: int) -> float | None:
    """Billions of int8 multiply-accumulates a second of a convolution in LiteRT; None where it is not here."""
    try:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return None
    from devices.operators.tflite import product

    interpreter = Interpreter(model_content=product(schema, SIDE), num_threads=threads)
    interpreter.allocate_tensors()
    return SIDE**3 / fastest(interpreter.invoke) / 1e9


def main() -> int:
    """Measure and print. Numpy's libraries read the variables when they are loaded, which is later."""
    threads = int(sys.argv[1])
    os.environ |= dict.fromkeys(VARIABLES, f"{threads}")
    found = Roofline(float_gmacs_per_s=of_floats(), int8_gmacs_per_s=of_integers(threads), gbytes_per_s=of_bytes())
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
