from collections.abc import Callable
from pathlib import Path

import pytest

from sdk.bench.plan import Plan, read_plan
from tests.runtime_py.colours import make_bundle

PlanOf = Callable[..., Plan]


@pytest.fixture(autouse=True)
def alone(own_state: None) -> None:
    """Locks and databases of a test are its own."""


@pytest.fixture
def plan_of(tmp_path: Path) -> PlanOf:
    """A plan over the small bundle, and lines of TOML that it is to have beside."""
    make_bundle(tmp_path / "colours.bundle")

    def made(*lines: str, networks: str = '["colours.bundle"]') -> Plan:
        (tmp_path / "b.toml").write_text("\n".join([f"networks = {networks}", *lines]), encoding="utf-8")
        return read_plan(tmp_path / "b.toml")

    return made
