from pathlib import Path

import pytest
import torch
from torch import nn

from runtime_py.errors import SdkError
from sdk.capture import CaptureFailed, capture
from sdk.source import Source, Wishes
from sdk.sources import find_source

NETS = str(Path(__file__).parent / "nets.py")


def fails(model: str, wishes: Wishes) -> str:
    with pytest.raises(SdkError) as caught:
        find_source(model, wishes)
    return str(caught.value)


def test_an_unknown_model_lists_the_known_and_the_nearest() -> None:
    message = fails("mobilenetv4_conv_smal", Wishes())
    assert "did you mean mobilenetv4_conv_small" in message
    assert "mobilenetv4_hybrid_large" in message


def test_an_unknown_factory_lists_what_the_file_has() -> None:
    assert "did you mean mixed" in fails(f"{NETS}:mixd", Wishes(inputs=((1, 3, 32, 48),)))


def test_a_factory_without_a_shape_asks_for_one() -> None:
    assert "--input 1,3,224,224" in fails(f"{NETS}:mixed", Wishes())


def test_a_factory_of_something_else_says_of_what() -> None:
    assert "gave a int" in fails(f"{NETS}:no_network", Wishes(inputs=((1, 3),)))


def test_a_file_that_does_not_exist_or_import(tmp_path: Path) -> None:
    assert "does not exist" in fails(f"{tmp_path}/none.py:net", Wishes())
    broken = tmp_path / "broken.py"
    broken.write_text("import math\nvalue = math.nothing\n")
    message = fails(f"{broken}:net", Wishes())
    assert "AttributeError" in message
    assert "broken.py:2" in message


def test_a_pt2_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "bad.pt2"
    file.write_text("no zip")
    assert "could not be read" in fails(str(file), Wishes())


@pytest.mark.parametrize("size", [0, 17, 100])
def test_an_input_size_that_the_zoo_cannot_take(size: int) -> None:
    with pytest.raises(SdkError):
        find_source("mobilenetv4_conv_medium", Wishes(input_size=size or 31))


def captured(factory: str, *shapes: tuple[int, ...]) -> Source:
    return find_source(f"{NETS}:{factory}", Wishes(inputs=shapes))


def test_names_come_from_the_signature_and_the_outputs() -> None:
    found = capture(captured("mixed", (1, 3, 32, 48)))
    assert [(t.name, t.shape) for t in found.inputs] == [("picture", (1, 3, 32, 48))]
    assert [(t.name, t.shape) for t in found.outputs] == [("scores", (1, 10)), ("features", (1, 16, 16, 24))]
    two = capture(captured("two_inputs", (1, 8), (1, 6)))
    assert [t.name for t in two.inputs] == ["zebra", "apple"]
    assert [t.name for t in two.outputs] == ["output_0", "output_1"]


def test_the_program_answers_as_the_network() -> None:
    found = capture(captured("mixed", (1, 3, 32, 48)))
    x = torch.randn(1, 3, 32, 48)
    for a, b in zip(found.answer((x,)), found.program.module()(x).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_what_torch_export_refuses_names_reason_and_line() -> None:
    with pytest.raises(CaptureFailed) as caught:
        capture(captured("branching", (1, 4)))
    assert "nets.py" in caught.value.given
    assert "if x.sum() > 0" in caught.value.given


def test_a_network_that_fails_by_itself_names_its_line() -> None:
    with pytest.raises(CaptureFailed, match=r"x\.reshape") as caught:
        capture(captured("failing", (1, 4)))
    assert "(1, 4)" in caught.value.given


def test_a_live_module_and_its_saved_program(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    live = capture(find_source(net, Wishes(inputs=((1, 4),))))
    torch.export.save(live.program, tmp_path / "net.pt2")
    saved = capture(find_source(str(tmp_path / "net.pt2"), Wishes()))
    assert saved.inputs == live.inputs
    x = torch.randn(1, 4)
    torch.testing.assert_close(saved.answer((x,))[0], net(x))


def test_weights_of_another_network_name_the_tensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = nn.Sequential(nn.Linear(4, 3))
    save_file({"0.weight": torch.zeros(5, 4), "1.bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(SdkError) as caught:
        find_source(net, Wishes(weights=str(tmp_path / "w.safetensors"), inputs=((1, 4),)))
    text = str(caught.value)
    assert "0.weight: (5, 4) in the file, (3, 4) in the model" in text
    assert "0.bias: missing" in text
    assert "1.bias: not in the model" in text
