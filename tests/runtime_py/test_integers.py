"""Integer inputs and outputs on the device, against torch's quantisation and Pillow's own pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py.bundle import NotABundle, describe
from runtime_py.integers import real, whole
from runtime_py.manifest import Affine, Artifact, Preprocessing, Tensor
from runtime_py.preprocess import normalised, pixels_of, to_input
from runtime_py.session import BadInput
from tests.runtime_py.colours import WEIGHT, make_bundle

PHOTOS = Path(__file__).parents[2] / "sdk" / "photos"
SCALES = [(0.0187234, -14), (0.02, 127), (1 / 255, -128), (0.5, 0), (7.3, 3)]
HOW: dict[str, Any] = {
    "input": "x", "mean_values": (123.675, 116.28, 103.53), "scale_values": (58.395, 57.12, 57.375)
}  # fmt: skip
FITS: list[dict[str, Any]] = [
    {"resize_type": "crop", "crop_fraction": 0.875}, {"resize_type": "standard", "color": "BGR"},
    {"resize_type": "letterbox", "pad_value": 114},
]  # fmt: skip


def tensor(dtype: str, scale: float, zero_point: int, shape: tuple[int, ...] = (1, 3, 48, 64)) -> Tensor:
    return Tensor(name="x", shape=shape, dtype=dtype, quantization=Affine(scale=scale, zero_point=zero_point))


@pytest.mark.parametrize(("scale", "zero_point"), SCALES)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_integers_are_torchs_to_the_last_bit(dtype: str, scale: float, zero_point: int) -> None:
    torch = pytest.importorskip("torch", reason="the reference is torch's own operator")
    pytest.importorskip("torch.ao.quantization.fx._decomposed")  # registers it

    shift = 128 if dtype == "uint8" else 0
    kind, limits = getattr(torch, dtype), (-128 + shift, 127 + shift)
    x = np.random.default_rng(0).normal(0, 60 * scale, 20_000).astype(np.float32)
    x[:512] = (np.arange(512, dtype=np.float32) / 2 - 128) * np.float32(scale)  # halves, and beyond both ends
    q, arguments = torch.ops.quantized_decomposed, (scale, zero_point + shift, *limits, kind)
    expected = q.quantize_per_tensor(torch.from_numpy(x), *arguments)
    spec = tensor(dtype, scale, zero_point + shift)
    found = whole(x, spec)
    assert found.dtype == dtype
    assert np.array_equal(found, expected.numpy())
    back = real(found, spec)
    assert back.dtype == np.float32
    assert np.array_equal(back, q.dequantize_per_tensor(expected, *arguments).numpy())


def test_floats_stay_what_they_are() -> None:
    x, spec = np.ones(3, np.float32), Tensor(name="x", shape=(3,))
    assert whole(x, spec) is x
    assert real(x, spec) is x


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("scale", "zero_point"), SCALES)
def test_a_photo_as_int8_is_its_floats_quantised(fit: dict[str, Any], scale: float, zero_point: int) -> None:
    how, spec = Preprocessing(width=64, height=48, **HOW, **fit), tensor("int8", scale, zero_point)
    found = to_input(PHOTOS / "coffee.png", how, spec)
    assert found.dtype == np.int8
    assert np.array_equal(found, whole(to_input(PHOTOS / "coffee.png", how), spec))


@pytest.mark.parametrize("fit", FITS)
def test_pixels_are_what_the_floats_are_made_of(fit: dict[str, Any]) -> None:
    folded = Preprocessing(width=64, height=48, folded=True, **HOW, **fit)
    spec = Tensor(name="x", shape=(1, 3, 48, 64), dtype="uint8")
    found = to_input(PHOTOS / "coffee.png", folded, spec)
    floats = to_input(PHOTOS / "coffee.png", Preprocessing(width=64, height=48, **HOW, **fit))
    assert found.dtype == np.uint8
    assert np.array_equal(normalised(found, folded), floats)
    assert np.array_equal(pixels_of(floats, folded), found)


def test_letterboxed_pixels_are_pillows_and_the_pad() -> None:
    image = Image.open(PHOTOS / "coffee.png").convert("RGB")
    how = Preprocessing(width=64, height=64, folded=True, pad_value=114, resize_type="letterbox", **HOW)
    found = to_input(image, how, Tensor(name="x", shape=(1, 3, 64, 64), dtype="uint8"))[0].transpose(1, 2, 0)
    high = round(image.height * 64 / image.width)
    top = (64 - high) // 2
    assert np.array_equal(found[top : top + high], np.asarray(image.resize((64, high), Image.Resampling.BILINEAR)))
    assert (found[:top] == 114).all()
    assert (found[top + high :] == 114).all()


INPUT, OUTPUT = Affine(scale=1 / 255, zero_point=-128), Affine(scale=4 / 255, zero_point=-128)


def save_onnx(path: Path) -> None:
    """The colours' network between int8: scores of 0 to 4."""
    onnx = pytest.importorskip("onnx", reason="onnx builds the test's network")
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "axes": np.array([2, 3], np.int64), "weight": np.ascontiguousarray(WEIGHT.T), "zero": np.array(-128, np.int8),
        "in_scale": np.array(INPUT.scale, np.float32), "out_scale": np.array(OUTPUT.scale, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "in_scale", "zero"], ["real"]),
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["sums"]),
        helper.make_node("QuantizeLinear", ["sums", "out_scale", "zero"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes, "colours", [helper.make_tensor_value_info("image", TensorProto.INT8, [1, 3, 8, 12])],
        [helper.make_tensor_value_info("scores", TensorProto.INT8, [1, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


@pytest.fixture
def int8_bundle(tmp_path: Path) -> Path:
    save_onnx(tmp_path / "int8.onnx")
    size, sha256 = describe(tmp_path / "int8.onnx")
    folder = make_bundle(
        tmp_path / "int8.bundle", io="int8",
        inputs=(Tensor(name="photo", shape=(1, 3, 8, 12), dtype="int8", quantization=INPUT),),
        outputs=(Tensor(name="logits", shape=(1, 4), dtype="int8", quantization=OUTPUT),),
        artifacts=(
            Artifact(target="onnx", precision="w8a8", file="colours.onnx", bytes=size, sha256=sha256,
                     status="executed", inputs=("image",), outputs=("scores",)),
        ),
    )  # fmt: skip
    (tmp_path / "int8.onnx").replace(folder / "colours.onnx")
    return folder


@pytest.mark.parametrize(("colour", "name"), [((255, 0, 0), "red"), ((20, 250, 30), "green"), ((0, 0, 200), "blue")])
def test_a_session_answers_photos_as_with_floats(
    int8_bundle: Path, bundle: Path, colour: tuple[int, int, int], name: str
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the test's network")
    photo = Image.new("RGB", (30, 20), colour)
    with runtime_py.load(int8_bundle) as session, runtime_py.load(bundle) as floats:
        answer, expected = session.classify(photo), floats.classify(photo)
        assert answer.top(1)[0].name == expected.top(1)[0].name == name
        np.testing.assert_allclose(answer.scores, expected.scores, atol=0.01)  # half a step of a logit


def test_run_takes_and_gives_the_integers(int8_bundle: Path) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the test's network")
    with runtime_py.load(int8_bundle) as session:
        array, place = session.prepare(Image.new("RGB", (30, 20), (255, 0, 0)))
        assert array.dtype == np.int8
        assert place.image == (30, 20)
        assert session.run({"photo": array})["logits"].tolist() == [[127, -128, -128, -128]]
        assert session.run_real({"photo": array})["logits"].tolist() == [[4.0, 0.0, 0.0, 0.0]]
        with pytest.raises(BadInput, match="float32"):
            session.run({"photo": array.astype(np.float32)})


@pytest.mark.parametrize(
    ("dtype", "affine"),
    [
        ("int8", Affine(scale=0.1, zero_point=200)), ("uint8", Affine(scale=0.1, zero_point=-1)),
        ("int8", Affine(scale=0.0, zero_point=0)), ("int8", Affine(scale=-1.0, zero_point=0)),
        ("float32", Affine(scale=0.1, zero_point=0)), ("uint8", None),
    ],
)  # fmt: skip
def test_integers_that_stand_for_nothing_are_refused(tmp_path: Path, dtype: str, affine: Affine | None) -> None:
    inputs = (Tensor(name="photo", shape=(1, 3, 8, 12), dtype=dtype, quantization=affine),)
    with pytest.raises(NotABundle, match="photo"):
        runtime_py.load(make_bundle(tmp_path / "bad.bundle", inputs=inputs))
