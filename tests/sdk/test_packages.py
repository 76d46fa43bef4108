from importlib.metadata import version

import pytest
from packaging.specifiers import SpecifierSet

from sdk.packages import packages, state_of


@pytest.mark.parametrize("installed", ["0.17.9", "0.18", "0.18.0", "0.18.4", "0.19", "0.19.0", "2.13.0+cpu", "10.0"])
@pytest.mark.parametrize("needed", [">=0.18,<0.19", ">=2", "==2.13.0", "<=0.19", ">0.18", ""])
def test_state_agrees_with_packaging(installed: str, needed: str) -> None:
    assert (state_of(installed, needed) == "ok") == SpecifierSet(needed).contains(installed, prereleases=True)


def test_state_says_which_side() -> None:
    assert state_of("0.17", ">=0.18,<0.19") == "too old"
    assert state_of("0.19", ">=0.18,<0.19") == "too new"
    assert state_of(None, ">=1") == "missing"


def test_packages_are_listed_once_with_their_extras() -> None:
    found = {package.name: package for package in packages()}
    assert len(found) == len(packages())
    assert found["numpy"].extras == ()
    assert found["numpy"].installed == version("numpy")
    assert "sdk" in found["torch"].extras
    assert found["torchao"].needed in (">=0.18,<0.19", "<0.19,>=0.18")
    assert "edge-sdk" not in found
