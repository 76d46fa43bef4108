import errno
from pathlib import Path

import pytest

from runtime_py.errors import SdkError
from sdk.staging import DiskFull, publish, staging


def write_half(out: Path, error: type[BaseException]) -> None:
    with staging(out, "x") as folder:
        (folder / "half").write_text("half")
        raise error


def test_an_error_or_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write_half(tmp_path, error)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="no space is left"), staging(tmp_path, "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_publishing_replaces_the_old_folder_whole(tmp_path: Path) -> None:
    final = tmp_path / "n.bundle"
    final.mkdir()
    (final / "old").write_text("old")
    with staging(tmp_path, "n") as folder:
        (folder / "new").write_text("new")
        publish(folder, final)
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["n.bundle"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SdkError, match="cannot write"), staging(tmp_path / "file", "x"):
        pass
