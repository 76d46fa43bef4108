"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any test imports a library that counts cores

import pytest

from tests.devices.sshd import Server, missing, sshd
from tests.exported import Exported, common, export_once, photos_in
from tests.warm import Warm

REPOSITORY = Path(__file__).parents[1]
LONGEST = (
    "tests/sdk/test_families.py",
    "tests/sdk/test_export.py",
    "tests/sdk/test_quantised_export.py",
    "tests/sdk/test_half_precision.py",
    "tests/sdk/test_own_networks.py",
    "tests/runtime_py/test_on_pi.py",
    "tests/sdk/test_integer_ends.py",
    "tests/sdk/commands/test_push_on_pi.py",
    "tests/sdk/evaluate/test_accuracy.py",
    "tests/sdk/commands/test_push.py",
)
"""Begun first, so that workers that take whole files end at the same time; what others wait for comes before them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LONGEST first; the others as they are."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's top folder."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data and weights beside the checkout, which is no part of the project."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: it holds data that may not be published with the project")
    return folder


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A throw-away sshd of this machine, for the tests of one file."""
    if missing():
        pytest.skip(missing())
    with sshd(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks, databases and what else is kept for a user are the test's own."""
    monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this run."""
    return common(tmp_path_factory)


@pytest.fixture(scope="session")
def exported(common_folder: Path) -> Exported:
    """Gives bundles that several files look at; nothing may change them."""
    return lambda name: export_once(common_folder, name)


@pytest.fixture(scope="session")
def common_photos(common_folder: Path) -> Path:
    """The photos that the shared bundles are calibrated on."""
    return photos_in(common_folder)


@pytest.fixture(scope="session")
def warm_parents() -> Iterator[Warm]:
    """What warm_workers are forked from; each is begun when it is first needed."""
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def warm_workers(warm_parents: Warm) -> Iterator[None]:
    """The SDK's worker processes begin with their libraries imported, in a file of tests that asks for it."""
    import sdk.evaluate.processes
    import sdk.pool
    import sdk.quantize.running

    with pytest.MonkeyPatch.context() as patch:
        for module in (sdk.pool, sdk.evaluate.processes, sdk.quantize.running):
            patch.setattr(module, "subprocess", warm_parents)
        yield
