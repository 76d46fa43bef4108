"""Folders to a device and back, through the tar of this machine."""

import os
import subprocess
from pathlib import Path

import pytest

from devices.device import DeviceFailed
from devices.files import CHUNK, Unreadable, fetch, send
from devices.local import Local


def test_a_folder_arrives_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "é $(x) 'y'" / "empty").mkdir(parents=True)
    (own / "é $(x) 'y'" / ("n" * 200)).write_bytes(os.urandom(CHUNK + 1))
    (own / "program").write_text("#!/bin/sh\n")
    (own / "program").chmod(0o700)
    (own / "none").touch()
    seen: list[int] = []
    send(Local(), own, str(tmp_path / "-there 'it' $(is)"), seen.append)
    there = tmp_path / "-there 'it' $(is)"
    same = subprocess.run(["diff", "-r", own, there], capture_output=True, text=True, check=False)
    assert (same.returncode, same.stdout) == (0, "")
    assert os.access(there / "program", os.X_OK)
    assert seen == sorted(seen)
    assert seen[-1] > CHUNK
    assert fetch(Local(), str(there), tmp_path / "back", 2 * CHUNK) == CHUNK + 1 + len("#!/bin/sh\n")
    assert (tmp_path / "back" / "none").read_bytes() == b""


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_link_is_not_followed_and_nothing_is_left_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "m").write_text("first or last")
    (tmp_path / "own" / name).symlink_to("/etc/passwd")
    with pytest.raises(Unreadable, match="is no plain file"):
        send(Local(), tmp_path / "own", str(tmp_path / "there"))
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(("size", "kept"), [(1000, 900), (1000, 0), (512, 0), (5 * CHUNK, CHUNK), (5 * CHUNK, 0)])
def test_a_file_that_becomes_shorter_meanwhile_is_not_taken(size: int, kept: int, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    file = tmp_path / "own" / "file"
    file.write_bytes(b"x" * size)
    with pytest.raises(Unreadable, match="shorter"):
        send(Local(), tmp_path / "own", str(tmp_path / "there"), lambda _: os.truncate(file, kept))
    assert not (tmp_path / "there").exists()


def test_more_than_was_allowed_does_not_come_back(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "large").write_bytes(b"x" * 1001)
    with pytest.raises(DeviceFailed, match="over 1000 bytes"):
        fetch(Local(), str(tmp_path / "there"), tmp_path / "back", 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_link_does_not_come_back(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "way").symlink_to("/etc")
    with pytest.raises(DeviceFailed, match="way"):
        fetch(Local(), str(tmp_path / "there"), tmp_path / "back", 1000)
    assert not (tmp_path / "back").exists()


def test_what_is_not_there_does_not_come(tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed, match="did not come whole"):
        fetch(Local(), str(tmp_path / "none"), tmp_path / "back", 1000)
    assert list(tmp_path.iterdir()) == []
