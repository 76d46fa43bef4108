"""What ranges are measured on: what is taken, in which order, and what is refused before anything is lowered."""

import hashlib
import io
import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime_py.manifest import Classify, DecodeVideo, Manifest, Preprocessing, Tensor
from runtime_py.preprocess import to_input
from sdk.quantize.calibration import MINIMUM, BadCalibration, Calibration, read_calibration

HOW = Preprocessing(input="x", width=8, height=8, mean_values=(124.0, 116.0, 104.0), scale_values=(58.0, 57.0, 57.0))
PHOTOS = Manifest(
    model="net", task="classify", inputs=(Tensor(name="x", shape=(1, 3, 8, 8)),), preprocessing=HOW,
    outputs=(Tensor(name="y", shape=(1, 3)),), labels=("red", "green", "blue"), postprocessing=Classify(output="y"),
)  # fmt: skip
BARS = Manifest(
    model="net", task="detect", inputs=PHOTOS.inputs, outputs=PHOTOS.outputs, labels=("ball", "box"),
    preprocessing=Preprocessing(input="x", width=8, height=8, resize_type="letterbox", pad_value=114),
)  # fmt: skip
BOTH = Manifest(
    model="two", inputs=(Tensor(name="a", shape=(1, 4)), Tensor(name="n", shape=(1, 2), dtype="int64")),
    outputs=(Tensor(name="y", shape=(1, 2)),),
)  # fmt: skip
LATENTS = Manifest(
    model="video", task="decode_video", inputs=(Tensor(name="z", shape=(1, 2, 3, 4, 4)),),
    outputs=(Tensor(name="y", shape=(1, 3, 3, 4, 4)),),
    postprocessing=DecodeVideo(input="z", output="y", scale=(1, 1, 1)),
)  # fmt: skip


def picture(path: Path, seed: int, size: tuple[int, int] = (10, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def pictures(folder: Path, count: int = 20, seed: int = 0) -> list[Path]:
    return [picture(folder / f"{number:03}.png", seed + number) for number in range(count)]


def two_inputs(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.random((count, 4), np.float32), "n": rng.integers(0, 9, (count, 2))}


def saved(path: Path, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read(data: Path, manifest: Manifest = PHOTOS, **more: Any) -> Calibration:
    return read_calibration(data, manifest, work=data.parent / "work", **more)


def refused(data: Path, manifest: Manifest = PHOTOS, **more: Any) -> BadCalibration:
    with pytest.raises(BadCalibration) as caught:
        read(data, manifest, **more)
    assert caught.value.id == "bad-calibration"
    return caught.value


def names(calibration: Calibration) -> list[str]:
    return [sample.name for sample in calibration.samples]


def test_images_are_what_to_input_makes_of_each_file_in_order(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "data")
    calibration = read(tmp_path / "data")
    assert (len(calibration), calibration.record.count, calibration.record.data) == (20, 20, "data")
    for _ in range(2):  # as often as one likes
        taken = list(calibration)
        assert [list(arrays) for arrays in taken] == [["x"]] * 20
        assert all(np.array_equal(arrays["x"], to_input(path, HOW)) for arrays, path in zip(taken, paths, strict=True))
        assert taken[0]["x"].dtype == np.float32


def test_every_sample_is_told_of(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    told: list[tuple[int, int]] = []
    read(tmp_path / "data", tick=lambda *at: told.append(at))
    assert told == [(done, 20) for done in range(1, 21)]


def test_class_folders_are_taken_evenly(tmp_path: Path) -> None:
    for folder in ("red", "green", "blue"):
        pictures(tmp_path / "data" / "val" / folder, 30)
    (tmp_path / "data" / "val" / ".hidden").mkdir()
    picture(tmp_path / "data" / "val" / ".hidden" / "a.png", 0)
    (tmp_path / "data" / "notes.txt").write_text("no image")
    found = names(read(tmp_path / "data", size=18))
    assert found == sorted(found)
    assert (found[0], found[-1]) == ("val/blue/000.png", "val/red/029.png")
    assert [sum(f"/{folder}/" in name for name in found) for folder in PHOTOS.labels] == [6, 6, 6]


def test_samples_are_evenly_spread(tmp_path: Path) -> None:
    pictures(tmp_path / "data", 46)
    assert names(read(tmp_path / "data", size=16)) == [f"{number:03}.png" for number in range(0, 46, 3)]


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path) -> None:
    """Also where `-` sorts before `/`, so that a zip's names as strings have another order than paths."""
    for folder in ("red", "red-2"):
        pictures(tmp_path / "data" / folder, 10)
    picture(tmp_path / "data" / "red" / "zz.png", 99)
    shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "data")
    folder, archive = read(tmp_path / "data"), read(tmp_path / "data.zip")
    assert names(folder) == names(archive)
    assert folder.record.sha256 == archive.record.sha256
    assert archive.record.data == "data.zip"
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(folder, archive, strict=True))


def test_two_zips_share_a_folder_for_their_images(tmp_path: Path) -> None:
    zips = [
        zipped(tmp_path / f"{at}.zip", {path.name: path.read_bytes() for path in pictures(tmp_path / "p", 16, at)})
        for at in (0, 100)
    ]
    first, second = map(read, zips)
    assert len(list(first)) == len(list(second)) == 16
    assert first.record.sha256 != second.record.sha256


def test_the_hash_is_of_contents(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "data")
    before = read(tmp_path / "data").record.sha256
    for path in paths:
        path.rename(path.with_stem(f"renamed-{path.stem}"))
    assert read(tmp_path / "data").record.sha256 == before
    changed = tmp_path / "data" / "renamed-007.png"
    pixels = np.array(Image.open(changed))
    pixels[6, 5, 0] ^= 0x80  # one channel of one pixel that the crop keeps
    Image.fromarray(pixels).save(changed)
    assert read(tmp_path / "data").record.sha256 != before


def test_the_hash_is_as_it_is_described(tmp_path: Path) -> None:
    arrays = two_inputs(16)
    record = read(saved(tmp_path / "a.npz", **arrays), BOTH).record
    hashes = [
        hashlib.sha256(
            b"a <f4 (1, 4)\n" + arrays["a"][row].tobytes() + b"n <i8 (1, 2)\n" + arrays["n"][row].tobytes()
        ).hexdigest()
        for row in range(16)
    ]
    assert record.sha256 == hashlib.sha256("".join(hashes).encode()).hexdigest()


def test_a_damaged_image_is_skipped_counted_and_named(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "data", 18)
    whole = io.BytesIO()
    Image.open(paths[3]).resize((64, 64)).save(whole, "JPEG")
    (tmp_path / "data" / "003a.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (tmp_path / "data" / "017a.jpg").write_bytes(b"")
    record = read(tmp_path / "data").record
    assert record.count == 18
    assert [entry.partition(":")[0] for entry in record.skipped] == ["003a.jpg", "017a.jpg"]
    assert record.skipped[0].startswith("003a.jpg: is damaged: image file is truncated")
    assert record.skipped[1] == "017a.jpg: is empty (0 bytes)"
    assert str(tmp_path) not in "".join(record.skipped)


def test_a_damaged_member_of_a_zip_is_skipped(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in pictures(tmp_path / "p", 17)}
    path = zipped(tmp_path / "a.zip", files)
    path.write_bytes(path.read_bytes().replace(files["004.png"], files["004.png"][:-1] + b"X"))
    record = read(path).record
    assert record.count == 16
    assert len(record.skipped) == 1
    assert record.skipped[0].startswith("004.png: damaged in the zip")


def test_samples_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "data")
    calibration = read(tmp_path / "data")
    samples = iter(calibration)
    next(samples)
    paths[1].unlink()
    with pytest.raises(BadCalibration, match=r"001\.png: does not exist"):
        next(samples)


def test_a_sample_that_changed_is_named(tmp_path: Path) -> None:
    paths = pictures(tmp_path / "data")
    calibration = read(tmp_path / "data")
    picture(paths[5], 1000)
    with pytest.raises(BadCalibration, match=r"005\.png has changed"):
        list(calibration)


@pytest.mark.parametrize("held", [0, 1, 4, 7, 19])
def test_a_split_is_disjoint_and_complete(tmp_path: Path, held: int) -> None:
    pictures(tmp_path / "data")
    calibration = read(tmp_path / "data")
    fit, out = calibration.split(held)
    assert (len(fit), len(out)) == (20 - held, held)
    assert not set(names(fit)) & set(names(out))
    assert sorted(names(fit) + names(out)) == names(calibration)
    assert fit.record == out.record == calibration.record
    assert len(list(fit)) == 20 - held
    assert len(list(out)) == held
    if held == 4:  # of 0 to 19: every 19 / 3
        assert names(out) == ["000.png", "006.png", "013.png", "019.png"]


@pytest.mark.parametrize("held", [-1, 20])
def test_a_split_leaves_something(tmp_path: Path, held: int) -> None:
    pictures(tmp_path / "data")
    with pytest.raises(BadCalibration, match="of 20 samples held out"):
        read(tmp_path / "data").split(held)


def test_what_is_missing_or_holds_no_image_is_named(tmp_path: Path) -> None:
    assert "nowhere does not exist" in refused(tmp_path / "nowhere").given
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    assert "empty holds no image" in refused(tmp_path / "empty").given
    assert "a.zip holds no image" in refused(zipped(tmp_path / "a.zip", {"notes.txt": b""})).given


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.zip", "could not be read"),
        ("a.json", "is not COCO's format"),
        ("a.npz", "none of 1 samples"),
        ("a.tar", "could not be read"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing whole"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, said: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    given = refused(tmp_path / name).given
    assert said in given
    assert name in given


def test_the_first_is_named_where_all_are_damaged(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"no image")
    given = refused(tmp_path).given
    assert "none of 20 samples" in given
    assert given.endswith("the first: 00.jpg: is no image that can be read")


def test_too_few_are_counted(tmp_path: Path) -> None:
    pictures(tmp_path / "data", MINIMUM)
    assert len(read(tmp_path / "data")) == MINIMUM
    (tmp_path / "data" / "000.png").write_bytes(b"no image")
    error = refused(tmp_path / "data")
    assert error.given.startswith(f"15 usable samples of 16 in {tmp_path / 'data'}, 1 were skipped as unreadable")
    assert "000.png" in error.given
    assert "16 or more" in error.expected
    assert "15 samples" in refused(tmp_path / "data", size=15).given


def test_the_same_image_again_and_again_is_refused(tmp_path: Path) -> None:
    for number in range(20):
        picture(tmp_path / "data" / f"{number}.png", 0)
    given = refused(tmp_path / "data").given
    assert "all 20 samples" in given
    assert "range collapse" in given


@pytest.mark.parametrize("manifest", [PHOTOS, BARS])
def test_single_colours_are_refused_with_a_letterboxs_bars_too(tmp_path: Path, manifest: Manifest) -> None:
    for number in range(20):
        Image.new("RGB", (20, 10), (number, 2 * number, 255 - number)).save(tmp_path / f"{number:02}.png")
    given = refused(tmp_path, manifest).given
    assert "single colour" in given
    assert "range collapse" in given
    picture(tmp_path / "20.png", 0)
    assert len(read(tmp_path, manifest)) == 21


def test_images_of_one_class_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "data" / "red")
    error = refused(tmp_path / "data")
    assert "one class, 'red'" in error.given
    assert len(read(tmp_path / "data", BARS)) == 20  # no classifier
    assert len(read(tmp_path / "data" / "red")) == 20  # a flat folder has no classes to tell
    picture(tmp_path / "data" / "green" / "a.png", 99)
    assert len(read(tmp_path / "data")) == 21


def test_a_zips_own_folder_is_no_class(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in pictures(tmp_path / "p", 16)}
    assert len(read(zipped(tmp_path / "a.zip", {f"photos/{name}": raw for name, raw in files.items()}))) == 16
    given = refused(zipped(tmp_path / "b.zip", {f"val/green/{name}": raw for name, raw in files.items()})).given
    assert "one class, 'green'" in given


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "C:\\out.png"])
def test_a_zip_whose_paths_leave_it_is_refused(tmp_path: Path, name: str) -> None:
    files = {path.name: path.read_bytes() for path in pictures(tmp_path / "p", 16)}
    assert "out.png" in refused(zipped(tmp_path / "a.zip", files | {name: files["000.png"]})).given
    assert not (tmp_path / "work").exists()
    assert not list(tmp_path.rglob("out.png"))


def coco(path: Path, categories: list[int], files: str = "{}.png") -> Path:
    """The image of id n, from 1, holds an object of the n-th category."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": n, "file_name": files.format(n)} for n in range(len(categories), 0, -1)],
        "annotations": [
            {"image_id": n, "category_id": category, "bbox": [0, 0, 2, 2]} for n, category in enumerate(categories, 1)
        ],
        "categories": [{"id": 5, "name": "ball"}, {"id": 9, "name": "box"}],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("folder", "given"), [("images", False), (".", False), ("elsewhere", True)])
def test_cocos_images_are_found_in_order_of_ids(tmp_path: Path, folder: str, given: bool) -> None:
    paths = [picture(tmp_path / folder / f"{number}.png", number) for number in range(1, 21)]
    calibration = read(coco(tmp_path / "a.json", [5, 9] * 10), BARS, images=tmp_path / folder if given else None)
    assert BARS.preprocessing is not None
    for arrays, path in zip(calibration, paths, strict=True):
        assert np.array_equal(arrays["x"], to_input(path, BARS.preprocessing))


def test_a_missing_image_of_coco_is_skipped_and_none_is_an_error(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", [5, 9] * 10)
    assert "holds none of the 20 images of a.json, such as 1.png" in refused(path, BARS).given
    for number in range(1, 20):
        picture(tmp_path / f"{number}.png", number)
    assert read(path, BARS).record.skipped == ("20.png: does not exist",)


def test_cocos_chosen_images_are_of_several_classes(tmp_path: Path) -> None:
    for number in range(1, 32):
        picture(tmp_path / f"{number}.png", number)
    assert "one class, 'box'" in refused(coco(tmp_path / "a.json", [9] * 31), BARS).given
    every_other = coco(tmp_path / "a.json", [9, 5] * 15 + [9])
    assert len(read(every_other, BARS)) == 31
    assert "one class, 'box'" in refused(every_other, BARS, size=16).given


@pytest.mark.parametrize("files", ["../{}.png", "/etc/{}.png"])
def test_a_json_whose_images_leave_the_folder_is_refused(tmp_path: Path, files: str) -> None:
    assert files.format(1) in refused(coco(tmp_path / "a" / "a.json", [5, 9] * 10, files), BARS).given


def test_a_folder_of_images_is_for_coco_only(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    assert "COCO" in refused(tmp_path / "data", images=tmp_path / "data").expected


def test_images_for_a_network_that_takes_none_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "data")
    error = refused(tmp_path / "data", BOTH)
    assert "does not say how one becomes its inputs" in error.given
    assert "'a': float32 (1, 4), or (N, 4) for N samples, 'n': int64" in error.expected


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_an_npz_are_samples(tmp_path: Path, save: Any) -> None:
    arrays = two_inputs(46)
    save(tmp_path / "a.npz", **arrays)
    calibration = read(tmp_path / "a.npz", BOTH, size=16)
    assert names(calibration) == [f"a.npz[{row}]" for row in range(0, 46, 3)]
    for taken, row in zip(calibration, range(0, 46, 3), strict=True):
        assert np.array_equal(taken["a"], arrays["a"][row : row + 1])
        assert np.array_equal(taken["n"], arrays["n"][row : row + 1])
        assert taken["n"].dtype == np.int64
        taken["a"] += 1  # the caller's own


def test_a_folder_of_npz_files_is_one_list_of_samples(tmp_path: Path) -> None:
    for number, count in enumerate((1, 5, 0, 12)):
        saved(tmp_path / "data" / f"{number}.npz", **two_inputs(count, number))
    calibration = read(tmp_path / "data", BOTH)
    expected = ["0.npz", *(f"1.npz[{row}]" for row in range(5)), *(f"3.npz[{row}]" for row in range(12))]
    assert names(calibration) == expected
    found = np.concatenate([taken["a"] for taken in calibration])
    assert np.array_equal(
        found, np.concatenate([two_inputs(count, at)["a"] for at, count in ((0, 1), (1, 5), (3, 12))])
    )


def test_an_image_networks_inputs_may_be_prepared(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 3, 8, 8), np.float32)
    taken = [arrays["x"] for arrays in read(saved(tmp_path / "a.npz", x=values))]
    assert np.array_equal(np.concatenate(taken), values)


@pytest.mark.parametrize(("name", "batch"), [("latent", ()), ("latent", (1,)), ("z", (1,))])
def test_clips_of_the_evaluation_calibrate_a_video_decoder(tmp_path: Path, name: str, batch: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random((20, *batch, 2, 3, 4, 4)).astype(np.float16 if name == "latent" else "f4")
    for number, value in enumerate(values):
        saved(tmp_path / "data" / f"{number:02}.npz", **{name: value, "video": np.zeros((3, 4, 4, 3), np.uint8)})
    taken = [arrays["z"] for arrays in read(tmp_path / "data", LATENTS)]
    assert np.array_equal(np.stack(taken), values.reshape(20, 1, 2, 3, 4, 4).astype(np.float32))
    assert taken[0].dtype == np.float32


def with_value(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


A, N = two_inputs(20)["a"], two_inputs(20)["n"]


@pytest.mark.parametrize(
    ("arrays", "given", "expected"),
    [
        ({"a": A}, "a.npz holds a", "'n': int64 (1, 2)"),
        ({"a": A, "n": N[:, :1]}, "'n' is int64 (20, 1)", "int64 (1, 2), or (N, 2) for N samples"),
        ({"a": A, "n": N.astype(np.float32)}, "'n' is float32 (20, 2)", "int64 (1, 2)"),
        ({"a": A.astype(np.float64), "n": N}, "'a' is float64 (20, 4)", "float32 (1, 4)"),
        ({"a": A.astype(">f4"), "n": N}, "'a' is >f4", "float32 (1, 4)"),
        ({"a": A.astype(object), "n": N}, "'a' is object", "float32 (1, 4)"),
        ({"a": np.asfortranarray(A), "n": N}, "'a' is stored column by column", "numpy's usual order"),
        ({"a": A, "n": N[:19]}, "20 of 'a', 19 of 'n'", "as many samples of each"),
        ({"a": A[:0], "n": N[:0]}, "holds no sample", "float32 (1, 4)"),
        ({"a": with_value(A, (7, 1), np.nan), "n": N}, "a.npz[7]: 1 of the 4 values of 'a'", "without NaN"),
        ({"a": with_value(A, (19, 0), np.inf), "n": N}, "a.npz[19]: 1 of the 4 values of 'a'", "without NaN"),
        ({"a": np.repeat(A[:1], 20, 0), "n": np.repeat(N[:1], 20, 0)}, "all 20 samples", "different samples"),
        ({"a": np.repeat(A[:, :1], 4, 1), "n": np.ones_like(N)}, "single colour or value", "samples of what"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], given: str, expected: str
) -> None:
    error = refused(saved(tmp_path / "a.npz", **arrays), BOTH)
    assert given in error.given
    assert expected in error.expected


def test_a_damaged_npz_among_others_is_skipped(tmp_path: Path) -> None:
    for number in range(19):
        saved(tmp_path / "data" / f"{number:02}.npz", **two_inputs(1, number))
    (tmp_path / "data" / "03.npz").write_bytes(b"no zip")
    flipped = tmp_path / "data" / "05.npz"
    value = two_inputs(1, 5)["a"].tobytes()
    flipped.write_bytes(flipped.read_bytes().replace(value, bytes(len(value))))  # the checksum stays
    record = read(tmp_path / "data", BOTH).record
    assert record.count == 17
    assert [entry.partition(": damaged: ")[0] for entry in record.skipped] == ["03.npz", "05.npz"]
    assert "CRC" in record.skipped[1]


def test_an_npz_that_promises_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 3, 8, 8)})
    path = zipped(tmp_path / "a.npz", {"x.npy": header.getvalue() + bytes(100)})
    assert "none of 300 samples" in refused(path).given


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    big = Manifest(model="big", inputs=(Tensor(name="x", shape=(1, 3, 64, 64)),), outputs=BOTH.outputs)
    values = np.random.default_rng(0).random((400, 3, 64, 64), np.float32)
    path, size = saved(tmp_path / "a.npz", x=values), values.nbytes
    del values
    tracemalloc.start()
    try:
        calibration = read(path, big)
        seen = sum(1 for _ in calibration)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == 300
    assert peak < size / 4  # the checksum reads 1 MiB at a time, and a sample is copied some times: 2 MiB of 19


def test_numbers_by_themselves_are_no_collapse(tmp_path: Path) -> None:
    """An input of one value is constant by nature."""
    one = Manifest(model="one", inputs=(Tensor(name="t", shape=(1, 1)),), outputs=BOTH.outputs)
    values = np.arange(20, dtype=np.float32)[:, None]
    assert len(read(saved(tmp_path / "a.npz", t=values), one)) == 20
