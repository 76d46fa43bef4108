"""Keys, and signatures of bundles: what the maker does. Devices check them with `runtime_py.signing`."""

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from runtime_py import durable
from runtime_py.bundle import check_files, open_bundle
from runtime_py.errors import SdkError
from runtime_py.signing import (
    FORMAT,
    KEY_FILE_LIMIT_BYTES,
    KIND,
    SIGNATURE,
    BadKey,
    Signature,
    Statement,
    key_id,
    message,
)

MOST_RELEASES = 2**31 - 1
"""Devices remember the highest that they have had; one that is out of reach would lock out all that follow."""


def new_keys(name: str, folder: Path, passphrase: bytes | None = None) -> tuple[Path, Path]:
    """Write NAME.key, which only its owner can read, and NAME.pub. Raises SdkError where one exists."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    for path in (private, public):
        if path.exists():
            raise SdkError(f"{path} exists already", expected="a new name", hint="a lost key cannot be made again")
    key = Ed25519PrivateKey.generate()
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public.write_text(f"{public_line(key)} {name}\n", encoding="ascii")
    return private, public


def public_line(key: Ed25519PrivateKey) -> str:
    """The public key as a device's file of keys holds it."""
    return f"{KIND} {base64.b64encode(key.public_key().public_bytes_raw()).decode()}"


def private_key(path: Path, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """The key in a PEM file. Raises BadKey."""
    try:
        if path.stat().st_size > KEY_FILE_LIMIT_BYTES:
            raise BadKey(f"{path} is larger than {KEY_FILE_LIMIT_BYTES:,} bytes", expected="NAME.key of sdk keys new")
        key = load_pem_private_key(path.read_bytes(), passphrase)
    except OSError as error:
        raise BadKey(f"{path} cannot be read: {error.strerror}", expected="NAME.key of sdk keys new") from error
    except TypeError as error:
        hint = "--passphrase-file FILE" if passphrase is None else "leave --passphrase-file out"
        raise BadKey(f"{path}: {error}", hint=hint) from error
    except ValueError as error:
        hint = "look at the passphrase" if passphrase else "sdk keys new NAME"
        raise BadKey(f"{path} holds no key that can be read: {error}", expected="PEM", hint=hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{path} holds a key of another kind", expected="Ed25519", hint="sdk keys new NAME")
    return key


def sign(folder: Path, key: Ed25519PrivateKey, release: int | None = None) -> Statement:
    """Check every byte of a bundle, and write its signature.json.

    `release` is by default one more than that of the signature which is there already, or else 1.
    Raises NotABundle, CorruptBundle, or SdkError for a release that is out of range.
    """
    bundle = open_bundle(folder)
    check_files(bundle, complete=True)
    number = _release(folder / SIGNATURE) + 1 if release is None else release
    if not 1 <= number <= MOST_RELEASES:
        raise SdkError(f"release {number}", expected=f"1 to {MOST_RELEASES:,}", hint="--release N")
    statement = Statement(
        format=FORMAT, key=key_id(key.public_key().public_bytes_raw()), model=bundle.manifest.model, release=number,
        manifest_sha256=bundle.manifest_sha256, signed=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    signature = Signature(statement, base64.b64encode(key.sign(message(statement))).decode())
    durable.write(folder / SIGNATURE, msgspec.json.format(msgspec.json.encode(signature), indent=2) + b"\n")
    return statement


def signature_of(folder: Path) -> Signature | None:
    """What a bundle's signature.json says, checked by nobody; None where there is none, or nothing to read."""
    try:
        return msgspec.json.decode((folder / SIGNATURE).read_bytes(), type=Signature)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _release(path: Path) -> int:
    before = signature_of(path.parent)
    return before.statement.release if before else 0
