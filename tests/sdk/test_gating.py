"""The gate, on real weights and photos: what loses too much never becomes a bundle."""

from pathlib import Path

import msgspec
import pytest
import torch

from runtime_py.bundle import describe
from runtime_py.manifest import Artifact, Manifest, Quantization
from sdk.gating import AGREEMENT, QUALITY_DB, AccuracyLost, check_quality, gated
from sdk.progress import Progress
from sdk.results import TargetResult


def record(sqnr_db: float, agreement: float | None) -> Quantization:
    return Quantization(scheme="w8a8", program_sha256="0" * 64, sqnr_db=sqnr_db, agreement=agreement)


def test_a_program_that_answers_alike_passes() -> None:
    check_quality(record(QUALITY_DB, AGREEMENT))
    check_quality(record(QUALITY_DB, None))


@pytest.mark.parametrize(("sqnr_db", "agreement"), [(QUALITY_DB - 0.1, 1.0), (30.0, AGREEMENT - 0.01), (-200.0, None)])
def test_one_that_does_not_is_refused_with_both_figures(sqnr_db: float, agreement: float | None) -> None:
    with pytest.raises(AccuracyLost) as caught:
        check_quality(record(sqnr_db, agreement))
    assert f"{sqnr_db:.1f} dB" in caught.value.given
    assert "--precision mixed" in caught.value.hint


@pytest.mark.slow
def test_ranges_cut_to_a_tenth_are_refused_on_real_photos(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MCUNet-in3 with each ReLU6's range a tenth of what it should be: executed, and refused for its accuracy."""
    from exporters import load_exporter
    from exporters.base import Options
    from runtime_py.golden import Golden
    from sdk.capture import capture
    from sdk.golden import save_golden
    from sdk.programs import save_program
    from sdk.quantize import recipes
    from sdk.quantize.calibration import read_calibration
    from sdk.quantize.ranges import Observer, find_ranges
    from sdk.source import Wishes
    from sdk.sources import find_source

    def clipped(observer: Observer) -> dict[str, tuple[float, float]]:
        cut = {node.name for node in observer.seen if node.target is torch.ops.aten.hardtanh.default}
        assert cut
        return {
            name: (low / 10, high / 10) if name in cut else (low, high)
            for name, (low, high) in find_ranges(observer).items()
        }

    monkeypatch.setattr(recipes, "find_ranges", clipped)
    data = shared / "data" / "imagenette224_val500.zip"
    source = find_source("mcunet_in3", Wishes(weights=str(shared / "weights" / "mcunet_in3_imagenet.pth")))
    captured = capture(source)
    manifest = Manifest(
        model="mcunet_in3", task="classify", inputs=captured.inputs, outputs=captured.outputs, labels=source.labels,
        preprocessing=source.preprocessing(captured.inputs[0].name),
        postprocessing=source.postprocessing(captured.inputs, captured.outputs),
    )  # fmt: skip
    save_program(captured.program, tmp_path / "float.pt2")
    samples = read_calibration(data, manifest, size=32, work=tmp_path)

    def images(count: int) -> list[tuple[torch.Tensor, ...]]:
        return [tuple(map(torch.from_numpy, arrays.values())) for arrays in samples.part(count)]

    ready = recipes.prepared(captured.program, images, equalised=False)
    network = recipes.quantised(ready, recipes.Recipe(searched=True), images, 16)
    folder = tmp_path / "bundle"
    folder.mkdir()
    names = [tuple(tensor.name for tensor in side) for side in (manifest.inputs, manifest.outputs)]
    lowered = load_exporter("onnx").lower(
        torch.export.export(network, captured.examples), Options("w8a8", *names), folder / "net.onnx"
    )
    first = next(iter(samples))
    answer = captured.answer(tuple(map(torch.from_numpy, first.values())))[0].numpy()
    save_golden(Golden({"photo": first}, {"photo": {names[1][0]: answer}}, None), folder / "golden.npz")
    size, digest = describe(folder / "net.onnx")
    artifact = Artifact(
        target="onnx", precision="w8a8", file="net.onnx", bytes=size, sha256=digest, status="executed",
        inputs=lowered.inputs, outputs=lowered.outputs,
    )  # fmt: skip
    row = TargetResult("onnx", "executed", 1.0, 1.0, artifact)
    (judged,) = gated((row,), manifest, folder, tmp_path, data, None, 1.0, Progress())
    assert judged.status == "failed"
    assert judged.error is not None
    assert judged.error["id"] == "accuracy-lost"
    assert judged.artifact is not None
    found = judged.artifact.accuracy
    assert found is not None
    assert found.samples == 500
    assert abs(found.reference - 0.628) < 0.003  # the published weights' known answer
    assert found.low <= found.drop <= found.high
    assert found.low > 0.01
    (spared,) = gated((row,), msgspec.structs.replace(manifest), folder, tmp_path, data, None, 100.0, Progress())
    assert spared.status == "executed"
