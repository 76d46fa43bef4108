"""Where this machine keeps what can be made again, and what must not be forgotten."""

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """For what can be made again: under EDGE_SDK_CACHE, or the user's own cache. It may not exist yet."""
    return _folder("EDGE_SDK_CACHE", "XDG_CACHE_HOME", ".cache") / name


def state_folder() -> Path:
    """For what must outlast a cache: EDGE_SDK_STATE, or the user's own state. It may not exist yet."""
    return _folder("EDGE_SDK_STATE", "XDG_STATE_HOME", ".local/state")


def _folder(own: str, shared: str, usual: str) -> Path:
    if os.environ.get(own):
        return Path(os.environ[own])
    return Path(os.environ.get(shared) or Path.home() / usual) / "edge-sdk"
