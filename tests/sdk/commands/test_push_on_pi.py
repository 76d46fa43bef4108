"""`sdk push` through ssh into an emulated Raspberry Pi, which has Debian's Python alone, or runtimes beside it."""

import json
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from devices.agent import Job
from devices.device import ConnectionLost, Device
from devices.files import fetch, send
from devices.profiling import There
from devices.ssh import parse
from runtime_py.bundle import check_files, open_bundle
from sdk.cli import cli
from sdk.pushing import push
from tests import emulated_pi
from tests.devices.sshd import Server, missing
from tests.emulated_pi import BOARDS, Pi
from tests.emulated_pi.wheels import wheels
from tests.runtime_py.colours import make_bundle

pytest.importorskip("onnx", reason="onnx builds the small bundle")
WHY_NOT = missing() or emulated_pi.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "here")]


def board(server: Server, work: Path, name: str, packages: str) -> Device:
    """A board whose /board is the folder `work`; every command of the server runs there."""
    (work / "home").mkdir(parents=True)
    pi = Pi(emulated_pi.root(), BOARDS[name], work, {str(work): "/board"})
    environment = pi.environment | {"PYTHONPATH": packages, "HOME": "/board/home"}
    exported = "\n".join(f"export {key}='{value}'" for key, value in environment.items())
    words = " ".join(f"'{word}'" for word in pi.command("/bin/sh", "-c"))
    server.leads_to(f'{exported}\nexec {words} "cd /board/home; $SSH_ORIGINAL_COMMAND"')
    return parse(server.address, server.options)[0]


def test_a_board_with_runtimes_and_without_pip_is_profiled(listening: Server, tmp_path: Path) -> None:
    """Its Python has neither pip nor ensurepip, so that pip's own wheel is sent along."""
    device = board(listening, tmp_path / "work", "pi5", "/opt/site")
    bundle = make_bundle(tmp_path / "colours.bundle")
    found = push(bundle, device, "/board/models")
    assert found.in_place
    assert found.installed.startswith("edge-sdk 0")
    assert found.processor == BOARDS["pi5"].model
    (row,) = found.rows
    assert (row["target"], row["status"], row["why"]) == ("onnx", "executed", "")
    assert row["sqnr_db"] > 60.0
    there = tmp_path / "work" / "models"
    check_files(open_bundle(there / "colours.bundle"), complete=True)
    assert sorted(path.name for path in there.iterdir()) == [".edge-sdk", "colours.bundle"]
    assert not (tmp_path / "work" / "home" / ".local").exists()  # where pip would go, were it not told
    said = device.run("/board/models/.edge-sdk/bin/python -m runtime_py info --json").out
    assert json.loads(said)["host"]["arch"] == "aarch64"
    profiled(listening, bundle)
    nothing_is_left_running(device, bundle, tmp_path / "work")


def profiled(server: Server, bundle: Path) -> None:
    """One command measures there, and its row says that an emulator's times are no measurement."""
    options = [word for option in server.options for word in ("--ssh-option", option)]
    asked = ["profile", str(bundle), "--device", f"{server.address}/board/models", "--emulated", "--quick"]
    few = ["--samples", "10", "--seconds", "1", "--save", "--json"]
    found = CliRunner().invoke(cli, [*asked, *few, *options], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    (row,) = json.loads(found.stdout)["rows"]
    assert (row["target"], row["threads"], row["kind"]) == ("onnx", 1, "emulated")
    assert row["device"] == BOARDS["pi5"].model
    assert row["infer"]["samples"] >= 10
    assert len(row["repeats_p50_ms"]) == 5
    assert row["infer"]["min_ms"] <= row["infer"]["p50_ms"] <= row["infer"]["max_ms"]
    assert row["load_ms"] > 0
    assert row["peak_rss_mb"] > 0
    assert row["energy_mj"] is None
    opened = open_bundle(bundle)
    check_files(opened, complete=True)
    (saved,) = opened.manifest.profiles
    assert (saved.kind, saved.device, saved.infer and saved.infer.p50_ms) == (
        "emulated", row["device"], row["infer"]["p50_ms"],
    )  # fmt: skip


def nothing_is_left_running(device: Device, bundle: Path, work: Path) -> None:
    """The connection is cut in the middle of a profile: every process of the board ends, emulator and all."""
    there = There(device, "/board/models", "/board/models/.edge-sdk/bin/python")
    before = set(psutil.Process().children())
    running = there.launch(Job(str(bundle), "onnx", 1, samples=10**9, seconds=1e9, emulated=True))
    while b"infer" not in next(running):
        pass
    assert of_board(work)
    (ssh,) = [one for one in psutil.Process().children() if one not in before and one.name() == "ssh"]
    ssh.kill()
    with pytest.raises(ConnectionLost, match="runs on"):
        list(running)
    for _ in range(600):
        if not of_board(work):
            break
        time.sleep(0.1)
    assert of_board(work) == []


def of_board(work: Path) -> list[str]:
    """Command lines of what runs on the board: its emulator is told where /board lies, or runs its agent."""
    lines = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline", "name"])
             if one.info["name"] != "ssh")  # fmt: skip
    return [line for line in lines if f"{work}:/board" in line or "/board/models/colours.bundle" in line]


def test_a_bare_board_without_a_network(listening: Server, tmp_path: Path) -> None:
    needed = wheels(("numpy", "msgspec", "pillow", "onnxruntime", "flatbuffers", "packaging", "protobuf"))
    device = board(listening, tmp_path / "work", "pi4", "/none")
    found = push(make_bundle(tmp_path / "colours.bundle"), device, "/~/models", wheels=needed)
    assert found.in_place
    assert found.installed.startswith("edge-sdk[onnxruntime] ")
    assert found.python == "/board/home/models/.edge-sdk/bin/python"
    assert not (tmp_path / "work" / "home" / ".local").exists()


def test_files_go_there_and_come_back(listening: Server, tmp_path: Path) -> None:
    device = board(listening, tmp_path / "work", "zero2", "/none")
    own = tmp_path / "own"
    (own / "über" / "empty").mkdir(parents=True)
    (own / "über" / ("n" * 120)).write_bytes(np.random.default_rng(0).bytes(100_001))
    (own / "none").touch()
    send(device, own, "/board/home/x y")
    assert fetch(device, "/board/home/x y", tmp_path / "back", 200_000) == 100_001
    same = subprocess.run(["diff", "-r", own, tmp_path / "back"], capture_output=True, text=True, check=False)
    assert (same.returncode, same.stdout) == (0, "")
