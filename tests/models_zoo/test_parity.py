"""The same weights in timm's networks give the same answers, in double precision and with norms that do something.

timm asks for torchvision, whose wheels need not fit the torch that is installed; nothing of it runs here, so a
stand-in takes its place while timm is imported.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn

from models_zoo import MODELS, create_model

THEIRS = {name: name for name in MODELS if name.startswith(("mobilenetv4", "ghostnet"))}
THEIRS |= {"mobilenet_v2": "mobilenetv2_100"}


class StandIn:
    """Imports torchvision and all below it as mocks."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> Any:
        module = MagicMock(name=spec.name, __path__=[], __spec__=spec, __version__="0")
        module.__name__ = spec.name
        return module

    def exec_module(self, module: ModuleType) -> None:
        """A mock needs no code."""


@pytest.fixture(scope="module")
def timm() -> Iterator[Any]:
    finder: Any = StandIn()
    sys.meta_path.insert(0, finder)
    import timm

    sys.meta_path.remove(finder)
    yield timm
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def in_order(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` under our own names: torchvision's keys, which mobilenet_v2 has, differ from timm's, and not in order."""
    return dict(zip(own, state.values(), strict=True))


@pytest.mark.parametrize("name", THEIRS)
def test_answers_are_those_of_timm(timm: Any, name: str) -> None:
    torch.manual_seed(0)
    theirs: nn.Module = timm.create_model(THEIRS[name]).double().eval()
    ours = create_model(name).double().eval()
    for key, buffer in theirs.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    state = theirs.state_dict()
    ours.load_state_dict(in_order(state, ours.state_dict()) if name == "mobilenet_v2" else state)
    images = torch.randn(1, 3, 96, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    assert expected.abs().max() > 1e-6
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
