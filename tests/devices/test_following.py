"""The agent on a device behind a real ssh, which is this machine, and everything that may happen to it meanwhile."""

import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import msgspec
import psutil
import pytest

from devices import following, profiling
from devices.agent import Job
from devices.device import ConnectionLost, Device, DeviceFull
from devices.following import Restarted, followed
from devices.profiling import There, profile
from devices.ssh import parse
from tests.devices.sshd import Server, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "here")
ROOT = Path(profiling.__file__).parents[1]
SHELL = 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """What the device says of its start."""
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    return path


@pytest.fixture
def device(listening: Server, tmp_path: Path, boot: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Its `cat` tells the boot id of the file `boot`; $SESSION is what holds the connection, and while the file `gone`
    is there, nobody gets in."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "cat").write_text(
        f'#!/bin/sh\n[ "$1" = /proc/sys/kernel/random/boot_id ] && set -- {boot}\nexec {shutil.which("cat")} "$@"\n'
    )
    (programs / "cat").chmod(0o755)
    listening.leads_to(
        f"cd {ROOT}\nexport SESSION=$PPID PATH={programs}:$PATH\n[ -e {tmp_path}/gone ] && kill -9 $PPID\n{SHELL}"
    )
    monkeypatch.setattr(following, "AGAIN_S", 0.05)
    return parse(listening.address, listening.options)[0]


def test_lines_come_as_they_are_and_an_end_that_is_good_adds_none(device: Device) -> None:
    assert list(followed(device, "printf 'a\\nb\\n'; true")) == [b"a\n", b"b\n"]


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("sh -c 'echo out; echo err >&2; exit 3'", 3, "out\nerr"),
        ("sh -c 'kill -9 $$'", -9, ""),
        ("no-such-program", 127, "not found"),
    ],
)
def test_a_bad_end_has_its_code_and_last_words(device: Device, script: str, code: int, said: str) -> None:
    *_, last = followed(device, script)
    ended = msgspec.json.decode(last)
    assert ended["ended"] == code
    assert said in ended["said"]


def test_what_was_said_is_bounded(device: Device) -> None:
    *_, last = followed(device, "sh -c 'seq 100000; exit 1'")
    assert msgspec.json.decode(last)["said"].splitlines() == [
        str(number) for number in range(100000 - following.WORDS + 1, 100001)
    ]


def cut(device: Device, boot: Path, then: str) -> Iterator[bytes]:
    """A script whose connection is cut after `then`, once its first line was heard here."""
    heard = boot.with_name("heard")
    waits = f"while ! [ -e {heard} ]; do sleep 0.05; done"
    for line in followed(device, f"echo going; {waits}; {then}; kill -9 $SESSION; sleep 60"):
        heard.touch()
        if line != b"going\n":
            yield line


def test_a_restart_in_the_middle_is_called_one(device: Device, boot: Path) -> None:
    with pytest.raises(Restarted, match="was restarted meanwhile") as caught:
        list(cut(device, boot, f"echo second > {boot}"))
    assert "supply" in caught.value.hint


def test_a_restart_takes_its_time(device: Device, boot: Path, tmp_path: Path) -> None:
    """It refuses everyone while it starts, and each look is told."""
    looks = list[str]()

    def look(line: bytes) -> None:
        looks.append(msgspec.json.decode(line)["doing"])
        if len(looks) == 3:
            (tmp_path / "gone").unlink()

    with pytest.raises(Restarted):
        deque(map(look, cut(device, boot, f"touch {tmp_path}/gone; echo second > {boot}")))
    assert looks == ["the device went away; waiting for it"] * 3


def test_a_broken_connection_to_a_device_that_runs_on(device: Device, boot: Path) -> None:
    with pytest.raises(ConnectionLost, match="the device itself runs on"):
        list(cut(device, boot, "true"))


def test_one_that_was_unplugged(device: Device, boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BACK_S", 0.5)
    with pytest.raises(ConnectionLost, match="did not come back") as caught:
        list(cut(device, boot, f"touch {tmp_path}/gone"))
    assert "power" in caught.value.hint


def test_one_without_a_word_for_its_start_is_not_waited_for(device: Device, boot: Path) -> None:
    boot.write_text("")
    with pytest.raises(ConnectionLost) as caught:
        list(cut(device, boot, "true"))
    assert "runs on" not in caught.value.given


def there(device: Device, bundle: Path) -> There:
    return There(device, str(bundle.parent), sys.executable)


def of_device(bundle: Path) -> list[psutil.Process]:
    """Processes of the device, which is this machine, that measure that bundle there."""
    found = []
    for one in psutil.process_iter(["cmdline", "name"]):
        words = " ".join(one.info["cmdline"] or ())
        if "devices.agent" in words and str(bundle) in words and one.info["name"] != "ssh":
            found.append(one)
    return found


def test_a_cut_connection_leaves_no_process_on_the_device(device: Device, bundle: Path) -> None:
    """The ssh here is killed, as by a lost network; the agent is in the middle of a row without an end."""
    pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")
    before = set(psutil.Process().children())
    running = there(device, bundle).launch(Job(str(bundle), "onnx", 1, samples=10**9, seconds=1e9))
    while b"infer" not in next(running):
        pass
    assert any("python" in one.name() for one in of_device(bundle))
    (ssh,) = [one for one in psutil.Process().children() if one not in before and one.name() == "ssh"]
    ssh.kill()
    with pytest.raises(ConnectionLost, match="runs on"):
        list(running)
    for _ in range(600):
        if not of_device(bundle):
            break
        time.sleep(0.05)
    assert of_device(bundle) == []


def test_a_device_without_room(listening: Server, bundle: Path) -> None:
    """Where no file may grow, there is no temporary one either."""
    pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")
    listening.leads_to(f"cd {ROOT}\nulimit -f 0\n{SHELL}")
    (failed,) = profile(bundle, quick=True, there=there(parse(listening.address, listening.options)[0], bundle)).failed
    assert failed.error["id"] == DeviceFull.id
    assert "temporary file" in failed.error["given"]
    assert "df" in failed.error["hint"]


@pytest.mark.parametrize(
    "words", ["OSError: [Errno 28] No space left on device: 'x'", "write error: Disk quota exceeded"]
)
def test_words_for_no_room(device: Device, words: str) -> None:
    with pytest.raises(DeviceFull, match="has no room left"):
        list(followed(device, f"sh -c {quote(f'echo {quote(words)} >&2; exit 1')}"))


def test_its_last_words_reach_whoever_asked(device: Device, bundle: Path) -> None:
    python = bundle.parent / "python"
    python.write_text(
        f'#!/bin/sh\ncase "$2" in devices.agent) echo boom >&2; exit 3;; esac\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    (failed,) = profile(bundle, quick=True, there=There(device, str(bundle.parent), str(python))).failed
    assert "ended with 3" in failed.error["given"]
    assert failed.error["hint"] == "boom"
