"""Versions of one bundle on a device: the next one is proven before it is used, and the last good one stays.

    store = runtime_py.Store("/var/lib/camera/model")
    store.install("mobilenet.bundle.zip", key="maker.pub")
    session = store.load()

A version that answers its golden inputs wrongly is never used; one that twice does not come through loading is left for
the last good one. What is in use is said by one small file that is replaced in one step: whenever the power goes, the
old version or the new one is there, whole.
"""

import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from runtime_py import durable
from runtime_py.archive import NoRoom, check_room, unpack
from runtime_py.bundle import Bundle, CorruptBundle, NewerBundle, NotABundle, check_files, open_bundle
from runtime_py.choice import NoRuntime, ranked, why_not
from runtime_py.cores import default_threads
from runtime_py.crashes import identity, lives
from runtime_py.engines import EngineFailed
from runtime_py.errors import SdkError
from runtime_py.proving import proven_alone
from runtime_py.session import Session, load
from runtime_py.signing import SIGNATURE, BadSignature, Keys, Unsigned, remember

STATE = "state.json"
LOCK = ".lock"
"""Held while the state is read and written, which is a matter of milliseconds."""
CHANGING = ".changing"
"""Held while versions come and go, for minutes perhaps; `load` does not wait for it."""
FAULTS = (NotABundle, CorruptBundle, NewerBundle, Unsigned, BadSignature, EngineFailed, NoRuntime, OSError)
"""What speaks against a version. Other errors are the caller's (a name, a key that is not there, an extra)."""
MOST_TRIES = 2
KEPT = 3


class VersionRefused(SdkError):
    """A new version that does not answer as it should, or does not run here at all. The old one stays in use."""

    id = "version-refused"


class NoVersion(SdkError):
    """A store without a version that can be used."""

    id = "no-version"


class FellBack(UserWarning):
    """A version that did not come through loading was left for an older one."""


class Version(msgspec.Struct, frozen=True):
    """One version. `name` is its folder's; `good` once it has been loaded and answered; `refused` says why it is not
    used, empty where it may be; `tries` are the processes that began to load it since it last came through."""

    name: str
    model: str
    release: int = 0
    good: bool = False
    refused: str = ""
    tries: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it has come through, and may be used."""
        return self.good and not self.refused


class State(msgspec.Struct, frozen=True):
    """state.json: the versions, the oldest first, and which one is in use."""

    versions: tuple[Version, ...] = ()
    current: str = ""

    def version(self, name: str) -> Version | None:
        """The version of that name."""
        return next((one for one in self.versions if one.name == name), None)

    def changed(self, name: str, **fields: Any) -> "State":
        """With other fields in that version."""
        versions = tuple(
            msgspec.structs.replace(one, **fields) if one.name == name else one for one in self.versions
        )  # fmt: skip
        return msgspec.structs.replace(self, versions=versions)

    def fallback(self, name: str) -> Version | None:
        """The newest good version but that one."""
        return next((one for one in reversed(self.versions) if one.usable and one.name != name), None)

    def before(self, name: str) -> Version | None:
        """The newest good version of those older than that one."""
        names = [one.name for one in self.versions]
        older = self.versions[: names.index(name)] if name in names else self.versions
        return next((one for one in reversed(older) if one.usable), None)


class Store:
    """The versions in `folder`, which is made where it is not there. Processes may share it."""

    def __init__(self, folder: str | os.PathLike[str], key: Keys | None = None) -> None:
        self.folder = Path(folder)
        self.key = key

    @property
    def versions(self) -> tuple[Version, ...]:
        """The oldest first."""
        return self._state().versions

    @property
    def current(self) -> Version | None:
        """What `load` would take."""
        state = self._state()
        return state.version(state.current)

    def path(self, version: Version) -> Path:
        """A version's bundle."""
        return self.folder / "versions" / version.name

    def install(self, source: str | os.PathLike[str], key: Keys | None = None) -> Version:
        """Copy a bundle, or unpack one, check every byte, let it answer its golden inputs, and take it into use.

        `key` as in `runtime_py.load`, by default the store's own. Raises VersionRefused where it does not answer as it
        should, NoRoom where the disk is full; whatever it raises, the version that was in use stays so, and others may
        `load` it meanwhile.
        """
        try:
            durable.make_folder(self.folder / "versions")
            with durable.locked(self.folder / CHANGING):
                self._tidy()
                bundle = self._taken(Path(source), key if key is not None else self.key)
                reason = _proven(bundle.path)
                if bundle.signed is not None and not reason:
                    remember(bundle.signed)
                return self._taken_into_use(bundle, reason)
        except OSError as error:
            raise NoRoom(f"{source} cannot be installed: {error}", expected=f"{self.folder} with space") from error

    def _taken_into_use(self, bundle: Bundle, reason: str) -> Version:
        with durable.locked(self.folder / LOCK):
            state, name = self._state(), bundle.path.name
            release = bundle.signed.release if bundle.signed else 0
            new = Version(name, bundle.manifest.model, release, refused=reason)
            others = tuple(one for one in state.versions if one.name != name)
            current = state.current if reason else name
            self._write(State((*others, new), current))
            if reason:
                hint = "the version in use stays" if state.current else ""
                raise VersionRefused(f"{bundle.manifest.model}: {reason}", expected="its golden answers", hint=hint)
            self._prune()
            return new

    def load(self, **how: Any) -> Session:
        """The version in use, ready to answer; `how` are `runtime_py.load`'s arguments. Raises NoVersion.

        One that twice did not come through, by an error or by the end of its process, is refused from then on, and the
        newest good one taken in its place, with a warning. The caller's own errors, such as a key that is not there,
        refuse nothing, nor does Ctrl-C; processes that load at the same time and end together count once.
        """
        how = {"key": self.key, "older": True} | how  # what an installation let in may be gone back to
        faults = tuple(one for one in FAULTS if not (one is NoRuntime and how.get("target")))
        failures = Counter[str]()
        while True:
            version = self._begin()
            try:
                session = load(self.path(version), **how)
            except faults as error:
                failures[version.name] += 1
                if not self._failed(version, error, failures[version.name]):
                    raise
            except BaseException:
                self._taken_back(version)
                raise
            else:
                self._came_through(version)
                return session

    def rollback(self) -> Version:
        """Take the newest good version of those older than the one in use. Raises NoVersion."""
        with durable.locked(self.folder / LOCK):
            state = self._state()
            other = state.before(state.current)
            if other is None:
                raise NoVersion(f"{self.folder} has no older good version", expected="one that was loaded before")
            self._write(msgspec.structs.replace(state, current=other.name))
            return other

    def remove(self, name: str) -> None:
        """Forget a version, and delete it. Raises NoVersion for none, or the one in use."""
        with durable.locked(self.folder / CHANGING), durable.locked(self.folder / LOCK):
            state = self._state()
            if state.version(name) is None or name == state.current:
                others = ", ".join(one.name for one in state.versions if one.name != state.current)
                raise NoVersion(f"{name!r} is no version that can be removed", expected=f"one of {others or 'none'}")
            self._forget({name})

    def _begin(self) -> Version:
        """The version to load, with this process noted; leaves one that ended two processes."""
        with self._counting():
            state = self._state()
            version = state.version(state.current)
            if version is None:
                raise NoVersion(
                    f"{self.folder} holds no version", expected="one installed", hint="store.install(BUNDLE)"
                )
            ended = [one for one in version.tries if not lives(one)]
            if len(ended) >= MOST_TRIES:
                reason = f"{len(ended)} processes ended while they loaded it"
                version = self._leave(state, version, reason) or version
                state = self._state()
            if not any(lives(one) for one in version.tries):  # else one is noted for all that load it now
                tries = (*version.tries[-MOST_TRIES:], identity(os.getpid()))
                self._note(state.changed(version.name, tries=tries))
            return version

    def _failed(self, version: Version, error: Exception, failures: int) -> bool:
        """Whether to go on after an error: with the same once more, then with another."""
        if failures < MOST_TRIES:
            return True
        self._taken_back(version)
        if failures > MOST_TRIES:  # it could not be left, as nothing can be written
            return False
        with self._counting():
            return self._leave(self._state(), version, str(error).splitlines()[0]) is not None

    def _taken_back(self, version: Version) -> None:
        """Forget that this process began to load it."""
        with self._counting():
            state = self._state()
            own = state.version(version.name)
            tries = tuple(one for one in own.tries if one != identity(os.getpid())) if own else ()
            if own is not None and tries != own.tries:
                self._note(state.changed(version.name, tries=tries))

    def _leave(self, state: State, version: Version, reason: str) -> Version | None:
        """Refuse a version for good and take another one; None, and nothing changes, where there is none."""
        other = state.fallback(version.name)
        if other is None:
            return None
        state = state.changed(version.name, refused=reason, tries=())
        self._note(msgspec.structs.replace(state, current=other.name))
        warnings.warn(FellBack(f"{other.name} is used in place of {version.name}: {reason}"), stacklevel=4)
        return other

    def _came_through(self, version: Version) -> None:
        with self._counting():
            state = self._state()
            own = state.version(version.name)
            if own is not None and (own.tries or not own.good):
                self._note(state.changed(version.name, good=True, tries=()))

    def _taken(self, source: Path, key: Keys | None) -> Bundle:
        """The bundle, under its final name in the store, every byte checked."""
        incoming = self.folder / "versions" / f".incoming.{os.getpid()}"
        durable.step("copy", incoming)
        try:
            bundle = _copied(source, incoming, key)
            release = f"{bundle.signed.release:06d}-" if bundle.signed else ""
            place = incoming.with_name(f"{release}{bundle.manifest_sha256[:12]}.bundle")
            if not _kept(place, incoming, bundle):
                durable.remove(place)  # installed before, and its bytes have rotted since
                durable.rename(incoming, place)
            return open_bundle(place, key)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)  # gone already where it was taken

    def _state(self) -> State:
        path = self.folder / STATE
        if not path.exists():
            return State()
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NoVersion(f"{path} cannot be read: {error}", hint="remove it and install a version again") from error

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Alone with the state, where the disk lets anybody be: a device starts from a read-only one too."""
        with ExitStack() as held:
            try:
                held.enter_context(durable.locked(self.folder / LOCK))
            except OSError as error:
                self._uncounted(error)
            yield

    def _note(self, state: State) -> None:
        """Write the state, or say that it cannot be: no full disk keeps a device from starting."""
        try:
            self._write(state)
        except OSError as error:
            self._uncounted(error)

    def _uncounted(self, error: OSError) -> None:
        told = f"failures to load go uncounted: {self.folder} cannot be written ({error.strerror})"
        warnings.warn(told, stacklevel=5)

    def _write(self, state: State) -> None:
        durable.write(self.folder / STATE, msgspec.json.encode(state))

    def _prune(self) -> None:
        """Keep the newest versions, and whichever is in use or what to fall back to."""
        state = self._state()
        fallback = state.fallback(state.current)
        needed = {state.current, *([fallback.name] if fallback else [])}
        self._forget({one.name for one in state.versions[:-KEPT]} - needed)

    def _forget(self, names: set[str]) -> None:
        if not names:
            return
        state = self._state()
        self._write(
            msgspec.structs.replace(state, versions=tuple(one for one in state.versions if one.name not in names))
        )
        for name in sorted(names):
            durable.remove(self.folder / "versions" / name)

    def _tidy(self) -> None:
        """Remove what an installation left that did not end."""
        known = {one.name for one in self._state().versions}
        for path in sorted((self.folder / "versions").iterdir()):
            if path.name not in known:
                durable.remove(path)
        for path in self.folder.glob(f".{STATE}.*"):
            path.unlink()


def _copied(source: Path, incoming: Path, key: Keys | None) -> Bundle:
    """A bundle or a zip file as a folder of its own, every byte checked and on the disk."""
    if source.is_file():
        unpack(source, incoming, key)
        return open_bundle(incoming, key)
    given = open_bundle(source, key)
    check_files(given, complete=True)
    check_room(incoming.parent, sum(file.stat().st_size for file in source.rglob("*")))
    shutil.copytree(source, incoming, symlinks=True)
    bundle = open_bundle(incoming, key)
    check_files(bundle, complete=True)  # of the copy: what was checked is what is kept
    durable.sync_tree(incoming)
    return bundle


def _kept(place: Path, incoming: Path, bundle: Bundle) -> bool:
    """Whether the same lies there already, whole: it stays, as it may be in use, and takes the new signature only."""
    try:
        there = open_bundle(place)
        check_files(there, complete=True)
    except SdkError:
        return False
    if there.manifest_sha256 != bundle.manifest_sha256:
        return False
    if (incoming / SIGNATURE).exists():
        durable.write(place / SIGNATURE, (incoming / SIGNATURE).read_bytes())
    return True


def _proven(path: Path) -> str:
    """Why what this device would load does not answer as it should, tried in its own process; empty where it does."""
    choice = next((one for one in ranked(open_bundle(path).manifest) if why_not(one) is None), None)
    if choice is None:
        return "none of its artifacts has a runtime here"
    row = proven_alone(path, choice.artifact, default_threads())
    return "" if row["status"] == "executed" else str(row["why"])
