"""Which network a file fits, found by its tensors alone."""

import re

import pytest
import torch
from torch import nn

from models_zoo import MODELS, create_model
from models_zoo.misfit import SHOWN, Shapes, best_fit, misfit, shapes_of

SMALL = "mobilenetv4_conv_small"


def shapes(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_the_empty_networks_have_the_shapes_of_the_real_ones() -> None:
    real = shapes(create_model(SMALL, num_classes=9))
    assert {name: real[name] for name in shapes_of(SMALL, 9)} == shapes_of(SMALL, 9)
    assert {name.rpartition(".")[2] for name in real.keys() - shapes_of(SMALL, 9).keys()} == {"num_batches_tracked"}


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_the_zoo_is_recognised(name: str) -> None:
    spec = MODELS[name]
    classes = 7 if spec.classifier else None
    said = best_fit(shapes_of(name, classes))
    assert re.search(rf"the file fits (\w+ or )*{name}( or \w+)*{' with 7 classes' if classes else ''}$", said)
    twins = set(re.findall(r"\w+(?= or )|(?<= or )\w+", said)) - {name}
    assert all(MODELS[twin].params == spec.params for twin in twins)


def test_a_file_without_its_classifier_is_recognised() -> None:
    trunk = {name: shape for name, shape in shapes_of("ghostnet_100", 200).items() if "classifier" not in name}
    assert best_fit(trunk) == "the file fits ghostnet_100, except for its classifier"
    narrow = dict(shapes_of("ghostnet_100", 200)) | {"classifier.weight": (200, 640)}
    assert best_fit(narrow) == "the file fits ghostnet_100, except for its classifier"


def test_a_file_that_almost_fits_names_the_share() -> None:
    given = dict(shapes_of(SMALL, 1000))
    others = len(given) - 2
    del given["bn1.bias"]
    assert best_fit(given) == f"the file is nearest to {SMALL}, with {(others - 1) / others:.0%} of its tensors"


@pytest.mark.parametrize("given", [{}, {"classifier.bias": (0,)}, {"classifier.bias": (10**12,)}, {"a": (2, 3)}])
def test_a_file_of_nothing_known_says_so(given: Shapes) -> None:
    assert best_fit(given) == "the file fits no network of the zoo"


def test_equal_shapes_have_no_misfit() -> None:
    assert misfit({"a": (1,), "b": ()}, {"b": (), "a": (1,)}) == ""


def test_the_first_few_of_each_kind_are_shown_and_all_are_counted() -> None:
    given = {f"new{i}": (1,) for i in range(SHOWN + 3)} | {f"odd{i}": (i, 2) for i in range(SHOWN)}
    expected = {f"old{i}": (1,) for i in range(SHOWN + 1)} | {f"odd{i}": (i, 3) for i in range(SHOWN)}
    lines = misfit(given, expected).split("\n  ")
    assert lines[0] == f"{SHOWN + 1} missing in the file, {SHOWN + 3} not in the model, {SHOWN} of another shape"
    assert lines.count("and 1 more missing in the file") == 1
    assert lines.count("and 3 more not in the model") == 1
    assert f"odd{SHOWN - 1}: ({SHOWN - 1}, 2) in the file, ({SHOWN - 1}, 3) in the model" in lines
    assert len(lines) == 1 + 3 * SHOWN + 2


def test_the_search_takes_no_memory_for_tensors() -> None:
    with torch.device("meta"):
        assert all(tensor.is_meta for tensor in create_model("turbo_vaed_hunyuan").state_dict().values())
