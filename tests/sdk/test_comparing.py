from pathlib import Path

import pytest

from runtime_py.bundle import CorruptBundle, NotABundle
from runtime_py.manifest import Artifact, Preprocessing, Tensor
from sdk.comparing import LAYERS, compare_bundles, pair_up
from tests.sdk.bundles import accuracy, make_tiny, quantization

Row = tuple[str, str, int, dict[str, object]]
ONNX: Row = ("onnx", "fp32", 100, {})


def bare(target: str, precision: str) -> Artifact:
    return Artifact(target=target, precision=precision, file="f", bytes=1, sha256="0", status="executed")


def named(pairs: list[tuple[str, str]]) -> list[Artifact]:
    return [bare(target, precision) for target, precision in pairs]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (["fp32"], ["w8a8"], [("fp32", "w8a8")]),
        (["fp32", "w8"], ["w8a8", "w8"], [("fp32", "w8a8"), ("w8", "w8")]),
        (["fp32", "w8"], ["w8"], [("fp32", None), ("w8", "w8")]),
        (["fp32"], ["w8", "fp16"], [("fp32", "w8"), (None, "fp16")]),
        ([], ["fp32"], [(None, "fp32")]),
    ],
)
def test_artifacts_of_a_target_meet_by_precision_first(
    a: list[str], b: list[str], expected: list[tuple[str | None, str | None]]
) -> None:
    pairs = pair_up(named([("onnx", name) for name in a]), named([("onnx", name) for name in b]))
    found = [(pair.a and pair.a.precision, pair.b and pair.b.precision) for pair in pairs]
    assert found == expected


def test_targets_never_meet_another() -> None:
    pairs = pair_up(named([("onnx", "fp32"), ("tflite", "fp32")]), named([("tflite", "fp32"), ("coreml", "fp32")]))
    assert [(p.target, p.a is not None, p.b is not None) for p in pairs] == [
        ("onnx", True, False), ("tflite", True, True), ("coreml", False, True),
    ]  # fmt: skip


def test_a_bundle_beside_itself_has_no_difference(tmp_path: Path) -> None:
    one = make_tiny(tmp_path / "a.bundle", [ONNX], quantization=quantization({"conv": 20.0}))
    found = compare_bundles(one, one)
    assert found.warnings == found.changes == ()
    assert {row.state for row in found.files} == {"same"}
    assert [pair.ratio for pair in found.pairs] == [1.0]
    assert [row.difference_db for row in found.layers] == [0.0]


def test_files_are_told_apart_by_their_hash(tmp_path: Path) -> None:
    a = make_tiny(tmp_path / "a.bundle", [ONNX, ("tflite", "fp32", 50, {})], golden="one")
    b = make_tiny(tmp_path / "b.bundle", [ONNX, ("tflite", "w8a8", 20, {})], golden="two")
    found = compare_bundles(a, b)
    assert {row.file: row.state for row in found.files} == {
        "net.fp32.onnx": "same",
        "net.fp32.tflite": "only A",
        "net.w8a8.tflite": "only B",
        "golden.npz": "changed",
    }
    assert [pair.ratio for pair in found.pairs] == [1.0, 0.4]


def test_each_group_of_changes_is_named(tmp_path: Path) -> None:
    a = make_tiny(
        tmp_path / "a.bundle",
        [("onnx", "fp32", 9, {"tool_versions": {"onnx": "1.22"}})],
        quantization=quantization({}),
    )
    b = make_tiny(
        tmp_path / "b.bundle",
        [("onnx", "fp32", 9, {"tool_versions": {"onnx": "1.23"}})],
        weights="others",
        inputs=(Tensor(name="photo", shape=(1, 3, 16, 12), layout="NCHW"),),
        outputs=(Tensor(name="logits", shape=(1, 4)),),
        preprocessing=Preprocessing(input="photo", width=12, height=16),
        labels=("red", "grey", "blue", "black"),
        tool_versions={"torch": "2.13.0", "nncf": "3.0"},
        quantization=quantization({}, data="clips"),
    )
    changes = {(row.group, row.name): (row.a, row.b) for row in compare_bundles(a, b).changes}
    assert changes == {
        ("network", "weights"): ("trained", "others"),
        ("inputs", "photo"): ("1 x 3 x 8 x 12 float32, NCHW", "1 x 3 x 16 x 12 float32, NCHW"),
        ("outputs", "logits"): ("1 x 3 float32", "1 x 4 float32"),
        ("preprocessing", "height"): ("8", "16"),
        ("labels", "2 differ, first 1"): ("3 labels: green", "4 labels: grey"),
        ("tools", "onnx"): ("1.22", "1.23"),
        ("tools", "nncf"): ("", "3.0"),
        ("calibration", "data"): ("photos", "clips"),
    }


def test_one_label_that_differs_is_named_alone(tmp_path: Path) -> None:
    a = make_tiny(tmp_path / "a.bundle", [ONNX])
    b = make_tiny(tmp_path / "b.bundle", [ONNX], labels=("red", "green", "black"))
    (change,) = compare_bundles(a, b).changes
    assert (change.group, change.name, change.a, change.b) == ("labels", "2", "blue", "black")


def test_layers_are_joined_by_name_and_the_largest_difference_comes_first(tmp_path: Path) -> None:
    before = {f"conv{index}": 30.0 for index in range(20)} | {"gone": 1.0}
    after = {f"conv{index}": 30.0 + index * (-1) ** index for index in range(20)} | {"new": 99.0}
    a = make_tiny(tmp_path / "a.bundle", [ONNX], quantization=quantization(before))
    b = make_tiny(tmp_path / "b.bundle", [ONNX], quantization=quantization(after, kept=("conv19",)))
    found = compare_bundles(a, b)
    assert found.layers_joined == 20
    assert len(found.layers) == LAYERS
    assert [row.name for row in found.layers] == [f"conv{index}" for index in range(19, 9, -1)]
    assert [row.difference_db for row in found.layers[:2]] == [-19.0, 18.0]
    assert [(row.a_kept, row.b_kept) for row in found.layers[:2]] == [(False, True), (False, False)]


def test_other_networks_and_tasks_are_compared_with_a_warning(tmp_path: Path) -> None:
    a = make_tiny(tmp_path / "a.bundle", [ONNX])
    b = make_tiny(tmp_path / "b.bundle", [ONNX], model="other", task="raw", postprocessing=None)
    found = compare_bundles(a, b)
    assert [word in warning for word, warning in zip(("model", "task"), found.warnings, strict=True)] == [True, True]
    assert len(found.pairs) == 1


@pytest.mark.parametrize(("data", "warned"), [("photos", False), ("other photos", True)])
def test_scores_on_other_data_are_warned_of(tmp_path: Path, data: str, warned: bool) -> None:
    a = make_tiny(tmp_path / "a.bundle", [("onnx", "fp32", 9, {"accuracy": accuracy(0.0)})])
    b = make_tiny(tmp_path / "b.bundle", [("onnx", "w8a8", 9, {"accuracy": accuracy(0.01, data)})])
    assert any("other data" in warning for warning in compare_bundles(a, b).warnings) is warned


@pytest.mark.parametrize("broken", ["a", "b"])
def test_a_byte_that_differs_is_found_in_either(tmp_path: Path, broken: str) -> None:
    bundles = {name: make_tiny(tmp_path / f"{name}.bundle", [ONNX]) for name in ("a", "b")}
    (bundles[broken] / "net.fp32.onnx").write_bytes(b"x" * 100)
    with pytest.raises(CorruptBundle, match=rf"{broken}\.bundle"):
        compare_bundles(bundles["a"], bundles["b"])


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotABundle):
        compare_bundles(make_tiny(tmp_path / "a.bundle", [ONNX]), tmp_path / "none")
