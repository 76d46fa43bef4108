"""Governors of a made-up /sys; a file that even root may not write stands for one that only root may."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.device import ConnectionLost, Done
from devices.governor import NoGovernor, governed
from devices.local import Local

READ_ONLY = Path("/proc/sys/kernel/ostype")
"""Says "Linux"."""


def board(root: Path, **governors: str) -> Path:
    for name, governor in governors.items():
        policy = root / "sys/devices/system/cpu/cpufreq" / name
        policy.mkdir(parents=True)
        (policy / "scaling_governor").write_text(f"{governor}\n")
        (policy / "scaling_available_governors").write_text("ondemand powersave performance\n")
    return root


def governors(root: Path) -> list[str]:
    return [path.read_text().strip() for path in sorted(root.rglob("scaling_governor"))]


def told() -> list[str]:
    return []


def test_it_is_set_for_the_while_and_put_back(tmp_path: Path) -> None:
    root, said = board(tmp_path / "it's a board", policy0="ondemand", policy4="powersave"), told()
    with governed(Local(), "performance", said.append, str(root)):
        assert governors(root) == ["performance", "performance"]
    assert governors(root) == ["ondemand", "powersave"]
    assert said == []


def test_it_is_put_back_after_an_error(tmp_path: Path) -> None:
    root = board(tmp_path, policy0="ondemand")
    with pytest.raises(ZeroDivisionError), governed(Local(), "performance", told().append, str(root)):
        raise ZeroDivisionError
    assert governors(root) == ["ondemand"]


def test_what_is_so_already_is_left_alone(tmp_path: Path) -> None:
    root = board(tmp_path, policy0="performance")
    path = next(root.rglob("scaling_governor"))
    before = path.stat().st_mtime_ns
    with governed(Local(), "performance", told().append, str(root)):
        pass
    assert path.stat().st_mtime_ns == before


@pytest.mark.skipif(not READ_ONLY.exists(), reason="it takes Linux's /proc")
def test_one_that_cannot_be_set_says_which_is_active_and_changes_nothing(tmp_path: Path) -> None:
    root = board(tmp_path, policy0="ondemand", policy4="ondemand")
    second = root / "sys/devices/system/cpu/cpufreq/policy4/scaling_governor"
    second.unlink()
    second.symlink_to(READ_ONLY)
    with pytest.raises(NoGovernor) as caught, governed(Local(), "performance", told().append, str(root)):
        pass
    assert caught.value.given.endswith("; it is Linux, ondemand, and nothing was changed")
    assert "could not be set to performance: Permission denied" in caught.value.given
    assert "sudo tee" in caught.value.hint
    assert governors(root) == ["ondemand", "Linux"]  # the first, which could be set, was put back


def test_one_that_the_kernel_does_not_have(tmp_path: Path) -> None:
    root = board(tmp_path, policy0="ondemand")
    wrong = governed(Local(), "performence", told().append, str(root))
    with pytest.raises(NoGovernor, match="it is ondemand, and nothing was changed") as caught, wrong:
        pass
    assert "performance" in caught.value.expected
    assert governors(root) == ["ondemand"]


def test_a_machine_without_any(tmp_path: Path) -> None:
    none = governed(Local(), "performance", told().append, str(tmp_path))
    with pytest.raises(NoGovernor, match="has no governor to set"), none:
        pass


def test_names_are_no_commands(tmp_path: Path) -> None:
    root = board(tmp_path, policy0="ondemand")
    for path in root.rglob("scaling_available_governors"):
        path.unlink()
    with governed(Local(), "$(touch owned)`touch owned`", told().append, str(root)):
        assert governors(root) == ["$(touch owned)`touch owned`"]
    assert not list(Path().glob("owned"))
    assert governors(root) == ["ondemand"]


class Unplugged(Local):
    """Works until `gone` is there."""

    def __init__(self, gone: Path) -> None:
        super().__init__()
        object.__setattr__(self, "gone", gone)

    def run(self, script: str, *, stdin: Iterator[bytes] | None = None, timeout: float = 600) -> Done:
        if self.gone.exists():  # type: ignore[attr-defined]
            raise ConnectionLost("it went away")
        return super().run(script, stdin=stdin, timeout=timeout)


def test_a_device_that_goes_away_meanwhile_is_told_of(tmp_path: Path) -> None:
    root, said = board(tmp_path / "board", policy0="ondemand"), told()
    with governed(Unplugged(tmp_path / "gone"), "performance", said.append, str(root)):
        (tmp_path / "gone").touch()
    (text,) = said
    assert "could not be put back to ondemand" in text
