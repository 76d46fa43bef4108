"""The command: what it prints, and how it ends."""

import json
import re
from pathlib import Path

import pytest

from sdk.cli import main
from tests.sdk.evaluate.bundles import NETS, boxes, colours, solid


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, colour in enumerate([(255, 0, 0), (255, 0, 0), (255, 0, 0), (0, 255, 255)]):
        solid(tmp_path / "photos" / "red" / f"{number}.png", colour)
    return tmp_path / "photos"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["eval", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_json_is_a_list_of_rows_in_shares_of_one(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    (photos / "red" / "3.png").write_bytes(b"")
    bundle = colours(tmp_path / "a.bundle")
    code = run(
        bundle, "--data", photos, "--target", "onnx", "--model", f"{tmp_path}/nets.py:Colours", "--jobs", 2, "--json"
    )
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert code == 0
    assert [row["target"] for row in rows] == ["pytorch", "onnx"]
    for row in rows:
        assert {"top1": 1.0, "top5": 1.0, "images": 3, "status": "executed", "precision": "fp32"}.items() <= row.items()
        assert row["seconds"] >= 0
        assert row["error"] is None
    assert [[row[name] for name in ("drop", "drop_low", "drop_high")] for row in rows] == [[None] * 3, [0.0] * 3]
    assert "1 samples could not be used" in printed.err
    assert "red/3.png is empty" in printed.err


def test_the_table_is_in_percent_and_a_failed_target_ends_with_1(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(colours(tmp_path / "a.bundle"), "--data", photos, "--no-pytorch", "--threads", 1, "--limit", 3)
    printed = capsys.readouterr()
    assert code == 1
    lines = printed.out.splitlines()
    assert lines[0].split("  ")[0] == "target"
    assert "drop, points  95 % interval  samples" in lines[0]
    assert lines[1].split()[:8] == ["onnx", "fp32", "executed", "66.67", "66.67", "-", "-", "3"]
    assert lines[2].split()[:3] == ["tflite", "fp32", "failed"]
    assert "tflite: " in printed.out
    assert "no benchmark" in printed.out
    assert "3 of 4 images" in printed.out
    assert lines[-1].startswith("no drop is known")
    assert "onnx: 3 of 3" in printed.err


def test_the_last_line_tells_the_worst_drop(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    model = f"{tmp_path}/nets.py:Colours"
    told, drops = [], []
    for name in ("same", "swapped"):
        bundle = colours(tmp_path / f"{name}.bundle", swapped=name == "swapped")
        assert run(bundle, "--data", photos, "-t", "onnx", "--model", model, "-j", 2) == 0
        lines = capsys.readouterr().out.splitlines()
        told.append(lines[-1])
        drops.append(re.split(r" {2,}", lines[2])[5:7])
    assert drops == [["+0.00", "+0.0 .. +0.0"], ["+50.00", "-50.0 .. +100.0"]]  # 3 of 4 lost, one won
    assert told == ["no target falls behind PyTorch", "worst drop against PyTorch: onnx, 50.00 points of top-1"]


def test_details_of_a_detector_come_with_verbose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    solid(tmp_path / "val" / "1.png", (230, 0, 0), (32, 32))
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [4, 4, 8, 8]}],
        "categories": [{"id": 1, "name": "box"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    bundle = boxes(tmp_path / "a.bundle")
    given = (bundle, "--data", tmp_path / "a.json", "--images", tmp_path / "val", "-t", "onnx", "--no-pytorch", "-v")
    assert run(*given) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["box", "100.00"] in table
    assert ["ap_small", "100.00"] in table
    assert run(*given, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["map50_95"] == pytest.approx(1.0)
    assert row["ap_by_class"] == pytest.approx({"box": 1.0})


def test_a_mistake_is_told_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solid(tmp_path / "photos" / "rad" / "0.png", (255, 0, 0))
    assert run(colours(tmp_path / "a.bundle"), "--data", tmp_path / "photos") == 1
    printed = capsys.readouterr()
    assert "'rad'" in printed.err
    assert "nearest labels: red" in printed.err
    assert run(tmp_path / "a.bundle", "--data", tmp_path / "nowhere", "--json") == 1
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "bad-data"
