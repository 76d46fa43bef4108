import json
from importlib.util import find_spec

import pytest

from exporters import TARGETS
from sdk import capabilities
from sdk.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["targets", *arguments])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_lists_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys).splitlines()
    assert lines[0].split() == ["target", "title", "suffix", "precisions", "io", "convert", "execute", "interpret"]
    assert [line.split()[0] for line in lines[1 : 1 + len(TARGETS)]] == list(TARGETS)


def test_converting_follows_the_installed_packages(capsys: pytest.CaptureFixture[str]) -> None:
    for row in json.loads(run(capsys, "--json")):
        absent = [package for package in TARGETS[row["target"]].packages if find_spec(package) is None]
        assert row["convert"] is not bool(absent)


def test_what_is_missing_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "find_spec", lambda name: None if name == "coremltools" else object())
    rows = {row["target"]: row for row in json.loads(run(capsys, "--json"))}
    assert rows["coreml"]["convert"] is False
    assert rows["coreml"]["interpret"] is False
    assert rows["coreml"]["missing"][0] == "converting needs coremltools"
    assert rows["coreml"]["install"] == "pip install 'edge-sdk[coreml]'"
    assert rows["onnx"]["convert"] is True
    assert "coreml: pip install 'edge-sdk[coreml]'" in run(capsys)


def test_listing_imports_no_backend() -> None:
    import subprocess
    import sys

    script = (
        "import sys\nfrom sdk.capabilities import capabilities\ncapabilities()\n"
        "heavy = {'torch', 'coremltools', 'openvino', 'onnxruntime', 'executorch', 'litert_torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
