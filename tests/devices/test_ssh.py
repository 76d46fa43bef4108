"""Addresses, and a real ssh to a server on this machine."""

import time
from pathlib import Path

import psutil
import pytest

from devices.device import DeviceFailed
from devices.ssh import Ssh, parse
from tests.devices.sshd import Server


@pytest.mark.parametrize(
    ("address", "device", "folder"),
    [
        ("ssh://pi@raspberrypi.local/srv/models", Ssh("raspberrypi.local", "pi"), "/srv/models"),
        ("ssh://10.0.0.7:2222", Ssh("10.0.0.7", port=2222), ""),
        ("ssh://pi@host/~/my%20models", Ssh("host", "pi"), "/~/my models"),
        ("ssh://[::1]:22/x", Ssh("::1", port=22), "/x"),
    ],
)
def test_addresses(address: str, device: Ssh, folder: str) -> None:
    assert parse(address) == (device, folder)


@pytest.mark.parametrize(
    "address",
    ["pi@host", "http://host", "ssh://", "ssh://-oProxyCommand=x", "ssh://-x@host", "ssh://pi:secret@host/x",
     "ssh://host:99999", "ssh://host:x", "ssh://ho st/", "ssh://host/x?y", "ssh://h;reboot", ""],
)  # fmt: skip
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(DeviceFailed):
        parse(address)


def test_a_script_runs_there(listening: Server) -> None:
    device, _ = parse(listening.address, listening.options)
    done = device.run("cat; echo err >&2; exit 3", stdin=iter([b"some ", b"words"]))
    assert (done.code, done.out, done.err) == (3, "some words", "err\n")
    assert list(device.lines("printf 'a\\nb\\n'")) == [b"a\n", b"b\n"]


def test_a_large_input_to_one_who_does_not_listen(listening: Server) -> None:
    device, _ = parse(listening.address, listening.options)
    assert device.run("exit 7", stdin=(b"x" * 2**16 for _ in range(200))).code == 7


def test_a_stranger_s_key(listening: Server) -> None:
    options = (f"IdentityFile={listening.folder / 'stranger'}", *listening.options[1:])
    with pytest.raises(DeviceFailed, match="refused the key"):
        parse(listening.address, options)[0].run("true")


def test_an_unknown_host_key(listening: Server) -> None:
    options = (listening.options[0], f"UserKnownHostsFile={listening.folder / 'none'}", "StrictHostKeyChecking=yes")
    with pytest.raises(DeviceFailed, match="host key"):
        parse(listening.address, options)[0].run("true")


def test_nobody_there(listening: Server) -> None:
    with pytest.raises(DeviceFailed, match="not known"):
        Ssh("no-such-host.invalid").run("true")
    with pytest.raises(DeviceFailed, match="nothing listens"):
        Ssh("127.0.0.1", port=1).run("true")
    with pytest.raises(DeviceFailed, match="ssh-option"):
        Ssh("127.0.0.1", options=("NoSuchOption=1",)).run("true")


def test_a_device_that_does_not_answer_in_time(listening: Server) -> None:
    device, _ = parse(listening.address, listening.options)
    with pytest.raises(DeviceFailed, match="within 1 s"):
        device.run("sleep 30", timeout=1)


def test_a_connection_that_is_cut(listening: Server) -> None:
    device, _ = parse(listening.address, listening.options)
    with pytest.raises(DeviceFailed):
        device.run("kill -9 $PPID")


def test_nothing_is_left_running_where_one_stops_reading(listening: Server) -> None:
    device, _ = parse(listening.address, listening.options)
    marker = "4242.0625"
    lines = device.lines(f"echo started; sleep {marker}; echo never")
    assert next(lines) == b"started\n"
    assert running(marker)
    lines.close()
    for _ in range(100):
        if not running(marker):
            break
        time.sleep(0.05)
    assert running(marker) == []


def running(marker: str) -> list[str]:
    """Processes of this machine, which is the device too, with those words."""
    lines = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
    return [line for line in lines if marker in line]


def test_without_ssh_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceFailed, match="no ssh is installed"):
        Ssh("host").run("true")
