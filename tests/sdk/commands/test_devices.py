import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devices import probing, reaching
from devices.profiles import NAMES, get_profile
from exporters.mcu.boards import boards as microcontrollers
from sdk.cli import main
from tests.devices import boards
from tests.devices.boards import MadeUp
from tests.devices.sshd import missing, sshd


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["devices", *arguments])
    said = capsys.readouterr()
    assert exit_.value.code == code, said.err
    return said.out if code == 0 else said.out + said.err


def probing_of(monkeypatch: pytest.MonkeyPatch, board: MadeUp) -> None:
    """Lets `sdk devices probe` look at a board that is made up, through this machine's shell."""
    real = probing.probe_device
    monkeypatch.setattr(
        probing,
        "probe_device",
        lambda device, python: real(device, root=str(board.root), path=str(board.bin), python="python3"),
    )


def test_lists_every_profile_and_every_microcontroller(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys).splitlines()
    assert lines[0].split()[:2] == ["device", "title"]
    assert [line.split()[0] for line in lines[1:]] == [*NAMES, *(board.name for board in microcontrollers())]


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(run(capsys, "--json"))}
    assert list(rows) == [*NAMES, *(board.name for board in microcontrollers())]
    assert rows["rpi5"]["cores"] == [{"kind": "cortex-a76", "count": 4, "mhz": 2400}]
    assert rows["rpi5"]["ram_mb"] == [2048, 4096, 8192, 16384]
    assert rows["nucleo-f411re"]["runtimes"] == {"mcu": ["w8a8"]}
    assert rows["nucleo-f411re"]["sram"] == 131072


@pytest.mark.parametrize("name", NAMES)
def test_show_says_who_says_so(capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = run(capsys, "show", name)
    profile = get_profile(name)
    assert said.startswith(f"{profile.title} ({name})")
    for field, source in profile.sources.items():
        assert source in said or field == "signs"
    for quirk in profile.quirks:
        assert f"! {quirk.text} ({quirk.source})" in said
    assert json.loads(run(capsys, "show", name, "--json"))["title"] == profile.title


def test_show_of_a_microcontroller(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cortex-m4 at 100 MHz" in run(capsys, "show", "nucleo-f411re")
    assert json.loads(run(capsys, "show", "nucleo-f411re", "--json"))["chip"] == "STM32F411RE"


def test_show_of_nothing_known(capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "show", "rpi6", code=1)
    assert "unknown device 'rpi6'" in said
    assert "did you mean rpi" in said
    error = json.loads(run(capsys, "show", "rpi6", "--json", code=1))["error"]
    assert error["id"] == "unknown-name"


def test_probe_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(run(capsys, "probe", "--json"))
    assert found["device"] == "local"
    assert found["python"] == sys.version.split()[0]
    assert found["ram_total_mb"] > 0
    assert "local  " in run(capsys, "probe")


def test_probe_says_what_is_there_and_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probing_of(monkeypatch, boards.pi5(tmp_path, throttled="0x50005"))
    said = run(capsys, "probe", "local")
    for line in (
        "local  Raspberry Pi 5 (rpi5): it says that it is 'Raspberry Pi 5 Model B Rev 1.0'",
        "system   Debian GNU/Linux 12 (bookworm), Linux 6.12.25, aarch64",
        "CPU      4x cortex-a76, 4 cores",
        "memory   4,026 MB free of 8,052 MB",
        "Python   3.11.2",
        "governor ondemand",
        "clock    1200 MHz of 2400 MHz",
        "heat     48.5 °C (cpu-thermal)",
        "slowed   under-voltage: the supply gives too little",
    ):
        assert line in said
    words = [line.split() for line in said.splitlines()]
    assert ["tflite", "LiteRT", "2.3.0"] in [line[:3] for line in words]
    assert ["rpi5_pmic", "ready"] in [line[:2] for line in words]
    assert "pip install 'edge-sdk[openvino]', on the device" in said


def test_probe_of_an_unknown_board(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probing_of(monkeypatch, MadeUp(tmp_path))
    said = run(capsys, "probe")
    assert "unknown device: of no known kind: it says nothing of itself" in said
    assert said.count("not reported") == 4


def test_probe_of_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a kind of device and no address" in run(capsys, "probe", "rpi5", code=1)
    error = json.loads(run(capsys, "probe", "ssh://a@b:c", "--json", code=1))["error"]
    assert error["id"] == "device-failed"


def test_probe_of_a_phone_without_adb(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from devices.adb import Adb

    monkeypatch.setattr(
        reaching, "reach", lambda address, options: Adb(address.removeprefix("adb:"), program="no-such-adb")
    )
    error = json.loads(run(capsys, "probe", "adb:X", "--json", code=1))["error"]
    assert error["id"] == "no-adb"
    assert "apt-get install adb" in error["hint"]


def test_probe_over_ssh(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The server leads every command into a shell whose programs are a Pi's; its files are this machine's."""
    if missing():
        pytest.skip(missing())
    board = boards.pi4(tmp_path / "board")
    with sshd(tmp_path / "sshd") as server:
        server.leads_to(f"PATH='{board.bin}' exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"")
        options = [word for option in server.options for word in ("--ssh-option", option)]
        found = json.loads(run(capsys, "probe", server.address, *options, "--json"))
        pushed = tmp_path / "with blanks" / ".edge-sdk/bin/python"
        pushed.parent.mkdir(parents=True)
        pushed.write_text("#!/bin/sh\necho python 3.13.1\necho onnxruntime 1.32.0\n")
        pushed.chmod(0o755)
        folder = f"{server.address}{tmp_path}/with%20blanks"
        there = json.loads(run(capsys, "probe", folder, *options, "--json"))
        refused = [word for option in server.options[1:] for word in ("--ssh-option", option)]
        refused += ["--ssh-option", f"IdentityFile={server.folder / 'stranger'}"]
        error = json.loads(run(capsys, "probe", server.address, *refused, "--json", code=1))["error"]
    assert (found["device"], found["machine"], found["python"]) == (server.address, "aarch64", "3.11.2")
    assert there["python"] == "3.13.1"
    assert len(found["condition"]["held_back_since"]) == 2
    assert error["id"] == "login-refused"


def test_listing_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom sdk.cli import cli\ncli.main(['devices'], standalone_mode=False)\n"
        "heavy = {'torch', 'onnxruntime', 'openvino', 'executorch', 'ai_edge_litert'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)
