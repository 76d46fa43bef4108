"""Sets a device's frequency governor for as long as something is measured, and puts the one before back.

Linux's cpufreq (kernel documentation, admin-guide/pm/cpufreq): one file a group of cores, which only root may write.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote

from devices.device import Device, DeviceFailed

POLICIES = "/sys/devices/system/cpu/cpufreq/policy[0-9]*"
READ = f"""for p in "$R"{POLICIES}; do
    [ -r "$p/scaling_governor" ] && echo "${{p#"$R"}} $(cat "$p/scaling_governor")"
done"""
OFFERED = f'cat "$R"{POLICIES}/scaling_available_governors 2>/dev/null'
WRITE = """for p in {policies}; do
    if ! (echo {wanted} > "$R$p/scaling_governor"); then
        {restore}
        exit 1
    fi
done"""
ANSWER_S = 30.0


class NoGovernor(DeviceFailed):
    """A governor that cannot be set; nothing was changed."""

    id = "governor-refused"


@contextmanager
def governed(device: Device, wanted: str, tell: Callable[[str], None], root: str = "") -> Iterator[None]:
    """`wanted` for all cores inside of the block; `tell` hears where the one before could not be put back.

    Raises NoGovernor, with nothing changed, or another DeviceFailed. `root` is where the device's /sys lies.
    """
    before = _now(device, root)
    named = ", ".join(sorted(set(before.values())))
    if set(before.values()) == {wanted}:
        yield
        return
    if not before:
        raise NoGovernor(
            f"{device.name} has no governor to set: its kernel shows none; nothing was changed",
            hint="virtual machines, and boards with a fixed clock, have none: leave --governor out",
        )
    offered = set(_run(device, OFFERED, root)[1].split())
    if offered and wanted not in offered:
        raise NoGovernor(
            f"{device.name} has no governor {wanted!r}: it is {named}, and nothing was changed",
            expected=", ".join(sorted(offered)),
        )
    restore = "; ".join(_one(policy, old) for policy, old in before.items())
    policies = " ".join(map(quote, before))
    code, said = _run(device, WRITE.format(policies=policies, wanted=quote(wanted), restore=restore), root)
    if code or set(_now(device, root).values()) != {wanted}:
        _run(device, restore, root)
        reason = f": {said.strip().splitlines()[-1].rpartition(': ')[2]}" if said.strip() else ""
        still = ", ".join(sorted(set(_now(device, root).values())))
        raise NoGovernor(
            f"{device.name}: the governor could not be set to {wanted}{reason}; it is {still}, and nothing was changed",
            expected="the right to write scaling_governor, which root has",
            hint=f"echo {wanted} | sudo tee {POLICIES}/scaling_governor there, and leave --governor out",
        )
    try:
        yield
    finally:
        _put_back(device, before, restore, tell, root)


def _put_back(device: Device, before: dict[str, str], restore: str, tell: Callable[[str], None], root: str) -> None:
    """What was measured is worth more than an error here, which is told instead."""
    try:
        _run(device, restore, root)
        left = _now(device, root) != before
    except DeviceFailed:
        left = True
    if left:
        old = ", ".join(sorted(set(before.values())))
        tell(f"the governor of {device.name} could not be put back to {old}; a restart of the device does that too")


def _now(device: Device, root: str) -> dict[str, str]:
    """The governor of each group of cores by its folder."""
    rows = [line.split(maxsplit=1) for line in _run(device, READ, root)[1].splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2 and row[0].startswith("/sys/")}


def _one(policy: str, governor: str) -> str:
    return f'(echo {quote(governor)} > "$R"{quote(policy)}/scaling_governor) 2>/dev/null'


def _run(device: Device, script: str, root: str) -> tuple[int, str]:
    done = device.run(f"R={quote(root)}; {{ {script}\n}} 2>&1", timeout=ANSWER_S)
    return done.code, done.out
