import subprocess
from pathlib import Path

import pytest

from devices.device import DeviceFailed
from devices.local import Local
from tests.devices.test_adb import ended


def test_exit_codes_and_both_outputs() -> None:
    done = Local().run("echo out; echo err >&2; exit 7")
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")
    assert Local().name == "local"


def test_input_of_every_byte(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    done = Local().run(f"cat > '{tmp_path}/file'", stdin=iter([data[:1000], data[1000:]]))
    assert done.code == 0
    assert (tmp_path / "file").read_bytes() == data


def test_input_that_nobody_reads() -> None:
    assert Local().run("exit 3", stdin=(b"x" * 2**16 for _ in range(100))).code == 3


def test_a_script_without_input_does_not_wait_for_one() -> None:
    assert Local().run("cat; echo done").out == "done\n"


def test_lines_as_they_come() -> None:
    assert list(Local().lines("echo 1; echo 2")) == [b"1\n", b"2\n"]


def test_all_of_a_group_ends_when_it_is_left() -> None:
    coming = Local().lines("sleep 600 & echo $!; wait")
    number = int(next(coming))
    coming.close()  # type: ignore[attr-defined]
    assert ended(number)


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match="longer than 1 s"):
        Local().run(f"sleep 600 & echo $! > '{tmp_path}/number'; wait", timeout=1)
    assert ended(int((tmp_path / "number").read_text()))


def test_no_shell() -> None:
    with pytest.raises(DeviceFailed, match="no shell 'no-such-sh'"):
        Local("no-such-sh").run("true")


def test_a_signal_is_a_negative_code() -> None:
    assert Local().run("kill -9 $$").code == -9
    assert subprocess.run(["/bin/sh", "-c", "kill -9 $$"], check=False).returncode == -9
