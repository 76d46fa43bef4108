"""Boards that are made up, looked at by a real shell."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.condition import condition_of, pi_throttling
from devices.looking import Look, LookFailed, look_script, read_look
from devices.meters import METERS
from devices.probing import Probe, probe
from devices.sensing import CHECKS, sensors_of
from runtime_py.host import probe as this_machine
from tests.devices import boards
from tests.devices.boards import MadeUp


def shell(script: str) -> str:
    """Runs a script as every way to a device does; it may not depend on this machine's PATH."""
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    return done.stdout


def probed(board: MadeUp) -> Probe:
    return probe("made up", shell, root=str(board.root), path=str(board.bin))


def looked(board: MadeUp) -> Look:
    script, mark = look_script(str(board.root), str(board.bin))
    return read_look(shell(script), mark)


def states(found: Probe) -> dict[str, str]:
    return {sensor.name: sensor.state for sensor in found.sensors}


def lacking(found: Probe) -> str:
    return "\n".join(f"{row.what} -> {row.how}" for row in found.missing)


def test_a_pi_5(tmp_path: Path) -> None:
    found = probed(boards.pi5(tmp_path))
    assert (found.profile, found.title, found.doubts) == ("rpi5", "Raspberry Pi 5", ())
    assert (found.cpu, found.cores, found.isa) == ("4x cortex-a76", 4, ("neon", "fp16", "dotprod"))
    assert (found.ram_total_mb, found.ram_available_mb) == (8245340 // 1024, 8245340 // 2 // 1024)
    assert (found.system, found.kernel) == ("Debian GNU/Linux 12 (bookworm)", "Linux 6.12.25")
    assert (found.condition.governors, found.condition.mhz, found.condition.mhz_max) == (("ondemand",), 1200, 2400)
    assert (found.condition.celsius, found.condition.celsius_of) == (48.55, "cpu-thermal")
    assert (found.condition.held_back, found.condition.held_back_since) == ((), ())
    assert found.condition.throttling_known
    assert {row.target: row.version for row in found.runtimes} == {
        "tflite": "2.3.0", "executorch": None, "openvino": None, "onnx": "1.32.0",
    }  # fmt: skip
    assert states(found) == {
        "rpi5_pmic": "ready", "rpi5_board": "ready", "ina219": "external", "ina226": "external",
        "usb_csv": "external", "csv": "external",
    }  # fmt: skip
    assert "the governor is ondemand" in lacking(found)
    assert "OpenVINO -> pip install 'edge-sdk[openvino]'" in lacking(found)
    assert "LiteRT" not in lacking(found)


def test_a_pi_5_that_is_throttled_says_why(tmp_path: Path) -> None:
    found = probed(boards.pi5(tmp_path, throttled="0x50005"))
    assert len(found.condition.held_back) == 2
    assert "under-voltage" in found.condition.held_back[0]
    assert found.condition.held_back_since == (
        "under-voltage since it was started",
        "throttling since it was started",
    )
    assert lacking(found).count("full speed: ") == 2


def test_a_pi_4_has_no_sensor_and_an_older_runtime(tmp_path: Path) -> None:
    found = probed(boards.pi4(tmp_path))
    assert (found.profile, found.isa) == ("rpi4", ("neon",))
    assert "rpi5_pmic" not in states(found)
    assert next(row.version for row in found.runtimes if row.target == "tflite") == "2.14.0"
    assert found.condition.held_back == ()
    assert len(found.condition.held_back_since) == 2
    assert "no I²C bus is open" in {sensor.name: sensor.why for sensor in found.sensors}["ina219"]


@pytest.mark.parametrize("chip", ["ina219", "ina226"])
def test_a_chip_that_the_kernel_holds_cannot_be_read_beside_it(tmp_path: Path, chip: str) -> None:
    board = boards.pi4(tmp_path)
    board.file("/sys/class/hwmon/hwmon7/name", f"{chip}\n")
    found = {sensor.name: sensor for sensor in probed(board).sensors}
    assert found[chip].state == "blocked"
    assert "kernel's driver" in found[chip].why
    assert "unbind" in found[chip].how
    other = "ina226" if chip == "ina219" else "ina219"
    assert found[other].state == "external"


def test_a_zero_2_without_python(tmp_path: Path) -> None:
    board = boards.zero2(tmp_path)
    board.file("/proc/meminfo", "MemTotal: 375000 kB\nMemAvailable: 150000 kB\n")
    found = probed(board)
    assert (found.profile, found.python) == ("rpi_zero2", None)
    assert [row.version for row in found.runtimes] == [None, None]
    assert "Python -> apt-get install python3" in lacking(found)
    assert "memory: 146 MB are free" in lacking(found)
    assert not found.condition.throttling_known


def test_an_orin_nano(tmp_path: Path) -> None:
    found = probed(boards.orin_nano(tmp_path))
    assert (found.profile, found.doubts) == ("jetson_orin_nano", ())
    assert found.condition.power_mode == "15W"
    assert found.condition.held_back == (), "a fan that turns holds nothing back"
    assert found.condition.held_back_since == ("2 over-current events since it was started",)
    why = {sensor.name: sensor.why for sensor in found.sensors if sensor.state == "ready"}
    assert why["ina3221"] == "rails VDD_CPU_GPU_CV, VDD_IN, VDD_SOC"
    assert "tegrastats" in why
    assert "Python 3.11: python3 is 3.10.12" in lacking(found)


def test_a_jetson_that_is_cooled_by_its_clock(tmp_path: Path) -> None:
    board = boards.orin_nano(tmp_path)
    board.file("/sys/class/thermal/cooling_device1/cur_state", "2\n")
    assert probed(board).condition.held_back == ("cpufreq-cpu0: cooled by 2 steps",)


def test_jetpack_4_names_its_rails_by_iio(tmp_path: Path) -> None:
    board = boards.orin_nano(tmp_path)
    for path in tmp_path.glob("sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*"):
        path.unlink()
    board.file("/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0", "POM_5V_IN\n")
    why = {sensor.name: sensor.why for sensor in probed(board).sensors}
    assert why["ina3221"] == "rails POM_5V_IN"


@pytest.mark.parametrize(
    ("flags", "name"), [("avx avx2 fma f16c avx512f", "x86"), ("avx avx2 fma f16c avx_vnni", "x86_vnni")]
)
def test_x86_by_vnni(tmp_path: Path, flags: str, name: str) -> None:
    found = probed(boards.x86(tmp_path, flags))
    assert (found.profile, found.doubts) == (name, ())
    assert found.cpu == "Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz"
    assert any("7 bit" in quirk for quirk in found.quirks) == (name == "x86")
    assert (found.condition.celsius, found.condition.celsius_of) == (61.0, "coretemp")
    assert found.condition.held_back_since == ("the package throttled 12 times since it was started",)
    assert states(found)["rapl"] == "ready"


def test_rapl_that_only_root_may_read(tmp_path: Path) -> None:
    board = boards.x86(tmp_path, "avx2")
    look = looked(board)
    closed = {path: text for path, text in look.files.items() if not path.endswith("energy_uj")}
    sensor = next(one for one in sensors_of(Look(closed, look.there, look.programs, look.said)) if one.name == "rapl")
    assert sensor.state == "blocked"
    assert "chmod a+r" in sensor.how


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_there_all_the_same(tmp_path: Path) -> None:
    board = boards.x86(tmp_path, "avx2")
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    assert states(probed(board))["rapl"] == "blocked"


def test_a_pixel(tmp_path: Path) -> None:
    found = probed(boards.phone(tmp_path))
    assert (found.profile, found.system) == ("pixel", "Android 15")
    assert found.condition.held_back == ("Android's thermal status is moderate",)
    assert states(found) == {"odpm": "ready", "android_battery": "ready", "usb_csv": "external", "csv": "external"}
    assert {row.target: row.version for row in found.runtimes} == {
        "tflite": "its own program", "executorch": None, "onnx": None,
    }  # fmt: skip
    assert "adb push the runtime's own program to /data/local/tmp/executor_runner" in lacking(found)
    assert "apt-get" not in lacking(found)
    assert "pip install" not in lacking(found)


def test_a_phone_that_charges_measures_nothing(tmp_path: Path) -> None:
    found = probed(boards.phone(tmp_path, model="SM-S911B", charging=True))
    assert found.profile == "android"
    assert states(found)["android_battery"] == "blocked"
    assert "unplug it" in lacking(found)


def test_a_mac(tmp_path: Path) -> None:
    found = probed(boards.mac(tmp_path))
    assert (found.profile, found.system, found.cpu, found.cores) == ("mac", "macOS 14.5", "Apple M2", 8)
    assert found.isa == ("neon", "fp16", "dotprod", "i8mm")
    assert (found.ram_total_mb, found.ram_available_mb) == (16384, 1024)
    assert states(found)["powermetrics"] == "blocked"
    assert "sudo" in lacking(found)


def test_an_unknown_board_is_not_guessed_but_described(tmp_path: Path) -> None:
    board = boards.arm(
        tmp_path, "Radxa ROCK 5B", "radxa,rock-5b rockchip,rk3588", "0xd0b", 4, boards.ARMV8_2, 2_400_000, 16_000_000
    )
    board.packages(ai_edge_litert="2.3.0")
    found = probed(board)
    assert (found.profile, found.title) == (None, "Radxa ROCK 5B")
    assert "'Radxa ROCK 5B'" in found.why
    assert (found.cpu, found.ram_total_mb) == ("4x cortex-a76", 15625)
    assert [(row.target, row.version) for row in found.runtimes] == [("tflite", "2.3.0")]
    assert "devices/profiles/NAME.toml" in lacking(found)


def test_a_device_that_says_nothing_is_unknown_not_zero(tmp_path: Path) -> None:
    found = probed(MadeUp(tmp_path))
    assert (found.profile, found.title, found.why) == (None, "unknown device", "it says nothing of itself")
    assert (found.cores, found.ram_total_mb, found.python, found.condition.celsius) == (None, None, None, None)
    assert found.condition.load_1min is None


def test_this_machine_says_what_python_knows_of_it() -> None:
    found, known = probe("local", shell, python=sys.executable), this_machine()
    assert (found.isa, found.ram_total_mb, found.python) == (known.isa, known.ram_total_mb, known.python)
    assert found.system == known.os
    assert found.disk_free_mb is not None
    assert found.disk_free_mb > 0


def test_plain_data_has_units(tmp_path: Path) -> None:
    plain = probed(boards.pi5(tmp_path)).to_dict()
    assert plain["condition"]["mhz_max"] == 2400
    assert plain["runtimes"][0]["target"] == "tflite"
    assert {"ram_total_mb", "ram_available_mb", "disk_free_mb"} <= plain.keys()


def test_every_meter_has_a_check() -> None:
    assert list(CHECKS) == list(METERS)
    nothing = Look({}, frozenset(), frozenset(), {})
    for name, check in CHECKS.items():
        assert (check(nothing).name, check(nothing).state) == (
            name,
            "external" if METERS[name].external else "absent",
        )


@pytest.mark.parametrize(
    ("said", "now", "since"),
    [
        ("throttled=0x0", 0, 0),
        ("throttled=0x1", 1, 0),
        ("throttled=0x8", 1, 0),
        ("throttled=0xf", 4, 0),
        ("throttled=0x80000", 0, 1),
        ("throttled=0xf000f\n", 4, 4),
        ("throttled=0x20002", 1, 1),
    ],
)
def test_bits_of_get_throttled(said: str, now: int, since: int) -> None:
    found = pi_throttling(said)
    assert found is not None
    assert tuple(map(len, found)) == (now, since)


@pytest.mark.parametrize("said", ["", "throttled=", "throttled=what", "error=1", "temp=0x1"])
def test_what_is_no_answer_is_unknown(said: str) -> None:
    assert pi_throttling(said) is None


def zones(**degrees: str) -> Look:
    files = {}
    for number, (kind, text) in enumerate(degrees.items()):
        files[f"/sys/class/thermal/thermal_zone{number}/type"] = kind
        files[f"/sys/class/thermal/thermal_zone{number}/temp"] = text
    return Look(files, frozenset(files), frozenset(), {})


@pytest.mark.parametrize(
    ("look", "celsius"),
    [
        (zones(battery="90000", cpu_big="51000", CPU_little="47000"), 51.0),
        (zones(battery="31000"), 31.0),
        (zones(cpu="-274000", modem="2000000"), None),
        (zones(cpu=""), None),
        (zones(), None),
    ],
)
def test_the_hottest_zone_of_the_processor(look: Look, celsius: float | None) -> None:
    assert condition_of(look).celsius == celsius


def test_a_look_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    script, mark = look_script(str(tmp_path), "/nowhere")
    whole = shell(script)
    read_look(whole, mark)
    with pytest.raises(LookFailed):
        read_look(whole[: len(whole) // 2], mark)
    with pytest.raises(LookFailed):
        read_look("sh: not found", mark)


def test_a_file_cannot_pass_for_the_looks_own_marks(tmp_path: Path) -> None:
    board = MadeUp(tmp_path)
    board.file(
        "/proc/device-tree/model", "\n@0123456789abcdef said uname -m\naarch64\n@0123456789abcdef code 0 uname -m\n"
    )
    assert "uname -m" not in looked(board).said


@pytest.mark.parametrize("words", ["dash", "bash --posix", "mksh", "busybox sh", "zsh"])
def test_the_shells_of_boards_phones_and_macs(tmp_path: Path, words: str) -> None:
    """Android's is mksh, macOS's bash, small systems' BusyBox."""
    if shutil.which(words.split()[0]) is None:
        pytest.skip(f"{words.split()[0]} is not installed")
    board = boards.orin_nano(tmp_path)
    script, mark = look_script(str(board.root), str(board.bin))
    done = subprocess.run([*words.split(), "-c", script], capture_output=True, text=True, timeout=60, check=True)
    look, usual = read_look(done.stdout, mark), looked(board)
    assert (look.files, look.there, look.programs) == (usual.files, usual.there, usual.programs)
    assert look.answer("nvpmodel -q") == "NV Power Mode: 15W\n0"  # uname and df are BusyBox's own


def test_paths_with_blanks_and_quotes(tmp_path: Path) -> None:
    board = boards.pi5(tmp_path / "it's a board")
    assert probed(board).profile == "rpi5"


def test_lines_of_an_old_adb_end_in_carriage_returns(tmp_path: Path) -> None:
    board = boards.pi5(tmp_path)
    run: Callable[[str], str] = lambda script: shell(script).replace("\n", "\r\n")  # noqa: E731
    assert probe("made up", run, root=str(board.root), path=str(board.bin)).profile == "rpi5"


def test_the_look_changes_nothing(tmp_path: Path) -> None:
    board = boards.pi5(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    probed(board)
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before
