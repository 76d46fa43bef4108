"""What a device is, what is there to measure with, what is missing, and how to get it."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from devices.condition import Condition, condition_of
from devices.device import Device
from devices.looking import SDK, Look, look_script, read_look
from devices.profiles import DeviceProfile, profiles
from devices.recognise import Match, Seen, cores_of, processor_of, properties_of, recognise
from devices.sensing import Sensor, sensors_of
from runtime_py.engines import ENGINES, EngineRow
from runtime_py.host import SYSCTL_ISA, ram_from_meminfo

PATIENCE_S = 60.0
OLDEST_PYTHON = (3, 11)
LITTLE_RAM_MB = 200
OTHER_WORK = 0.5
"""Of one core, by the load average: what already runs there disturbs a measurement."""
ANDROID_PROGRAMS = {
    "tflite": "/data/local/tmp/benchmark_model",
    "onnx": "/data/local/tmp/onnxruntime_perf_test",
    "executorch": "/data/local/tmp/executor_runner",
}
"""What runs a target where there is no Python: the runtimes' own programs."""

RunScript = Callable[[str], str]
"""Runs a script in a POSIX shell of the device and returns what it printed. Raises SdkError."""


@dataclass(frozen=True)
class Runtime:
    """A target that this kind of device runs; `version` is None where its runtime is not installed."""

    target: str
    title: str
    precisions: tuple[str, ...]
    version: str | None


@dataclass(frozen=True)
class Missing:
    """What is not there or not as it should be, and how to get it."""

    what: str
    how: str


@dataclass(frozen=True)
class Probe:
    """One device, as it is now. What it does not say is None or empty; `profile` is None where none fits, and
    `sdk` the version of this SDK that is installed there, beside what is pushed to measure."""

    device: str
    profile: str | None
    title: str
    why: str
    doubts: tuple[str, ...]
    system: str
    kernel: str
    machine: str
    cpu: str
    cores: int | None
    isa: tuple[str, ...]
    ram_total_mb: int | None
    ram_available_mb: int | None
    disk_free_mb: int | None
    python: str | None
    sdk: str | None
    condition: Condition
    runtimes: tuple[Runtime, ...]
    sensors: tuple[Sensor, ...]
    quirks: tuple[str, ...]
    missing: tuple[Missing, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with units in the field names."""
        return asdict(self)


def probe(device: str, run: RunScript, *, root: str = "", path: str = "", python: str = "python3") -> Probe:
    """Looks at a device through `run`; `root`, `path` and `python` are those of `look_script`.

    Raises LookFailed, or what `run` raises.
    """
    script, mark = look_script(root, path, python)
    return read_probe(device, read_look(run(script), mark))


def probe_device(device: Device, *, root: str = "", path: str = "", python: str = "") -> Probe:
    """Looks at a device that can be reached, and at the packages of its `python`: on this machine of the one that runs
    this, elsewhere of python3. Raises DeviceFailed or LookFailed.
    """
    python = python or (sys.executable if device.name == "local" else "python3")
    return probe(
        device.name, lambda script: device.run(script, timeout=PATIENCE_S).out, root=root, path=path, python=python
    )  # fmt: skip


def read_probe(device: str, look: Look) -> Probe:
    """What a look says."""
    seen = seen_in(look)
    match = recognise(seen, profiles())
    profile = match.profile if match else None
    versions, condition = look.versions(), condition_of(look)
    runtimes = tuple(_runtimes(look, seen, profile, versions))
    sensors = tuple(sensors_of(look, profile.meters if profile else ()))
    total, available = _ram(look)
    return Probe(
        device=device,
        profile=profile.name if profile else None,
        title=profile.title if profile else seen.model or "unknown device",
        why=match.why if match else _unknown(seen),
        doubts=match.doubts if match else (),
        system=_system(look, seen),
        kernel=" ".join(filter(None, (seen.system, look.answer("uname -r")))),
        machine=seen.machine,
        cpu=seen.cpu,
        cores=_cores(look),
        isa=seen.isa,
        ram_total_mb=total,
        ram_available_mb=available,
        disk_free_mb=_disk_mb(look),
        python=versions.get("python"),
        sdk=versions.get(SDK),
        condition=condition,
        runtimes=runtimes,
        sensors=sensors,
        quirks=tuple(quirk.text for quirk in profile.quirks) if profile else (),
        missing=tuple(_missing(look, match, runtimes, sensors, condition)),
    )


def seen_in(look: Look) -> Seen:
    """What a look shows of the device's kind."""
    cpuinfo = look.file("/proc/cpuinfo")
    name, isa = processor_of(cpuinfo)
    sysctl = _sysctl(look)
    tree = ("/proc/device-tree", "/sys/firmware/devicetree/base")
    return Seen(
        system=look.answer("uname -s"),
        machine=look.answer("uname -m"),
        model=look.file(*(f"{folder}/model" for folder in tree)) or _model_in(cpuinfo),
        compatible=tuple(look.file(*(f"{folder}/compatible" for folder in tree)).split()),
        cpu=name or sysctl.get("machdep.cpu.brand_string", ""),
        isa=isa or tuple(dict.fromkeys(name for key, name in SYSCTL_ISA.items() if sysctl.get(key) == "1")),
        cores=cores_of(cpuinfo),
        properties=properties_of(look.answer("getprop")),
    )


def _model_in(cpuinfo: str) -> str:
    """The board's name at the end of /proc/cpuinfo on Arm, for where the device tree cannot be seen: a container."""
    rows = (line.partition(":") for line in cpuinfo.splitlines())
    return next((value.strip() for name, _, value in rows if name.strip() == "Model"), "")


def _runtimes(look: Look, seen: Seen, profile: DeviceProfile | None, versions: dict[str, str]) -> Iterable[Runtime]:
    """The profile's targets; of a device without one, those whose runtime is there."""
    for target, row in ENGINES.items():
        if row.programs:  # a microcontroller's C is no runtime of a device with a system
            continue
        version = _version(row, versions)
        if version is None and seen.properties and ANDROID_PROGRAMS.get(target) in look.there:
            version = "its own program"
        if target in profile.runtimes if profile else version is not None:
            yield Runtime(target, row.title, profile.runtimes[target] if profile else (), version)


def _version(row: EngineRow, versions: dict[str, str]) -> str | None:
    return next((versions[name] for name in (row.package, *row.older) if name in versions), None)


def _missing(
    look: Look, match: Match | None, runtimes: Iterable[Runtime], sensors: Iterable[Sensor], condition: Condition
) -> Iterable[Missing]:
    android = "getprop" in look.programs
    if match is None:
        yield Missing("a profile of this device", "add devices/profiles/NAME.toml, and its NAME to the list beside it")
    yield from _without_python(look, android)
    for runtime in runtimes:
        if runtime.version is None:
            yield Missing(runtime.title, _how_to_get(runtime.target, android))
    yield from (Missing(f"{sensor.name}: {sensor.why}", sensor.how) for sensor in sensors if sensor.state == "blocked")
    absent = [sensor for sensor in sensors if sensor.state == "absent"]
    yield from (Missing(f"{sensor.name}: {sensor.why}", sensor.how or "another of the meters") for sensor in absent)
    yield from _unsteady(look, condition)


def _without_python(look: Look, android: bool) -> Iterable[Missing]:
    version = look.versions().get("python")
    if version is None and not android:
        yield Missing("Python", "apt-get install python3, version 3.11 or later")
    elif version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
        yield Missing(f"Python 3.11: python3 is {version}", "a later system, or Python from python.org beside it")


def _how_to_get(target: str, android: bool) -> str:
    row = ENGINES[target]
    if not android:
        return f"pip install 'edge-sdk[{row.extra}]', on the device"
    return f"adb push the runtime's own program to {ANDROID_PROGRAMS[target]}"


def _unsteady(look: Look, condition: Condition) -> Iterable[Missing]:
    """What would disturb a measurement now."""
    moving = [name for name in condition.governors if name != "performance"]
    if moving:
        how = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield Missing(f"a fixed clock: the governor is {', '.join(moving)}", how)
    for reason in condition.held_back:
        yield Missing(f"full speed: {reason}", "measure again when it no longer is; such runs count as invalid")
    if condition.load_1min is not None and condition.load_1min > OTHER_WORK:
        yield Missing(f"quiet: its load is {condition.load_1min:.2f}", "stop what else runs there")
    available = _ram(look)[1]
    if available is not None and available < LITTLE_RAM_MB:
        yield Missing(f"memory: {available} MB are free", "stop what else runs there, or take a smaller network")


def _unknown(seen: Seen) -> str:
    """Why no profile fits: what the device said."""
    said = {
        "device tree": seen.model,
        "machine": seen.machine,
        "processor": seen.cpu,
        "Android model": seen.properties.get("ro.product.model", ""),
    }
    known = "; ".join(f"{name} {value!r}" for name, value in said.items() if value)
    return f"no profile has these signs: {known}" if known else "it says nothing of itself"


def _system(look: Look, seen: Seen) -> str:
    release = seen.properties.get("ro.build.version.release")
    if release:
        return f"Android {release}"
    for line in look.file("/etc/os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip("\"'")
    words = [line.partition(":")[2].strip() for line in look.answer("sw_vers").splitlines()]
    return " ".join(words[:2]) or seen.system


def _ram(look: Look) -> tuple[int | None, int | None]:
    text = look.file("/proc/meminfo")
    if text:
        return ram_from_meminfo(text)
    known = _sysctl(look)
    total, page, free = (known.get(key, "") for key in ("hw.memsize", "hw.pagesize", "vm.page_free_count"))
    available = int(page) * int(free) // 2**20 if page.isdigit() and free.isdigit() else None
    return (int(total) // 2**20 if total.isdigit() else None), available


def _cores(look: Look) -> int | None:
    lines = look.file("/proc/cpuinfo").splitlines()
    count = sum(line.partition(":")[0].strip() == "processor" for line in lines)
    known = _sysctl(look).get("hw.ncpu", "")
    return count or (int(known) if known.isdigit() else None)


def _disk_mb(look: Look) -> int | None:
    """The fourth column of `df -Pk` are the free blocks of 1024 bytes."""
    words = look.answer("df -Pk .").splitlines()[-1:]
    columns = words[0].split() if words else []
    return int(columns[3]) // 1024 if len(columns) > 3 and columns[3].isdigit() else None


def _sysctl(look: Look) -> dict[str, str]:
    """macOS's answers; sysctl ends with an error where one of the keys is not there, and still says the others."""
    text = next((said for command, (_, said) in look.said.items() if command.startswith("sysctl ")), "")
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
