"""In what condition a device is: governor, clock, temperature, and what holds it back."""

from dataclasses import dataclass
from itertools import chain

from devices.looking import Look

PI_BITS = {
    0: "under-voltage: the supply gives too little; use the maker's own, and a short thick cable",
    1: "the clock is capped, by under-voltage or heat",
    2: "throttled",
    3: "at the soft temperature limit: cool it",
}
"""What `vcgencmd get_throttled` means now; the same 16 bits higher, since the board was started (Raspberry Pi
documentation, get_throttled)."""
PI_SINCE = {0: "under-voltage", 1: "a capped clock", 2: "throttling", 3: "the soft temperature limit"}
ANDROID_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""PowerManager.THERMAL_STATUS_* by number."""
OF_PROCESSOR = ("cpu", "soc", "tj", "x86_pkg", "acpitz")
"""In the names of zones that tell of the chip that computes; a board has others, of its battery or its radio."""
PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower")
HOTTEST, COLDEST = 150_000, -40_000
"""Thousandths of a degree: what lies outside is no temperature."""


@dataclass(frozen=True)
class Condition:
    """What is known now; None or empty where the device does not say. `mhz` is the fastest core's clock of the moment,
    `held_back` what slows it down now, `held_back_since` what has since it was started."""

    governors: tuple[str, ...] = ()
    mhz: int | None = None
    mhz_max: int | None = None
    celsius: float | None = None
    celsius_of: str = ""
    power_mode: str = ""
    load_1min: float | None = None
    held_back: tuple[str, ...] = ()
    held_back_since: tuple[str, ...] = ()
    throttling_known: bool = False


def condition_of(look: Look) -> Condition:
    """The condition that a look shows."""
    cpu = "/sys/devices/system/cpu/cpu*/cpufreq"
    now, since, known = _held_back(look)
    celsius, zone = _temperature(look)
    return Condition(
        governors=tuple(sorted(set(look.matching(f"{cpu}/scaling_governor").values()))),
        mhz=_highest_mhz(look, f"{cpu}/scaling_cur_freq"),
        mhz_max=_highest_mhz(look, f"{cpu}/cpuinfo_max_freq"),
        celsius=celsius,
        celsius_of=zone,
        power_mode=_after(look.answer("nvpmodel -q"), "NV Power Mode:"),
        load_1min=_first_number(look.file("/proc/loadavg")),
        held_back=now,
        held_back_since=since,
        throttling_known=known,
    )


def pi_throttling(said: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """What `throttled=0x50005` means: now, and since the board was started; None for another text."""
    name, _, number = said.strip().partition("=")
    try:
        bits = int(number, 16)
    except ValueError:
        return None
    if name != "throttled":
        return None
    now = tuple(text for bit, text in PI_BITS.items() if bits >> bit & 1)
    since = tuple(f"{text} since it was started" for bit, text in PI_SINCE.items() if bits >> 16 + bit & 1)
    return now, since


def _held_back(look: Look) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """What slows it down now, what has, and whether anything there tells."""
    told = [pi_throttling(look.answer("vcgencmd get_throttled")), _cooling(look), _counters(look), _android(look)]
    known = [one for one in told if one is not None]
    now, since = (tuple(chain.from_iterable(one[part] for one in known)) for part in (0, 1))
    return now, since, bool(known)


def _cooling(look: Look) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The kernel's thermal governor, which lowers the clock step by step. Fans are no throttling."""
    types = look.matching("/sys/class/thermal/cooling_device*/type")
    of_clock = {path: kind for path, kind in types.items() if "cpu" in kind.lower() or "gpu" in kind.lower()}
    if not of_clock:
        return None
    steps = {kind: look.file(path.removesuffix("type") + "cur_state") for path, kind in of_clock.items()}
    active = tuple(f"{kind}: cooled by {step} steps" for kind, step in steps.items() if step.isdigit() and int(step))
    return active, ()


def _counters(look: Look) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """x86's count of thermal throttling and Jetson's of over-current events, both since the start."""
    heat = look.matching("/sys/devices/system/cpu/cpu*/thermal_throttle/package_throttle_count")
    current = look.matching("/sys/class/hwmon/hwmon*/oc*_event_cnt")
    if not heat and not current:
        return None
    hottest = max((int(text) for text in heat.values() if text.isdigit()), default=0)
    events = sum(int(text) for text in current.values() if text.isdigit())
    since = [f"the package throttled {hottest} times since it was started"] if hottest else []
    since += [f"{events} over-current events since it was started"] if events else []
    return (), tuple(since)


def _android(look: Look) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    status = _after(look.answer("dumpsys thermalservice"), "Thermal Status:")
    if not status.isdigit() or int(status) >= len(ANDROID_THERMAL):
        return None
    return ((f"Android's thermal status is {ANDROID_THERMAL[int(status)]}",) if int(status) else ()), ()


def _temperature(look: Look) -> tuple[float | None, str]:
    """The hottest zone of the processor, or else of all, in degrees Celsius; then its name."""
    zones: list[tuple[int, str]] = []
    for path, kind in look.matching("/sys/class/thermal/thermal_zone*/type").items():
        zones += _degrees(look.file(path.removesuffix("type") + "temp"), kind)
    for path, kind in look.matching("/sys/class/hwmon/hwmon*/name").items():
        if kind in PROCESSOR_SENSORS:
            zones += _degrees(look.file(path.removesuffix("name") + "temp1_input"), kind)
    names = OF_PROCESSOR + PROCESSOR_SENSORS
    own = [zone for zone in zones if any(name in zone[1].lower() for name in names)]
    if own or zones:
        value, kind = max(own or zones)
        return value / 1000, kind
    said = _first_number(look.answer("vcgencmd measure_temp").removeprefix("temp=").partition("'")[0])
    return said, "vcgencmd" if said is not None else ""


def _degrees(text: str, kind: str) -> list[tuple[int, str]]:
    known = text.lstrip("-").isdigit() and COLDEST < int(text) < HOTTEST
    return [(int(text), kind)] if known else []


def _highest_mhz(look: Look, pattern: str) -> int | None:
    known = [int(text) for text in look.matching(pattern).values() if text.isdigit()]
    return max(known) // 1000 if known else None


def _after(text: str, words: str) -> str:
    """What stands after `words` on their line; "" without them."""
    return text.partition(words)[2].partition("\n")[0].strip()


def _first_number(text: str) -> float | None:
    try:
        return float(text.split()[0])
    except (IndexError, ValueError):
        return None
