import json
from pathlib import Path

import pytest

from sdk.cli import main

MODEL = "mcunet_in0"


def run(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["plan", *map(str, arguments)])
    captured = capsys.readouterr()
    assert exit_.value.code == code, captured.err
    return captured.out, captured.err


def test_a_table_has_the_stages_and_what_they_come_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = run(capsys, MODEL, "--target", "mcu", "--out", tmp_path / "plan.svg")
    lines = out.splitlines()
    heads = [head.strip() for head in lines[0].split("  ") if head.strip()]
    assert heads == ["stage", "schedule", "RAM, B", "kept, B", "lines, B", "MACs", "overhead"]
    stages = [line.split() for line in lines[1 : lines.index("")]]
    assert stages[0][0] == "first_conv.conv"
    assert stages[-1][2] == "classifier.linear"
    for cells in stages:
        ram, kept, rows = (int(cell.replace(",", "")) for cell in cells[-5:-2])
        assert ram == kept + rows
    total = next(line for line in lines if line.startswith("total"))
    most = max(int(cells[-5].replace(",", "")) for cells in stages)
    assert f"arena {most:,} B" in total
    assert "6,364,224 MACs, 0.0 % made again" in total
    assert "MCUNetV2's rule 46,080 B (45.0 KiB)" in out  # 24 x 24 x (16 + 64)
    assert "stm32f746g-disco" in next(line for line in lines if line.startswith("fits"))
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, MODEL, "--patches", "3,3", "--json")
    found = json.loads(out)
    assert err == ""
    assert (found["model"], found["target"], found["macs"]) == (MODEL, "mcu", 6_364_224)
    assert found["arena_bytes"] == max(row["bytes"] for row in found["stages"])
    assert found["extra_macs"] == sum(row["extra_macs"] for row in found["stages"]) > 0
    assert found["stages"][0]["how"] == "3 x 3 patches"
    assert found["paper"]["layer_by_layer_bytes"] == 46_080
    assert {"name": "nucleo-f103rb", "fits": False} in [
        {name: row[name] for name in ("name", "fits")} for row in found["boards"]
    ]


def test_a_budget_that_nothing_fits_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, MODEL, "--sram", "1kB", code=1)
    assert out == ""
    assert "error: --sram 1,000 bytes: the smallest schedule takes" in err
    assert "expected: at least" in err
    assert "try: " in err


def test_a_budget_of_flash_is_an_error_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, MODEL, "--flash", "512KiB", "--json", code=1)
    error = json.loads(out)["error"]
    assert error["id"] == "over-budget"
    assert error["given"].startswith("--flash 524,288 bytes")
    assert "classifier.linear" in error["given"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--target", "onnx"), "--target onnx"),
        (("--out", "plan.png"), "--out plan.png"),
    ],
)
def test_bad_input_is_said_in_words_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], text: str
) -> None:
    monkeypatch.setattr("sdk.planning._network", None)  # nothing is captured before
    _, err = run(capsys, MODEL, *arguments, code=1)
    assert err.startswith(f"error: {text}")
    assert "expected: " in err


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--sram", "96GB", "'96GB' is no size: bytes, or a number with kB"),
        ("--flash", "much", "'much' is no size"),
        ("--max-extra-macs", "10", "'10' is no share, such as 10%"),
    ],
)
def test_sizes_and_shares_are_read_at_once(
    capsys: pytest.CaptureFixture[str], option: str, value: str, text: str
) -> None:
    _, err = run(capsys, MODEL, option, value, code=2)
    assert f"'{option}': {text}" in err


def test_patches_that_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, MODEL, "--patches", "5", code=1)
    assert "error: --patches 5\nexpected: auto, off, or N,P" in err


def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run(capsys, "mcunet_in33", code=1)
    assert "error: unknown model 'mcunet_in33'" in err
    assert "did you mean mcunet_in3" in err


def test_a_network_without_a_size(capsys: pytest.CaptureFixture[str], repository: Path) -> None:
    _, err = run(capsys, f"{repository}/tests/sdk/nets.py:shades", code=1)
    assert "error: shades has no known input shape" in err
