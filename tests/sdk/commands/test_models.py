import json

import pytest

from models_zoo import MODELS
from sdk.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["models", *arguments])
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_lists_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = run(capsys).splitlines()
    assert header.split() == ["model", "task", "input", "params", "MACs", "published", "weights"]
    assert [row.split()[0] for row in rows] == list(MODELS)
    small = next(row for row in rows if row.startswith("mobilenetv4_conv_small "))
    assert "3.77 M" in small  # timm's count for this network, 3,774,024
    assert "73.8%" in small  # MobileNetV4, arXiv:2404.10518, table 5
    assert "tin200" in small


def test_json_holds_exact_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = {row["name"]: row for row in json.loads(run(capsys, "--json"))}
    assert found["mobilenetv4_conv_small"]["params"] == 3_774_024
    assert found["mobilenetv4_conv_small"]["weights"]["tin200"]["input_size"] == 128
