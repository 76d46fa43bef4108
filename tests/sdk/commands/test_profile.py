"""`sdk profile` on devices: the ways there, what they refuse, and a phone that is made up."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from devices.agent import Job
from devices.device import ConnectionLost, DeviceFailed, LoginRefused, Unreachable
from devices.governor import NoGovernor
from devices.profiling import ProfileFailed, There
from devices.reaching import folder_there, reach_folder
from runtime_py.bundle import open_bundle
from sdk.cli import cli
from sdk.pushing import push
from tests.devices.fake_adbd import FakePhone
from tests.devices.sshd import Server
from tests.runtime_py.colours import make_bundle

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")
FEW = ("--samples", "5", "--seconds", "0.1")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "colours.bundle")


def profiled(bundle: Path, *arguments: object) -> Any:
    """The command, whose errors are raised."""
    return CliRunner().invoke(cli, ["profile", str(bundle), *map(str, arguments)], catch_exceptions=False)


def options(server: Server, **instead: str) -> list[str]:
    given = [one for one in server.options if one.split("=")[0] not in instead]
    return [word for one in [*(f"{key}={value}" for key, value in instead.items()), *given]
            for word in ("--ssh-option", one)]  # fmt: skip


def test_no_such_host(bundle: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("no ssh client is installed")
    with pytest.raises(Unreachable, match="the host is not known"):
        profiled(bundle, "--device", "ssh://no-such-host.invalid/models")
    with pytest.raises(Unreachable, match="nothing listens there"):
        profiled(bundle, "--device", "ssh://127.0.0.1:1/models")


def test_a_refused_key(bundle: Path, listening: Server) -> None:
    stranger = options(listening, IdentityFile=str(listening.folder / "stranger"))
    with pytest.raises(LoginRefused, match="refused the key") as caught:
        profiled(bundle, "--device", f"{listening.address}/models", *stranger)
    assert "ssh-copy-id" in caught.value.hint


@pytest.mark.parametrize("address", ["ssh://pi@host", "adb:R58M"])
def test_an_address_without_a_folder(address: str, bundle: Path) -> None:
    with pytest.raises(DeviceFailed, match="names no folder") as caught:
        profiled(bundle, "--device", address)
    assert "sdk push" in caught.value.hint


@pytest.mark.parametrize("wrong", [("--samples", "4"), ("--seconds", "-1")])
def test_too_few(wrong: tuple[str, str], bundle: Path) -> None:
    found = profiled(bundle, *wrong)
    assert found.exit_code == 2
    assert wrong[0] in found.output


def test_samples_and_seconds_are_as_asked(bundle: Path) -> None:
    found = profiled(bundle, "--samples", "7", "--seconds", "0", "--json")
    (row,) = json.loads(found.stdout)["rows"]
    assert row["infer"]["samples"] == 10  # seven, in five repeats of two
    for when in ("start", "end"):
        assert len([float(number) for number in row["conditions"][f"load_{when}"].split()]) == 3


def test_a_governor_that_cannot_be_set_is_refused_before_anything_is_measured(bundle: Path) -> None:
    with pytest.raises(NoGovernor, match="nothing was changed"):
        profiled(bundle, "--governor", "no-such-governor")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePhone]:
    """A phone whose PATH holds this Python, by an adb server of the test's own; its `models` lie in tmp_path."""
    if shutil.which("adb") is None:
        pytest.skip("the adb client is not installed: apt-get install adb")
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    storage = tmp_path / "phone"
    (storage / "data" / "local" / "tmp").mkdir(parents=True)
    with FakePhone(storage, path=f"{programs}:{os.environ['PATH']}") as found:
        yield found
    subprocess.run(["adb", "kill-server"], timeout=60, check=True, capture_output=True)


def test_a_phone_with_a_python_takes_a_bundle_and_is_profiled(phone: FakePhone, bundle: Path, tmp_path: Path) -> None:
    address = f"adb:{phone.serial}{tmp_path}/models"
    device, place = reach_folder(address)
    assert push(bundle, device, place).in_place
    found = profiled(bundle, "--device", address, *FEW, "--emulated", "--save", "--json")
    assert found.exit_code == 0, found.output
    (row,) = json.loads(found.stdout)["rows"]
    assert (row["target"], row["kind"]) == ("onnx", "emulated")
    assert len(open_bundle(bundle).manifest.profiles) == 1


def test_a_phone_without_a_python_is_refused_with_the_other_way(phone: FakePhone, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "programs" / "python3").write_text("#!/bin/sh\necho 'python3: not found' >&2; exit 127\n")
    with pytest.raises(ProfileFailed, match="nothing to measure with") as caught:
        profiled(bundle, "--device", f"adb:{phone.serial}/data/local/tmp/models")
    assert "Android brings no Python" in caught.value.hint
    assert "benchmark programs" in caught.value.hint


def test_a_phone_that_is_unplugged_in_the_middle(
    phone: FakePhone, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.following.BACK_S", 0.0)
    address = f"adb:{phone.serial}{tmp_path}/models"
    device, place = reach_folder(address)
    assert push(bundle, device, place).in_place
    (tmp_path / "programs" / "python3").write_text(
        '#!/bin/sh\necho \'{"progress": 0.1, "doing": "infer"}\'; exec sleep 600\n'
    )
    running = There(device, folder_there(place), "/none").launch(Job(str(bundle), "onnx", 1))
    assert b"infer" in next(running)
    phone.listener.close()
    phone.unplug()
    with pytest.raises(ConnectionLost, match="did not come back") as caught:
        list(running)
    assert "power" in caught.value.hint
