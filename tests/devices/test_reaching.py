from pathlib import Path

import pytest

from devices.adb import Adb
from devices.device import DeviceFailed
from devices.local import Local
from devices.probing import probe_device
from devices.reaching import folder_there, python_at, reach, reach_folder
from devices.ssh import Ssh
from tests.devices import boards


def test_every_way() -> None:
    assert isinstance(reach("local"), Local)
    over_ssh = reach("ssh://pi@raspberrypi.local:2222")
    assert isinstance(over_ssh, Ssh)
    assert (over_ssh.host, over_ssh.user, over_ssh.port) == ("raspberrypi.local", "pi", 2222)
    for address in ("adb:R58M123ABCD", "adb://R58M123ABCD"):
        phone = reach(address)
        assert isinstance(phone, Adb)
        assert phone.serial == "R58M123ABCD"
    assert reach("adb:192.168.1.20:5555").name == "adb:192.168.1.20:5555"
    assert reach_folder("adb:192.168.1.20:5555/data/local/tmp") == (Adb("192.168.1.20:5555"), "/data/local/tmp")


@pytest.mark.parametrize(
    ("folder", "path"),
    [("/srv/models/", "/srv/models"), ("/~/a b/", "a b"), ("/~", "."), ("/~/", "."), ("", "."), ("/", "/")],
)
def test_folders(folder: str, path: str) -> None:
    assert folder_there(folder) == path


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("rpi5", "sdk devices show rpi5"),
        ("pi@raspberrypi", "ssh://pi@raspberrypi"),
        ("raspberrypi.local", "ssh://raspberrypi.local"),
        ("", "probe local"),
        ("http://host", "probe local"),
        ("ssh:host", "probe local"),
        ("serial:COM3", "probe local"),
    ],
)
def test_what_is_no_address(address: str, hint: str) -> None:
    with pytest.raises(DeviceFailed) as caught:
        reach(address)
    assert "adb:SERIAL" in caught.value.expected
    assert hint in caught.value.hint


def test_ssh_itself_says_what_is_wrong_with_its_address() -> None:
    with pytest.raises(DeviceFailed):
        reach("ssh://pi@host:port")


def test_a_device_is_looked_at_however_it_is_reached(tmp_path: Path) -> None:
    board = boards.pi5(tmp_path)
    found = probe_device(Local(), root=str(board.root), path=str(board.bin), python="python3")
    assert (found.device, found.profile, found.python) == ("local", "rpi5", "3.11.2")


@pytest.mark.parametrize(
    ("address", "python"),
    [
        ("ssh://pi@host/home/pi/models", "/home/pi/models/.edge-sdk/bin/python"),
        ("ssh://pi@host/~/models/", "models/.edge-sdk/bin/python"),
        ("ssh://pi@host/", ""),
        ("ssh://pi@host", ""),
        ("local", ""),
        ("adb:X", ""),
        ("adb:", ""),
        ("adb:X/data/local/tmp/models/", "/data/local/tmp/models/.edge-sdk/bin/python"),
        ("adb://192.168.1.20:5555/data/x", "/data/x/.edge-sdk/bin/python"),
    ],
)
def test_the_python_of_a_pushed_bundle(address: str, python: str) -> None:
    assert python_at(address) == python
