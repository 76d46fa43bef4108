"""Whole evaluations, each artifact in a process of its own."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from runtime_py.bundle import NotABundle
from runtime_py.errors import SdkError, UnknownName
from sdk.evaluate import EvalResult, EvalRow, evaluate
from sdk.evaluate.datasets import BadData
from tests.sdk.evaluate.bundles import NETS, boxes, colours, frames, solid

RED, YELLOW, CYAN = (255, 0, 0), (255, 255, 0), (0, 255, 255)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight images: five as their folders say, two that their class comes near to, one that it does not."""
    for number in range(4):
        solid(tmp_path / "photos" / "red" / f"{number}.png", RED)
    solid(tmp_path / "photos" / "cyan" / "0.png", CYAN)
    solid(tmp_path / "photos" / "yellow" / "0.png", RED)  # second to fourth: among the five
    solid(tmp_path / "photos" / "Magenta" / "0.png", RED)
    solid(tmp_path / "photos" / "4" / "0.png", RED)  # cyan is the corner opposite: last of seven
    return tmp_path / "photos"


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


def row(result: EvalResult, target: str) -> EvalRow:
    return next(one for one in result if one.target == target)


def test_a_classifier_is_scored_beside_pytorch_and_a_broken_artifact_fails_alone(
    tmp_path: Path, photos: Path, nets: Path
) -> None:
    seen: list[tuple[str, int, int]] = []
    result = evaluate(
        colours(tmp_path / "a.bundle"), photos, model=f"{nets}:Colours", threads=1, jobs=3,
        watch=lambda name, done, of: seen.append((name, done, of)),
    )  # fmt: skip
    for target in ("pytorch", "onnx"):
        assert row(result, target).metrics == {"top1": 5 / 8, "top5": 7 / 8}
        assert (row(result, target).status, row(result, target).images) == ("executed", 8)
        assert (target, 8, 8) in seen
    assert (row(result, "pytorch").drop, row(result, "onnx").drop) == (None, 0.0)
    assert [one.interval for one in result] == [None, (0.0, 0.0), None]
    broken = row(result, "tflite")
    assert (broken.status, broken.metrics, broken.drop) == ("failed", {}, None)
    assert "broken.tflite" in (broken.error or {})["given"]
    assert not result.ok
    assert [one.target for one in result] == ["pytorch", "onnx", "tflite"]
    assert result.worst == row(result, "onnx")


def test_another_network_is_not_taken_for_the_reference(tmp_path: Path, photos: Path, nets: Path) -> None:
    result = evaluate(
        colours(tmp_path / "a.bundle"), photos, targets="onnx", model=f"{nets}:Inverted", threads=1, jobs=2
    )
    reference = row(result, "pytorch")
    assert (reference.status, reference.metrics) == ("failed", {})
    assert (reference.error or {})["id"] == "another-network"
    assert row(result, "onnx").metrics["top1"] == 5 / 8
    assert row(result, "onnx").drop is None


def test_a_drop_is_what_pytorch_has_more(tmp_path: Path, photos: Path, nets: Path) -> None:
    """With red and cyan swapped, four reds and one cyan are wrong, and the red in cyan's folder is right."""
    bundle = colours(tmp_path / "a.bundle", swapped=True)
    result = evaluate(bundle, photos, targets="onnx", model=f"{nets}:Colours", threads=1, jobs=2)
    assert row(result, "onnx").metrics["top1"] == 1 / 8
    assert row(result, "onnx").drop == 5 / 8 - 1 / 8
    low, high = row(result, "onnx").interval or (0, 0)
    assert -2 / 8 < low < 5 / 8 - 1 / 8 < high <= 1
    assert row(result, "pytorch").interval is None
    assert result.worst == row(result, "onnx")
    assert result.ok


def save(path: Path, nets: Path, name: str) -> Path:
    """The network `name` of NETS, exported."""
    import torch

    space: dict[str, type[torch.nn.Module]] = {}
    exec(nets.read_text(), space)
    torch.export.save(torch.export.export(space[name]().eval(), (torch.zeros(1, 3, 16, 16),)), path)
    return path


def test_the_reference_may_be_a_saved_program(tmp_path: Path, photos: Path, nets: Path) -> None:
    bundle, program = colours(tmp_path / "a.bundle", swapped=True), save(tmp_path / "a.pt2", nets, "Colours")
    result = evaluate(bundle, photos, targets="onnx", program=program, interval=False, threads=1, jobs=2)
    assert row(result, "pytorch").metrics["top1"] == 5 / 8
    assert row(result, "onnx").drop == 5 / 8 - 1 / 8
    assert row(result, "onnx").interval is None


def test_a_quantised_program_is_checked_only_where_there_are_golden_answers(
    tmp_path: Path, photos: Path, nets: Path
) -> None:
    """Its operators are registered in the process that loads it; it answers as the network does to 1/128, and so with
    the same classes, and not to 80 dB."""
    program = save(tmp_path / "a.pt2", nets, "Quantised")
    whole, staged = colours(tmp_path / "a.bundle"), colours(tmp_path / "b.bundle", files=())
    (staged / "golden.npz").unlink()
    found = [evaluate(one, photos, targets="onnx", program=program, threads=1, jobs=2) for one in (whole, staged)]
    assert (row(found[0], "pytorch").error or {})["id"] == "another-network"
    assert row(found[1], "pytorch").metrics == row(found[1], "onnx").metrics == {"top1": 5 / 8, "top5": 7 / 8}


def test_a_program_that_is_none_fails_and_the_targets_stay(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"no zip")
    result = evaluate(colours(tmp_path / "a.bundle"), photos, targets="onnx", program=tmp_path / "a.pt2", threads=1)
    error = row(result, "pytorch").error or {}
    assert error["id"] == "bad-program"
    assert "a.pt2 could not be read" in error["given"]
    assert row(result, "onnx").metrics["top1"] == 5 / 8


def test_a_network_that_kills_its_process_leaves_the_others(tmp_path: Path, photos: Path, nets: Path) -> None:
    result = evaluate(
        colours(tmp_path / "a.bundle"), photos, targets=["onnx"], model=f"{nets}:killed", threads=1, jobs=2
    )
    assert (row(result, "pytorch").error or {})["id"] == "worker-crashed"
    assert "signal 9" in (row(result, "pytorch").error or {})["given"]
    assert row(result, "onnx").metrics["top1"] == 5 / 8
    assert not result.ok


def test_a_reference_that_nothing_can_rebuild_is_missing_and_no_failure(tmp_path: Path, photos: Path) -> None:
    result = evaluate(colours(tmp_path / "a.bundle"), photos, targets="onnx", threads=1, jobs=2)
    reference = row(result, "pytorch")
    assert (reference.status, reference.error) == ("missing", None)
    assert "nets.py:Colours" in reference.reason
    assert "--model SOURCE" in reference.reason
    assert result.ok
    assert result.worst is None


def test_damaged_images_are_named_and_left_out_of_every_row(tmp_path: Path, photos: Path, nets: Path) -> None:
    whole = (photos / "cyan" / "0.png").read_bytes()
    (photos / "cyan" / "0.png").write_bytes(whole[: len(whole) // 2])
    (photos / "red" / "0.png").write_bytes(b"")
    result = evaluate(
        colours(tmp_path / "a.bundle"), photos, targets="onnx", model=f"{nets}:Colours", threads=1, jobs=2
    )
    for one in result:
        assert (one.images, one.metrics) == (6, {"top1": 3 / 6, "top5": 5 / 6})
    assert len(result.left_out) == 2
    assert result.left_out[0].startswith("cyan/0.png is damaged")
    assert result.left_out[1] == "red/0.png is empty (0 bytes)"


def test_nothing_but_damaged_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "photos" / "red").mkdir(parents=True)
    (tmp_path / "photos" / "red" / "0.png").write_bytes(b"no image")
    with pytest.raises(BadData, match=r"none of 1 samples could be read; the first: red/0\.png"):
        evaluate(colours(tmp_path / "a.bundle"), tmp_path / "photos", targets="onnx", pytorch=False, threads=1)


def test_predictions_are_saved_for_every_row(tmp_path: Path, photos: Path) -> None:
    save = tmp_path / "new" / "predictions.json"
    evaluate(colours(tmp_path / "a.bundle"), photos, pytorch=False, limit=4, threads=1, jobs=2, save=save)
    (only,) = json.loads(save.read_text())
    assert (only["target"], only["precision"]) == ("onnx", "fp32")
    assert only["metrics"] == {"top1": 1 / 4, "top5": 3 / 4}
    by_image = {one["image"]: one for one in only["predictions"]}
    assert list(by_image) == ["4/0.png", "Magenta/0.png", "red/0.png", "yellow/0.png"]
    assert by_image["yellow/0.png"]["truth"] == 3
    assert by_image["yellow/0.png"]["best"][0] == 0
    odds = np.exp([3, 1, 1, 1, -1, -1, -3])  # red; yellow, magenta, black; green, blue; cyan
    assert by_image["red/0.png"]["scores"] == pytest.approx(odds[:5] / odds.sum(), rel=1e-6)
    assert sorted(path.name for path in save.parent.iterdir()) == ["predictions.json"]


def test_answers_that_are_not_finite_are_a_failure_and_no_wrong_answer(tmp_path: Path, photos: Path) -> None:
    from runtime_py.manifest import Preprocessing

    huge = Preprocessing(input="x", width=16, height=16, scale_values=(1e-36,) * 3)
    bundle = colours(tmp_path / "a.bundle", preprocessing=huge)
    result = evaluate(bundle, photos, targets="onnx", pytorch=False, threads=1)
    assert "not finite" in (row(result, "onnx").error or {})["given"]
    assert not result.ok


def test_an_artifact_that_was_changed_fails_and_the_reference_stays(tmp_path: Path, photos: Path, nets: Path) -> None:
    bundle = colours(tmp_path / "a.bundle")
    with (bundle / "net.onnx").open("ab") as file:
        file.write(b"\0")
    result = evaluate(bundle, photos, targets="onnx", model=f"{nets}:Colours", threads=1, jobs=2)
    assert (row(result, "onnx").error or {})["id"] == "corrupt-bundle"
    assert row(result, "pytorch").metrics["top1"] == 5 / 8


def test_a_detector_finds_boxes_in_the_images_own_pixels(tmp_path: Path) -> None:
    """Both images are twice the input's side; image 2 is scored with one object of two found, image 3 has another size
    than the json says."""
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    rows = []
    for number, colour in enumerate([(230, 0, 0), (0, 230, 0), (230, 0, 0)], 1):
        solid(tmp_path / f"{number}.png", colour, (64, 64) if number < 3 else (32, 32))
        rows.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
    objects = [(1, 1, [8, 8, 16, 16]), (2, 2, [40, 40, 16, 16]), (2, 2, [0, 0, 9, 9]), (3, 1, [8, 8, 16, 16])]
    content = {
        "images": rows,
        "annotations": [{"image_id": i, "category_id": c, "bbox": b, "iscrowd": 0} for i, c, b in objects],
        "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "ball"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    save = tmp_path / "saved.json"
    result = evaluate(
        boxes(tmp_path / "a.bundle"), tmp_path / "a.json", targets="onnx", pytorch=False, threads=1, save=save
    )
    (only,) = result.rows
    assert only.images == 2
    assert only.score.classes == pytest.approx({"box": 1.0, "ball": 51 / 101})
    assert only.metrics["map50_95"] == pytest.approx((1 + 51 / 101) / 2)
    assert result.left_out == ("3.png has 32 x 32 pixels, the json says 64 x 64",)
    (first, second) = json.loads(save.read_text())[0]["predictions"]
    assert (first["image_id"], first["category_id"], first["bbox"]) == (1, 1, pytest.approx([8, 8, 16, 16]))
    assert first["score"] == pytest.approx(230 / 255, abs=1e-5)  # the mean of 1024 pixels in float32
    assert second["category_id"] == 2


def test_a_video_decoder_is_compared_with_the_true_frames(tmp_path: Path) -> None:
    """The latent is the video itself: one clip three grey levels off, one exact, one that is cut off."""
    (tmp_path / "clips").mkdir()
    truth = np.random.default_rng(0).integers(8, 240, (3, 20, 16, 3), np.uint8)
    latent = (truth / 127.5 - 1).astype(np.float32).transpose(3, 0, 1, 2)
    np.savez(tmp_path / "clips" / "a.npz", latent=latent + np.float32(3 / 127.5), video=truth)
    np.savez(tmp_path / "clips" / "b.npz", latent=latent, video=truth)
    np.savez(tmp_path / "clips" / "c.npz", latent=latent, video=truth[:2])
    result = evaluate(frames(tmp_path / "a.bundle"), tmp_path / "clips", targets="onnx", pytorch=False, threads=1)
    (only,) = result.rows
    assert only.images == 2
    assert only.metrics["psnr_db"] == pytest.approx((20 * math.log10(255 / 3) + 100) / 2)
    assert 0.99 < only.metrics["ssim"] < 1
    assert len(result.left_out) == 1
    assert result.left_out[0].startswith("c.npz holds a video")


def test_what_cannot_start_says_why(tmp_path: Path, photos: Path) -> None:
    bundle = colours(tmp_path / "a.bundle")
    with pytest.raises(NotABundle):
        evaluate(tmp_path / "nowhere.bundle", photos)
    with pytest.raises(UnknownName, match="onx") as unknown:
        evaluate(bundle, photos, targets="onx")
    assert "onnx" in unknown.value.hint
    with pytest.raises(BadData, match="--images for a bundle of the task 'classify'"):
        evaluate(bundle, photos, images=photos)
    with pytest.raises(BadData, match="--classes for a bundle of the task 'detect'"):
        evaluate(boxes(tmp_path / "b.bundle"), photos, classes=photos)
    with pytest.raises(BadData, match="does not say what its inputs and outputs mean"):
        evaluate(colours(tmp_path / "c.bundle", task="raw", postprocessing=None), photos)
    with pytest.raises(SdkError, match="nothing to run"):
        evaluate(colours(tmp_path / "d.bundle", artifacts=()), photos, pytorch=False)
