"""Signatures against RFC 8032, and bundles that somebody changed, signed or held back."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import runtime_py
from runtime_py.bundle import MANIFEST, MANIFEST_HASH, open_bundle, write_bundle
from runtime_py.errors import SdkError
from runtime_py.signing import KIND, SIGNATURE, BadKey, BadSignature, RolledBack, UnknownKey, Unsigned, public_keys

pytest.importorskip("cryptography", reason="signatures are checked by cryptography")

from sdk.signing import new_keys, private_key, sign

RFC_8032 = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
"""Test 1's public key (section 7.1)."""
RFC_8032_SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return new_keys("maker", tmp_path / "keys")


def test_the_library_s_signatures_are_the_standard_s() -> None:
    raw = bytes.fromhex(RFC_8032)
    (key,) = public_keys(f"{KIND} {base64.b64encode(raw).decode()} test").values()
    key.verify(bytes.fromhex(RFC_8032_SIGNATURE), b"")


def test_a_signed_bundle_is_loaded(bundle: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    statement = sign(bundle, private_key(private))
    assert statement.release == 1
    with runtime_py.load(bundle, "onnx", key=public) as session:
        assert session.target == "onnx"
    assert open_bundle(bundle, key=public.read_text().strip()).signed == statement
    assert open_bundle(bundle).signed is None


def test_releases_count_up_and_never_down(bundle: Path, keys: tuple[Path, Path], state: Path) -> None:
    private, public = keys
    sign(bundle, private_key(private))
    first = (bundle / SIGNATURE).read_bytes()
    assert sign(bundle, private_key(private)).release == 2
    for _ in range(2):
        runtime_py.load(bundle, "onnx", key=public).close()
    (bundle / SIGNATURE).write_bytes(first)
    with pytest.raises(RolledBack, match="has had release 2"):
        open_bundle(bundle, public)
    assert open_bundle(bundle, public, older=True).signed is not None
    (state / "releases.json").write_text("{")
    with pytest.raises(RolledBack, match="cannot be read"):
        open_bundle(bundle, public)


def test_where_nothing_can_be_remembered_it_says_so(
    bundle: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(bundle, private_key(keys[0]))
    monkeypatch.setenv("EDGE_SDK_STATE", "/proc/none")
    with pytest.warns(UserWarning, match="rollbacks go unnoticed"):
        runtime_py.load(bundle, "onnx", key=keys[1]).close()


def test_what_is_remembered_counts_where_nothing_can_be_written(
    bundle: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(bundle, private_key(keys[0]), 7)
    runtime_py.load(bundle, "onnx", key=keys[1]).close()
    sign(bundle, private_key(keys[0]), 6)
    monkeypatch.setattr("runtime_py.signing.locked", lambda path: (_ for _ in ()).throw(OSError(30, "read-only")))
    with pytest.raises(RolledBack):
        runtime_py.load(bundle, "onnx", key=keys[1])


def test_a_new_release_that_was_cut_off_does_not_lock_the_old_one_out(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    from tests.runtime_py.colours import make_bundle

    new = make_bundle(tmp_path / "new.bundle", source_commit="2")
    sign(bundle, private_key(keys[0]), 1)
    sign(new, private_key(keys[0]), 2)
    (new / "colours.onnx").write_bytes((new / "colours.onnx").read_bytes()[:-1])
    with pytest.raises(SdkError, match="sha256"):
        runtime_py.load(new, "onnx", key=keys[1])
    runtime_py.load(bundle, "onnx", key=keys[1]).close()


def test_an_unsigned_bundle(bundle: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(Unsigned, match="sdk sign"):
        runtime_py.load(bundle, key=keys[1])


def test_somebody_else_s(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    other, public = new_keys("other", tmp_path)
    sign(bundle, private_key(other))
    with pytest.raises(UnknownKey):
        open_bundle(bundle, keys[1])
    both = tmp_path / "both"
    both.write_text(f"# old and new\n{keys[1].read_text()}\n{public.read_text()}")
    assert open_bundle(bundle, both).signed is not None
    assert open_bundle(bundle, [keys[1], public]).signed is not None


def test_a_manifest_that_was_changed_and_hashed_again(bundle: Path, keys: tuple[Path, Path]) -> None:
    sign(bundle, private_key(keys[0]))
    manifest = open_bundle(bundle).manifest
    write_bundle(
        bundle, manifest.__class__(**{f: getattr(manifest, f) for f in manifest.__struct_fields__} | {"licence": "x"})
    )
    open_bundle(bundle)  # hashes alone cannot tell
    with pytest.raises(BadSignature, match="changed after"):
        open_bundle(bundle, keys[1])


def test_a_manifest_is_not_parsed_before_its_signature_is_checked(
    bundle: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime_py.bundle._parse", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(Unsigned):
        open_bundle(bundle, keys[1])


@pytest.mark.parametrize(
    ("field", "value"), [("release", 9), ("model", "other"), ("manifest_sha256", "0" * 64), ("signed", "1970-01-01")]
)
def test_every_field_is_signed(field: str, value: Any, bundle: Path, keys: tuple[Path, Path]) -> None:
    sign(bundle, private_key(keys[0]))
    changed = json.loads((bundle / SIGNATURE).read_text())
    changed["statement"][field] = value
    (bundle / SIGNATURE).write_text(json.dumps(changed))
    with pytest.raises(BadSignature):
        open_bundle(bundle, keys[1])


def test_a_signature_of_another_bundle(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    from tests.runtime_py.colours import make_bundle

    other = make_bundle(tmp_path / "other.bundle", model="other")
    sign(other, private_key(keys[0]))
    (bundle / SIGNATURE).write_bytes((other / SIGNATURE).read_bytes())
    with pytest.raises(BadSignature):
        open_bundle(bundle, keys[1])


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 4000, b"\xff" * 100, b'{"statement": 1, "signature": "x"}'])
def test_no_signature_at_all(text: bytes, bundle: Path, keys: tuple[Path, Path]) -> None:
    (bundle / SIGNATURE).write_bytes(text)
    with pytest.raises(BadSignature, match="cannot be read"):
        open_bundle(bundle, keys[1])


def test_a_signature_that_is_too_large(bundle: Path, keys: tuple[Path, Path]) -> None:
    (bundle / SIGNATURE).write_bytes(b" " * 5000)
    with pytest.raises(SdkError, match="larger than"):
        open_bundle(bundle, keys[1])


@pytest.mark.parametrize("name", [MANIFEST, MANIFEST_HASH, SIGNATURE, "colours.onnx", "golden.npz", "report.html"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_one_flipped_bit_anywhere_is_found(name: str, where: float, bundle: Path, keys: tuple[Path, Path]) -> None:
    sign(bundle, private_key(keys[0]))
    content = bytearray((bundle / name).read_bytes())
    content[min(int(where * len(content)), len(content) - 1)] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(SdkError):
        runtime_py.load(bundle, "onnx", key=keys[1])


def test_a_private_key_is_its_owner_s_alone_and_never_written_over(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SdkError, match="exists already"):
        new_keys("maker", private.parent)
    with pytest.raises(BadKey, match="private key"):
        public_keys(private)
    assert public.read_text().startswith(KIND)


def test_a_passphrase_locks_a_key(tmp_path: Path) -> None:
    private, _ = new_keys("locked", tmp_path, b"open sesame")
    private_key(private, b"open sesame")
    with pytest.raises(BadKey, match="passphrase"):
        private_key(private, b"wrong")
    with pytest.raises(BadKey, match="passphrase"):
        private_key(private)


@pytest.mark.parametrize("line", ["", "ssh-ed25519 AAAA", f"{KIND} !!!", f"{KIND} AAAA", f"{KIND}"])
def test_other_keys_are_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(line)
    with pytest.raises(BadKey):
        public_keys(tmp_path / "key")


@pytest.mark.parametrize("release", [-1, 0, 2**31, 2**63])
def test_a_release_out_of_range(release: int, bundle: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(SdkError, match=f"release {release}"):
        sign(bundle, private_key(keys[0]), release=release)


def test_a_made_up_signature_does_not_use_up_the_releases(bundle: Path, keys: tuple[Path, Path]) -> None:
    sign(bundle, private_key(keys[0]))
    made_up = json.loads((bundle / SIGNATURE).read_text())
    made_up["statement"]["release"] = 2**63 - 1
    (bundle / SIGNATURE).write_text(json.dumps(made_up))
    with pytest.raises(SdkError, match="--release"):
        sign(bundle, private_key(keys[0]))
