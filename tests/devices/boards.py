"""File systems and programs of boards, made up from what their makers and the kernel document."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

TOOLS = ("sh", "head", "tr", "cat", "df", "printf")
ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
ARMV8_0 = "fp asimd evtstrm crc32 cpuid"


@dataclass
class MadeUp:
    """A board's root folder, and the only folder that its PATH holds."""

    root: Path
    bin: Path = field(init=False)

    def __post_init__(self) -> None:
        self.bin = self.root / "usr/bin"
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None, f"these tests need {tool}"
            (self.bin / tool).symlink_to(found)

    def file(self, path: str, text: str) -> Path:
        """Write one file of the board."""
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())
        return place

    def program(self, name: str, answers: dict[str, str], otherwise: str = "exit 1") -> None:
        """A program that prints a text for each of its possible arguments."""
        cases = [f"'{given}') cat <<'END'\n{text}\nEND\n;;" for given, text in answers.items()]
        script = "\n".join(["#!/bin/sh", 'case "$*" in', *cases, f"*) {otherwise} ;;", "esac", ""])
        place = self.bin / name
        place.write_text(script)
        place.chmod(0o755)

    def uname(self, system: str, machine: str, release: str = "6.12.25") -> None:
        self.program("uname", {"-s": system, "-m": machine, "-r": release})

    def packages(self, python: str = "3.11.2", **versions: str) -> None:
        """A Python that has these packages, whatever it is asked."""
        lines = [f"python {python}", *(f"{name} {version}" for name, version in versions.items())]
        place = self.bin / "python3"
        place.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
        place.chmod(0o755)


def arm(root: Path, model: str, compatible: str, part: str, cores: int, features: str, khz: int, ram_kb: int) -> MadeUp:
    """A Linux board on Arm, with a governor, a thermal zone and a device tree; texts of a device tree end in a zero."""
    board = MadeUp(root)
    board.uname("Linux", "aarch64")
    processor = f"Features\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: {part}\n"
    board.file("/proc/cpuinfo", "".join(f"processor\t: {n}\nBogoMIPS\t: 108.00\n{processor}\n" for n in range(cores)))
    board.file("/proc/meminfo", f"MemTotal: {ram_kb} kB\nMemFree: {ram_kb // 4} kB\nMemAvailable: {ram_kb // 2} kB\n")
    board.file("/proc/loadavg", "0.08 0.03 0.01 1/150 1234\n")
    board.file("/proc/device-tree/model", f"{model}\0")
    board.file("/proc/device-tree/compatible", "".join(f"{name}\0" for name in compatible.split()))
    for n in range(cores):
        folder = f"/sys/devices/system/cpu/cpu{n}/cpufreq"
        for name, text in (("scaling_governor", "ondemand"), ("scaling_cur_freq", khz // 2), ("cpuinfo_max_freq", khz)):
            board.file(f"{folder}/{name}", f"{text}\n")
    board.file("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    board.file("/sys/class/thermal/thermal_zone0/temp", "48550\n")
    board.file("/etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
    return board


def pi5(root: Path, throttled: str = "0x0") -> MadeUp:
    board = arm(
        root, "Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b brcm,bcm2712", "0xd0b", 4, ARMV8_2, 2_400_000,
        8_245_340,
    )  # fmt: skip
    rails = "VDD_CORE_A current(7)=1.54489000A\nEXT5V_V volt(24)=4.87894000V\nVDD_CORE_V volt(15)=0.88725180V"
    answers = {"get_throttled": f"throttled={throttled}", "measure_temp": "temp=48.5'C", "pmic_read_adc": rails}
    board.program("vcgencmd", answers)
    board.file("/dev/i2c-1", "")
    board.packages(ai_edge_litert="2.3.0", onnxruntime="1.32.0")
    return board


def pi4(root: Path) -> MadeUp:
    board = arm(
        root, "Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b brcm,bcm2711", "0xd08", 4, ARMV8_0, 1_800_000,
        3_884_000,
    )  # fmt: skip
    refused = "echo 'error=1 error_msg=\"Command not registered\"'; exit 1"
    board.program("vcgencmd", {"get_throttled": "throttled=0x50000", "measure_temp": "temp=51.1'C"}, refused)
    board.packages(tflite_runtime="2.14.0")
    return board


def zero2(root: Path) -> MadeUp:
    return arm(
        root, "Raspberry Pi Zero 2 W Rev 1.0", "raspberrypi,model-zero-2-w brcm,bcm2837", "0xd03", 4, ARMV8_0,
        1_000_000, 375_000,
    )  # fmt: skip


def orin_nano(root: Path) -> MadeUp:
    board = arm(
        root, "NVIDIA Jetson Orin Nano Developer Kit",
        "nvidia,p3768-0000+p3767-0005 nvidia,p3767-0005 nvidia,tegra234", "0xd42", 6, ARMV8_2, 1_510_400, 7_800_000,
    )  # fmt: skip
    chip = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    for number, label in ((1, "VDD_IN"), (2, "VDD_CPU_GPU_CV"), (3, "VDD_SOC"), (7, "sum of shunt voltages")):
        board.file(f"{chip}/in{number}_label", f"{label}\n")
    board.file("/sys/class/hwmon/hwmon3/oc1_event_cnt", "2\n")
    board.file("/sys/class/thermal/cooling_device0/type", "pwm-fan\n")
    board.file("/sys/class/thermal/cooling_device0/cur_state", "3\n")
    board.file("/sys/class/thermal/cooling_device1/type", "cpufreq-cpu0\n")
    board.file("/sys/class/thermal/cooling_device1/cur_state", "0\n")
    board.program("tegrastats", {})
    board.program("nvpmodel", {"-q": "NV Power Mode: 15W\n0"})
    board.packages(python="3.10.12")
    return board


def x86(root: Path, flags: str) -> MadeUp:
    board = MadeUp(root)
    board.uname("Linux", "x86_64", "6.1.0-23-amd64")
    core = f"model name\t: Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz\nflags\t\t: fpu sse sse2 sse4_2 {flags}\n"
    board.file("/proc/cpuinfo", "".join(f"processor\t: {n}\nvendor_id\t: GenuineIntel\n{core}\n" for n in range(2)))
    board.file("/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    board.file("/sys/class/powercap/intel-rapl:0/name", "package-0\n")
    board.file("/sys/class/powercap/intel-rapl:0/energy_uj", "123456789\n")
    board.file("/sys/class/thermal/thermal_zone0/type", "acpitz\n")
    board.file("/sys/class/thermal/thermal_zone0/temp", "27800\n")
    board.file("/sys/class/hwmon/hwmon2/name", "coretemp\n")
    board.file("/sys/class/hwmon/hwmon2/temp1_input", "61000\n")
    board.file("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "12\n")
    board.packages(openvino="2026.4.1")
    return board


def phone(root: Path, model: str = "Pixel 8", charging: bool = False) -> MadeUp:
    board = MadeUp(root)
    board.uname("Linux", "aarch64", "6.1.99-android14")
    board.file("/proc/cpuinfo", f"processor\t: 0\nFeatures\t: {ARMV8_2}\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\n")
    board.file("/proc/meminfo", "MemTotal: 7900000 kB\nMemAvailable: 3000000 kB\n")
    board.program("getprop", {"": f"[ro.build.version.release]: [15]\n[ro.product.model]: [{model}]\n[a.b]: []"})
    board.program("dumpsys", {"thermalservice": "IsStatusOverride: false\nThermal Status: 2\nCached temperatures:"})
    battery = "/sys/class/power_supply/battery"
    board.file(f"{battery}/status", "Charging\n" if charging else "Discharging\n")
    board.file(f"{battery}/current_now", "-412000\n")
    board.file(f"{battery}/voltage_now", "3912000\n")
    board.file(
        "/sys/bus/iio/devices/iio:device0/energy_value",
        "t=16086645\nCH3(T=16086645)[S2M_VDD_CPUCL2], 124265856\nCH4(T=16086645)[S3M_VDD_CPUCL1], 8265856\n",
    )
    board.file("/data/local/tmp/benchmark_model", "")
    return board


def mac(root: Path) -> MadeUp:
    board = MadeUp(root)
    board.uname("Darwin", "arm64", "23.5.0")
    said = (
        "machdep.cpu.brand_string: Apple M2\nhw.memsize: 17179869184\nhw.pagesize: 16384\nhw.ncpu: 8\n"
        "vm.page_free_count: 65536\nhw.optional.neon: 1\nhw.optional.arm.FEAT_FP16: 1\n"
        "hw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_BF16: 0"
    )
    place = board.bin / "sysctl"  # ends with 1: some of the keys are other machines'
    place.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 1\n")
    place.chmod(0o755)
    board.program("sw_vers", {"": "ProductName:\t\tmacOS\nProductVersion:\t\t14.5\nBuildVersion:\t\t23F79"})
    board.program("powermetrics", {})
    board.program("id", {"-u": "501"})
    return board
