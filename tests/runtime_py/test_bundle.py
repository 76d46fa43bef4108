import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import runtime_py
from runtime_py.bundle import CorruptBundle, NewerBundle, NotABundle, _hash_line, check_files, describe, open_bundle
from runtime_py.errors import SdkError
from tests.runtime_py.colours import make_bundle

NAMES = ("manifest.json", "manifest.sha256", "colours.onnx", "golden.npz", "report.html")


def rewrite(bundle: Path, change: dict[str, Any]) -> None:
    """A manifest that somebody changed on purpose, with its hash made right again."""
    manifest = json.loads((bundle / "manifest.json").read_text()) | change
    text = json.dumps(manifest).encode()
    (bundle / "manifest.json").write_bytes(text)
    (bundle / "manifest.sha256").write_text(f"{hashlib.sha256(text).hexdigest()}  manifest.json\n")


def test_a_whole_bundle_passes(bundle: Path) -> None:
    check_files(open_bundle(bundle), complete=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_flipped_byte_is_found(bundle: Path, name: str, place: float) -> None:
    whole = bytearray((bundle / name).read_bytes())
    whole[int(place * (len(whole) - 1))] ^= 0x01
    (bundle / name).write_bytes(whole)
    with pytest.raises(SdkError) as caught:
        check_files(open_bundle(bundle), complete=True)
    assert name in str(caught.value)


def test_a_flipped_byte_is_found_before_a_runtime_parses_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytearray((bundle / "colours.onnx").read_bytes())
    whole[100] ^= 0x01
    (bundle / "colours.onnx").write_bytes(whole)
    monkeypatch.setattr("runtime_py.session.load_engine", lambda target: pytest.fail("a runtime was reached"))
    with pytest.raises(CorruptBundle, match=r"colours\.onnx"):
        runtime_py.load(bundle)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(SdkError) as caught:
        check_files(open_bundle(bundle), complete=True)
    assert name in str(caught.value)


def test_an_unexpected_file_is_named(bundle: Path) -> None:
    (bundle / "stranger.so").write_text("x")
    with pytest.raises(CorruptBundle, match=r"stranger\.so"):
        check_files(open_bundle(bundle), complete=True)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "c\\d", "C:x", "", "."])
def test_a_name_that_leaves_the_folder_is_refused(bundle: Path, name: str) -> None:
    rewrite(bundle, {"files": [{"file": name, "bytes": 1, "sha256": "0" * 64}]})
    with pytest.raises(SdkError):
        check_files(open_bundle(bundle))


def test_a_link_out_of_the_folder_is_refused(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    outside.write_bytes((bundle / "colours.onnx").read_bytes())
    (bundle / "colours.onnx").unlink()
    os.symlink(outside, bundle / "colours.onnx")
    with pytest.raises(SdkError, match=r"colours\.onnx"):
        check_files(open_bundle(bundle))


def test_a_newer_major_version_is_refused_with_a_hint(bundle: Path) -> None:
    rewrite(bundle, {"schema_version": "2.0"})
    with pytest.raises(NewerBundle) as caught:
        open_bundle(bundle)
    assert caught.value.hint


def test_unknown_fields_of_a_newer_minor_version_are_ignored(bundle: Path) -> None:
    rewrite(bundle, {"schema_version": "1.9", "mood": "sunny"})
    assert open_bundle(bundle).manifest.model == "colours"


@pytest.mark.parametrize("change", [{"inputs": 3}, {"artifacts": [{"target": "onnx"}]}, {"task": "sing"}])
def test_a_field_of_another_type_is_named(bundle: Path, change: dict[str, Any]) -> None:
    rewrite(bundle, change)
    with pytest.raises(NotABundle) as caught:
        open_bundle(bundle)
    assert next(iter(change)) in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b'{"a":' * 1_000_000, b'{"schema_version": "1.0", "inputs": ' + b"[" * 10**6]
)
def test_a_manifest_as_deep_as_it_is_long(text: bytes, bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(text)
    (bundle / "manifest.sha256").write_bytes(_hash_line(text))
    with pytest.raises(NotABundle):
        open_bundle(bundle)


def test_a_file_that_claims_ten_gigabytes(bundle: Path) -> None:
    rewrite(bundle, {"files": [{"file": "golden.npz", "bytes": 10 * 10**9, "sha256": "0" * 64}]})
    with pytest.raises(CorruptBundle, match="10000000000 bytes"):
        check_files(open_bundle(bundle))


@pytest.mark.parametrize("names", [["golden.npz"] * 2, ["a/b", "a"], ["a/b/c", "a"], ["colours.onnx"]])
def test_a_file_has_one_owner_and_is_hashed_once(bundle: Path, names: list[str]) -> None:
    rewrite(bundle, {"files": [{"file": name, "bytes": 1, "sha256": "0" * 64} for name in names]})
    with pytest.raises(NotABundle, match="twice"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "tensor",
    [{"shape": [1, 3, 8, 10**9]}, {"shape": [10**18, 10**18]}, {"shape": [1, 0]}, {"shape": [-1, 3]},
     {"dtype": "O"}, {"dtype": ""}, {"dtype": "S5"}, {"dtype": "f4,f4"}],
)  # fmt: skip
def test_a_tensor_that_cannot_be(bundle: Path, tensor: dict[str, Any]) -> None:
    raw = {"task": "raw", "preprocessing": None, "postprocessing": None}
    rewrite(bundle, raw | {"inputs": [{"name": "photo", "shape": [1, 3, 8, 12]} | tensor]})
    with pytest.raises(NotABundle, match="photo"):
        runtime_py.load(bundle)


def test_no_folder_s_name_makes_up_lines_of_the_listing(tmp_path: Path) -> None:
    """One file whose path says what the listing of two files would."""
    empty, line = hashlib.sha256(b"").hexdigest(), hashlib.sha256(b"A").hexdigest()
    assert line < empty  # how the lines are sorted
    place = tmp_path / f"a\n{empty}  x" / "b"
    place.parent.mkdir()
    place.write_bytes(b"A")
    with pytest.raises(CorruptBundle, match="control characters"):
        describe(tmp_path)


def test_a_huge_manifest_is_not_read(bundle: Path) -> None:
    with (bundle / "manifest.json").open("ab") as file:
        file.truncate(9 * 2**20)
    with pytest.raises(SdkError):
        open_bundle(bundle)


def test_a_path_without_a_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SdkError):
            open_bundle(path)


def test_a_folders_hash_is_that_of_its_listing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"cc")
    (tmp_path / "a").write_bytes(b"a")
    lines = f"{hashlib.sha256(b'a').hexdigest()}  a\n{hashlib.sha256(b'cc').hexdigest()}  b/c\n"
    size, sha256 = describe(tmp_path)
    assert size == 3
    assert sha256 == hashlib.sha256("".join(sorted(lines.splitlines(keepends=True))).encode()).hexdigest()


def test_a_bundle_without_artifacts_says_so(tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="no artifact"):
        runtime_py.load(make_bundle(tmp_path / "empty.bundle", artifacts=()))
