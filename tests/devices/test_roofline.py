"""What a device could do at most, against a bare product of matrices in the same test."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from devices import roofline as own
from devices.roofline import SIDE, fastest, of_integers, roofline
from runtime_py.manifest import Roofline


def test_the_fastest_call_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that a call moves by 8 (not counted), 5, 2, 7 and 7 seconds."""
    clock, costs = [0.0], iter([8.0, 5.0, 2.0, 7.0, 7.0])

    def call() -> None:
        clock[0] += next(costs)

    monkeypatch.setattr(own, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(own, "SECONDS", 10.0)
    assert fastest(call) == 2.0
    assert list(costs) == [7.0]  # after 5, 2 and 7 both the number and the time had been reached


def test_a_call_of_known_cost_is_no_faster() -> None:
    found = fastest(lambda: time.sleep(0.02))
    assert 0.02 <= found < 2.0


def bare() -> float:
    """Billions of float32 multiply-accumulates a second, the best of a few products."""
    left = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - start)
    return float(SIDE**3 / best / 1e9)


def test_one_thread_reaches_what_numpy_does() -> None:
    """Numpy has one thread here too (OMP_NUM_THREADS in conftest). Within a factor of 3, as others use the machine."""
    found, plain = roofline(1), bare()
    assert found.float_gmacs_per_s is not None
    assert plain / 3 < found.float_gmacs_per_s < plain * 3
    assert found.gbytes_per_s is not None
    assert 0.1 < found.gbytes_per_s < 1000
    if found.int8_gmacs_per_s is not None:
        assert found.int8_gmacs_per_s > 0


def test_where_there_is_no_litert_there_is_no_figure_of_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("ai_edge_litert")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert of_integers(1) is None


def ended(code: int, out: bytes) -> Any:
    return lambda *given, **named: SimpleNamespace(returncode=code, stdout=out)


@pytest.mark.parametrize(("code", "out"), [(1, b'{"gbytes_per_s": 5.0}\n'), (-9, b""), (0, b"")])
def test_a_process_that_fails_has_no_figures(code: int, out: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own.subprocess, "run", ended(code, out))
    assert roofline(1) == Roofline()


def test_what_a_runtime_prints_before_the_figures_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = Roofline(float_gmacs_per_s=1.5, gbytes_per_s=5.0)
    monkeypatch.setattr(own.subprocess, "run", ended(0, b"hello\n" + msgspec.json.encode(figures) + b"\n"))
    assert roofline(1) == figures


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(own.subprocess, "run", _sleeping(subprocess.run))
    assert roofline(1) == Roofline()


def _sleeping(run: Any) -> Any:
    return lambda command, **named: run(["/bin/sh", "-c", "exec sleep 20"], **named)


def test_a_process_that_fails_in_earnest_has_no_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemError('no numpy here')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert roofline(1) == Roofline()
