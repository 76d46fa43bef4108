"""Weights files that don't fit, don't parse or are not safe to parse."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models_zoo import create_model, load_weights
from models_zoo.weights import WeightsError, read_state_dict
from runtime_py.errors import UnknownName

NAME = "mobilenetv4_conv_small"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return create_model(NAME, num_classes=5)


@pytest.fixture
def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back_as_they_were_saved(
    model: nn.Module, state: dict[str, Tensor], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"net{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    loaded = create_model(NAME, weights=str(path))
    assert loaded.get_submodule("classifier").out_features == 5, "the file says how many classes there are"
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_half_precision_weights_are_widened(model: nn.Module, state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file({name: t.half() if t.is_floating_point() else t for name, t in state.items()}, tmp_path / "h.safetensors")
    loaded = create_model(NAME, weights=str(tmp_path / "h.safetensors"))
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32, torch.int64}


def test_tensors_that_do_not_fit_are_named_with_their_shapes(
    model: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    state["classifier.weight"] = torch.zeros(7, 1280)
    state["stranger.weight"] = torch.zeros(3)
    del state["bn1.bias"]
    save_file(state, tmp_path / "net.safetensors")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(model, tmp_path / "net.safetensors")
    assert "3 tensors differ" in caught.value.given
    assert "classifier.weight: (7, 1280) in the file, (5, 1280) in the model" in caught.value.given
    assert "bn1.bias: missing in the file" in caught.value.given
    assert "stranger.weight: not in the model" in caught.value.given
    assert "278 tensors" in caught.value.expected
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()), "half loaded"


def test_another_network_s_weights_are_refused_in_few_lines(tmp_path: Path) -> None:
    save_file(create_model("mobilenetv4_conv_medium").state_dict(), tmp_path / "medium.safetensors")
    with pytest.raises(WeightsError) as caught:
        create_model(NAME, weights=str(tmp_path / "medium.safetensors"))
    assert len(caught.value.given.splitlines()) < 20
    assert "more" in caught.value.given


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_unexecuted(writer: str, tmp_path: Path) -> None:
    content, path = {"state_dict": Bomb(tmp_path / "executed")}, tmp_path / "net.pth"
    torch.save(content, path) if writer == "torch" else path.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert not (tmp_path / "executed").exists()
    assert "weights_only" in caught.value.expected
    assert "safetensors" in caught.value.hint


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="could not be read as weights"):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(state: dict[str, Tensor], share: float, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"net\.safetensors could not be read as weights"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(1)]])
def test_a_file_without_a_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state_dict(tmp_path / "net.pth")


def test_an_absent_file_is_named() -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors.*does not exist"):
        create_model(NAME, weights="absent.safetensors")


def test_an_unknown_tag_gets_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        create_model(NAME, weights="tin20")
    assert "tin200" in caught.value.hint


def test_a_tag_of_a_network_without_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="mobilenetv4_conv_large has no packaged weights"):
        create_model("mobilenetv4_conv_large", weights="tin200")
