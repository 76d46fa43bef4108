"""`--target mcu` from end to end: exported, loaded, asked, verified, scored, and tampered with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime_py
import sdk
from exporters.base import McuOptions
from runtime_py.bundle import open_bundle
from runtime_py.engines import available
from runtime_py.errors import SdkError
from sdk.cli import main
from sdk.evaluate import evaluate
from sdk.results import ExportResult
from sdk.verifying import verify
from tests.sdk.photos import write_photos

NETS = str(Path(__file__).parent / "nets.py")
SHAPE = (1, 3, 32, 48)
LABELS = ("dark", "light", *(f"shade {index}" for index in range(8)))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("warm_workers"),
    pytest.mark.skipif(available("mcu") is not None, reason=str(available("mcu"))),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), {"dark": (0, 128), "light": (128, 256)})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, photos: Path, cache: Path) -> ExportResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_SDK_CACHE", str(cache))
        return sdk.export(
            f"{NETS}:shades", "mcu,tflite", inputs=[SHAPE], labels=LABELS, precision="w8a8",
            calibration=photos, calibration_size=40, out=tmp_path_factory.mktemp("out"), jobs=1,
        )  # fmt: skip


def bundle_of(result: ExportResult) -> Path:
    assert result.bundle is not None, result.to_dict()
    return result.bundle


def test_the_folder_holds_what_a_project_needs(exported: ExportResult) -> None:
    folder = bundle_of(exported) / "mcu"
    assert {path.name for path in folder.iterdir()} >= {
        "model.h", "model.c", "kernels.c", "kernels.h", "golden_test.c", "Makefile", "CMakeLists.txt", "README.md",
    }  # fmt: skip
    artifact = next(one for one in open_bundle(bundle_of(exported)).manifest.artifacts if one.target == "mcu")
    assert artifact.status == "executed"
    assert artifact.mcu is not None
    assert artifact.mcu.arena_bytes <= artifact.mcu.whole_bytes
    assert f"#define MODEL_ARENA_BYTES {artifact.mcu.arena_bytes} " in (folder / "model.h").read_text()
    assert artifact.contents is not None
    assert artifact.contents.int8_share == 1.0
    assert bool(artifact.mcu.emulations) != bool(artifact.mcu.not_emulated)


def test_it_answers_as_litert_does(exported: ExportResult) -> None:
    photo = Image.open(Path(sdk.__file__).parent / "photos" / "chelsea.png")
    with runtime_py.load(bundle_of(exported), "mcu") as own, runtime_py.load(bundle_of(exported), "tflite") as other:
        assert own.classify(photo).label == other.classify(photo).label
        array, _ = own.prepare(photo)
        name = own.spec.inputs[0].name
        answers = [next(iter(session.run_real({name: array}).values())) for session in (own, other)]
        assert own.artifact.mcu is not None
        assert np.abs(answers[0] - answers[1]).max() <= 3 * own.artifact.mcu.output.scale
        again = next(iter(own.run_real({name: array}).values()))
        assert np.array_equal(again, answers[0])


def test_it_is_verified_from_its_files_and_scored(exported: ExportResult, photos: Path) -> None:
    assert all(row.status != "failed" for row in verify(bundle_of(exported)))
    rows = evaluate(bundle_of(exported), photos, targets="mcu")
    assert rows


def test_a_changed_source_is_refused_before_it_is_compiled(exported: ExportResult, tmp_path: Path) -> None:
    copy = tmp_path / "changed.bundle"
    shutil.copytree(bundle_of(exported), copy)
    with (copy / "mcu" / "kernels.c").open("a") as file:
        file.write("int evil;\n")
    with pytest.raises(SdkError) as caught:
        runtime_py.load(copy, "mcu")
    assert caught.value.id == "corrupt-bundle"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(str(ended.value.code)), capsys.readouterr().out


def test_the_command_line_says_what_it_takes(
    photos: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(cache))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    arguments = [
        "export", f"{NETS}:shades", "--input", "1,3,32,48", "--target", "mcu", "--precision", "w8a8",
        "--calibration", str(photos), "--calibration-size", "40", "--labels", str(tmp_path / "labels.txt"),
        "--out", str(tmp_path),
    ]  # fmt: skip
    code, text = run(capsys, *arguments, "--arena", "dynamic")
    assert code == 0, text
    assert "arena" in text
    assert "#define MODEL_ARENA_DYNAMIC" in (tmp_path / "shades.bundle" / "mcu" / "model.h").read_text()
    code, text = run(capsys, *arguments, "--sram", "1kB", "--json")
    assert code == 1
    assert json.loads(text)["targets"][0]["error"]["id"] == "over-budget"


def test_another_precision_is_refused_before_work_starts() -> None:
    with pytest.raises(SdkError) as caught:
        sdk.export(f"{NETS}:shades", "mcu", inputs=[SHAPE], precision="fp16", mcu=McuOptions())
    assert caught.value.id == "precision-refused"
    assert "bytes" in caught.value.given
