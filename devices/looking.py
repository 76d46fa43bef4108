"""One look at a device: files of /proc and /sys and what a few programs say, by a shell script that needs no Python.

The script runs through any way that reaches a device, changes nothing there, and prints sections; `read_look` takes
them apart. On Windows, which has no /proc, it does not run.
"""

import secrets
from dataclasses import dataclass
from fnmatch import fnmatchcase
from shlex import quote

from runtime_py.engines import ENGINES
from runtime_py.errors import SdkError
from runtime_py.host import SYSCTL_ISA

TEXTS = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/loadavg",
    "/etc/os-release",
    "/proc/device-tree/model",
    "/proc/device-tree/compatible",
    "/sys/firmware/devicetree/base/model",
    "/sys/firmware/devicetree/base/compatible",
    "/sys/bus/iio/devices/iio:device*/energy_value",
)
"""Files of several lines, or of text that ends in a zero; patterns of the shell."""
LINES = (
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/package_throttle_count",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/thermal/cooling_device*/type",
    "/sys/class/thermal/cooling_device*/cur_state",
    "/sys/class/hwmon/hwmon*/name",
    "/sys/class/hwmon/hwmon*/temp1_input",
    "/sys/class/hwmon/hwmon*/oc*_event_cnt",
    "/sys/class/hwmon/hwmon*/in[0-9]*_label",
    "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[0-9]*_label",
    "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-9]*",
    "/sys/class/powercap/intel-rapl:[0-9]*/name",
    "/sys/class/powercap/intel-rapl:[0-9]*/energy_uj",
    "/sys/class/powercap/intel-rapl/intel-rapl:[0-9]*/name",
    "/sys/class/powercap/intel-rapl/intel-rapl:[0-9]*/energy_uj",
    "/sys/class/power_supply/battery/status",
    "/sys/class/power_supply/battery/current_now",
    "/sys/class/power_supply/battery/voltage_now",
)
"""Files of which the first line is enough, as patterns of the shell."""
PLACES = (
    "/dev/i2c-[0-9]*",
    "/data/local/tmp/benchmark_model",
    "/data/local/tmp/onnxruntime_perf_test",
    "/data/local/tmp/executor_runner",
)
"""Files whose being there is enough."""
PROGRAMS = ("python3", "vcgencmd", "tegrastats", "nvpmodel", "powermetrics", "getprop", "dumpsys", "sudo")
SAYINGS = (
    "uname -s",
    "uname -m",
    "uname -r",
    "id -u",
    "getprop",
    "dumpsys thermalservice",
    "vcgencmd get_throttled",
    "vcgencmd measure_temp",
    "vcgencmd pmic_read_adc",
    "nvpmodel -q",
    "sw_vers",
    f"sysctl machdep.cpu.brand_string hw.memsize hw.pagesize hw.ncpu vm.page_free_count {' '.join(SYSCTL_ISA)}",
    "df -Pk .",
)
"""Commands that only say something; one that is not there is left out."""
SDK = "edge-sdk"
PACKAGES = (SDK, *(name for row in ENGINES.values() for name in (row.package, *row.older) if name))
VERSIONS = """
import sys
print("python", sys.version.split()[0])
try:
    from importlib import metadata
except ImportError:
    sys.exit(0)
for name in sys.argv[1:]:
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
"""
"""Asks any Python 3 for versions of packages, without importing one."""

SCRIPT = r"""
mark() { printf '\n%s %s\n' "$MARK" "$*"; }
place() { [ -e "$1" ] && mark "there ${1#"$ROOT"}"; }
text() { for f in "$@"; do place "$f" && [ -r "$f" ] && all "$f"; done; }
all() { mark "file ${1#"$ROOT"}"; head -c 65536 "$1" | tr '\000' '\n'; }
line() { for f in "$@"; do place "$f" && [ -r "$f" ] && one "$f"; done; }
one() { first=; read -r first < "$1" || [ -n "$first" ] || return; mark "file ${1#"$ROOT"}"; printf '%s\n' "$first"; }
places() { for f in "$@"; do place "$f"; done; }
program() { for n in "$@"; do command -v "$n" >/dev/null && mark "program $n"; done; }
say() { command -v "$1" >/dev/null || return; mark "said $*"; "$@" </dev/null; mark "code $? $*"; }
"""
"""Functions of a POSIX shell, as dash, toybox and zsh have them. Files that fail to be read are left out: `there` alone
says that they exist."""
HOME = 'cd /data/local/tmp || cd "${HOME:-/}" || cd /'
"""Where the agent would lie: its free space counts."""


class LookFailed(SdkError):
    """A device that could not be looked at."""

    id = "look-failed"


@dataclass(frozen=True)
class Look:
    """What a device showed: texts by path, the paths that exist, and what each command said with its exit status."""

    files: dict[str, str]
    there: frozenset[str]
    programs: frozenset[str]
    said: dict[str, tuple[int, str]]

    def file(self, *paths: str) -> str:
        """The first of these that could be read, without blanks around; "" for none."""
        return next((self.files[path].strip() for path in paths if path in self.files), "")

    def matching(self, pattern: str) -> dict[str, str]:
        """Path and text of every file that was read and fits a pattern of the shell."""
        return {path: text.strip() for path, text in self.files.items() if fnmatchcase(path, pattern)}

    def exist(self, pattern: str) -> list[str]:
        """Every path that exists and fits a pattern of the shell, readable or not."""
        return sorted(path for path in self.there if fnmatchcase(path, pattern))

    def answer(self, command: str) -> str:
        """What a command that ended well said, without blanks around; "" where it is not there or failed."""
        code, text = self.said.get(command, (127, ""))
        return text.strip() if code == 0 else ""

    def versions(self) -> dict[str, str]:
        """Versions by the package's name; Python's own is `python`. Empty where no Python is there."""
        return dict(line.split(" ", 1) for line in self.answer("python").splitlines() if " " in line)


def look_script(root: str = "", path: str = "", python: str = "python3") -> tuple[str, str]:
    """The script, and the mark that begins its sections. `root` is put before every path of a file, `path` becomes
    its PATH (as it is, where it is empty), and `python` is the interpreter whose packages count."""
    mark = f"@{secrets.token_hex(8)}"
    lines = [f"ROOT={quote(root)} MARK={quote(mark)}", "exec 2>/dev/null"]
    if path:
        lines.append(f"PATH={quote(path)}; export PATH")
    lines += [SCRIPT.strip(), HOME]
    lines += [f'{kind} "$ROOT"{name}' for kind, names in _KINDS for name in names]
    lines += [f"program {name}" for name in PROGRAMS]
    lines += [f"say {command}" for command in SAYINGS]
    asked = f"{quote(python)} -c {quote(VERSIONS)} {' '.join(PACKAGES)}"
    lines.append(f"command -v {quote(python)} >/dev/null && {{ mark said python; {asked}; mark code $? python; }}")
    return "\n".join([*lines, "mark end", "exit 0"]), mark


_KINDS = (("text", TEXTS), ("line", LINES), ("places", PLACES))


def read_look(output: str, mark: str) -> Look:
    """Takes the script's output apart. Raises LookFailed where its end is missing."""
    files: dict[str, str] = {}
    said: dict[str, tuple[int, str]] = {}
    there, programs, ended, waiting = set(), set(), False, ""
    for section in output.replace("\r\n", "\n").split(f"\n{mark} ")[1:]:
        head, _, body = section.partition("\n")
        kind, _, rest = head.partition(" ")
        if kind == "file":
            files[rest] = body
        elif kind == "there":
            there.add(rest)
        elif kind == "program":
            programs.add(rest)
        elif kind == "said":
            waiting = body
        elif kind == "code":
            code, _, command = rest.partition(" ")
            said[command] = int(code), waiting
        ended = ended or kind == "end"
    if not ended:
        raise LookFailed(
            "the device ended before it had said all", expected="a shell that runs the script to its end",
            hint="see whether it is still reachable, and try again",
        )  # fmt: skip
    return Look(files, frozenset(there), frozenset(programs), said)
