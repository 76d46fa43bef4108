"""ExecuTorch's operators, XNNPACK's inside of its delegate too, from an ETDump by ExecuTorch's own Inspector."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from devices.operators import CUT_OFF_MS, NotTimed, Timed
from devices.steady import middle, steady
from runtime_py.bundle import Bundle
from runtime_py.engines.executorch import ExecuTorch
from runtime_py.manifest import Artifact

METHOD, NATIVE = "Method::execute", "native_call_"
WARM_UP = 3
INTEGERS = re.compile(r"\(N\w*, Q")
"""XNNPACK's own names give the layout and the type of what an operator reads: `(NHWC, QC8)`, `(NC, QD8, F32, QC8W)`."""


def timed(bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
    """The operators in the order in which they run. XNNPACK says their kinds and no shapes."""
    engine = ExecuTorch(bundle.path / artifact.file, bundle.manifest, threads, profile=True)
    if not engine.module.has_etdump():
        raise NotTimed("this build of ExecuTorch writes no ETDump", hint="the wheel of PyPI does")
    for _ in range(WARM_UP):
        engine.run(dict(inputs))
    pulses = [0.0] * WARM_UP + steady(lambda: engine.run(dict(inputs)))
    try:
        from executorch.devtools import Inspector
    except ImportError as error:
        raise NotTimed(
            f"ExecuTorch's Inspector cannot be imported: {error}", hint=f"pip install {error.name}"
        ) from error
    with TemporaryDirectory(prefix="edge-sdk-") as work:
        path = Path(work, "operators.etdp")
        engine.module.write_etdump_result_to_file(str(path))
        engine.close()
        blocks = Inspector(etdump_path=str(path)).event_blocks
    events: list[Any] = []
    for block in blocks:
        if any(event.name == METHOD for event in block.events):
            events = block.events
    return [
        Timed(
            event.name.removeprefix(NATIVE),
            _kind(event),
            _ms(event, pulses),
            integers=INTEGERS.search(event.name) is not None,
        )
        for event in events
        if event.perf_data is not None and (event.is_delegated_op or event.name.startswith(NATIVE))
    ]


def _ms(event: Any, pulses: Sequence[float]) -> float:
    """XNNPACK's clock has whole microseconds, rounded down; ExecuTorch's own has nanoseconds."""
    found = middle(event.perf_data.raw, pulses)
    return found + CUT_OFF_MS if event.is_delegated_op else found


def _kind(event: Any) -> str:
    """`Convolution (NHWC, F32) DWConv #3` without its number."""
    return str(event.name).removeprefix(NATIVE).partition(" #")[0]
