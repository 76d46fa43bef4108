"""`--io` from end to end: the same photo to the same answer, through every runtime that takes integers."""

import json
from pathlib import Path

import numpy as np
import pytest

import runtime_py
import sdk
from exporters import TARGETS
from runtime_py.bundle import open_bundle
from sdk.evaluate import evaluate
from sdk.progress import Progress
from sdk.results import ExportResult
from sdk.verifying import PreprocessingDiffers
from tests.sdk.photos import write_photos

pytestmark = pytest.mark.usefixtures("warm_workers")

NETS = str(Path(__file__).parent / "nets.py")
PHOTOS = Path(sdk.__file__).parent / "photos"
SHAPE = (1, 3, 32, 48)
ABLE = tuple(name for name, row in TARGETS.items() if "uint8" in row.io)
LABELS = ("dark", "light", *(f"shade {index}" for index in range(8)))
IOS = ("float32", "int8", "uint8")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), {"dark": (0, 128), "light": (128, 256)})


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    return {io: [] for io in IOS}


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, photos: Path, said: dict[str, list[str]]
) -> dict[str, ExportResult]:
    """The same network three times, quantised once, gated on data; in each of the runtimes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_SDK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return {
            io: sdk.export(
                f"{NETS}:shades", ABLE, inputs=[SHAPE], labels=LABELS, precision="w8a8", io=io,
                calibration=photos, calibration_size=40, eval_data=photos, max_drop=100.0,
                out=tmp_path_factory.mktemp(io), jobs=2, progress=Progress(say=said[io].append),
            )
            for io in IOS
        }  # fmt: skip


def folder_of(result: ExportResult) -> Path:
    assert result.bundle is not None
    return result.bundle


@pytest.mark.slow
@pytest.mark.parametrize("target", ABLE)
def test_a_photo_has_the_same_answer_whatever_goes_in(exported: dict[str, ExportResult], target: str) -> None:
    step = exported["int8"].manifest.outputs[0].quantization.scale  # type: ignore[union-attr]
    logits: dict[str, list[np.ndarray]] = {}
    for io, result in exported.items():
        assert result.ok, result.to_dict()
        with runtime_py.load(folder_of(result), target) as session:
            given = [session.prepare(PHOTOS / name)[0] for name in ("chelsea.png", "coffee.png")]
            assert {array.dtype.name for array in given} == {io}
            assert session.run({"picture": given[0]})["logits"].dtype == io
            logits[io] = [session.run_real({"picture": array})["logits"] for array in given]
            session.classify(PHOTOS / "chelsea.png")
    for io in IOS[1:]:
        for found, expected in zip(logits[io], logits["float32"], strict=True):
            assert np.abs(found - expected).max() <= 1.01 * step


@pytest.mark.slow
def test_the_manifest_says_how_to_fill_the_input(exported: dict[str, ExportResult]) -> None:
    for io in IOS:
        manifest = open_bundle(folder_of(exported[io])).manifest
        assert (manifest.io, manifest.inputs[0].dtype, manifest.outputs[0].dtype) == (io, io, io)
        assert (manifest.inputs[0].quantization is not None) == (io == "int8")
        assert manifest.preprocessing is not None
        assert manifest.preprocessing.folded == (io == "uint8")
        report = (folder_of(exported[io]) / "report.html").read_text(encoding="utf-8")
        assert ("Bytes as they are" in report) == (io == "uint8")
        assert ("clipped to int8" in report) == (io == "int8")


@pytest.mark.slow
def test_the_console_says_what_became_an_integer(exported: dict[str, ExportResult], said: dict[str, list[str]]) -> None:
    assert exported["uint8"].ok
    assert "--io uint8: input picture uint8, output logits uint8" in said["uint8"]
    assert not any("--io" in text for text in said["float32"])


@pytest.mark.slow
def test_proofs_and_scores_are_those_of_floats(exported: dict[str, ExportResult]) -> None:
    """Golden answers are compared as real numbers, and the float network takes floats, whatever the files take."""
    for io in IOS[1:]:
        for row, plain in zip(exported[io].targets, exported["float32"].targets, strict=True):
            assert row.artifact is not None
            assert plain.artifact is not None
            assert row.artifact.sqnr_db == pytest.approx(plain.artifact.sqnr_db, abs=1.0)
            assert row.artifact.accuracy is not None
            assert plain.artifact.accuracy is not None
            assert row.artifact.accuracy.reference == plain.artifact.accuracy.reference


@pytest.mark.slow
def test_golden_inputs_are_of_the_files_own_type(exported: dict[str, ExportResult]) -> None:
    for io in IOS:
        with np.load(folder_of(exported[io]) / "golden.npz") as golden:
            assert golden["in.photo.picture"].dtype == io
            assert golden["out.photo.logits"].dtype == np.float32
            assert ("real.photo.picture" in golden.files) == (io != "float32")


@pytest.mark.slow
@pytest.mark.parametrize("io", IOS[1:])
def test_a_bundle_is_verified_and_evaluated_from_itself_alone(
    exported: dict[str, ExportResult], photos: Path, io: str
) -> None:
    folder = folder_of(exported[io])
    result = sdk.verify(folder)
    assert result.ok, result.to_dict()
    found = {row.target: row for row in evaluate(folder, photos, model=f"{NETS}:shades")}
    assert set(found) == {"pytorch", *ABLE}
    assert all(row.error is None for row in found.values()), found


@pytest.mark.slow
def test_another_scale_than_the_files_is_found(exported: dict[str, ExportResult], tmp_path: Path) -> None:
    import hashlib
    import shutil

    folder = tmp_path / "changed.bundle"
    shutil.copytree(folder_of(exported["int8"]), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["inputs"][0]["quantization"]["zero_point"] += 1
    text = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}  manifest.json\n")
    with pytest.raises(PreprocessingDiffers):
        sdk.verify(folder)
