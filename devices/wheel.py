"""The wheel that goes to a device: runtime_py and devices alone, made of what is installed here in a moment.

The project's own wheel holds trained weights and the workstation's code as well, which a device does not need. This
one has the same name and dependencies, and a version that ends in a hash of what it holds, so that an installer sees
every change.
"""

import base64
import hashlib
import zipfile
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from runtime_py.errors import SdkError

PROJECT = "edge-sdk"
FOLDERS = ("devices", "runtime_py")
HEADERS = ("Metadata-Version", "Name", "Version", "Summary", "License-Expression", "Requires-Python", "Provides-Extra",
           "Requires-Dist")  # fmt: skip
WHEEL = "Wheel-Version: 1.0\nGenerator: edge-sdk\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""One time for all, so that the same files give the same bytes."""


class NotInstalled(SdkError):
    """This project runs from a folder that no installer knows."""

    id = "not-installed"


def device_wheel(into: Path) -> Path:
    """Writes edge_sdk-VERSION+device.HASH-py3-none-any.whl into a folder. Raises NotInstalled."""
    found = _installed()
    held = dict(_files())
    version = device_version()
    info = f"edge_sdk-{version}.dist-info"
    held[f"{info}/METADATA"] = _metadata(found, version)
    held[f"{info}/WHEEL"] = WHEEL.encode()
    licence = _licence(found)
    if licence is not None:
        held[f"{info}/licenses/LICENSE"] = licence
    held[f"{info}/RECORD"] = _record(held, f"{info}/RECORD")
    made = into / f"edge_sdk-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in held.items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return made


def device_version() -> str:
    """The version of that wheel: this project's own, and a hash of what it holds. Raises NotInstalled."""
    found = _installed()
    digest = hashlib.sha256()
    for name, content in (*_files().items(), ("", _metadata(found, ""))):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return f"{found.version}+device.{digest.hexdigest()[:12]}"


def _installed() -> Distribution:
    try:
        return distribution(PROJECT)
    except PackageNotFoundError as error:
        raise NotInstalled(f"{PROJECT} is not installed here", hint="pip install -e ., in its folder") from error


@cache
def _files() -> dict[str, bytes]:
    """What the wheel holds of this project, by name; read once, so that the version and the content belong together."""
    top = Path(__file__).parents[1]
    paths = sorted(path for folder in FOLDERS for path in (top / folder).rglob("*"))
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


def _metadata(found: Distribution, version: str) -> bytes:
    lines = []
    for name in HEADERS:
        for value in [version] if name == "Version" else found.metadata.get_all(name) or []:
            lines.append(f"{name}: {' '.join(str(value).split())}\n")
    return "".join(lines).encode()


def _licence(found: Distribution) -> bytes | None:
    own = [Path(str(found.locate_file(path))) for path in found.files or [] if path.name == "LICENSE"]
    places = [*own, Path(__file__).parents[1] / "LICENSE"]
    return next((path.read_bytes() for path in places if path.is_file()), None)


def _record(held: dict[str, bytes], own: str) -> bytes:
    lines = []
    for name, content in held.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{own},,\n"]).encode()
