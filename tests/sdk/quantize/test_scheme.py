"""What `--io` is refused for, before anything is captured."""

from pathlib import Path

import pytest

import sdk
from exporters import ALL
from runtime_py.errors import UnknownName
from sdk.quantize.edges import NoPixels
from sdk.quantize.scheme import CannotTake, check_io, check_scheme

NETS = str(Path(__file__).parents[1] / "nets.py")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "w8", "w4", "w8a16"])
def test_floats_inside_have_no_integers_at_their_ends(precision: str) -> None:
    with pytest.raises(CannotTake, match=f"--io int8 with --precision {precision}") as caught:
        check_io("int8", precision, ["onnx"])
    assert "w8a8 or mixed" in caught.value.expected
    check_io("float32", precision, list(ALL))


def test_core_ml_says_what_it_can_take() -> None:
    with pytest.raises(CannotTake, match=r"coreml cannot take --io uint8: Core ML's arrays") as caught:
        check_io("uint8", "w8a8", ["coreml", "tflite"])
    assert caught.value.expected == "coreml: float32"
    assert "--target tflite" in caught.value.hint
    check_io("uint8", "mixed", [name for name in ALL if name != "coreml"])


def test_only_litert_computes_in_16_bits() -> None:
    assert check_scheme("w8a16", ["tflite"]).calibrated
    with pytest.raises(CannotTake, match="cannot take w8a16: of these runtimes LiteRT alone") as caught:
        check_scheme("w8a16", list(ALL))
    assert caught.value.hint.endswith("--target tflite")


def test_another_name_is_told_the_right_ones() -> None:
    with pytest.raises(UnknownName, match="int16"):
        check_io("int16", "w8a8", ["onnx"])


@pytest.mark.parametrize(
    "options",
    [{"precision": "fp32"}, {"precision": "w8a8", "targets": "all"}, {"precision": "w8a8", "io": "bytes"}],
)
def test_an_export_is_refused_before_anything_is_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    monkeypatch.setattr("sdk.exporting.find_source", lambda *_: pytest.fail("the network was made"))
    with pytest.raises((CannotTake, UnknownName)):
        sdk.export(f"{NETS}:mixed", **{"targets": "onnx", "io": "int8", "out": tmp_path} | options)
    assert not list(tmp_path.iterdir())


def test_pixels_are_refused_before_anything_is_quantised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk.exporting.quantised", lambda *_: pytest.fail("the network was quantised"))
    with pytest.raises(NoPixels):
        sdk.export(
            f"{NETS}:two_inputs", "onnx", inputs=[(1, 8), (1, 6)], precision="w8a8", io="uint8",
            calibration=tmp_path, out=tmp_path / "out",
        )  # fmt: skip
    assert not list((tmp_path / "out").glob("*.bundle"))
