"""What runs on a device before anything of this project is there: python3 -c THIS VERB ARGUMENT ...

Standard library only, and readable by any Python 3, so that one too old can say so. It prints one line of JSON.
"""

import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

HOME = ".edge-sdk"
"""In the folder that bundles are pushed to: a virtual environment with what runs them."""
STALE_S = 3600.0
"""Leftovers that nothing has touched for so long belong to a push that is no more."""
PYTHON = "bin/python"
GOING = ".going.pushing"
WAITS_S = {"install": 900.0, "switch": 60.0, "remove": 60.0}
"""How long each verb waits for another push that is at work in the same folder; less than its caller's patience."""


class Busy(Exception):
    """Another push is at work in a folder, and does not come to its end."""


@contextmanager
def alone(folder: str, wait_s: float) -> "Iterator[None]":
    """Nobody else who asks for this is at work in the folder meanwhile. Raises Busy.

    The folder itself is locked, so that no file is left; a lock ends with its process, whatever becomes of it.
    """
    held = _locked(folder, wait_s)
    try:
        yield
    finally:
        os.close(held)


def _locked(folder: str, wait_s: float) -> int:
    import fcntl

    until = time.monotonic() + wait_s
    while True:
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            if time.monotonic() > until:
                raise Busy("another push is at work in " + folder) from None
        except OSError:  # a file system without locks
            return held
        else:
            if os.path.exists(folder) and os.path.samestat(os.fstat(held), os.stat(folder)):
                return held
            os.close(held)  # it was removed meanwhile, and is another one now
        time.sleep(0.1)


def look(place: str, name: str, packages: "list[str]", stale_s: float = STALE_S) -> "dict[str, Any]":
    """What is there to install on and to run with; mends what an earlier push left half done."""
    place = os.path.abspath(place)
    found: dict[str, Any] = {"python": list(sys.version_info[:3]), "executable": sys.executable, "place": place,
             "machine": platform.machine(), "system": platform.system()}  # fmt: skip
    if sys.version_info < (3, 8):  # noqa: UP036  # without importlib.metadata; whoever asked refuses it
        return found
    above = place
    while not os.path.exists(above):
        above = os.path.dirname(above)
    found["writable"] = _writable(above)
    found["free_bytes"] = shutil.disk_usage(above).free
    found["packages"] = _versions(packages)
    found["occupied"] = False
    if os.path.isdir(place):
        with suppress(Busy), alone(place, 0.0):  # what another push has half done just now is none of the leftovers
            _mend(place, name, stale_s)
        final = os.path.join(place, name)
        found["occupied"] = os.path.lexists(final) and not os.path.isfile(os.path.join(final, "manifest.json"))
    return found


def _writable(folder: str) -> bool:
    """By trying: what the permissions say is not all, as on a disk that is mounted read-only."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _versions(packages: "list[str]") -> "dict[str, str]":
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _mend(place: str, name: str, stale_s: float) -> None:
    """An old bundle that was put aside and has no successor comes back; what else lies around goes."""
    aside, final = _aside(place, name), os.path.join(place, name)
    if os.path.isdir(aside):
        if os.path.lexists(final):
            shutil.rmtree(aside)
        else:
            os.rename(aside, final)
    for pattern in ("." + glob.escape(name) + ".*.pushing", HOME + GOING, os.path.join(HOME, "incoming.*")):
        for left in glob.glob(os.path.join(glob.escape(place), pattern)):
            if time.time() - _touched(left) > stale_s:
                shutil.rmtree(left, ignore_errors=True)


def _touched(folder: str) -> float:
    """The time of the last change below a folder, by a clock that tar does not set back."""
    paths = [os.path.join(top, one) for top, _, names in os.walk(folder) for one in ["", *names]]
    return max([os.lstat(path).st_ctime for path in paths if os.path.lexists(path)], default=0.0)


def _aside(place: str, name: str) -> str:
    return os.path.join(place, "." + name + ".old")


def install(place: str, incoming: str, offline: str, wanted: str) -> "dict[str, Any]":
    """A virtual environment with `wanted`, a wheel of the folder `incoming` and its extras, which goes afterwards.

    The device's own packages can be seen from there, so that a runtime that it brings is used. `offline` where only
    wheels of that folder may be taken.
    """
    home = os.path.join(os.path.abspath(place), HOME)
    try:
        with alone(home, WAITS_S["install"]):
            return _installed(home, incoming, offline, wanted)
    except Busy as error:
        return {"error": str(error), "busy": True}
    except ImportError:
        return {"error": "its Python has no module venv"}
    except OSError as error:
        return {"error": f"{error.strerror}: {error.filename}"}
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _installed(home: str, incoming: str, offline: str, wanted: str) -> "dict[str, Any]":
    python = os.path.join(home, PYTHON)
    if not os.path.exists(python):
        import venv

        shutil.rmtree(os.path.dirname(python), ignore_errors=True)  # links to a Python that an upgrade took away
        venv.EnvBuilder(system_site_packages=True, symlinks=True, with_pip=False).create(home)
    pip = _pip(python, incoming)
    if not pip:
        return {"error": "there is no pip on the device, and none was sent"}
    command = [*pip, "install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location", "-q",
               "--no-user",  # a pip.conf or a doubt would lead it past the environment
               "--no-compile"]  # fmt: skip  # on a slow board the first import does that, for what is used
    if offline == "offline":
        command += ["--no-index", "--find-links", incoming]
    done = subprocess.run(
        [*command, os.path.join(incoming, wanted)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return {} if done.returncode == 0 else {"error": "\n".join(lines[-8:]) or "pip ended without a word"}


def _pip(python: str, incoming: str) -> "list[str]":
    """The command that is pip: the device's, or that of a wheel of pip, which runs as it is."""
    done = subprocess.run([python, "-c", "import pip"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode == 0:
        return [python, "-m", "pip"]
    sent = sorted(glob.glob(os.path.join(glob.escape(incoming), "pip-*.whl")))
    return [python, os.path.join(sent[-1], "pip")] if sent else []


def switch(place: str, pushed: str, name: str) -> "dict[str, Any]":
    """Puts what was pushed in the place of what is there; a power cut in between is mended by the next `look`."""
    try:
        with alone(place, WAITS_S["switch"]):
            return _switched(place, pushed, name)
    except Busy as error:
        return {"error": str(error), "busy": True}
    except OSError as error:
        return {"error": f"{error.strerror}: {error.filename}"}


def _switched(place: str, pushed: str, name: str) -> "dict[str, Any]":
    final, aside = os.path.join(place, name), _aside(place, name)
    os.sync()
    had = os.path.lexists(final)
    if had:
        shutil.rmtree(aside, ignore_errors=True)  # of a push that ended before it was through
        os.rename(final, aside)
    try:
        os.rename(pushed, final)
    except OSError as error:
        if had:
            os.rename(aside, final)
        return {"error": f"{error.strerror}: {final}"}
    os.sync()
    shutil.rmtree(aside, ignore_errors=True)
    return {}


def remove(place: str, name: str) -> "dict[str, Any]":
    """Takes away what pushes of `name` left in `place`; and, with the last bundle there, what runs bundles.

    It gives the paths that are gone, those that stay because other bundles need them, and the bytes that are free now.
    """
    place = os.path.abspath(place)
    if not os.path.isdir(place):
        return {"removed": [], "kept": [], "others": [], "freed_bytes": 0}
    try:
        with alone(place, WAITS_S["remove"]):
            return _removed(place, name)
    except Busy as error:
        return {"error": str(error), "busy": True}
    except OSError as error:
        return {"error": f"{error.strerror}: {error.filename}"}


def _removed(place: str, name: str) -> "dict[str, Any]":
    final, home = os.path.join(place, name), os.path.join(place, HOME)
    if os.path.lexists(final) and not os.path.isfile(os.path.join(final, "manifest.json")):
        return {"error": final + " is no bundle"}
    others = sorted(one for one in os.listdir(place) if one != name and _is_another(place, one, name))
    half = glob.glob(os.path.join(glob.escape(place), "." + glob.escape(name) + ".*.pushing"))
    going = [path for path in [final, _aside(place, name), *sorted(half)] if os.path.lexists(path)]
    own = os.path.isdir(home)
    if own and not others:
        with alone(home, 0.0):  # a push that installs there needs it
            freed = _gone([*going, home])
        going.append(home)
    else:
        freed = _gone(going)
    return {"removed": going, "kept": [home] if own and others else [], "others": others, "freed_bytes": freed}


def _is_another(place: str, one: str, name: str) -> bool:
    """A bundle that is not called `name`, or a push of one that is under way."""
    if one.endswith(".pushing"):
        return not one.startswith(("." + name + ".", HOME + "."))
    return not one.startswith(".") and os.path.isfile(os.path.join(place, one, "manifest.json"))


def _gone(paths: "list[str]") -> int:
    """Removes them, and gives the bytes of their files. A folder in the middle of it has another name, by which the
    next push takes it for a leftover."""
    freed = 0
    for path in paths:
        if os.path.islink(path):
            os.unlink(path)
            continue
        for top, _, names in os.walk(path):
            freed += sum(os.lstat(os.path.join(top, one)).st_size for one in names)
        going = os.path.join(os.path.dirname(path), "." + os.path.basename(path).lstrip(".") + GOING)
        shutil.rmtree(going, ignore_errors=True)
        os.rename(path, going)
        shutil.rmtree(going)
    return freed


def main() -> None:
    """The verb's answer, as a line of JSON."""
    verb, rest = sys.argv[1], sys.argv[2:]
    if verb == "look":
        found = look(rest[0], rest[1], rest[3:], float(rest[2]))
    elif verb == "install":
        found = install(*rest)
    elif verb == "remove":
        found = remove(*rest)
    else:
        found = switch(*rest)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
