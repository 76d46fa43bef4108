"""The task's own metric of every artifact, each in its own runtime, beside PyTorch's."""

from sdk.evaluate.results import EvalResult, EvalRow
from sdk.evaluate.running import evaluate

__all__ = ["EvalResult", "EvalRow", "evaluate"]
