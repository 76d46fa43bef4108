import json
import platform
from importlib.metadata import version

import pytest

from exporters import TARGETS
from sdk import packages
from sdk.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", *arguments])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_json_agrees_with_python_itself(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "--json"))
    assert found["host"]["python"] == platform.python_version()
    assert found["host"]["arch"] == platform.machine()
    assert {p["name"]: p["installed"] for p in found["packages"]}["click"] == version("click")
    assert [row["target"] for row in found["targets"]] == list(TARGETS)


def test_text_says_machine_packages_and_targets(capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys)
    assert f"Python  {platform.python_version()}" in text
    for words in (
        "CPU",
        "ISA",
        "package",
        "installed",
        "needed",
        "convert",
        "execute",
        "interpret",
        "msgspec",
    ):
        assert words in text


def test_a_missing_package_is_said_and_is_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "version", absent)
    rows = json.loads(run(capsys, "--json"))["packages"]
    assert {row["state"] for row in rows} == {"missing"}
