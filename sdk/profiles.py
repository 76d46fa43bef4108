"""Measurements that join a bundle: its manifest's `profiles`, and its report."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from runtime_py.bundle import check_files, describe, open_bundle, write_bundle
from runtime_py.golden import GOLDEN, load_golden
from runtime_py.manifest import File, Manifest, ProfileRow
from runtime_py.signing import SIGNATURE
from sdk.reporting import report_of
from sdk.staging import publish, staging

REPORT = "report.html"


def save_profiles(path: Path, rows: Sequence[ProfileRow]) -> bool:
    """Put the rows into the bundle's manifest, in place of older ones of the same target, device and threads.

    The whole bundle is written beside itself and renamed. Returns whether it was signed: it no longer is, as what was
    signed has changed. Raises NotABundle or CorruptBundle.
    """
    bundle = open_bundle(path)
    check_files(bundle, complete=True)
    folder = path.resolve()
    with staging(folder.parent, folder.name) as work:
        shutil.copytree(folder, work, dirs_exist_ok=True)
        signed = (work / SIGNATURE).exists()
        (work / SIGNATURE).unlink(missing_ok=True)
        manifest = msgspec.structs.replace(bundle.manifest, profiles=merged(bundle.manifest.profiles, rows))
        write_bundle(work, _reported(manifest, work))
        publish(work, folder)
    return signed


def merged(old: Sequence[ProfileRow], new: Sequence[ProfileRow]) -> tuple[ProfileRow, ...]:
    """The new rows, and the old ones that none of them replaces."""
    fresh = {_key(row) for row in new}
    return (*(row for row in old if _key(row) not in fresh), *new)


def _key(row: ProfileRow) -> tuple[str, str, int, str, str]:
    return row.target, row.precision, row.threads, row.device, row.kind


def _reported(manifest: Manifest, work: Path) -> Manifest:
    """With a report that shows the rows, and its new hash."""
    report_of(manifest, load_golden(work / GOLDEN, manifest), work)
    size, sha256 = describe(work / REPORT)
    others = tuple(file for file in manifest.files if file.file != REPORT)
    return msgspec.structs.replace(manifest, files=(*others, File(file=REPORT, bytes=size, sha256=sha256)))
