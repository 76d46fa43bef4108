"""The project's own files: what is promised to a newcomer, to a board and to an installer."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from sdk.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "sdk").rglob("*.md")])
LOCK = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line.strip()]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def locked() -> dict[str, Version]:
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in LOCK]
    assert all(pins), "requirements.lock holds NAME==VERSION lines only, without hosts or local versions"
    return {canonicalize_name(pin[1]): Version(pin[2]) for pin in pins if pin}


def test_the_lock_names_every_package_once_torch_first() -> None:
    assert LOCK[0] == "torch==2.13.0"  # another release is a CUDA build of several GB
    assert len(locked()) == len(LOCK)


def test_the_lock_satisfies_every_extra() -> None:
    versions = locked()
    wanted = [Requirement(text) for texts in [PROJECT["dependencies"], *EXTRAS.values()] for text in texts]
    others = [need for need in wanted if need.name != PROJECT["name"]]
    assert len(others) > 20
    for need in others:
        assert need.specifier.contains(versions[canonicalize_name(need.name)]), need


def test_a_board_installs_no_torch() -> None:
    assert {Requirement(text).name.lower() for text in PROJECT["dependencies"]} == {"numpy", "msgspec", "pillow"}
    for extra in ("litert", "onnxruntime", "openvino"):
        assert {Requirement(text).name for text in EXTRAS[extra]} & {"torch", "edge-sdk"} == set()


def test_every_extra_that_the_code_names_exists() -> None:
    """In registry rows, in the hints of errors (`edge-sdk[NAME]`), and in calls of `missing_extra`."""
    named: set[str] = set()
    for folder in ("sdk", "exporters", "runtime_py", "models_zoo", "devices"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            named |= {name for found in re.findall(r"edge-sdk\[([a-z,]+)\]", text) for name in found.split(",")}
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            given = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "extra"]
            given += [call.args[1] for call in calls if ast.unparse(call.func) == "missing_extra" and call.args[1:]]
            named |= {value.value for value in given if isinstance(value, ast.Constant)}
    from exporters import TARGETS
    from runtime_py.engines import ENGINES

    named |= {row.extra for row in TARGETS.values()} | {row.extra for row in ENGINES.values()}
    assert named <= set(EXTRAS)
    assert len(named) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_pages_name_commands_and_goals_that_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    commands = set(re.findall(r"(?:`|^|/)sdk ([a-z]+)\b", text, re.MULTILINE))
    goals = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"export", "verify", "run"} <= commands <= set(COMMANDS)
    assert {"demo", "test", "bench"} <= goals <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_files_that_the_pages_name_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    own = r"`((?:sdk|exporters|runtime_py|models_zoo|devices|apps|tests|docs)/[\w./-]+)`"
    named = {name for name in re.findall(own, text) if not re.search(r"NAME|newrt", name)}
    assert len(named) > 10
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_ci_is_an_executable_script_that_bash_can_parse() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(script)], check=True)


def fresh_checkout(folder: Path) -> Path:
    """What `make` needs to decide, without the environment."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # pytest may itself run under make, whose variables would reach this one
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=clean, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(None, "was not found"), ("Python 3.9.1", "Python 3.9.1; Python 3.11 is needed")],
    ids=["absent", "another version"],
)
def test_make_says_what_is_wrong_with_the_interpreter(answer: str | None, expected: str, tmp_path: Path) -> None:
    python = tmp_path / "some-python"
    if answer is not None:
        python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{answer}" && exit 0\nexit 1\n', encoding="utf-8")
        python.chmod(0o755)
    result = make(fresh_checkout(tmp_path), f"PYTHON={python}", "demo")
    assert result.returncode != 0
    assert result.stderr.startswith("error: ")
    assert expected in result.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()


def test_make_installs_once_and_both_goals_need_it(tmp_path: Path) -> None:
    folder = fresh_checkout(tmp_path)
    for goal in ("demo", "test"):
        assert "pip install --quiet --no-deps --requirement requirements.lock" in make(folder, "--dry-run", goal).stdout
    (folder / ".venv").mkdir()
    (folder / ".venv/.installed").touch()
    assert "pip install" not in make(folder, "--dry-run", "demo").stdout
    newer = (folder / ".venv/.installed").stat().st_mtime + 10
    os.utime(folder / "requirements.lock", (newer, newer))
    assert "pip install" in make(folder, "--dry-run", "demo").stdout


@pytest.mark.slow
def test_an_installed_package_has_its_data_files(tmp_path: Path) -> None:
    """A wheel is what `pip install .` makes; it is built from the files that git knows."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("no git checkout here: what is shipped cannot be listed")
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(copy)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    shipped = ("sdk/", "exporters/", "runtime_py/", "models_zoo/", "devices/")
    assert sorted({name for name in names if name.startswith(shipped)} - held) == []
    assert not any(name.startswith(("tests/", "apps/", "docs/")) for name in held)
    assert "edge_sdk-0.1.0.dist-info/licenses/LICENSE" in held
