"""`sdk keys`, `sdk sign`, `sdk pack`, as they are typed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sdk.cli import cli
from tests.runtime_py.colours import make_bundle

pytest.importorskip("cryptography", reason="signatures are made by cryptography")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_SDK_STATE", str(tmp_path / "state"))
    make_bundle(tmp_path / "x.bundle")
    return tmp_path


def typed(*arguments: str) -> str:
    found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_from_a_key_to_a_signed_zip(folder: Path) -> None:
    import runtime_py

    identity = json.loads(typed("keys", "new", "maker", "--json"))["key"]
    assert typed("keys", "show", "maker.pub").strip() == identity
    assert "release 1 of colours" in typed("sign", "x.bundle", "--key", "maker.key")
    assert json.loads(typed("sign", "x.bundle", "--key", "maker.key", "--json"))["release"] == 2
    assert json.loads(typed("pack", "x.bundle", "--json"))["bytes"] == (folder / "x.bundle.zip").stat().st_size
    with runtime_py.load(folder / "x.bundle.zip", "onnx", key=folder / "maker.pub") as session:
        assert session.target == "onnx"


def test_a_locked_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pass").write_text("open sesame\n")
    typed("keys", "new", "maker", "--passphrase-file", "pass")
    refused = CliRunner().invoke(cli, ["sign", "x.bundle", "--key", "maker.key"])
    assert refused.exit_code != 0
    typed("sign", "x.bundle", "--key", "maker.key", "--passphrase-file", "pass")
    monkeypatch.setenv("EDGE_SDK_PASSPHRASE", "open sesame")
    typed("sign", "x.bundle", "--key", "maker.key")


@pytest.mark.parametrize("content", ["", "\n", "\nopen sesame"])
def test_an_empty_passphrase_makes_no_unlocked_key(content: str, folder: Path) -> None:
    (folder / "pass").write_text(content)
    assert CliRunner().invoke(cli, ["keys", "new", "maker", "--passphrase-file", "pass"]).exit_code != 0
    assert not list(folder.rglob("*.key"))


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "a b"])
def test_names_that_would_surprise(name: str, folder: Path) -> None:
    assert CliRunner().invoke(cli, ["keys", "new", name]).exit_code != 0
    assert not list(folder.rglob("*.key"))
