"""ExecuTorch's engine on a network with a closed form."""

from pathlib import Path

import numpy as np
import pytest

from runtime_py.engines import EngineFailed
from runtime_py.engines.executorch import load
from runtime_py.manifest import Artifact, Manifest, Tensor

pytest.importorskip("executorch", reason="needs ExecuTorch")
SHAPE = (1, 3, 2, 4)
MANIFEST = Manifest(
    model="two", task="raw", inputs=(Tensor(name="photo", shape=SHAPE),),
    outputs=(Tensor(name="sums", shape=(1, 3)), Tensor(name="double", shape=SHAPE)),
)  # fmt: skip
ARTIFACT = Artifact(target="executorch", precision="fp32", file="two.pte", bytes=0, sha256="", status="executed")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from executorch.exir import to_edge_transform_and_lower

    class Two(torch.nn.Module):
        def forward(self, photo: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return photo.sum((2, 3)), photo + photo

    exported = torch.export.export(Two(), (torch.zeros(SHAPE),))
    path = tmp_path_factory.mktemp("program") / "two.pte"
    path.write_bytes(to_edge_transform_and_lower(exported).to_executorch().buffer)
    return path


def test_answers_stay_as_they_are_and_inputs_too(program: Path) -> None:
    engine = load(program, ARTIFACT, MANIFEST, 1)
    photos = np.random.default_rng(0).random((5, *SHAPE), np.float32)
    given = photos.copy()
    answers = [engine.run({"photo": photo}) for photo in given]
    assert np.array_equal(given, photos)
    for photo, answer in zip(photos, answers, strict=True):
        assert list(answer) == ["sums", "double"]
        np.testing.assert_allclose(answer["sums"], photo.sum((2, 3)), rtol=1e-5)
        np.testing.assert_array_equal(answer["double"], 2 * photo)
    engine.close()


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_program_of_other_tensors_than_the_manifests_is_refused(program: Path, side: str) -> None:
    fewer = {"inputs": (), "outputs": MANIFEST.outputs[:1]}[side]
    manifest = Manifest(
        model="two", task="raw", **{"inputs": MANIFEST.inputs, "outputs": MANIFEST.outputs, side: fewer}
    )
    with pytest.raises(EngineFailed, match="takes 1 and gives 2"):
        load(program, ARTIFACT, manifest, 1)
