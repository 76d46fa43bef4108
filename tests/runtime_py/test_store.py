"""Versions on a device: what is refused, what is left for an older one, and power cuts at every step."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime_py import Store, durable
from runtime_py import store as stores
from runtime_py.archive import pack
from runtime_py.bundle import open_bundle
from runtime_py.errors import SdkError
from runtime_py.store import FellBack, NoVersion, Version, VersionRefused
from tests.runtime_py.colours import WEIGHT, make_bundle

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")

INPUT = {"photo": np.ones((1, 3, 8, 12), np.float32)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden answers are not tried: half a second a version, and not what the test is about."""
    monkeypatch.setattr(stores, "_proven", lambda path: "")


def release(tmp_path: Path, number: int, **changes: object) -> Path:
    """A bundle like the others, but for its source's commit."""
    return make_bundle(tmp_path / f"{number}.bundle", source_commit=f"commit {number}", **changes)  # type: ignore[arg-type]


def commit(store: Store) -> str:
    with store.load(target="onnx") as session:
        assert session.run(INPUT)["logits"].shape == (1, 4)
        return session.spec.source_commit


def test_a_version_is_proven_and_used(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NoVersion):
        store.load()
    first = store.install(release(tmp_path, 1))
    assert (first.good, first.refused) == (False, "")
    assert commit(store) == "commit 1"
    assert [one.good for one in store.versions] == [True]
    store.install(pack(release(tmp_path, 2)))
    assert commit(store) == "commit 2"
    assert store.rollback().name == first.name
    assert commit(store) == "commit 1"


def test_a_version_that_answers_wrongly_is_refused(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    wrong = release(tmp_path, 2, weight=WEIGHT * 1.5)
    with pytest.raises(VersionRefused, match="SQNR"):
        store.install(wrong)
    assert commit(store) == "commit 1"
    assert [bool(one.refused) for one in store.versions] == [False, True]
    with pytest.raises(VersionRefused):
        Store(tmp_path / "empty").install(wrong)


def test_a_changed_bundle_never_gets_in(store: Store, tmp_path: Path, trusting: None) -> None:
    store.install(release(tmp_path, 1))
    bad = release(tmp_path, 2)
    (bad / "colours.onnx").write_bytes(b"x")
    with pytest.raises(SdkError, match="sha256"):
        store.install(bad)
    assert len(store.versions) == 1
    assert commit(store) == "commit 1"


@pytest.mark.usefixtures("trusting")
def test_an_error_at_every_load_leaves_it_for_the_last_good_one(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    rotten = store.install(release(tmp_path, 2))
    (store.path(rotten) / "colours.onnx").write_bytes(b"rot")
    with pytest.warns(FellBack, match=f"in place of {rotten.name}"):
        assert commit(store) == "commit 1"
    assert "sha256" in store.versions[1].refused
    assert commit(store) == "commit 1"  # and without a warning


@pytest.mark.usefixtures("trusting")
def test_an_only_version_that_fails_says_why(store: Store, tmp_path: Path) -> None:
    only = store.install(release(tmp_path, 1))
    (store.path(only) / "colours.onnx").write_bytes(b"rot")
    for _ in range(3):
        with pytest.raises(SdkError, match="sha256"):
            store.load()
    assert store.current is not None


DIES = """
import os, signal, sys
import runtime_py.store as stores
stores.load = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
stores.Store(sys.argv[1]).load()
"""


@pytest.mark.usefixtures("trusting")
def test_two_processes_that_end_while_loading_are_enough(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    second = store.install(release(tmp_path, 2))
    for _ in range(2):
        assert store.current is not None
        assert store.current.name == second.name
        died = subprocess.run(
            [sys.executable, "-c", DIES, str(store.folder)], timeout=60, check=False, env=environment()
        )
        assert died.returncode == -signal.SIGKILL
    with pytest.warns(FellBack, match="2 processes ended"):
        assert commit(store) == "commit 1"


@pytest.mark.usefixtures("trusting")
def test_one_crash_is_forgiven(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    subprocess.run([sys.executable, "-c", DIES, str(store.folder)], timeout=60, check=False, env=environment())
    assert commit(store) == "commit 1"
    assert store.current is not None
    assert store.current.tries == ()


@pytest.mark.usefixtures("trusting")
def test_a_process_that_is_loading_just_now_is_no_crash(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    for _ in range(3):
        store._begin()  # this process, which lives
    assert commit(store) == "commit 1"


@pytest.mark.usefixtures("trusting")
def test_old_versions_go_but_not_the_one_to_fall_back_to(store: Store, tmp_path: Path) -> None:
    first = store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    for number in range(2, 7):
        store.install(release(tmp_path, number))
    names = [one.name for one in store.versions]
    assert len(names) == stores.KEPT + 1
    assert names[0] == first.name
    assert sorted(path.name for path in (store.folder / "versions").iterdir()) == sorted(names)
    with pytest.raises(NoVersion, match="no version that can be removed"):
        store.remove(names[-1])
    store.remove(names[1])
    assert names[1] not in [one.name for one in store.versions]
    assert not (store.folder / "versions" / names[1]).exists()


@pytest.mark.usefixtures("trusting")
def test_the_same_version_twice_is_one(store: Store, tmp_path: Path) -> None:
    bundle = release(tmp_path, 1)
    assert store.install(bundle).name == store.install(bundle).name
    assert len(store.versions) == 1
    assert commit(store) == "commit 1"


@pytest.mark.usefixtures("trusting")
def test_with_a_key_nothing_else_gets_in_and_going_back_is_allowed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="signatures are checked by cryptography")
    from sdk.signing import new_keys, private_key, sign

    monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path / "state"))
    private, public = new_keys("maker", tmp_path)
    signed = Store(tmp_path / "signed", key=public)
    bundles = [release(tmp_path, number) for number in (1, 2, 3)]
    with pytest.raises(SdkError, match="not signed"):
        signed.install(bundles[2])
    for number in (1, 2):
        sign(bundles[number - 1], private_key(private), number)
    assert signed.install(bundles[0]).release == 1
    assert commit(signed) == "commit 1"
    signed.install(bundles[1])
    assert commit(signed) == "commit 2"
    with pytest.raises(SdkError, match="has had release 2"):
        signed.install(bundles[0])
    signed.rollback()
    assert commit(signed) == "commit 1"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(stores.__file__).parents[1])}


def steps_of(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    with monkeypatch.context() as patched:
        patched.setattr(durable, "step", lambda name, path: seen.append((name, path.name)))
        work()
    return seen


def killed_at(number: int, work: Callable[[], object]) -> int:
    """Do it in a process of its own, which ends before step `number`; how it ended."""
    child = os.fork()
    if child == 0:
        left = number

        def step(name: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        durable.step = step
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("zipped", [False, True])
def test_a_power_cut_at_every_step_of_an_installation(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, third = (release(tmp_path, number) for number in (1, 2, 3))
    source = pack(new) if zipped else new
    count = 0
    while True:
        store = Store(tmp_path / f"store{count}")
        store.install(old)
        assert commit(store) == "commit 1"
        ended = killed_at(count, lambda store=store: store.install(source))
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        after = Store(store.folder)
        assert commit(after) in ("commit 1", "commit 2")
        for one in after.versions:  # whatever is listed is whole
            open_bundle(after.path(one))
        after.install(third)
        assert commit(after) == "commit 3"
        assert sorted(path.name for path in (after.folder / "versions").iterdir()) == sorted(
            one.name for one in after.versions
        )
        assert not list(after.folder.glob(".state*"))
        count += 1
    assert count >= 12


@pytest.mark.usefixtures("trusting")
def test_a_power_cut_at_every_step_of_loading(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    count = 0
    while killed_at(count, lambda: store._came_through(store._begin())) != 0:
        assert commit(store) == "commit 1"
        count += 1
    assert count >= 4


@pytest.mark.usefixtures("trusting")
def test_bytes_are_on_the_disk_before_a_name_points_at_them(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = steps_of(lambda: store.install(release(tmp_path, 1)), monkeypatch)
    (version,) = store.versions
    copied = seen.index(("rename", version.name))
    assert {("sync", name) for name in ("colours.onnx", "manifest.json", "golden.npz")} <= set(seen[:copied])
    assert seen[copied + 1] == ("sync", "versions")
    assert seen.index(("write", "state.json")) > copied + 1


def test_a_state_file_of_nonsense(store: Store, tmp_path: Path) -> None:
    store.folder.mkdir()
    (store.folder / "state.json").write_text("{}}")
    with pytest.raises(NoVersion, match="cannot be read"):
        store.load()


def test_versions_are_plain_data() -> None:
    assert Version("x", "m").good is False
