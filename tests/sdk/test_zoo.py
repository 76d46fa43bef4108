"""Untrained networks of the zoo, settled so that rounding errors stay small, on any input."""

import pytest
import torch
from torch import Tensor, nn

from models_zoo import create_model
from runtime_py.proof import GATE_DB
from sdk.zoo import settle


def sqnr_of_half_db(network: nn.Module, image: Tensor) -> float:
    """What is left of the answer's signal over its error when every layer's answer is rounded to float16."""

    def rounded(_: nn.Module, __: object, answer: Tensor) -> Tensor:
        return answer.half().float()

    with torch.inference_mode():
        expected = network(image)
        hooks = [m.register_forward_hook(rounded) for m in network.modules() if not list(m.children())]
        found = network(image)
        for hook in hooks:
            hook.remove()
    return float(10 * torch.log10(expected.square().sum() / (expected - found).square().sum()))


@pytest.mark.parametrize("name", ["mobilenetv4_hybrid_medium", "ghostnet_050", "mcunet_in4", "mobilenet_v2"])
def test_half_precision_holds_every_layer(name: str) -> None:
    torch.manual_seed(0)
    network, shape = create_model(name).eval(), (1, 3, 96, 96)
    settle(network, shape)
    images = torch.randn(shape), 3 * torch.randn(shape).sign(), torch.zeros(shape)
    assert min(sqnr_of_half_db(network, image) for image in images) > GATE_DB["fp16"]
    answers = [network(image).flatten() for image in images]
    assert all(answer.std() > 0 for answer in answers), "zeros too: norms shift"
    assert (answers[0] - answers[1]).norm() > 0.05 * answers[0].norm(), "the answer depends on the image"
