"""Manifests and zip files that hypothesis makes up: they are refused by an SdkError, or they are right."""

import os
from pathlib import Path

import pytest

from tests.runtime_py.fuzz import fuzz_load, fuzz_manifest, fuzz_zip

SECONDS = float(os.environ.get("BUNDLE_FUZZ_SECONDS", "0"))
EXAMPLES = 10_000_000 if SECONDS else 150


@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fuzz", [fuzz_manifest, fuzz_zip, fuzz_load])
def test_nothing_but_a_clear_error(fuzz: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    assert callable(fuzz)
    assert fuzz(tmp_path, EXAMPLES, SECONDS) > 100
