import json
import re

import pytest

from sdk.console import print_json, print_table


def test_plain_table_aligns_and_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    print_table(("name", "size"), [["a", "1"], [long, "1000"]], right=("size",))
    assert capsys.readouterr().out.splitlines() == [
        "name".ljust(300) + "  size",
        "a".ljust(300) + "     1",
        long + "  1000",
    ]


def test_terminal_table_wraps_and_reads_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("name", "status"), [["[bold]" + "y" * 100, "executed"]])
    out = capsys.readouterr().out
    assert out.count("y") == 100
    assert "[bold]" in out
    printed = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert max(len(line) for line in printed.splitlines()) <= 40


def test_json_keeps_letters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"label": "Kätzchen"})
    out = capsys.readouterr().out
    assert "Kätzchen" in out
    assert json.loads(out) == {"label": "Kätzchen"}
