"""golden.npz of others: what it claims, holds and lacks."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime_py.errors import SdkError
from runtime_py.golden import load_golden
from runtime_py.manifest import Manifest, Tensor
from runtime_py.proof import ProofFailed, gate, prove

MANIFEST = Manifest(
    model="m", inputs=(Tensor(name="x", shape=(2, 3)),), outputs=(Tensor(name="y", shape=(2,)),), task="raw"
)
X, Y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([3.0, 12.0], np.float32)


def saved(path: Path, **arrays: Any) -> Path:
    named = {"in.random.x": X, "out.random.y": Y} | {key.replace("__", "."): value for key, value in arrays.items()}
    np.savez_compressed(path, **{key: value for key, value in named.items() if value is not None})
    return path


def test_it_is_read_and_proves_a_function(tmp_path: Path) -> None:
    golden = load_golden(saved(tmp_path / "golden.npz"), MANIFEST)
    (exact,) = prove(lambda given: {"y": given["x"].sum(1)}, golden, MANIFEST)
    assert (exact.input, exact.sqnr_db, exact.max_error) == ("random", 200.0, 0.0)
    (off,) = prove(lambda given: {"y": given["x"].sum(1) * np.float32(1.1)}, golden, MANIFEST)
    assert off.sqnr_db == pytest.approx(20.0, abs=0.01)
    gate("onnx", "fp32", (exact,))
    with pytest.raises(ProofFailed, match=r"20\.0 dB"):
        gate("onnx", "fp32", (off,))


def test_a_precision_that_nobody_knows(tmp_path: Path) -> None:
    golden = load_golden(saved(tmp_path / "golden.npz"), MANIFEST)
    with pytest.raises(ProofFailed, match="w3"):
        gate("onnx", "w3", prove(lambda given: {"y": given["x"].sum(1)}, golden, MANIFEST))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"in__random__x": X.T}, r"shape \(2, 3\)"),
        ({"out__random__y": None}, "missing"),
        ({"in__random__x": None, "out__random__y": None}, "no golden inputs"),
        ({"in__random__x": np.zeros((2000, 3000))}, r"48,000,128 bytes"),
        ({"in__sample99__x": X}, "sample99"),
        ({"evil": np.array([{}], dtype=object)}, "evil"),
        ({"in__random__x": np.array([[{}] * 3] * 2, dtype=object)}, "cannot be read"),
    ],
)
def test_other_contents_are_refused(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SdkError, match=words):
        load_golden(saved(tmp_path / "golden.npz", **arrays), MANIFEST)


def test_an_array_that_says_less_than_it_holds(tmp_path: Path) -> None:
    """The archive's table claims few bytes, the array's own header a great many."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**34, 3)})
    with zipfile.ZipFile(tmp_path / "golden.npz", "w") as archive:
        archive.writestr("in.random.x.npy", header.getvalue() + b"\0" * 24)
    with pytest.raises(SdkError, match=r"golden\.npz"):
        load_golden(tmp_path / "golden.npz", MANIFEST)


@pytest.mark.parametrize("keep", [0, 1, 30, 200])
def test_a_file_that_is_cut_off(keep: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "golden.npz")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SdkError, match="cannot be read"):
        load_golden(path, MANIFEST)


def test_a_stream_that_is_damaged(tmp_path: Path) -> None:
    """Its table of contents is whole, and the bits of an array are not."""
    path = saved(tmp_path / "golden.npz")
    content = path.read_bytes()
    path.write_bytes(content[:75] + bytes(byte ^ 0x5A for byte in content[75:120]) + content[120:])
    with pytest.raises(SdkError, match="cannot be read"):
        load_golden(path, MANIFEST)


def test_a_header_that_is_no_python(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in.random.x.npy", b"\x93NUMPY\x01\x00\x0b\x00{'descr' ((" + b"\0" * 24)
    with pytest.raises(SdkError, match="cannot be read"):
        load_golden(path, MANIFEST)
