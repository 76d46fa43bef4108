"""A board whose power over time is known in closed form, with a clock of its own; every interface can show it."""

from collections.abc import Callable, Iterator, Sequence
from math import cos, pi, sin
from pathlib import Path

from devices.meters.access import Access

IDLE_W, WORK_W, RIPPLE_W, RIPPLE_HZ = 2.0, 3.0, 0.2, 0.7
INFERENCE_S = 0.05
WALL_S = 1.8e9
"""The date when the board's clock is zero."""
TEXTS = Path(__file__).parent / "texts"


class Board:
    """Idles at 2 W with a ripple and takes 3 W more while it works. `truth_j` is its energy by the closed form."""

    def __init__(self) -> None:
        self.now_s = 500.0
        self.truth_j = 0.0
        self.working = False
        self.inferences = 0
        self.worked_j = 0.0
        self.before: list[Callable[[], None]] = []
        """Called before each reading, to lay out what it will find."""
        self._due: list[tuple[Callable[[], None], Iterator[float]]] = []
        self._next: list[float] = []

    def watts(self) -> float:
        return IDLE_W + self.working * WORK_W + RIPPLE_W * sin(2 * pi * RIPPLE_HZ * self.now_s)

    def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self._next and min(self._next) <= end_s:
            at = self._next.index(min(self._next))
            self._go_to(self._next[at])
            tick, times = self._due[at]
            self._next[at] = next(times)
            for prepare in self.before:
                prepare()
            tick()
        self._go_to(end_s)

    def sleep(self, seconds: float) -> None:
        self.working = False
        self.advance(seconds)

    def work(self) -> None:
        """One inference. The truth of those in the warm-up counts as well: all are alike."""
        before_j, self.working = self.truth_j, True
        self.advance(INFERENCE_S)
        self.inferences += 1
        self.worked_j += self.truth_j - before_j

    def clock(self) -> float:
        return self.now_s

    def every(self, period_s: float, tick: Callable[[], None]) -> Callable[[], None]:
        """Irregular on purpose: a fifth early and late by turns."""
        return self._register(tick, self._irregular(period_s))

    def _irregular(self, period_s: float) -> Iterator[float]:
        start_s, step = self.now_s, 0
        while True:
            step += 1
            yield start_s + period_s * (step + (-0.2, 0.0, 0.2, 0.1)[step % 4])

    def stream(self, period_s: float, lines: Callable[[], Sequence[str]]) -> Callable[..., Callable[[], str]]:
        """A command that prints `lines()` every period, and at once when it is started."""

        def follow(
            command: Sequence[str], on_line: Callable[[str], None], on_end: Callable[[], None]
        ) -> Callable[[], str]:
            def tick() -> None:
                for line in lines():
                    on_line(line)

            tick()
            end = self._register(tick, self._irregular(period_s))

            def stop() -> str:
                end()
                return ""

            return stop

        return follow

    def access(self, **changes: object) -> Access:
        fields = {"clock": self.clock, "wall": lambda: WALL_S + self.now_s, "sleep": self.sleep, "every": self.every}
        fields |= changes
        return Access(**fields)  # type: ignore[arg-type]

    def _register(self, tick: Callable[[], None], times: Iterator[float]) -> Callable[[], None]:
        entry = (tick, times)
        self._due.append(entry)
        self._next.append(next(times))

        def end() -> None:
            at = self._due.index(entry)
            del self._due[at], self._next[at]

        return end

    def _go_to(self, end_s: float) -> None:
        """∫ sin(wt) dt = -cos(wt) / w."""
        omega = 2 * pi * RIPPLE_HZ
        steady_j = (IDLE_W + self.working * WORK_W) * (end_s - self.now_s)
        self.truth_j += steady_j + RIPPLE_W * (cos(omega * self.now_s) - cos(omega * end_s)) / omega
        self.now_s = end_s


def lay(root: Path, files: dict[str, object]) -> None:
    """Writes files under a root, as the kernel shows them: a value and the end of the line."""
    for name, value in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")


def text(name: str) -> str:
    return (TEXTS / name).read_text(encoding="utf-8")


class FakeBus:
    """An INA219 or INA226: it computes its current register as the data sheet says, from bus and shunt volts.

    INA219, SBOS448 equation 4: current = shunt x calibration / 4096. INA226, SBOS547 equation 3: ... / 2048.
    """

    def __init__(self, chip: str, shunt_ohms: float, volts: Callable[[], float], watts: Callable[[], float]) -> None:
        self.registers: dict[int, int] = {}
        self.divisor, self.shunt_lsb, self.bus_lsb, self.shift = {
            "ina219": (4096, 10e-6, 4e-3, 3),
            "ina226": (2048, 2.5e-6, 1.25e-3, 0),
        }[chip]
        self.shunt_ohms, self.volts, self.watts = shunt_ohms, volts, watts
        self.overflow = False

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        self._answer(i2c_addr)
        self.registers[register] = int.from_bytes(value.to_bytes(2, "little"), "big")

    def read_word_data(self, i2c_addr: int, register: int) -> int:
        self._answer(i2c_addr)
        shunt = round(self.watts() / self.volts() * self.shunt_ohms / self.shunt_lsb)
        shunt = max(-(2**15), min(2**15 - 1, shunt))
        computed = {
            1: shunt,
            2: round(self.volts() / self.bus_lsb) << self.shift | self.overflow,
            4: int(shunt * self.registers.get(5, 0) / self.divisor),
        }
        word = computed.get(register, self.registers.get(register, 0)) & 0xFFFF
        return int.from_bytes(word.to_bytes(2, "big"), "little")

    def _answer(self, address: int) -> None:
        if address != 0x40:
            raise OSError(121, "Remote I/O error")
