"""`sdk push` to a throw-away ssh server that leads to this machine, with a home and programs of its own."""

import inspect
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
import pytest
from packaging.requirements import Requirement

from devices import there
from devices.device import ConnectionLost, Device, DeviceFailed, DeviceFull, LoginRefused, Unreachable
from devices.files import send
from devices.ssh import parse
from devices.wheel import device_version, device_wheel
from runtime_py.archive import pack
from runtime_py.bundle import CorruptBundle, check_files, describe, open_bundle, write_bundle
from runtime_py.errors import UnknownName
from runtime_py.manifest import File
from sdk.cli import main
from sdk.pushing import Busy, InstallFailed, NoPython, NothingToRun, Occupied, Pushed, push
from sdk.removing import remove
from tests.devices.sshd import Server, missing
from tests.runtime_py.colours import WEIGHT, make_bundle

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")
pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "here")

PROGRAMS = ("sh", "tar", "mkdir", "rm", "setsid", "cat", "kill", "sleep")
"""All that the device has, beside python3."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a device has of its own: ONNX Runtime, and what this project needs."""
    folder, waiting, seen = tmp_path_factory.mktemp("packages"), ["numpy", "msgspec", "pillow", "onnxruntime"], set()
    while waiting:
        found = distribution(waiting.pop())
        if found.name in seen:
            continue
        seen.add(found.name)
        needs = map(Requirement, found.requires or [])
        waiting += [need.name for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
        for name in {path.parts[0] for path in found.files or []} - {"..", "__pycache__"}:
            (folder / name).symlink_to(found.locate_file(name))
    return folder


@pytest.fixture
def server(listening: Server, tmp_path: Path, packages: Path) -> Server:
    programs, home = tmp_path / "programs", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            (programs / name).symlink_to(found)
    python(programs, f'exec {own_python()} "$@"')
    lead(listening, tmp_path, packages)
    return listening


def own_python() -> str:
    """The Python below this virtual environment, without its packages."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


SHELL = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'


def lead(server: Server, tmp_path: Path, packages: Path | None, then: str = SHELL) -> None:
    """Every command runs in the device's home; its words are run by `then`, or a shell."""
    of_python = f"export PYTHONPATH={packages}" if packages else "unset PYTHONPATH"
    server.leads_to(
        f"cd {tmp_path / 'home'}\n{of_python}\nexport HOME={tmp_path / 'home'} PATH={tmp_path / 'programs'}\n"
        f"export PIP_USER=1 PYTHONDONTWRITEBYTECODE=1\n"
        f"{then}"
    )


def python(programs: Path, script: str) -> None:
    (programs / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "python3").chmod(0o755)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "colours.bundle")


def pushed(server: Server, bundle: Path, folder: str, options: tuple[str, ...] = (), **how: Any) -> Pushed:
    device, place = parse(f"{server.address}{folder}", (*options, *server.options))
    return push(bundle, device, place, **how)


def device_of(server: Server) -> Device:
    return parse(server.address, server.options)[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_arrives_and_is_proven_by_what_was_installed(server: Server, tmp_path: Path, bundle: Path) -> None:
    device = tmp_path / "device"
    found = pushed(server, bundle, f"{device}")
    assert found.in_place
    assert found.installed == f"edge-sdk {device_version()}"
    (row,) = found.rows
    assert (row["target"], row["status"], row["sqnr_db"] > 60) == ("onnx", "executed", True)
    there_now = open_bundle(device / bundle.name)
    check_files(there_now, complete=True)
    assert there_now.manifest == open_bundle(bundle).manifest
    assert names(device) == [".edge-sdk", bundle.name]
    assert not list((device / ".edge-sdk").glob("incoming.*"))
    own = device / ".edge-sdk/bin/python"
    assert found.python == str(own)
    again = pushed(server, bundle, f"{device}")
    assert (again.in_place, again.installed) == (True, "")
    code = "import runtime_py, sys; print(runtime_py.__file__); print('sdk' in sys.modules)"
    said = subprocess.run([own, "-c", code], env={}, cwd="/", capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[0].startswith(str(device))


def test_a_python_that_an_upgrade_took_away_is_no_hindrance(server: Server, tmp_path: Path, bundle: Path) -> None:
    home = tmp_path / "device" / ".edge-sdk"
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("home = /opt/python3.9/bin\nversion = 3.9.2\n")
    for name in ("python", "python3", "python3.9"):
        (home / "bin" / name).symlink_to("/opt/python3.9/bin/python3.9")
    found = pushed(server, bundle, f"{tmp_path}/device")
    assert (found.in_place, found.installed) == (True, f"edge-sdk {device_version()}")
    assert pushed(server, bundle, f"{tmp_path}/device").installed == ""


@pytest.mark.parametrize("name", ['it\'s "$(touch owned)`touch owned`" \\.bundle', "-rf.bundle", "é*.bundle"])
def test_names_are_names(name: str, server: Server, tmp_path: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')  # has this project: nothing is installed
    own = bundle.rename(bundle.with_name(name))
    assert pushed(server, own, "/~/-my%20$(touch%20owned)%27models").in_place
    assert names(tmp_path / "home") == ["-my $(touch owned)'models", ".cache"]
    assert names(tmp_path / "home" / "-my $(touch owned)'models") == [name]
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("name", [".hidden.bundle", "two\nlines.bundle", f"{'long' * 51}.bundle"])
def test_names_that_no_device_should_have(name: str, server: Server, tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(DeviceFailed, match="is called"):
        pushed(server, bundle.rename(bundle.with_name(name)), f"{tmp_path}/device")
    assert not (tmp_path / "device").exists()


def test_a_zip_arrives_as_a_folder(
    server: Server, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    assert pushed(server, pack(bundle), f"{tmp_path}/device").in_place
    check_files(open_bundle(tmp_path / "device" / "colours.bundle"), complete=True)


def test_one_that_answers_wrongly_takes_no_place(server: Server, tmp_path: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    assert pushed(server, bundle, f"{tmp_path}/device").in_place
    (tmp_path / "new").mkdir()
    wrong = make_bundle(tmp_path / "new" / "colours.bundle", weight=WEIGHT * 2, licence="new")
    found = pushed(server, wrong, f"{tmp_path}/device", allow_failed=True)  # which nothing proven helps
    assert (found.in_place, found.rows[0]["status"]) == (False, "failed")
    assert "SQNR" in found.rows[0]["why"]
    assert open_bundle(tmp_path / "device" / "colours.bundle").manifest.licence == ""
    assert names(tmp_path / "device") == ["colours.bundle"]


def test_a_changed_bundle_is_not_sent(server: Server, tmp_path: Path, bundle: Path) -> None:
    (bundle / "golden.npz").write_bytes(b"x")
    with pytest.raises(CorruptBundle):
        pushed(server, bundle, f"{tmp_path}/device")
    assert not (tmp_path / "device").exists()


def test_a_byte_that_changes_on_the_way_is_noticed_there(server: Server, tmp_path: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    (tmp_path / "programs" / "tar").unlink()
    tar = tmp_path / "programs" / "tar"
    tar.write_text(f'#!/bin/sh\n{shutil.which("tar")} "$@" && printf x >> "$4"/report.html\n')
    tar.chmod(0o755)
    with pytest.raises(DeviceFailed, match=r"refuses the bundle: .*report\.html"):
        pushed(server, bundle, f"{tmp_path}/device")
    assert names(tmp_path / "device") == []


CUT = """
import socket, sys, threading
port, limit = int(sys.argv[1]), int(sys.argv[2])
wire = socket.create_connection(("127.0.0.1", port))
def back():
    while data := wire.recv(65536):
        sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
threading.Thread(target=back, daemon=True).start()
sent = 0
while sent < limit and (data := sys.stdin.buffer.raw.read(65536)):
    wire.sendall(data); sent += len(data)
wire.shutdown(socket.SHUT_RDWR)
"""
"""Passes ssh's bytes on, so many and no more."""


@pytest.mark.slow
def test_a_connection_that_is_cut_loses_nothing(server: Server, tmp_path: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    assert pushed(server, bundle, f"{tmp_path}/device").in_place
    larger = with_a_large_file(bundle)
    (tmp_path / "cut.py").write_text(CUT)
    proxy = f"ProxyCommand={sys.executable} {tmp_path}/cut.py {server.port} 700000"
    with pytest.raises(ConnectionLost):
        pushed(server, larger, f"{tmp_path}/device", (proxy,))
    assert len(open_bundle(tmp_path / "device" / bundle.name).manifest.files) == 2  # the old one
    wait_until(lambda: names(tmp_path / "device") == [bundle.name])  # tar there noticed its end, and took itself back
    assert pushed(server, larger, f"{tmp_path}/device").in_place
    assert len(open_bundle(tmp_path / "device" / bundle.name).manifest.files) == 3


def with_a_large_file(bundle: Path) -> Path:
    (bundle / "large.bin").write_bytes(os.urandom(4_000_000))
    size, digest = describe(bundle / "large.bin")
    manifest = open_bundle(bundle).manifest
    more = (*manifest.files, File(file="large.bin", bytes=size, sha256=digest))
    write_bundle(bundle, msgspec.structs.replace(manifest, files=more))
    return bundle


def wait_until(held: Any) -> None:
    for _ in range(200):
        if held():
            return
        time.sleep(0.05)
    assert held()


def test_proving_ends_with_the_connection(server: Server, tmp_path: Path, bundle: Path) -> None:
    """A Python that takes for ever to prove, and a server process that dies."""
    python(
        tmp_path / "programs",
        f'case "$1" in -m) echo $$ > {tmp_path}/started; sleep 4343.0625;; *) exec {sys.executable} "$@";; esac',
    )
    lead(
        server,
        tmp_path,
        None,
        f'case "$SSH_ORIGINAL_COMMAND" in *verify*) echo $PPID > {tmp_path}/session;; esac\n{SHELL}',
    )
    killer = subprocess.Popen(
        ["sh", "-c", f"while ! [ -s {tmp_path}/started ]; do sleep 0.1; done; kill -9 $(cat {tmp_path}/session)"]
    )
    try:
        with pytest.raises(ConnectionLost):
            pushed(server, bundle, f"{tmp_path}/device")
    finally:
        killer.kill()
        killer.wait()
    number = int((tmp_path / "started").read_text())
    wait_until(lambda: not running(number))
    assert names(tmp_path / "device") == []


def running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_a_power_cut_left_is_mended(server: Server, tmp_path: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    device = tmp_path / "device"
    assert pushed(server, bundle, f"{device}").in_place
    (device / bundle.name).rename(device / f".{bundle.name}.old")  # between the two renames of a switch
    half = device / f".{bundle.name}.0badcafe.pushing"
    half.mkdir()
    there.look(str(device), bundle.name, [])
    assert names(device) == sorted([half.name, bundle.name])  # the half one may be another push, under way
    there.look(str(device), bundle.name, [], stale_s=-1.0)
    assert names(device) == [bundle.name]
    check_files(open_bundle(device / bundle.name), complete=True)


OLD = """case "$1" in -c) code=$2; shift 2;
exec {python} -c 'import sys; sys.version_info = (3, 9, 2, "final", 0); code = sys.argv.pop(1)
exec(compile(code, "there", "exec"), {{"__name__": "__main__"}})' "$code" "$@";; esac
exit 1"""


def test_python_there(server: Server, tmp_path: Path, bundle: Path) -> None:
    programs = tmp_path / "programs"
    python(programs, OLD.format(python=sys.executable))
    with pytest.raises(NoPython, match=r"has Python 3\.9\.2"):
        pushed(server, bundle, f"{tmp_path}/device")
    python(programs, 'echo "Segmentation fault" >&2; exit 139')
    with pytest.raises(DeviceFailed, match="ended with signal 11"):
        pushed(server, bundle, f"{tmp_path}/device")
    (programs / "python3").unlink()
    with pytest.raises(NoPython, match="has no python3"):
        pushed(server, bundle, f"{tmp_path}/device")
    (programs / "other python").symlink_to(own_python())
    assert pushed(server, bundle, f"{tmp_path}/device", python="other python").in_place


def test_a_login_shell_that_talks(server: Server, tmp_path: Path, packages: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    lead(server, tmp_path, None, f'echo "Welcome! {{}}"\n{SHELL}')
    assert pushed(server, bundle, f"{tmp_path}/device").in_place


def test_a_runtime_that_cannot_be_installed(server: Server, tmp_path: Path, bundle: Path) -> None:
    lead(server, tmp_path, None)  # a bare Python
    (tmp_path / "wheels").mkdir()
    with pytest.raises(InstallFailed, match="holds no wheel"):
        pushed(server, bundle, f"{tmp_path}/device", wheels=tmp_path / "wheels")
    device_wheel(tmp_path / "wheels")
    with pytest.raises(InstallFailed, match="No matching distribution") as caught:
        pushed(server, bundle, f"{tmp_path}/device", wheels=tmp_path / "wheels")
    assert "--extra" in caught.value.hint
    assert not (tmp_path / "device" / bundle.name).exists()
    with pytest.raises(UnknownName, match="no-such"):
        pushed(server, bundle, f"{tmp_path}/device", extras=["no-such"])


def test_a_bundle_that_no_python_runs(server: Server, tmp_path: Path, bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    code = msgspec.structs.replace(manifest.artifacts[0], target="mcu")
    write_bundle(bundle, msgspec.structs.replace(manifest, artifacts=(code,)))
    with pytest.raises(NothingToRun, match="holds mcu"):
        pushed(server, bundle, f"{tmp_path}/device")


def test_places_that_are_taken(server: Server, tmp_path: Path, bundle: Path) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    (tmp_path / "device" / bundle.name).mkdir(parents=True)
    (tmp_path / "device" / bundle.name / "diary").write_text("mine")
    with pytest.raises(Occupied, match="is no bundle"):
        pushed(server, bundle, f"{tmp_path}/device")
    (tmp_path / "file").touch()
    with pytest.raises(Occupied, match="cannot be written"):
        pushed(server, bundle, f"{tmp_path}/file/below")
    with pytest.raises(DeviceFailed, match="could not be written"):
        send(device_of(server), bundle, "/proc/none")


def test_a_disk_without_room(server: Server, tmp_path: Path, bundle: Path) -> None:
    try:
        subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    (tmp_path / "device").mkdir()
    small = f"mount -t tmpfs -o size=300k none {tmp_path}/device"
    lead(server, tmp_path, None, f'PATH=/usr/bin:/bin:/usr/sbin:/sbin exec unshare -rm /bin/sh -c \'{small}; '
         f'PATH={tmp_path}/programs exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"\'')  # fmt: skip
    with pytest.raises(DeviceFull, match="MB free"):
        pushed(server, bundle, f"{tmp_path}/device")
    with pytest.raises(DeviceFull, match="No space left"):
        send(device_of(server), with_a_large_file(bundle), f"{tmp_path}/device/x")


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["push", *map(str, arguments)])
    assert exit_.value.code == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_the_command(server: Server, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    options = [word for option in server.options for word in ("--ssh-option", option)]
    asked = [bundle, f"{server.address}{tmp_path}/device", *options]
    out, _ = run(capsys, *asked)
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["target", "precision", "status"]
    assert lines[1].split()[:3] == ["onnx", "fp32", "executed"]
    assert f"in place: {tmp_path}/device/colours.bundle" in lines
    found = json.loads(run(capsys, *asked, "--json")[0])
    assert (found["ok"], found["proven"], found["rows"][0]["status"]) == (True, ["onnx"], "executed")
    (tmp_path / "new").mkdir()
    wrong = make_bundle(tmp_path / "new" / "colours.bundle", weight=WEIGHT * 2)
    _, err = run(capsys, wrong, *asked[1:], code=1)
    assert "NOT put in place" in err
    assert "SQNR" in err


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("IdentityFile={folder}/stranger", LoginRefused),
        ("HostName=no-such-host.invalid", Unreachable),
        ("Port=1", Unreachable),
    ],
)
def test_no_way_to_the_device(
    more: str, kind: type[DeviceFailed], server: Server, tmp_path: Path, bundle: Path
) -> None:
    device, place = parse("ssh://127.0.0.1/x", (more.format(folder=server.folder), *server.options[1:]))
    if kind is LoginRefused:
        device, place = parse(f"{server.address}/x", (more.format(folder=server.folder), *server.options[1:]))
    with pytest.raises(kind) as caught:
        push(bundle, device, place)
    assert caught.value.hint


def test_the_device_wheel(tmp_path: Path) -> None:
    wheel = device_wheel(tmp_path)
    first = wheel.read_bytes()
    assert wheel.name == f"edge_sdk-{device_version()}-py3-none-any.whl"
    assert device_wheel(tmp_path).read_bytes() == first
    assert len(first) < 500_000
    held = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == {"devices", "runtime_py"}
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(tmp_path / "x")]
    subprocess.run([*command, str(wheel)], check=True, timeout=120)
    assert (tmp_path / "x/runtime_py/session.py").is_file()
    assert (tmp_path / "x/devices/agent.py").is_file()
    assert len(list((tmp_path / "x").glob("*.dist-info/licenses/LICENSE"))) == 1


def test_two_pushes_at_once_end_one_after_the_other(tmp_path: Path) -> None:
    """Many processes put the same name in place at once: each ends well, and the last one's bundle is whole there."""
    source, place = inspect.getsource(there), tmp_path / "device"
    place.mkdir()
    rounds = 8
    for number in range(rounds):
        (place / f"pushed{number}").mkdir()
        (place / f"pushed{number}" / "manifest.json").write_text(str(number))
    command = [own_python(), "-c", source, "switch", str(place)]
    running = [
        subprocess.Popen([*command, f"{place}/pushed{number}", "x.bundle"], stdout=subprocess.PIPE, text=True)
        for number in range(rounds)
    ]
    assert [json.loads(one.communicate(timeout=120)[0]) for one in running] == [{}] * rounds
    assert names(place) == ["x.bundle"]
    assert (place / "x.bundle" / "manifest.json").read_text() in map(str, range(rounds))


def test_one_that_waits_too_long_says_so(
    server: Server, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python(tmp_path / "programs", f'exec {sys.executable} "$@"')
    short = inspect.getsource(there).replace('"switch": 60.0, "remove": 60.0', '"switch": 0.2, "remove": 0.2')
    assert short != inspect.getsource(there)
    monkeypatch.setattr("sdk.pushing.inspect.getsource", lambda module: short)
    (tmp_path / "device").mkdir()
    with there.alone(str(tmp_path / "device"), 0.0):
        with pytest.raises(Busy, match="another push is at work") as caught:
            pushed(server, bundle, f"{tmp_path}/device")
        assert "wait" in caught.value.hint
        with pytest.raises(Busy, match="another push is at work"):
            remove(bundle.name, device_of(server), f"{tmp_path}/device")
    assert names(tmp_path / "device") == []


def test_what_another_push_has_half_done_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".x.bundle.old").mkdir()
    with there.alone(str(tmp_path), 0.0):
        there.look(str(tmp_path), "x.bundle", [], stale_s=-1.0)
        assert names(tmp_path) == [".x.bundle.old"]
    there.look(str(tmp_path), "x.bundle", [], stale_s=-1.0)
    assert names(tmp_path) == ["x.bundle"]


def test_a_folder_that_was_made_anew_is_locked_anew(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    with there.alone(str(folder), 0.0):
        folder.rmdir()
        folder.mkdir()
        with there.alone(str(folder), 0.0), pytest.raises(there.Busy), there.alone(str(folder), 0.2):
            pass


def test_what_was_pushed_is_removed_on_request(
    server: Server, tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First one of two, then the last one, and with it the Python, the project and its agent."""
    device = tmp_path / "device"
    options = [word for option in server.options for word in ("--ssh-option", option)]
    (tmp_path / "more").mkdir()
    other = make_bundle(tmp_path / "more" / "other.bundle")
    for one in (bundle, other):
        assert pushed(server, one, f"{device}").in_place
    (device / "diary").write_text("mine")
    (device / f".{bundle.name}.0badcafe.pushing").mkdir()
    assert list(device.glob(".edge-sdk/lib/*/site-packages/devices/agent.py"))
    shutil.rmtree(bundle)  # it need not be here any more
    out, _ = run(capsys, bundle, f"{server.address}{device}", *options, "--remove")
    assert out.splitlines()[:3] == [
        f"removed: {device}/{bundle.name}",
        f"removed: {device}/.{bundle.name}.0badcafe.pushing",
        f"kept: {device}/.edge-sdk, which other.bundle needs",
    ]
    assert names(device) == [".edge-sdk", "diary", "other.bundle"]
    size = sum(path.lstat().st_size for path in device.rglob("*") if path.is_file() or path.is_symlink())
    found = json.loads(run(capsys, other, f"{server.address}{device}", *options, "--remove", "--json")[0])
    assert found["removed"] == [f"{device}/other.bundle", f"{device}/.edge-sdk"]
    assert (found["kept"], found["others"]) == ([], [])
    assert 0 < found["freed_bytes"] <= size
    assert names(device) == ["diary"]
    again, _ = run(capsys, other, f"{server.address}{device}", *options, "--remove")
    assert again.startswith("nothing was there of other.bundle")
    again, _ = run(capsys, other, f"{server.address}{tmp_path}/nowhere", *options, "--remove")
    assert again.startswith("nothing was there of other.bundle")


def test_a_removal_leaves_what_no_push_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "device" / "photos").mkdir(parents=True)
    with pytest.raises(Occupied, match="is no bundle"):
        remove("photos", device_of(server), f"{tmp_path}/device")
    with pytest.raises(DeviceFailed, match="is called"):
        remove("..", device_of(server), f"{tmp_path}/device")
    assert names(tmp_path / "device") == ["photos"]


def test_a_push_of_another_bundle_that_is_under_way_keeps_its_python(tmp_path: Path) -> None:
    for name in ("x.bundle", ".other.bundle.0badcafe.pushing", ".edge-sdk"):
        (tmp_path / name).mkdir()
    (tmp_path / "x.bundle" / "manifest.json").write_text("{}")
    found = there.remove(str(tmp_path), "x.bundle")
    assert (found["removed"], found["kept"]) == ([f"{tmp_path}/x.bundle"], [f"{tmp_path}/.edge-sdk"])
    assert names(tmp_path) == [".edge-sdk", ".other.bundle.0badcafe.pushing"]


def test_half_a_removal_is_no_bundle_any_more(tmp_path: Path) -> None:
    """As after a power cut: what was being removed goes with the next push of it."""
    for name in (".x.bundle" + there.GOING, there.HOME + there.GOING):
        (tmp_path / name).mkdir()
    there.look(str(tmp_path), "x.bundle", [], stale_s=-1.0)
    assert names(tmp_path) == []


def test_removal_takes_no_options_of_a_push(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = run(capsys, bundle, "ssh://host/x", "--remove", "--allow-failed", code=2)
    assert "--remove takes" in said
    _, said = run(capsys, bundle, "local", code=2)
    assert "has the bundle already" in said
