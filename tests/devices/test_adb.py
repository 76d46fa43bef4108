"""The real adb client and a phone that is made up: docs/devices.md says what that leaves open."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devices.adb import (
    Adb,
    Listed,
    NoAdb,
    listed,
    not_ready,
    only_one,
    read_devices,
    watched,
)
from devices.device import ConnectionLost, DeviceFailed, DeviceFull, LoginRefused, Unreachable
from devices.probing import probe
from tests.devices import boards
from tests.devices.fake_adbd import FakePhone

LISTING = """* daemon not running; starting now at tcp:5037
* daemon started successfully
List of devices attached
R58M123ABCD            device usb:1-2 product:beyond1 model:SM_G973F device:beyond1 transport_id:3
0123456789             unauthorized usb:1-4 transport_id:5
emulator-5554          offline transport_id:1
FA6AB0301234           no permissions (user in plugdev group; are your udev rules wrong?); see [http://d.a.com] usb:1-1
192.168.1.20:5555      device product:husky model:Pixel_8_Pro device:husky transport_id:9

"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of an adb server of these tests' own: its port, and a home for its keys."""
    if shutil.which("adb") is None:
        pytest.skip("the adb client is not installed: apt-get install adb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(tmp_path_factory.mktemp("home"))}
    yield environment
    subprocess.run(["adb", "kill-server"], env=os.environ | environment, timeout=60, check=True, capture_output=True)


Reach = Callable[[FakePhone], Adb]


@pytest.fixture
def reach(server: dict[str, str]) -> Iterator[Reach]:
    """Makes the device of a phone, and lets adb forget it at the end."""
    made = []

    def make(phone: FakePhone) -> Adb:
        made.append(phone.serial)
        return Adb(phone.serial, environment=server)

    yield make
    for serial in made:
        subprocess.run(
            ["adb", "disconnect", serial], env=os.environ | server, timeout=60, check=False, capture_output=True
        )


@pytest.mark.parametrize("exit_codes", [True, False], ids=["android", "before Android 7"])
def test_exit_codes_and_output(tmp_path: Path, reach: Reach, exit_codes: bool) -> None:
    with FakePhone(tmp_path, exit_codes=exit_codes) as phone:
        device = reach(phone)
        done = device.run("echo out; echo err >&2; exit 7")
        assert done.code == 7
        assert (done.out, done.err) == (("out\n", "err\n") if exit_codes else ("out\nerr\n", ""))
        assert device.run("printf 'no newline'").out == "no newline"
        assert device.run('echo "it\'s \\$5"; true').out == "it's $5\n"
        assert device.run("cat").code == 0, "a script without input has an empty one"


def test_a_long_script_has_an_empty_input_too(tmp_path: Path, reach: Reach) -> None:
    with FakePhone(tmp_path) as phone:
        done = reach(phone).run(f"cat; echo '{'x' * 50_000}'; echo err >&2; exit 5")
    assert (done.code, done.out, done.err) == (5, "x" * 50_000 + "\n", "err\n")


def test_input_of_every_byte(tmp_path: Path, reach: Reach) -> None:
    data = bytes(range(256)) * 100
    with FakePhone(tmp_path) as phone:
        chunks = (data[start : start + 1000] for start in range(0, len(data), 1000))
        done = reach(phone).run(
            "mkdir -p /data/local/tmp; cat > /data/local/tmp/f; wc -c < /data/local/tmp/f", stdin=chunks
        )
        assert (done.code, done.out.strip()) == (0, str(len(data)))
        assert phone.real("/data/local/tmp/f").read_bytes() == data


def test_files_go_there_and_back(tmp_path: Path, reach: Reach) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.bin").write_bytes(os.urandom(100_000))
    (source / "deep" / "b c.txt").write_text("blank in its name")
    with FakePhone(tmp_path / "phone") as phone:
        device = reach(phone)
        device.push(source / "a.bin", "/data/local/tmp/a.bin")
        device.pull("/data/local/tmp/a.bin", tmp_path / "back.bin")
        assert (tmp_path / "back.bin").read_bytes() == (source / "a.bin").read_bytes()
        for _ in range(2):  # again, over what is there
            device.push(source, "/data/local/tmp/folder")
        device.pull("/data/local/tmp/folder", tmp_path / "folder")
        kept = {path.relative_to(tmp_path / "folder").as_posix() for path in (tmp_path / "folder").rglob("*.*")}
        assert kept == {"a.bin", "deep/b c.txt"}


def test_what_is_not_there_and_what_does_not_fit(tmp_path: Path, reach: Reach) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    with FakePhone(tmp_path / "phone", full=True) as phone:
        device = reach(phone)
        with pytest.raises(DeviceFailed, match="does not exist"):
            device.pull("/data/absent", tmp_path / "absent")
        with pytest.raises(DeviceFull, match="No space left") as caught:
            device.push(tmp_path / "file", "/data/local/tmp/file")
        assert "free some space" in caught.value.hint


def test_lines_come_one_by_one(tmp_path: Path, reach: Reach) -> None:
    with FakePhone(tmp_path) as phone:
        device = reach(phone)
        assert list(device.lines("echo 1; echo; echo 2")) == [b"1\n", b"\n", b"2\n"]
        assert list(device.lines("printf 'end without newline'")) == [b"end without newline\n"]
        assert list(device.lines("true")) == []


def test_an_android_that_takes_no_input(tmp_path: Path, reach: Reach) -> None:
    with FakePhone(tmp_path, exit_codes=False) as phone:
        device = reach(phone)
        with pytest.raises(DeviceFailed, match="takes no input"):
            device.run("cat", stdin=iter([b"x"]))
        with pytest.raises(DeviceFailed, match="takes no input"):
            next(device.lines("echo"))


def test_nothing_is_left_running_there(tmp_path: Path, reach: Reach) -> None:
    """The daemon does not end what a client leaves: the script must notice by itself."""
    with FakePhone(tmp_path) as phone:
        device = reach(phone)
        coming = device.lines("echo $$; exec sleep 600")
        number = int(next(coming))
        os.kill(number, 0)  # it runs
        coming.close()  # type: ignore[attr-defined]
        assert ended(number)


def test_nothing_is_left_running_after_a_cut(tmp_path: Path, reach: Reach) -> None:
    with FakePhone(tmp_path) as phone:
        device = reach(phone)
        coming = device.lines("echo $$; echo; exec sleep 600")
        number = int(next(coming))
        phone.unplug()
        with pytest.raises(ConnectionLost, match="went away"):
            list(coming)
        assert ended(number)


@pytest.mark.parametrize("words", ["dash", "bash --posix", "mksh", "busybox sh"])
def test_the_watch_in_every_shell(words: str) -> None:
    """Android's is mksh; the daemon that is made up has this machine's."""
    if shutil.which(words.split()[0]) is None:
        pytest.skip(f"{words.split()[0]} is not installed")
    with subprocess.Popen(
        [*words.split(), "-c", watched("echo $$; exec sleep 600", "@mark")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        number = int(process.stdout.readline())
        process.stdin.close()
        assert ended(number)
        assert process.stdout.read().startswith(b"\n@mark ")
    with subprocess.Popen(
        [*words.split(), "-c", watched("echo out; exit 5", "@mark")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.read() == b"out\n\n@mark 5\n", "the output ends although the input is still open"


def ended(number: int) -> bool:
    """Whether a process ends soon; bounded, and never the test's own measure of time."""
    for _ in range(600):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("exit_codes", [True, False])
def test_a_cut_is_no_success(tmp_path: Path, reach: Reach, exit_codes: bool) -> None:
    """adb itself ends with 0 here."""
    with FakePhone(tmp_path, exit_codes=exit_codes, cut_after=40) as phone:
        device = reach(phone)
        with pytest.raises(ConnectionLost) as caught:
            device.run("for n in 1 2 3 4 5 6 7 8 9; do echo 0123456789; sleep 0.02; done")
        assert "cable" in caught.value.hint


def test_a_script_that_hangs_ends(tmp_path: Path, reach: Reach) -> None:
    with FakePhone(tmp_path) as phone, pytest.raises(ConnectionLost, match="within 1 s"):
        reach(phone).run("sleep 600", timeout=1)


def test_a_phone_that_has_not_allowed_this_computer(tmp_path: Path, reach: Reach) -> None:
    with FakePhone(tmp_path, "unauthorised") as phone, pytest.raises(LoginRefused) as caught:
        reach(phone).run("true")
    assert "allowed this computer" in caught.value.given
    assert "tap Allow" in caught.value.hint


def test_a_phone_that_says_nothing(tmp_path: Path, reach: Reach) -> None:
    """`adb connect` gives up after ten seconds, and lists it as offline."""
    with FakePhone(tmp_path, "silent") as phone, pytest.raises(Unreachable, match="does not answer"):
        reach(phone).run("true")


def test_nothing_listens_there(server: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        serial = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable, match=serial):
        Adb(serial, environment=server).check()
    with pytest.raises(Unreachable, match="R58M") as caught:
        Adb("R58M", environment=server).check()
    assert "none is connected" in caught.value.expected


def test_the_only_one(tmp_path: Path, reach: Reach, server: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match="adb knows no device"):
        only_one(environment=server)
    with FakePhone(tmp_path / "a", model="Pixel_8") as first, FakePhone(tmp_path / "b", model="SM_1") as second:
        reach(first).check()
        assert only_one(environment=server).serial == first.serial
        reach(second).check()
        with pytest.raises(Unreachable, match="2 devices") as caught:
            only_one(environment=server)
        assert f"adb:{first.serial} (Pixel 8)" in caught.value.expected
        assert {row.model for row in listed(environment=server)} == {"Pixel 8", "SM 1"}


def test_no_adb_is_installed() -> None:
    with pytest.raises(NoAdb, match="no-such-adb") as caught:
        Adb("R58M", program="no-such-adb").run("true")
    assert "apt-get install adb" in caught.value.hint


def test_an_adb_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "adb"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr("devices.adb.ask.__defaults__", ("adb", None, 0.2))
    with pytest.raises(NoAdb, match="did not answer"):
        listed(str(program))


def test_a_listing_of_every_state() -> None:
    assert read_devices(LISTING) == [
        Listed("R58M123ABCD", "device", "SM G973F"),
        Listed("0123456789", "unauthorized"),
        Listed("emulator-5554", "offline"),
        Listed("FA6AB0301234", "no permissions"),
        Listed("192.168.1.20:5555", "device", "Pixel 8 Pro"),
    ]
    assert read_devices("List of devices attached\n\n") == []
    assert read_devices("") == []


@pytest.mark.parametrize("state", ["unauthorized", "offline", "no permissions", "recovery", "a new one"])
def test_every_state_has_a_way_out(state: str) -> None:
    error = not_ready("adb:X", state)
    assert error.given.startswith("adb:X: ")
    assert error.hint


def test_a_phone_is_recognised(tmp_path: Path, reach: Reach) -> None:
    board = boards.phone(tmp_path / "board")
    with FakePhone(tmp_path / "phone") as phone:
        device = reach(phone)
        found = probe(device.name, lambda script: device.run(script).out, root=str(board.root), path=str(board.bin))
    assert (found.profile, found.device) == ("pixel", f"adb:{phone.serial}")
    assert {sensor.name for sensor in found.sensors if sensor.state == "ready"} == {"odpm", "android_battery"}
