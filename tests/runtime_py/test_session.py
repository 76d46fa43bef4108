import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py.errors import SdkError
from tests.runtime_py.colours import WEIGHT, make_bundle

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")


def test_a_photo_gets_the_closed_forms_answer(bundle: Path) -> None:
    with runtime_py.load(bundle, threads=1) as session:
        answer = session(Image.new("RGB", (30, 20), (51, 255, 0)))
    logits = WEIGHT @ np.array([0.2, 1.0, 0.0])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-6)
    assert answer.label == "green"
    assert [row.name for row in answer.top(2)] == ["green", "red"]
    assert answer.top(2)[0].score == pytest.approx(expected[1], rel=1e-6)
    assert len(list(answer)) == 4


def test_a_list_of_photos_gets_a_list(bundle: Path) -> None:
    session = runtime_py.load(bundle)
    photos = [np.full((9, 9, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255))]
    assert [answer.label for answer in session(photos)] == ["red", "blue"]


def test_the_raw_way_goes_by_the_manifests_names(bundle: Path) -> None:
    session = runtime_py.load(bundle, "onnx")
    assert session.spec.inputs[0].name == "photo"
    assert session.spec.inputs[0].shape == (1, 3, 8, 12)
    found = session.run({"photo": np.ones((1, 3, 8, 12), np.float32)})
    np.testing.assert_allclose(found["logits"], WEIGHT.sum(1)[None], rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"image": np.zeros((1, 3, 8, 12), np.float32)}, "photo"),
        ({"photo": np.zeros((1, 3, 12, 8), np.float32)}, r"\(1, 3, 12, 8\)"),
        ({"photo": np.zeros((1, 3, 8, 12))}, "float64"),
        ({"photo": np.zeros((1, 3, 8, 12), ">f4")}, ">f4"),
        ({"photo": np.zeros((1, 3, 8, 12), np.int32)}, "int32"),
        ({"photo": [1.0]}, "list"),
    ],
)
def test_other_inputs_are_refused(bundle: Path, inputs: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(SdkError, match=words):
        runtime_py.load(bundle).run(inputs)


@pytest.mark.parametrize("kind", ["a subclass", "another order", "a part", "one row's own stride", "an unpickled type"])
def test_every_array_of_the_right_numbers_is_taken(bundle: Path, kind: str) -> None:
    photo = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    arrays = {
        "a subclass": photo.view(np.recarray),
        "another order": np.asfortranarray(photo),
        "a part": np.repeat(np.repeat(photo, 2, 0), 2, 3)[::2, :, :, ::2],
        "one row's own stride": np.repeat(photo, 2, 0)[::2],
        "an unpickled type": photo.astype(pickle.loads(pickle.dumps(photo.dtype))),
    }
    found = runtime_py.load(bundle, "onnx").run({"photo": arrays[kind]})
    np.testing.assert_allclose(found["logits"], photo.mean((2, 3)) @ WEIGHT.T, rtol=1e-5)


def test_a_raw_bundle_says_how_to_use_it(tmp_path: Path) -> None:
    session = runtime_py.load(make_bundle(tmp_path / "raw.bundle", task="raw", postprocessing=None, labels=()))
    with pytest.raises(SdkError, match=r"session\.run"):
        session(np.zeros((9, 9, 3), np.uint8))


def test_why_says_what_was_taken(bundle: Path) -> None:
    assert "onnx" in runtime_py.load(bundle).why
    assert runtime_py.load(bundle, "onnx").why == "onnx: asked for"


def test_a_target_that_the_bundle_lacks(bundle: Path) -> None:
    with pytest.raises(SdkError, match="one of onnx"):
        runtime_py.load(bundle, "tflite")


def test_a_missing_runtime_names_its_extra(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime_py.engines.find_spec", lambda name: None)
    with pytest.raises(SdkError, match=r"edge-sdk\[onnxruntime\]"):
        runtime_py.load(bundle, "onnx")
    with pytest.raises(SdkError, match=r"edge-sdk\[onnxruntime\]"):
        runtime_py.load(bundle)


def test_a_file_that_the_runtime_refuses(tmp_path: Path) -> None:
    from runtime_py.bundle import open_bundle
    from runtime_py.engines import load_engine

    whole = open_bundle(make_bundle(tmp_path / "x.bundle"))
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(SdkError, match=r"ONNX Runtime refused bad\.onnx"):
        load_engine("onnx").load(tmp_path / "bad.onnx", whole.manifest.artifacts[0], whole.manifest, None)


def test_a_closed_session_says_so(bundle: Path) -> None:
    session = runtime_py.load(bundle)
    session.close()
    session.close()
    with pytest.raises(SdkError, match="closed"):
        session.run({"photo": np.ones((1, 3, 8, 12), np.float32)})


def test_importing_loads_no_torch_and_no_runtime() -> None:
    code = "import sys, runtime_py; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {
        "torch",
        "numpy",
        "onnxruntime",
        "ai_edge_litert",
        "openvino",
        "executorch",
        "coremltools",
        "PIL",
    }


def test_everything_that_is_exported_exists_and_is_sorted() -> None:
    assert runtime_py.__all__ == sorted(runtime_py.__all__)
    assert all(hasattr(runtime_py, name) for name in runtime_py.__all__)
