from pathlib import Path

import pytest

from tests.runtime_py.colours import make_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "colours.bundle")
