"""Bundles as one file, and zip files that mean harm."""

import resource
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import runtime_py
from runtime_py import archive
from runtime_py.archive import NoRoom, pack, unpack, unpacked
from runtime_py.bundle import check_files, open_bundle
from runtime_py.errors import SdkError


@pytest.fixture
def packed(bundle: Path) -> Path:
    return pack(bundle)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_there_and_back(bundle: Path, packed: Path, tmp_path: Path) -> None:
    assert packed.name == "colours.bundle.zip"
    again = unpack(packed, tmp_path / "again.bundle")
    names = sorted(path.relative_to(bundle) for path in bundle.rglob("*"))
    assert sorted(path.relative_to(again) for path in again.rglob("*")) == names
    assert all((again / name).read_bytes() == (bundle / name).read_bytes() for name in names)
    check_files(open_bundle(again), complete=True)


def test_the_same_bundle_gives_the_same_bytes(bundle: Path, packed: Path, tmp_path: Path) -> None:
    for path in bundle.iterdir():
        path.touch()
    assert pack(bundle, tmp_path / "other.zip").read_bytes() == packed.read_bytes()


def test_a_zip_is_loaded_and_unpacked_once(packed: Path, cache: Path) -> None:
    with runtime_py.load(packed, "onnx") as session:
        assert session.spec.model == "colours"
    (place,) = (cache / "bundles").iterdir()
    before = place.stat().st_mtime_ns
    assert unpacked(packed) == place
    assert place.stat().st_mtime_ns == before


def test_a_copy_in_the_cache_that_has_rotted_is_made_again(packed: Path, cache: Path) -> None:
    (cache / "bundles" / ".cut off").mkdir(parents=True)
    (cache / "bundles" / ".cut off" / "manifest.json").write_text("{")
    place = unpacked(packed)
    (place / "colours.onnx").write_bytes(b"rot")
    with runtime_py.load(packed, "onnx") as session:
        assert session.path == place
    assert list((cache / "bundles").iterdir()) == [place]


def test_a_cache_that_cannot_be_written(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", "/proc/none")
    with pytest.raises(NoRoom, match="EDGE_SDK_CACHE"):
        unpacked(packed)


def test_a_full_disk_is_no_damage_of_the_zip(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_extract", full)
    with pytest.raises(NoRoom, match="No space left"):
        unpack(packed, tmp_path / "x.bundle")
    assert not any(tmp_path.glob("*x.bundle*"))


def test_any_zip_program_s_file_will_do(bundle: Path, tmp_path: Path) -> None:
    """Folders of their own, other dates, nothing compressed."""
    with zipfile.ZipFile(tmp_path / "x.bundle.zip", "w", zipfile.ZIP_STORED) as made:
        for path in bundle.iterdir():
            made.write(path, path.name)
    unpack(tmp_path / "x.bundle.zip", tmp_path / "x.bundle")


def test_a_changed_bundle_is_not_packed(bundle: Path) -> None:
    (bundle / "golden.npz").write_bytes(b"x")
    with pytest.raises(SdkError, match="sha256"):
        pack(bundle)
    assert list(bundle.parent.glob("*.zip*")) == list(bundle.parent.glob(".*zip*")) == []


Change = Callable[[zipfile.ZipFile], None]


def rewritten(packed: Path, change: Change, keep: Callable[[str], bool] = lambda name: True) -> Path:
    """The zip with the same entries, and what `change` adds."""
    place = packed.with_name("evil.bundle.zip")
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if keep(entry.filename):
                new.writestr(entry.filename, old.read(entry))
        change(new)
    return place


def special(name: str, kind: int) -> Change:
    def add(new: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = (kind | 0o777) << 16
        new.writestr(entry, "/etc/passwd")

    return add


def named(name: str) -> Change:
    return lambda new: new.writestr(name, "x")


NAMES = ["../out", "/out", "a/../../out", "C:out", "a\\b", "./x", "a//b", "\x1b[2J", "..", "nul\0x", "stranger"]
TWICE = ["manifest.json", "Manifest.json", "COLOURS.onnx"]
SPECIAL = {
    "link": stat.S_IFLNK, "pipe": stat.S_IFIFO, "device": stat.S_IFCHR, "folder/": stat.S_IFLNK,
    "colours.onnx/inner": stat.S_IFREG, "manifest.json/inner": stat.S_IFREG,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "change", [*map(named, NAMES + TWICE), *(special(*item) for item in SPECIAL.items())],
    ids=[repr(name) for name in (*NAMES, *TWICE, *SPECIAL)],
)  # fmt: skip
def test_names_that_do_not_belong(change: Change, packed: Path, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "x.bundle"
    with pytest.raises(SdkError):
        unpack(rewritten(packed, change), place)
    assert list(place.parent.iterdir()) == []  # nothing stays
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_left_out(packed: Path, tmp_path: Path) -> None:
    place = unpack(rewritten(packed, named("empty/")), tmp_path / "x.bundle")
    assert not (place / "empty").exists()


@pytest.mark.parametrize("name", ["colours.onnx", "manifest.json", "manifest.sha256", "golden.npz"])
def test_a_file_that_is_missing(name: str, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SdkError):
        unpack(rewritten(packed, lambda new: None, lambda own: own != name), tmp_path / "x.bundle")


def test_every_cut_is_found(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    cut = packed.with_name("cut.bundle.zip")
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        cut.write_bytes(whole[:length])
        with pytest.raises(SdkError):
            unpack(cut, tmp_path / "x.bundle")
    assert not (tmp_path / "x.bundle").exists()


def test_every_flipped_byte_is_found_or_means_nothing(packed: Path, bundle: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    flipped = packed.with_name("flipped.bundle.zip")
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        content = bytearray(whole)
        content[at] ^= 0x41
        flipped.write_bytes(content)
        place = tmp_path / f"{at}.bundle"
        try:
            unpack(flipped, place)
        except SdkError:
            continue
        for path in bundle.iterdir():  # a date or a comment: all files are whole
            assert (place / path.name).read_bytes() == path.read_bytes()


def with_directory_field(packed: Path, name: str, offset: int, layout: str, value: int) -> Path:
    """One field of an entry in the zip's table of contents, changed by hand."""
    content = bytearray(packed.read_bytes())
    at = content.rfind(b"PK\x01\x02", 0, content.rfind(name.encode()))
    struct.pack_into(layout, content, at + offset, value)
    place = packed.with_name("claims.bundle.zip")
    place.write_bytes(content)
    return place


@pytest.mark.parametrize("size", [10, 2_000_000_000, 0xFFFFFFFE])
def test_a_file_that_claims_another_size(size: int, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SdkError):
        unpack(with_directory_field(packed, "golden.npz", 24, "<I", size), tmp_path / "x.bundle")


def test_an_encrypted_entry(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="encrypted"):
        unpack(with_directory_field(packed, "golden.npz", 8, "<H", 1), tmp_path / "x.bundle")


def test_another_compression(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="method 12"):
        unpack(with_directory_field(packed, "golden.npz", 10, "<H", 12), tmp_path / "x.bundle")


def test_a_bomb_ends_at_what_it_may_be(packed: Path, tmp_path: Path) -> None:
    """A manifest of half a gigabyte in half a megabyte."""
    place = packed.with_name("bomb.bundle.zip")
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as made, made.open("manifest.json", "w") as stream:
        for _ in range(512):
            stream.write(b" " * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SdkError, match="over 8,388,608 bytes"):
        unpack(place, tmp_path / "x.bundle")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert not any(tmp_path.glob(".x.bundle*"))


def test_a_table_of_contents_that_is_too_long(packed: Path, tmp_path: Path) -> None:
    place = packed.with_name("many.bundle.zip")
    with zipfile.ZipFile(place, "w") as made:
        for number in range(archive.MOST_ENTRIES + 1):
            made.writestr(f"{number}", "")
    with pytest.raises(SdkError, match="4097 entries"):
        unpack(place, tmp_path / "x.bundle")


def test_a_disk_that_is_too_small(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SPARE_BYTES", 2**60)
    with pytest.raises(SdkError, match="MB are free"):
        unpack(packed, tmp_path / "x.bundle")
    assert not any(path.name.startswith((".x", "x.bundle")) for path in tmp_path.iterdir())


def test_a_folder_that_is_there_stays(packed: Path, bundle: Path) -> None:
    with pytest.raises(SdkError, match="exists already"):
        unpack(packed, bundle)
    open_bundle(bundle)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100, b"PK\x05\x06" + b"\0" * 18])
def test_no_zip_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.bundle.zip"
    path.write_bytes(content)
    with pytest.raises(SdkError):
        runtime_py.load(path)
    with pytest.raises(SdkError, match="does not exist"):
        runtime_py.load(tmp_path / "none.bundle.zip")
