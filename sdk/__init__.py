"""The workstation: export, prove, report and train. Importing this package imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdk.evaluate.running import EvalResult, EvalRow, evaluate
    from sdk.exporting import export
    from sdk.results import ExportResult, TargetResult, VerifyResult
    from sdk.verifying import verify

__all__ = ["EvalResult", "EvalRow", "ExportResult", "TargetResult", "VerifyResult", "evaluate", "export", "verify"]

_HOMES = {
    "EvalResult": "sdk.evaluate.running",
    "EvalRow": "sdk.evaluate.running",
    "ExportResult": "sdk.results",
    "TargetResult": "sdk.results",
    "VerifyResult": "sdk.results",
    "evaluate": "sdk.evaluate.running",
    "export": "sdk.exporting",
    "verify": "sdk.verifying",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdk' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
