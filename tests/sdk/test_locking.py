"""One measurement at a time on a device, across processes."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sdk.locking import alone_on, lock_of

pytestmark = pytest.mark.usefixtures("own_state")

HOLDER = """
import sys
from sdk.locking import alone_on
with alone_on(sys.argv[1], print):
    print("held", flush=True)
    sys.stdin.readline()
"""


def hold(device: str, repository: Path) -> "subprocess.Popen[str]":
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, device], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, cwd=repository)  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_who_comes_second_waits_and_says_so(repository: Path) -> None:
    said: list[str] = []
    waiting, inside = threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    def second() -> None:
        with alone_on("ssh://pi@board:22", say):
            inside.set()

    with hold("ssh://pi@board:22", repository) as holder:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        assert not inside.is_set()
        assert "waiting for ssh://pi@board:22" in said[0]
        assert str(lock_of("ssh://pi@board:22")) in said[0]
        with alone_on("local", said.append):  # another device is free
            pass
        holder.kill()  # a lock ends with its process
    assert inside.wait(30)
    thread.join()
    assert len(said) == 1


def test_a_lock_is_a_file_of_the_state_folder_whatever_the_address(tmp_path: Path) -> None:
    for device in ("local", "ssh://pi@board:22", "adb:10.0.0.1:5555", "ssh://a/../../b"):
        assert lock_of(device).parent == tmp_path / "state/locks"
        with alone_on(device, print):
            assert lock_of(device).is_file()
