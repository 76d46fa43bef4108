"""How many samples a quantised bundle carries."""

import math

import pytest

from runtime_py.golden import MOST_SAMPLES
from runtime_py.manifest import Manifest, Tensor
from sdk.golden import NUMBERS, SAMPLES, how_many


@pytest.mark.parametrize(
    ("shapes", "held", "expected"),
    [
        ([(1, 1000)], 16, SAMPLES),
        ([(1, 10)], 16, math.ceil(NUMBERS / 10)),
        ([(1, 6), (1, 4)], 16, math.ceil(NUMBERS / 10)),
        ([(1, 2)], 16, MOST_SAMPLES),
        ([(1, 2)], 5, 5),
        ([(1, 1000)], 3, 3),
    ],
)
def test_few_numbers_an_answer_need_more_samples(shapes: list[tuple[int, ...]], held: int, expected: int) -> None:
    inputs = (Tensor(name="a", shape=(1, 3), dtype="float32"), Tensor(name="b", shape=(1, 3), dtype="float32"))
    outputs = tuple(Tensor(name=f"y{at}", shape=shape, dtype="float32") for at, shape in enumerate(shapes))
    assert how_many(Manifest(model="m", inputs=inputs, outputs=outputs), 2 * held) == expected
