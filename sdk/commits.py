"""The git commit of a folder."""

import shutil
import subprocess
from pathlib import Path


def commit_of(folder: Path) -> str:
    """The commit that is checked out there; empty outside of a repository, or without git."""
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return ""
    done = subprocess.run([git, "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
