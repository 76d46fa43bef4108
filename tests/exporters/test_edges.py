"""Integer inputs and outputs in the runtimes themselves, beside the program in torch and beside floats at its ends."""

from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch.export import ExportedProgram

from exporters import TARGETS, load_exporter
from exporters.base import Options
from exporters.contents import contents
from runtime_py.engines import available, load_engine
from runtime_py.manifest import Artifact, Manifest
from sdk.quantize.edges import with_edges
from tests.exporters.support import installed
from tests.sdk.quantize.ended import INNER, INPUT, MANIFEST, SCORES, Ended, Whole, normalised, pixels, program

ABLE = [name for name, row in TARGETS.items() if "uint8" in row.io]
NAMES = ("image",), ("scores", "map", "share")
Arrays = dict[str, np.ndarray]


@pytest.fixture(params=ABLE)
def target(request: pytest.FixtureRequest) -> str:
    target = installed(request.param)
    if available(target):
        pytest.skip(f"{target}: {available(target)}")
    return target


def run(
    target: str, network: ExportedProgram, manifest: Manifest, folder: Path, given: list[np.ndarray]
) -> list[Arrays]:
    exporter = load_exporter(target)
    path = folder / f"{manifest.io}{exporter.suffix}"
    lowered = exporter.lower(network, Options("w8a8", *NAMES), path)
    found = contents(target, path)
    assert found is not None
    assert (found.integer_layers, found.layers) == (2, 2)
    artifact = Artifact(
        target=target, precision="w8a8", file=path.name, bytes=0, sha256="", status="executed",
        inputs=lowered.inputs, outputs=lowered.outputs,
    )  # fmt: skip
    engine = load_engine(target).load(path, artifact, manifest, 1)
    answers = [engine.run({"image": array}) for array in given]
    engine.close()
    for spec in manifest.outputs:
        assert answers[0][spec.name].dtype == spec.dtype
        assert answers[0][spec.name].shape == spec.shape
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("network", [Ended, Whole])
def test_a_target_answers_within_a_step(target: str, network: type[Ended], tmp_path: Path) -> None:
    images = [pixels(seed) for seed in range(8)]
    floats = [normalised(image) for image in images]
    before, manifest = program(network), MANIFEST
    with torch.no_grad():
        exact = [dict(zip(NAMES[1], before.module()(x), strict=True)) for x in floats]
    shapes = tuple(tuple(tensor.shape) for tensor in exact[0].values())
    outputs = tuple(msgspec.structs.replace(t, shape=s) for t, s in zip(manifest.outputs, shapes, strict=True))
    manifest = msgspec.structs.replace(manifest, outputs=outputs)
    given = {
        "int8": [torch.quantize_per_tensor(x, *INPUT, torch.qint8).int_repr().numpy() for x in floats],
        "uint8": [image.numpy() for image in images],
    }
    with_floats = run(target, before, manifest, tmp_path, [x.numpy() for x in floats])
    for io, arrays in given.items():
        found = run(target, *with_edges(before, manifest, io), tmp_path, arrays)
        shift = 128 if io == "uint8" else 0
        for own, *others in zip(found, with_floats, exact, strict=True):
            for name, (scale, zero_point) in (("scores", SCORES), ("map", INNER)):
                for other in others:
                    steps = own[name].astype(np.float64) - shift - zero_point - np.asarray(other[name]) / scale
                    assert np.abs(steps).max() < 1.01, (io, name)
            for other in others:
                np.testing.assert_allclose(own["share"], other["share"], atol=0.06)  # of a step of a score


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="LiteRT is not installed here")
@pytest.mark.slow
def test_a_tflite_says_what_its_integers_stand_for(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    if any(find_spec(package) is None for package in TARGETS["tflite"].packages):
        pytest.skip("the converter is not installed here")
    network, _ = with_edges(program(), MANIFEST, "int8")
    path = tmp_path / "net.tflite"
    load_exporter("tflite").lower(network, Options("w8a8", *NAMES), path)
    runner = Interpreter(str(path)).get_signature_runner()
    image = runner.get_input_details()["image"]
    assert image["dtype"] is np.int8
    assert image["quantization"] == pytest.approx(INPUT)
    for name, params in (("scores", SCORES), ("map", INNER)):
        assert runner.get_output_details()[name]["quantization"] == pytest.approx(params)
    assert runner.get_output_details()["share"]["dtype"] is np.float32
