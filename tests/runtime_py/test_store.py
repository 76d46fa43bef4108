"""Versions on a device: what is refused, what is left for an older one, and power cuts at every step."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np
import pytest

from runtime_py import Store, archive, durable
from runtime_py import store as stores
from runtime_py.archive import NoRoom, pack
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


BEGINS = """
import sys
from runtime_py.store import Store
Store(sys.argv[1])._begin()
print(flush=True)
sys.stdin.read()
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


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("wrong", [{"target": "tflite"}, {"threads": 0}, {"key": "/none/maker.pub"}, {"of": "x"}])
def test_a_mistake_of_the_caller_s_refuses_no_version(wrong: dict[str, object], store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    store.install(release(tmp_path, 2))
    for _ in range(3):
        with pytest.raises((SdkError, TypeError)):
            store.load(**wrong)
    assert commit(store) == "commit 2"
    assert not any(one.refused for one in store.versions)


@pytest.mark.usefixtures("trusting")
def test_ctrl_c_is_no_crash(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    store.install(release(tmp_path, 2))
    with monkeypatch.context() as patched:
        patched.setattr(stores, "load", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                store.load()
    assert store.current is not None
    assert store.current.tries == ()


@pytest.mark.usefixtures("trusting")
def test_processes_that_end_together_count_once(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    assert commit(store) == "commit 1"
    store.install(release(tmp_path, 2))
    command = [sys.executable, "-c", BEGINS, str(store.folder)]
    workers = []
    for _ in range(3):
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        assert one.stdout is not None
        one.stdout.readline()
        workers.append(one)
    for one in workers:
        one.kill()
        one.communicate(timeout=60)
    assert commit(store) == "commit 2"


@pytest.mark.usefixtures("trusting")
def test_a_device_starts_from_a_disk_that_cannot_be_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store.install(release(tmp_path, 1))
    with monkeypatch.context() as patched:
        patched.setattr(durable, "write", full)
        with pytest.warns(UserWarning, match="uncounted"):
            assert commit(store) == "commit 1"
    monkeypatch.setattr(durable, "locked", full)
    with pytest.warns(UserWarning, match="uncounted"):
        assert commit(store) == "commit 1"


@pytest.mark.usefixtures("trusting")
def test_a_copy_that_fails_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.install(release(tmp_path, 1))
    whole = shutil.copytree

    def cut_off(source: Path, target: Path, **how: bool) -> None:
        whole(source, target, **how)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(stores.shutil, "copytree", cut_off)
        with pytest.raises(NoRoom, match="No space left"):
            store.install(release(tmp_path, 2))
    assert [path.name for path in (store.folder / "versions").iterdir()] == [store.versions[0].name]
    monkeypatch.setattr(archive, "SPARE_BYTES", 2**60)
    with pytest.raises(NoRoom, match="MB are free"):
        store.install(release(tmp_path, 3))


def test_loading_does_not_wait_for_an_installation(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def proven(_: Path) -> str:
        if store.versions:
            thread = threading.Thread(target=lambda: found.append(commit(Store(store.folder))), daemon=True)
            thread.start()
            thread.join(60)
        return ""

    monkeypatch.setattr(stores, "_proven", proven)
    store.install(release(tmp_path, 1))
    store.install(release(tmp_path, 2))
    assert found == ["commit 1"]


@pytest.mark.usefixtures("trusting")
def test_rollback_goes_back_and_never_forth(store: Store, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        store.install(release(tmp_path, number))
        assert commit(store) == f"commit {number}"
    for number in (2, 1):
        store.rollback()
        assert commit(store) == f"commit {number}"
    with pytest.raises(NoVersion, match="no older"):
        store.rollback()


@pytest.mark.usefixtures("trusting")
def test_a_file_among_the_versions_is_swept_out(store: Store, tmp_path: Path) -> None:
    store.install(release(tmp_path, 1))
    (store.folder / "versions" / ".DS_Store").write_text("x")
    (store.folder / "versions" / "link").symlink_to(tmp_path)
    store.install(release(tmp_path, 2))
    assert sorted(path.name for path in (store.folder / "versions").iterdir()) == sorted(
        one.name for one in store.versions
    )
    assert tmp_path.exists()


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
@pytest.mark.parametrize("signed", [False, True])
def test_a_power_cut_at_every_step_of_installing_the_version_in_use_again(
    signed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only one: at no moment may it be away. Signed, its signature is another one the second time."""
    key, bundle = None, release(tmp_path, 1)
    if signed:
        pytest.importorskip("cryptography", reason="signatures are checked by cryptography")
        from sdk.signing import new_keys, private_key, sign

        monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path / "state"))
        private, key = new_keys("maker", tmp_path)
        sign(bundle, private_key(private), 1)
    count = 0
    while True:
        store = Store(tmp_path / f"store{count}", key)
        store.install(bundle)
        assert commit(store) == "commit 1"
        if signed:
            monkeypatch.setattr("sdk.signing.datetime", Tomorrow)
            sign(bundle, private_key(private), 1)
        ended = killed_at(count, lambda store=store: store.install(bundle))
        assert commit(Store(store.folder, key)) == "commit 1"
        if ended == 0:
            break
        count += 1
    assert count >= 6


class Tomorrow(datetime):
    """A clock that goes on by a day whenever it is asked."""

    days = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Tomorrow":
        cls.days += 1
        return cls(2030, 1, 1, tzinfo=tz) + timedelta(days=cls.days)


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
