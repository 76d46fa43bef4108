"""Bundles that several files of tests look at: each is exported once, whichever worker needs it first."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime_py.bundle import describe, open_bundle, write_bundle
from runtime_py.golden import GOLDEN, load_golden
from runtime_py.manifest import File
from sdk.golden import save_golden
from tests.sdk.photos import write_photos

NETS = str(Path(__file__).parent / "sdk" / "nets.py")
NETWORKS: dict[str, dict[str, Any]] = {
    "mobilenetv4_conv_small": {},
    "leyolo_nano": {"input_size": 160},
    "turbo_vaed_dc": {"inputs": [(1, 128, 1, 1, 1)]},
    "mixed_w8a8": {
        "model": f"{NETS}:mixed", "inputs": [(1, 3, 32, 48)], "precision": "w8a8", "calibration_size": 40,
    },
}  # fmt: skip
"""On every target; the first as `make demo` does it, the others with small inputs, as the operators are the same."""

Exported = Callable[[str], Path]
"""The bundle of a network by its name in NETWORKS."""


def common(factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this run."""
    base = factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "common"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def one_at_a_time(folder: Path, name: str) -> Iterator[None]:
    """Workers wait here for each other."""
    with (folder / f".{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def photos_in(folder: Path) -> Path:
    """Forty images of two classes, one of them damaged: smooth shapes, as photos have."""
    with one_at_a_time(folder, "photos"):
        photos = folder / "photos"
        if not photos.is_dir():
            beside = folder / ".photos"
            beside.mkdir()
            write_photos(beside, {"even": (0, 256), "odd": (0, 256)})
            damaged = beside / "odd" / "39.png"
            damaged.write_bytes(damaged.read_bytes()[:60])
            beside.rename(photos)
    return photos


def export_once(folder: Path, name: str) -> Path:
    """The bundle, made where no worker has made it. Raises AssertionError where a target failed, each time anew."""
    import sdk

    with one_at_a_time(folder, name), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_SDK_CACHE", str(folder / "cache"))
        place = folder / name
        if not place.is_dir():
            given = {"model": name} | NETWORKS[name]
            if "precision" in given:
                given["calibration"] = photos_in(folder)
            out = folder / f".{name}"
            result = sdk.export(given.pop("model"), out=out, jobs=2, **given)
            assert result.ok, result.to_dict()
            assert result.bundle is not None
            out.rename(place)
        (bundle,) = place.glob("*.bundle")
    return bundle


def only(bundle: Path, targets: str, into: Path, golden: int) -> Path:
    """A copy of a bundle for a slow machine: with the artifacts of some targets, which stand in `targets` with commas,
    and its first `golden` golden inputs."""
    shutil.copytree(bundle, into)
    manifest = open_bundle(bundle).manifest
    kept = tuple(one for one in manifest.artifacts if one.target in targets.split(","))
    assert {one.target for one in kept} == set(targets.split(","))
    for one in manifest.artifacts:
        path = into / one.file
        if one not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    whole = load_golden(into / GOLDEN, manifest)
    kinds = list(whole.inputs)[:golden]
    sides = {
        side: found and {kind: found[kind] for kind in kinds if kind in found}
        for side in ("inputs", "outputs", "quantised", "real")
        for found in [getattr(whole, side)]
    }
    save_golden(replace(whole, **sides), into / GOLDEN)
    size, digest = describe(into / GOLDEN)
    files = tuple(one if one.file != GOLDEN else File(file=GOLDEN, bytes=size, sha256=digest) for one in manifest.files)
    write_bundle(into, msgspec.structs.replace(manifest, artifacts=kept, files=files))
    return into
