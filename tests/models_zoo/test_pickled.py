"""A pickled model is read for its tensors, and runs nothing."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models_zoo import create_model
from models_zoo.pickled import UnsafeWeights, read_pickled_model

Write = Callable[[bytes], Path]


def network() -> nn.Module:
    """Parameters, buffers, nested and shared shapes; batch norm's counter is an integer."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.SiLU())
    return nn.Sequential(inner, nn.ModuleList([nn.Linear(4, 2), nn.Upsample(scale_factor=2)]))


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m, "ema": None, "epoch": 3}, lambda m: {"ema": m}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_pickled_module_gives_its_state_dict(tmp_path: Path, wrap: Callable[[Any], Any], dtype: torch.dtype) -> None:
    model = network().to(dtype)
    torch.save(wrap(model), tmp_path / "model.pt")
    found, expected = read_pickled_model(tmp_path / "model.pt"), model.state_dict()
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_strides_and_offsets_are_kept(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    module = nn.Module()
    module.weight = nn.Parameter(base.t()[1:5, ::2])
    torch.save(module, tmp_path / "model.pt")
    torch.testing.assert_close(read_pickled_model(tmp_path / "model.pt")["weight"], base.t()[1:5, ::2])


def archive(path: Path, code: bytes, storages: dict[str, bytes] | None = None, compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", code)
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
    return path


class Run:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, getattr, __import__, open, os.putenv, pickle.loads, torch.load, type, torch.hub.load],
    ids=lambda function: function.__name__,
)
def test_a_call_of_anything_else_is_refused_and_does_not_happen(tmp_path: Path, function: Any) -> None:
    mark = tmp_path / "mark"
    argument = f"touch {mark}" if function is os.system else f"__import__('pathlib').Path({str(mark)!r}).touch()"
    code = pickle.dumps({"model": Run(function, argument)}, protocol=2)
    with pytest.raises(UnsafeWeights) as caught:
        read_pickled_model(archive(tmp_path / "hostile.pt", code))
    assert function.__name__ in caught.value.given
    assert not mark.exists()


HOSTILE = {
    "an attribute of a stub's class": b"ctorch.nn.modules.linear\nLinear\n}U\x05state\x88sb.",
    "a function's insides": b"ctorch._utils\n_rebuild_parameter\nN}U\x09_functionctorch\nSize\ns\x86b.",
    "a number called": b"K\x01)R.",
    "a dotted name": b"\x80\x04\x8c\x10torch.nn.modules\x8c\x0b__doc__.foo\x93.",
    "an extension code": b"\x82\x01.",
    "no end": b"\x80\x02}q\x00(",
    "nothing": b"",
    "no module": b"\x80\x02}.",
    "no storage": b"\x80\x02(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ.",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=list(HOSTILE))
def test_pickles_made_by_hand_are_refused(tmp_path: Path, code: bytes) -> None:
    with pytest.raises(UnsafeWeights):
        read_pickled_model(archive(tmp_path / "hostile.pt", code))


class _Pickler(pickle.Pickler):
    """Writes a tensor's rebuilding with whatever numbers it is told."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Claim) else None


class Claim:
    """A storage that the pickle claims."""

    def __init__(self, count: int, key: str = "0") -> None:
        self.pid = ("storage", torch.FloatStorage, key, "cpu", count)


def claims(count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], key: str = "0") -> bytes:
    out = io.BytesIO()
    rebuild = torch._utils._rebuild_tensor_v2
    _Pickler(out, 2).dump({"model": Run(rebuild, Claim(count, key), offset, size, stride, False, {})})
    return out.getvalue()


@pytest.mark.parametrize(
    "code",
    [
        claims(4, 0, (5,), (1,)),
        claims(4, 3, (2,), (1,)),
        claims(4, 0, (2, 2), (3, 1)),
        claims(4, 0, (1 << 40,), (0,)),
        claims(4, -1, (2,), (1,)),
        claims(4, 0, (2,), (-1,)),
        claims(1 << 40, 0, (2,), (1,)),
        claims(4, 0, (4,), (1,), key="../../0"),
        claims(4, 0, (4,), (1,), key="1"),
        claims(4, 0, (2, 2), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path, code: bytes) -> None:
    with pytest.raises(UnsafeWeights):
        read_pickled_model(archive(tmp_path / "hostile.pt", code, {"0": bytes(16)}))


def test_an_archive_that_grows_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.pt", b"\x80\x02}.", {"0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsafeWeights, match="compressed"):
        read_pickled_model(path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsafeWeights, match=r"half\.pt"):
        read_pickled_model(tmp_path / "half.pt")


def test_a_module_inside_itself_is_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model._modules["self"] = model
    torch.save(model, tmp_path / "loop.pt")
    with pytest.raises(UnsafeWeights, match="contains itself"):
        read_pickled_model(tmp_path / "loop.pt")


def test_the_published_detector_loads_strictly(shared: Path) -> None:
    found = read_pickled_model(shared / "weights" / "leyolo_nano_coco.pt")
    assert len(found) == 651
    assert found["model.0.c.weight"].dtype == torch.float16
    model = create_model("leyolo_nano")
    model.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    )
