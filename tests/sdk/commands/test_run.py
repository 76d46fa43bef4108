"""`sdk run --save` on a bundle of four colours, in ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdk.cli import main
from tests.runtime_py.colours import make_bundle

RED = (255, 0, 0)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    out = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out.out, out.err


def test_answers_are_drawn_beside_and_never_on_the_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, photo = make_bundle(tmp_path / "colours.bundle"), tmp_path / "wall.png"
    Image.new("RGB", (240, 160), RED).save(photo)
    before = photo.read_bytes()
    code, out, _ = run(capsys, "run", bundle, photo, "--save", "--out", tmp_path / "drawn", "--json")
    assert code == 0
    assert json.loads(out)[0]["saved"] == str(tmp_path / "drawn" / "wall.onnx.png")
    with Image.open(tmp_path / "drawn" / "wall.onnx.png") as drawn:
        assert drawn.size == (240, 160)
        assert (np.asarray(drawn) != RED).any(axis=2).mean() > 0.01
    assert photo.read_bytes() == before
    assert len(list((tmp_path / "drawn").iterdir())) == 1


def test_random_weights_are_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "wall.png"
    Image.new("RGB", (24, 16), RED).save(photo)
    for weights, said in (("random", True), ("colours.safetensors", False)):
        code, _, err = run(capsys, "run", make_bundle(tmp_path / f"{weights}.bundle", weights=weights), photo)
        assert code == 0
        assert ("random" in err) is said
