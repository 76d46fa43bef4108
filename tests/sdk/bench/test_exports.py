"""Exports are made once, and made anew where what determines them is another."""

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sdk.bench import exports
from sdk.bench.exports import Found, Unmade, find_or_make, subject_of
from sdk.bench.plan import Network
from tests.runtime_py.test_choice import with_artifacts

NETWORK = Network(model="mcunet_in0", name="mcunet_in0")


class Exporting:
    """`sdk export` as a process would answer, with bundles that hold the targets of `able`."""

    def __init__(self, *able: str) -> None:
        self.able, self.commands = able, list[list[str]]()

    def __call__(self, command: Sequence[str]) -> dict[str, Any]:
        self.commands.append(list(command))
        option = dict(pairwise(command))
        targets = option["--target"].split(",")
        made = [target for target in targets if target in self.able]
        place = Path(option["--out"]) / f"{option['--name']}.bundle"
        if made:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                shutil.rmtree(place)
            with_artifacts(place, *[target for target in made if target != "onnx"])
        error = {"id": "operator", "given": "no such operator", "hint": "another target"}
        return {"targets": [{"target": name} if name in made else {"target": name, "error": error} for name in targets]}

    def last(self, option: str) -> str:
        command = self.commands[-1]
        return command[command.index(option) + 1] if option in command else ""


@pytest.fixture
def exporting(monkeypatch: pytest.MonkeyPatch) -> Exporting:
    found = Exporting("onnx", "tflite", "openvino")
    monkeypatch.setattr(exports, "_answer", found)
    return found


def make(folder: Path, *targets: str, network: Network = NETWORK, precision: str = "fp32") -> dict[str, Any]:
    return find_or_make(network, precision, targets, folder, lambda text: None)


def test_a_target_is_exported_once_and_one_that_failed_again(exporting: Exporting, tmp_path: Path) -> None:
    first = make(tmp_path, "onnx", "executorch")
    assert isinstance(first["onnx"], Found)
    assert first["executorch"] == Unmade("failed", "no such operator", "another target")
    again = make(tmp_path, "onnx", "executorch", "tflite")
    assert exporting.last("--target") == "executorch,tflite"
    assert again["onnx"] == first["onnx"]
    assert again["tflite"].bundle != first["onnx"].bundle
    assert again["tflite"].bundle.name != first["onnx"].bundle.name, "on a device they lie in one folder"
    make(tmp_path, "onnx", "tflite")
    assert len(exporting.commands) == 2


def test_a_damaged_export_is_made_anew(exporting: Exporting, tmp_path: Path) -> None:
    found = make(tmp_path, "onnx")["onnx"]
    (found.bundle / "colours.onnx").write_bytes(b"half")
    assert isinstance(make(tmp_path, "onnx")["onnx"], Found)
    assert len(exporting.commands) == 2


@pytest.mark.usefixtures("exporting")
def test_what_determines_a_file_is_in_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"1")
    own = Network(model="mcunet_in0", weights=str(weights))
    keys = [
        subject_of(NETWORK, "fp32", "onnx"),
        subject_of(NETWORK, "fp16", "onnx"),
        subject_of(Network(model="mcunet_in1"), "fp32", "onnx"),
        subject_of(Network(model="mcunet_in0", input_size=96), "fp32", "onnx"),
        subject_of(own, "fp32", "onnx"),
    ]
    weights.write_bytes(b"12")
    keys.append(subject_of(own, "fp32", "onnx"))
    assert len(set(keys)) == len(keys)
    assert subject_of(Network(model="mcunet_in0", name="another"), "fp32", "onnx") == keys[0]
    photos = Network(model="mcunet_in0", calibration=str(tmp_path))
    assert subject_of(photos, "fp32", "onnx") == keys[0], "nothing is calibrated"
    assert subject_of(photos, "w8a8", "onnx") != subject_of(NETWORK, "w8a8", "onnx")
    monkeypatch.setattr(exports, "versions", lambda packages: {"edge-sdk": "99"})
    assert subject_of(NETWORK, "fp32", "onnx") != keys[0]


def test_the_photos_of_the_sdk_calibrate_where_none_are_named(exporting: Exporting, tmp_path: Path) -> None:
    make(tmp_path, "onnx", precision="w8a8")
    assert exporting.last("--calibration").endswith("photos")
    make(tmp_path, "onnx", precision="w8a8", network=Network(model="mcunet_in0", calibration="/own"))
    assert exporting.last("--calibration") == "/own"
    make(tmp_path, "onnx", network=Network(model="mcunet_in0", weights="in1k", input_size=96))
    assert (exporting.last("--calibration"), exporting.last("--weights"), exporting.last("--input-size")) == (
        "", "in1k", "96"
    )  # fmt: skip


def test_a_precision_that_a_target_has_not_is_absent_with_the_reason(exporting: Exporting, tmp_path: Path) -> None:
    found = make(tmp_path, "executorch", "onnx", precision="w8")
    assert found["executorch"].outcome == "absent"
    assert "XNNPACK" in found["executorch"].why
    assert exporting.last("--target") == "onnx"


def test_what_the_sdk_refuses_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = {"id": "accuracy-lost", "given": "SQNR 3 dB", "hint": "another precision"}
    monkeypatch.setattr(exports, "_answer", lambda command: {"error": error})
    assert make(tmp_path, "onnx", "tflite", precision="w8a8") == dict.fromkeys(
        ("onnx", "tflite"), Unmade("refused", "SQNR 3 dB", "another precision")
    )


def test_a_process_that_dies_is_an_error_with_its_last_words() -> None:
    import sys

    said = exports._answer([sys.executable, "-c", "import sys; print('x', file=sys.stderr); sys.exit(3)"])
    assert said == {"error": {"given": "x"}}
    silent = exports._answer([sys.executable, "-c", "raise SystemExit(3)"])
    assert silent == {"error": {"given": "the export ended with code 3"}}


def test_a_ready_bundle_is_taken_as_it_is(tmp_path: Path) -> None:
    with_artifacts(tmp_path / "x.bundle", "tflite")
    ready = Network(bundle=str(tmp_path / "x.bundle"), name="x")
    found = find_or_make(ready, "fp32", ["onnx", "tflite"], tmp_path / "exports", print)
    assert {one.bundle for one in found.values() if isinstance(one, Found)} == {tmp_path / "x.bundle"}
    assert len({subject_of(ready, "fp32", target) for target in ("onnx", "tflite")}) == 2
    assert not (tmp_path / "exports").exists()
