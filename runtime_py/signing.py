"""Who made a bundle: an Ed25519 signature (RFC 8032) over its manifest's hash, and through it over every file.

A device holds public keys. `check` says whether one of them signed a manifest, before anything parses that manifest,
`not_older` refuses a release below the newest that this device has used from that key for that model, and `remember`
keeps which that is.
"""

import base64
import binascii
import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime_py.durable import locked, write
from runtime_py.errors import SdkError, missing_extra
from runtime_py.folders import state_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE = "signature.json"
LIMIT_BYTES = 4096
KEY_FILE_LIMIT_BYTES = 64 * 1024
FORMAT = 1
KIND = "edge-sdk-ed25519"
CONTEXT = b"edge-sdk bundle manifest\n"
"""In front of what is signed, so that no signature means anything elsewhere."""

Keys = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A public key: the path of a file of them, or its line; or several of both."""


class Unsigned(SdkError):
    """A bundle without a signature, where one was asked for."""

    id = "unsigned"


class BadSignature(SdkError):
    """A signature that is not its key's for this manifest."""

    id = "bad-signature"


class UnknownKey(SdkError):
    """A bundle that somebody else signed."""

    id = "unknown-key"


class BadKey(SdkError):
    """A key that cannot be read."""

    id = "bad-key"


class RolledBack(SdkError):
    """A release below one that this device has seen."""

    id = "rolled-back"


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed. `key` is the public key's identity, `signed` the time in ISO 8601."""

    format: int
    key: str
    model: str
    release: int
    manifest_sha256: str
    signed: str


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """signature.json: the statement, and its signature in base64."""

    statement: Statement
    signature: str


def message(statement: Statement) -> bytes:
    """The bytes that are signed."""
    return CONTEXT + msgspec.json.encode(statement)


def key_id(raw: bytes) -> str:
    """A public key's identity: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(raw).hexdigest()[:16]


def public_keys(keys: Keys) -> dict[str, "Ed25519PublicKey"]:
    """Public keys by identity. Raises BadKey or MissingExtra."""
    given = [keys] if isinstance(keys, str | os.PathLike) else list(keys)
    found = dict(_key(line) for one in given for line in _lines(one))
    if not found:
        raise BadKey("no public key", expected=f"a file with lines '{KIND} BASE64 comment'", hint="sdk keys new NAME")
    return found


def check(text: bytes | None, manifest_sha256: str, keys: Keys) -> Statement:
    """What one of `keys` says of the manifest with that hash; `text` is signature.json, None where there is none.

    Raises Unsigned, UnknownKey, BadSignature, BadKey or MissingExtra.
    """
    known = public_keys(keys)
    if text is None:
        raise Unsigned("the bundle is not signed", expected=f"a {SIGNATURE}", hint="sdk sign BUNDLE --key NAME.key")
    try:
        found = msgspec.json.decode(text, type=Signature)
        signature = base64.b64decode(found.signature, validate=True)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error, ValueError) as error:
        raise BadSignature(f"{SIGNATURE} cannot be read: {error}", expected="what sdk sign writes") from error
    statement = found.statement
    if statement.format != FORMAT:
        raise BadSignature(f"{SIGNATURE} has the format {statement.format}", expected=f"{FORMAT}")
    if statement.key not in known:
        raise UnknownKey(f"the bundle is signed by the key {statement.key!r}", expected=f"one of {', '.join(known)}")
    _verify(known[statement.key], signature, statement)
    if statement.manifest_sha256 != manifest_sha256:
        raise BadSignature("the manifest was changed after it was signed", expected=statement.manifest_sha256)
    return statement


def _verify(key: "Ed25519PublicKey", signature: bytes, statement: Statement) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message(statement))
    except InvalidSignature as error:
        raise BadSignature(f"the signature is not the key {statement.key}'s", expected="an unchanged bundle") from error


def not_older(statement: Statement) -> None:
    """Refuse a release where a newer one of this key and model was used here. Raises RolledBack."""
    place = _place()
    try:
        newest = _releases(place).get(_name(statement), 0)
    except OSError as error:
        warnings.warn(f"rollbacks go unnoticed: {place} cannot be read ({error.strerror})", stacklevel=2)
        return
    if statement.release < newest:
        raise RolledBack(
            f"release {statement.release} of {statement.model}, and this device has had release {newest}",
            expected=f"release {newest} or later",
            hint=f"sign the old bundle again as a new release; or remove {place} if the device may go back",
        )


def remember(statement: Statement) -> None:
    """Note that this release is used here, for `not_older`. Raises RolledBack where older notes cannot be read.

    To be called once a bundle's bytes are checked: one cut off on its way must not lock the older one out.
    """
    place = _place()
    try:
        with locked(place.with_suffix(".lock")):
            seen = _releases(place)
            if statement.release > seen.get(_name(statement), 0):
                write(place, msgspec.json.encode(seen | {_name(statement): statement.release}))
    except OSError as error:
        warnings.warn(f"rollbacks go unnoticed: {place} cannot be written ({error.strerror})", stacklevel=2)


def _place() -> Path:
    return state_folder() / "releases.json"


def _name(statement: Statement) -> str:
    return f"{statement.key} {statement.model}"


def _releases(place: Path) -> dict[str, int]:
    if not place.exists():
        return {}
    try:
        return msgspec.json.decode(place.read_bytes(), type=dict[str, int])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RolledBack(f"{place} cannot be read: {error}", hint="restore it, or remove it knowingly") from error


def _lines(given: str | os.PathLike[str]) -> list[str]:
    if isinstance(given, str) and given.startswith(KIND):
        return [given]
    path = Path(given)
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BadKey(f"{path} cannot be read: {error.strerror}", expected="a file of public keys") from error
    if len(text) > KEY_FILE_LIMIT_BYTES:
        raise BadKey(f"{path} is larger than {KEY_FILE_LIMIT_BYTES:,} bytes", expected="a file of public keys")
    lines = [line.strip() for line in text.decode("utf-8", errors="replace").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _key(line: str) -> tuple[str, "Ed25519PublicKey"]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise missing_extra("cryptography", "trust", "checking signatures") from error
    if "PRIVATE" in line:
        raise BadKey("a private key", expected="the public one, NAME.pub", hint="keep private keys off devices")
    kind, _, rest = line.partition(" ")
    try:
        raw = base64.b64decode(rest.split(" ")[0], validate=True)
        if kind != KIND or len(raw) != 32:
            raise ValueError("it is no Ed25519 public key")
        return key_id(raw), Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as error:
        shown = line[:40] + ("..." if len(line) > 40 else "")
        raise BadKey(f"{shown!r}: {error}", expected=f"'{KIND} BASE64 comment'", hint="sdk keys new NAME") from error
