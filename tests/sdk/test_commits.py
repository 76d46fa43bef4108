"""The commit of a folder against git's own answer."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdk.commits import commit_of


def test_the_commit_of_a_folder(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    run: Callable[..., Any] = lambda *words: subprocess.run(  # noqa: E731
        ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    run("init")
    run("commit", "--allow-empty", "-m", "first")
    assert commit_of(tmp_path) == run("rev-parse", "HEAD").stdout.strip()
    assert commit_of(tmp_path / "none") == ""
