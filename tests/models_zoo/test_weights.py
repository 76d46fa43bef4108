"""Weights that are found by every kind of name, that don't fit, don't parse or are not safe to parse."""

import hashlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models_zoo import MODELS, ModelSpec, Weights, create_model, load_weights
from models_zoo.fetch import cached_path
from models_zoo.pickled import UnsafeWeights
from models_zoo.weights import WeightsError, find_weights, read_state_dict
from runtime_py.errors import SdkError, UnknownName

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
    assert "1 missing in the file, 1 not in the model, 1 of another shape" in caught.value.given
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
    assert "the file fits mobilenetv4_conv_medium with 1000 classes" in caught.value.hint


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
    with pytest.raises(UnsafeWeights if writer == "torch" else WeightsError):
        read_state_dict(path)
    assert not (tmp_path / "executed").exists()


def test_a_whole_pickled_model_gives_its_tensors(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save({"model": net}, tmp_path / "model.pt")
    state = read_state_dict(tmp_path / "model.pt")
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "state_dict_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_what_training_programs_wrap_around_is_taken_off(prefix: str, wrapper: str | None, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in nn.Linear(2, 3).state_dict().items()}
    state |= {f"{prefix}total_ops": torch.zeros(1), f"{prefix}total_params": torch.zeros(1)}
    torch.save({"epoch": 3, wrapper: state} if wrapper else state, tmp_path / "net.pth")
    assert read_state_dict(tmp_path / "net.pth").keys() == {"weight", "bias"}


def test_a_prefix_of_some_names_belongs_to_them(tmp_path: Path) -> None:
    save_file({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "net.safetensors")
    assert read_state_dict(tmp_path / "net.safetensors").keys() == {"module.a", "b"}


def test_the_counters_of_batch_normalisation_may_be_absent(
    model: nn.Module, state: dict[str, Tensor], tmp_path: Path
) -> None:
    named = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(named) < len(state)
    save_file(named, tmp_path / "net.safetensors")
    loaded = create_model(NAME, weights=str(tmp_path / "net.safetensors")).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("mcunet_in1", "classifier.linear"), ("mobilenet_v2", "classifier.1"), ("ghostnet_050", "classifier")],
)
def test_the_classes_of_a_file_are_seen_in_every_family(name: str, classifier: str, tmp_path: Path) -> None:
    network = create_model(name, num_classes=4)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    assert find_weights(MODELS[name], str(tmp_path / "net.pth")).num_classes == 4
    loaded = create_model(name, str(tmp_path / "net.pth")).get_submodule(classifier)
    assert torch.equal(loaded.weight, network.get_submodule(classifier).weight)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(state: dict[str, Tensor], share: float, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"net\.safetensors could not be read as weights"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file + b"more", "where its header describes"),
        (lambda file: (1 << 62).to_bytes(8, "little") + file[8:], "too few for its header"),
        (lambda file: (2).to_bytes(8, "little") + b"[]", "describes no tensors"),
        (lambda file: (8).to_bytes(8, "little") + b'{"a": 1}', "describes no tensors"),
        (lambda file: (2).to_bytes(8, "little") + b"{]", "could not be read"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(
    change: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    assert said in caught.value.given


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk", b"\x80\x02junk."])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(SdkError):
        read_state_dict(tmp_path / "net.pth")


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


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user was told of licences, with a cache of the test's own."""
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    return []


def tagged(**facts: Any) -> ModelSpec:
    """A network's row with one tag, `own`."""
    common: dict[str, Any] = {"num_classes": 5, "input_size": 96, "labels": "", "data": "", "accuracy": {}}
    return replace(MODELS[NAME], weights={"own": Weights(**common | facts)})


def test_a_licence_is_told_once_on_a_machine(told: list[str]) -> None:
    spec = tagged(licence="AGPL-3.0", file="own.safetensors")
    for _ in range(3):
        find_weights(spec, "own", notice=told.append)
    assert len(told) == 1
    assert f"{NAME}.own: AGPL-3.0" in told[0]
    assert "must offer its users its complete source under the AGPL too" in told[0]
    assert "network" in told[0]
    find_weights(tagged(licence="MIT", file="own.safetensors"), "own", notice=told.append)
    assert "AGPL" not in told[1], "another licence is told afresh"


def test_a_user_who_was_not_told_is_told_later(told: list[str]) -> None:
    spec = tagged(licence="MIT", file="own.safetensors")
    find_weights(spec, "own")
    find_weights(spec, "own", notice=told.append)
    assert len(told) == 1


def test_a_cache_that_cannot_be_written_tells_each_time(told: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    for _ in range(2):
        find_weights(tagged(licence="MIT", file="own.safetensors"), "own", notice=told.append)
    assert len(told) == 2


def test_a_tag_with_an_address_comes_from_the_cache_with_its_facts(
    model: nn.Module, state: dict[str, Tensor], told: list[str], tmp_path: Path
) -> None:
    save_file(state, tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    url, sha256 = "https://weights.invalid/net.safetensors", hashlib.sha256(content).hexdigest()
    cached_path(url, sha256).parent.mkdir()
    cached_path(url, sha256).write_bytes(content)
    spec = tagged(licence="MIT", url=url, sha256=sha256, bytes=len(content))
    found = find_weights(spec, "own", notice=told.append)
    assert found.path == cached_path(url, sha256)
    assert (found.num_classes, found.row) == (5, spec.weights["own"])
    assert url in told[0]
    mine = find_weights(spec, f"{url}#sha256={sha256}")
    assert (mine.path, mine.num_classes, mine.row) == (found.path, 5, None)


def test_an_address_needs_a_hash() -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights(MODELS[NAME], "https://weights.invalid/net.pth")
    assert "https://weights.invalid/net.pth#sha256=" in caught.value.expected
