"""Follows the agent on a device: its lines, its last words where it fails, and what became of one that went away."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import msgspec

from devices.device import ConnectionLost, Device, DeviceFailed, DeviceFull, Done
from devices.files import refused

BOOT = "cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.bootsessionuuid 2>/dev/null || echo"
"""A word that stays the same until the device is started anew; empty where the system has none."""
STARTED, ENDED = "@edge-sdk-started", "@edge-sdk-ended"
BACK_S, AGAIN_S = 120.0, 3.0
"""How long a device that went away may take to start, and the pause between two looks."""
ANSWER_S = 20.0
WORDS = 20
"""Lines of what was said last."""
SIGNAL = 128
"""A shell tells a signal as its number and this."""


class Restarted(DeviceFailed):
    """A device that was started anew in the middle of something."""

    id = "device-restarted"


def followed(device: Device, script: str) -> Iterator[bytes]:
    """The lines of a script whose last command measures. Where that fails, the last is `{"ended": code, "said": text}`.

    A device that goes away is waited for, with a line of progress each time, so as to tell a restart from a broken
    connection. Raises Restarted, DeviceFull, ConnectionLost or another DeviceFailed.
    """
    boot, code, said = "", None, deque[str](maxlen=WORDS)
    coming = device.lines(f'echo {STARTED} "$({BOOT})"\n{script} 2>&1\necho {ENDED} "$?"')
    lost: ConnectionLost | None = None
    with closing(cast(Any, coming)):
        try:
            for line in coming:
                text = line.decode(errors="replace").rstrip()
                if text.startswith(STARTED):
                    boot = text.removeprefix(STARTED).strip()
                elif text.startswith(ENDED):
                    code = int(text.split()[1])
                else:
                    said.append(text)
                    yield line
        except ConnectionLost as error:
            lost = error
    if lost is not None or code is None:
        yield from _what_became(device, boot, lost)
    elif code:
        yield _ended(device, code, [text for text in said if not text.startswith("{")])


def _ended(device: Device, code: int, said: list[str]) -> bytes:
    """The last line. Raises DeviceFull where the words tell of it."""
    text = "\n".join(said)
    if "no usable temporary directory" in text.lower():
        given = f"{device.name} takes no temporary file: it has no room left, or no such folder may be written"
        raise DeviceFull(given, expected="some megabytes in TMPDIR or /tmp", hint="df -h /tmp there; then make room")
    error = refused(device, Done(code, text, ""), "")
    if isinstance(error, DeviceFull):
        raise error
    return msgspec.json.encode({"ended": SIGNAL - code if code > SIGNAL else code, "said": text})


def _what_became(device: Device, boot: str, lost: ConnectionLost | None) -> Iterator[bytes]:
    """Waits for a device that went away in the middle, and raises what is found out."""
    if not boot:
        raise lost or ConnectionLost(f"{device.name} went away", hint="look whether it still runs, and try again")
    until = time.monotonic() + BACK_S
    while True:
        yield msgspec.json.encode({"progress": 0.0, "doing": "the device went away; waiting for it"}) + b"\n"
        try:
            now = device.run(BOOT, timeout=ANSWER_S).out.strip()
        except DeviceFailed:  # while it starts, it refuses as well
            now = ""
        if now and now != boot:
            raise Restarted(
                f"{device.name} was restarted meanwhile", expected="a device that runs on until it has been measured",
                hint="look at its supply (a Raspberry Pi: vcgencmd get_throttled), then run it again",
            ) from lost  # fmt: skip
        if now:
            raise ConnectionLost(
                f"the connection to {device.name} broke; the device itself runs on",
                hint="look at the network between, and at its memory (dmesg there), then run it again",
            ) from lost
        if time.monotonic() > until:
            raise ConnectionLost(
                f"{device.name} went away in the middle, and did not come back within {BACK_S:.0f} s",
                hint="look whether it is plugged in, has power, and is in this network",
            ) from lost
        time.sleep(AGAIN_S)
