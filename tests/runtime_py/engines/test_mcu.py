"""The engine of C sources, on a program that is written by hand and has a closed form."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from runtime_py.engines import EngineFailed
from runtime_py.engines.mcu import load
from runtime_py.manifest import Affine, Artifact, Manifest, Microcontroller, Tensor

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
SOURCE = """
/* The largest byte of each channel of an image in HWC; the error 7 where all bytes are equal. */
int model_invoke_image(const signed char *image, signed char *answer, void *arena) {
    int at, same = 1;
    for (at = 0; at < 3; at++) answer[at] = image[at];
    for (at = 0; at < 2 * 4 * 3; at++) {
        if (image[at] > answer[at % 3]) answer[at % 3] = image[at];
        if (image[at] != image[0]) same = 0;
    }
    ((int *)arena)[3]++;
    return same ? 7 : 0;
}
"""
MANIFEST = Manifest(
    model="largest", task="raw", inputs=(Tensor(name="photo", shape=(1, 3, 2, 4)),),
    outputs=(Tensor(name="logits", shape=(1, 3)),),
)  # fmt: skip
ARTIFACT = Artifact(
    target="mcu", precision="w8a8", file=".", bytes=0, sha256="largest", status="executed",
    mcu=Microcontroller(
        arena_bytes=16, macs=0, extra_macs=0, constant_bytes=0, whole_bytes=16,
        input=Affine(scale=1 / 64, zero_point=-10), output=Affine(scale=0.5, zero_point=3),
    ),
)  # fmt: skip


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    (folder := tmp_path / "largest").mkdir()
    (folder / "model.c").write_text(SOURCE)
    (folder / "kernels.c").write_text("int nothing_here;\n")
    return folder


def test_photos_become_bytes_and_answers_stay_as_they_are(sources: Path) -> None:
    engine = load(sources, ARTIFACT, MANIFEST, None)
    photos = np.random.default_rng(0).uniform(-2, 2, (5, 1, 3, 2, 4)).astype(np.float32)
    given = photos.copy()
    answers = [engine.run({"photo": photo})["logits"] for photo in given]
    assert np.array_equal(given, photos)
    for photo, answer in zip(photos, answers, strict=True):
        largest = np.clip(np.rint(photo.max((2, 3)) * 64) - 10, -128, 127)
        np.testing.assert_array_equal(answer, ((largest - 3) * 0.5).astype(np.float32))
    engine.close()


def test_bytes_are_taken_and_given_as_they_are(sources: Path) -> None:
    ends = replace(
        MANIFEST,
        inputs=(replace(MANIFEST.inputs[0], dtype="int8"),),
        outputs=(replace(MANIFEST.outputs[0], dtype="int8"),),
    )
    photo = np.random.default_rng(1).integers(-128, 128, (1, 3, 2, 4), np.int8)
    answer = load(sources, ARTIFACT, ends, None).run({"photo": photo})["logits"]
    assert answer.dtype == np.int8
    assert np.array_equal(answer, photo.max((2, 3)))


def test_an_error_of_the_program_is_named_and_the_next_photo_is_answered(sources: Path) -> None:
    engine = load(sources, ARTIFACT, MANIFEST, None)
    with pytest.raises(EngineFailed, match="gave the error 7"):
        engine.run({"photo": np.zeros((1, 3, 2, 4), np.float32)})
    assert engine.run({"photo": np.eye(4, dtype=np.float32)[None, None, :2].repeat(3, 1)})["logits"][0, 0] == 25.5


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 3, 2, 4)])
def test_what_is_no_single_image_is_refused(sources: Path, shape: tuple[int, ...]) -> None:
    other = replace(MANIFEST, inputs=(replace(MANIFEST.inputs[0], shape=shape),))
    with pytest.raises(EngineFailed, match=r"\(1, C, H, W\)"):
        load(sources, ARTIFACT, other, None)


def test_facts_and_a_compiler_that_refuses_are_asked_for(sources: Path) -> None:
    with pytest.raises(EngineFailed, match="says nothing about its input"):
        load(sources, replace(ARTIFACT, mcu=None), MANIFEST, None)
    (sources / "model.c").write_text("int model_invoke_image(")
    with pytest.raises(EngineFailed, match=r"model\.c"):
        load(sources, ARTIFACT, MANIFEST, None)
