"""LeYOLO against its published integers layer by layer, and its decoding against the formula in numpy."""

from math import log

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models_zoo import create_model
from models_zoo.leyolo import BINS, STRIDES, Decode
from runtime_py.errors import SdkError

NANO = {
    0: 480, 1: 304, 2: 496, 3: 6_144, 4: 7_680, 5: 12_384, 6: 30_720, 9: 30_720, 10: 110_304, 11: 128_736, 13: 128_736,
    14: 23_328, 17: 32_832, 18: 20_544, 19: 20_544, 22: 4_320, 23: 5_152, 24: 5_152, 25: 18_624, 27: 28_736,
    28: 20_544, 29: 20_544, 30: 55_584, 32: 61_536, 33: 43_104, 34: 43_104, 35: 69_952,
}  # fmt: skip
SMALL = {
    0: 720, 1: 648, 2: 936, 3: 11_280, 4: 14_352, 5: 21_640, 6: 53_256, 9: 53_256, 10: 190_080, 11: 220_800,
    13: 220_800, 14: 41_344, 17: 59_224, 18: 36_696, 22: 8_304, 23: 9_912, 25: 38_280, 27: 52_184, 28: 36_696,
    30: 101_760, 32: 106_624, 33: 73_856, 35: 80_320,
}  # fmt: skip
MEDIUM = {29: 29_656, 30: 69_960, 41: 43_736, 42: 98_752}
"""Parameters by layer, of LilianHollard/LeYOLO@360a205."""


def layers(name: str, **overrides: int) -> nn.ModuleList:
    with torch.device("meta"):
        model = create_model(name, **overrides)
    found = model.get_submodule("model")
    assert isinstance(found, nn.ModuleList)
    return found


@pytest.mark.parametrize(
    ("name", "published"),
    [("leyolo_nano", NANO), ("leyolo_small", SMALL), ("leyolo_medium", MEDIUM), ("leyolo_large", MEDIUM)],
)
def test_parameters_of_every_layer(name: str, published: dict[int, int]) -> None:
    found = layers(name)
    assert {index: sum(p.numel() for p in found[index].parameters()) for index in published} == published


def test_layers_that_feed_nothing_are_kept_as_published() -> None:
    """Medium's head reads layers 27, 32 and 37, so that 38 to 41 are trained for nothing: 298,072 parameters."""
    idle = layers("leyolo_medium")[38:42]
    assert sum(p.numel() for p in idle.parameters()) == 298_072


def test_norms_and_biases_are_as_published() -> None:
    model = create_model("leyolo_nano")
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}
    state = model.state_dict()
    for level, stride in enumerate(STRIDES):
        assert torch.all(state[f"model.35.cv2.{level}.3.bias"] == 1.0)
        assert torch.allclose(state[f"model.35.cv3.{level}.3.bias"], torch.tensor(log(5 / 80 / (640 / stride) ** 2)))
    assert state["model.35.dfl.conv.weight"].flatten().tolist() == list(range(BINS))


def test_decoding_is_the_formula() -> None:
    """Distances are the expectation of a softmax over 16 bins, from the cell's centre, times the stride."""
    rng = np.random.default_rng(3)
    sizes, classes = ((4, 6), (2, 3), (1, 2)), 5
    boxes = [rng.normal(size=(2, 4 * BINS, h, w)) for h, w in sizes]
    scores = [rng.normal(size=(2, classes, h, w)) for h, w in sizes]
    expected = np.empty((2, 4 + classes, sum(h * w for h, w in sizes)))
    cell = 0
    for box, score, stride, (height, width) in zip(boxes, scores, STRIDES, sizes, strict=True):
        for y, x in np.ndindex(height, width):
            bins = np.exp(box[:, :, y, x].reshape(2, 4, BINS))
            left, top, right, bottom = (bins @ np.arange(BINS) / bins.sum(2)).T
            expected[:, 0, cell] = (x + 0.5 + (right - left) / 2) * stride
            expected[:, 1, cell] = (y + 0.5 + (bottom - top) / 2) * stride
            expected[:, 2, cell], expected[:, 3, cell] = (left + right) * stride, (top + bottom) * stride
            expected[:, 4:, cell] = 1 / (1 + np.exp(-score[:, :, y, x]))
            cell += 1
    found = Decode().double()([torch.from_numpy(box) for box in boxes], [torch.from_numpy(score) for score in scores])
    assert found.shape == expected.shape
    assert np.abs(found.numpy() - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize(("side", "cells"), [(320, 2100), (640, 8400)])
def test_eval_answers_the_decoded_and_training_the_raw_maps(side: int, cells: int) -> None:
    with torch.device("meta"):
        model, images = create_model("leyolo_nano"), torch.empty(2, 3, side, side)
    assert model.eval()(images).shape == (2, 84, cells)
    raw: list[Tensor] = model.train()(images)
    assert [tuple(level.shape) for level in raw] == [(2, 144, side // s, side // s) for s in STRIDES]


def test_a_size_that_no_level_divides_is_refused() -> None:
    with torch.device("meta"):
        model, images = create_model("leyolo_nano"), torch.empty(1, 3, 416, 400)
    with pytest.raises(SdkError) as caught:
        model(images)
    assert "416 x 400" in caught.value.given
    assert "32" in caught.value.expected
