"""What the parent asks of a worker process, and what it answers. Light, so that the parent may import it."""

import msgspec

from exporters.base import McuOptions
from runtime_py.manifest import Artifact, Manifest, Proof


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Lower (with `program`), or prove (with `artifact`), one target inside `folder`."""

    target: str
    precision: str
    folder: str
    manifest: Manifest
    file: str
    program: str | None = None
    artifact: Artifact | None = None
    golden: str | None = None
    mcu: McuOptions | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The artifact so far, the proofs, or an error with the fields of SdkError."""

    artifact: Artifact | None = None
    proofs: tuple[Proof, ...] = ()
    error: dict[str, str] | None = None
