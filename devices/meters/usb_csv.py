"""A USB power meter whose logger program prints CSV while it runs, as those of the FNB58, UM25C and POWER-Z do."""

from collections.abc import Callable, Sequence

from devices.meters.access import Access
from devices.meters.columns import Columns, columns_of, is_header, row_reader
from devices.meters.recorder import Streamed
from devices.meters.samples import MeterFailed, Reading


def usb_csv(
    access: Access, command: Sequence[str] = (), period_s: float = 0.1, rail: str = "USB supply of the whole board",
    counts: bool = False, time: str | None = None,
) -> Streamed:  # fmt: skip
    """`command` starts the logger, and prints a line with the columns' names first.

    `counts` where it gives cumulative energy and no power. `tail -n +1 -F log.csv` follows a logger's file.
    """

    def check() -> str | None:
        if not command:
            return "no logger is named: command=[...] that prints CSV"
        return None if access.has(command[0]) else f"there is no command {command[0]!r} here"

    def begin() -> Callable[[str], Reading | None]:
        return _parser(counts, time)

    return Streamed("usb_csv", rail, "measured", period_s, command, begin, check, access, counts=counts)


def _parser(counts: bool, time: str | None) -> Callable[[str], Reading | None]:
    columns: Columns | None = None

    def parse(line: str) -> Reading | None:
        nonlocal columns
        if columns is None:
            if is_header(line):
                found = columns_of(line, time)
                _check_counts(found, counts)
                columns = found
            return None
        time_s, _, value = row_reader(columns)(line)
        return Reading(value, time_s)

    return parse


def _check_counts(columns: Columns, counts: bool) -> None:
    if columns.counts != counts:
        given = "energy alone" if columns.counts else "power"
        raise MeterFailed(f"the logger gives {given}", hint=f"counts={columns.counts}")
