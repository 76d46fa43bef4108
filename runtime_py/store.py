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
from pathlib import Path
from typing import Any

import msgspec

from runtime_py import durable
from runtime_py.archive import unpack
from runtime_py.bundle import Bundle, check_files, open_bundle
from runtime_py.choice import ranked, why_not
from runtime_py.cores import default_threads
from runtime_py.crashes import identity, lives
from runtime_py.errors import SdkError
from runtime_py.proving import proven_alone
from runtime_py.session import Session, load
from runtime_py.signing import Keys

STATE = "state.json"
LOCK = ".lock"
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
        return next((one for one in reversed(self.versions) if one.good and not one.refused and one.name != name), None)


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
        should; whatever it raises, the version that was in use stays so.
        """
        durable.make_folder(self.folder / "versions")
        with durable.locked(self.folder / LOCK):
            self._tidy()
            bundle = self._taken(Path(source), key if key is not None else self.key)
            state, name = self._state(), bundle.path.name
            release = bundle.signed.release if bundle.signed else 0
            reason = _proven(bundle.path)
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
        newest good one taken in its place, with a warning.
        """
        how = {"key": self.key, "older": True} | how  # what an installation let in may be gone back to
        while True:
            version = self._begin()
            try:
                session = load(self.path(version), **how)
            except (SdkError, OSError) as error:
                if self._failed(version, error) is None:
                    raise
                continue
            self._came_through(version)
            return session

    def rollback(self) -> Version:
        """Take the newest good version but the one in use. Raises NoVersion."""
        with durable.locked(self.folder / LOCK):
            state = self._state()
            other = state.fallback(state.current)
            if other is None:
                raise NoVersion(f"{self.folder} has no other good version", expected="one that was loaded before")
            self._write(msgspec.structs.replace(state, current=other.name))
            return other

    def remove(self, name: str) -> None:
        """Forget a version, and delete it. Raises NoVersion for none, or the one in use."""
        with durable.locked(self.folder / LOCK):
            state = self._state()
            if state.version(name) is None or name == state.current:
                others = ", ".join(one.name for one in state.versions if one.name != state.current)
                raise NoVersion(f"{name!r} is no version that can be removed", expected=f"one of {others or 'none'}")
            self._forget({name})

    def _begin(self) -> Version:
        """The version to load, with this process noted; leaves one that ended two processes."""
        with durable.locked(self.folder / LOCK):
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
            tries = (*version.tries[-MOST_TRIES:], identity(os.getpid()))
            self._write(state.changed(version.name, tries=tries))
            return version

    def _failed(self, version: Version, error: Exception) -> Version | None:
        """What to load after an error: the same once more, then another; None where nothing is left."""
        with durable.locked(self.folder / LOCK):
            state = self._state()
            own = state.version(version.name)
            failures = own.tries.count(identity(os.getpid())) if own else 0
            if own is None or failures < MOST_TRIES:
                return version
            state = state.changed(version.name, tries=())
            self._write(state)
            return self._leave(state, version, str(error).splitlines()[0])

    def _leave(self, state: State, version: Version, reason: str) -> Version | None:
        """Refuse a version for good and take another one; None, and nothing changes, where there is none."""
        other = state.fallback(version.name)
        if other is None:
            return None
        state = state.changed(version.name, refused=reason, tries=())
        self._write(msgspec.structs.replace(state, current=other.name))
        warnings.warn(FellBack(f"{other.name} is used in place of {version.name}: {reason}"), stacklevel=4)
        return other

    def _came_through(self, version: Version) -> None:
        with durable.locked(self.folder / LOCK):
            state = self._state()
            own = state.version(version.name)
            if own is not None and (own.tries or not own.good):
                self._write(state.changed(version.name, good=True, tries=()))

    def _taken(self, source: Path, key: Keys | None) -> Bundle:
        """The bundle, under its final name in the store, every byte checked."""
        incoming = self.folder / "versions" / f".incoming.{os.getpid()}"
        durable.step("copy", incoming)
        if source.is_file():
            unpack(source, incoming, key)
            bundle = open_bundle(incoming, key)
        else:
            check_files(open_bundle(source, key), complete=True)
            shutil.copytree(source, incoming, symlinks=True)
            bundle = open_bundle(incoming, key)
            check_files(bundle, complete=True)  # of the copy: what was checked is what is kept
            durable.sync_tree(incoming)
        release = f"{bundle.signed.release:06d}-" if bundle.signed else ""
        place = incoming.with_name(f"{release}{bundle.manifest_sha256[:12]}.bundle")
        if place.exists():  # installed before; its bytes may have rotted since
            durable.remove(place)
        durable.rename(incoming, place)
        return open_bundle(place, key)

    def _state(self) -> State:
        path = self.folder / STATE
        if not path.exists():
            return State()
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NoVersion(f"{path} cannot be read: {error}", hint="remove it and install a version again") from error

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


def _proven(path: Path) -> str:
    """Why what this device would load does not answer as it should, tried in its own process; empty where it does."""
    choice = next((one for one in ranked(open_bundle(path).manifest) if why_not(one) is None), None)
    if choice is None:
        return "none of its artifacts has a runtime here"
    row = proven_alone(path, choice.artifact, default_threads())
    return "" if row["status"] == "executed" else str(row["why"])
