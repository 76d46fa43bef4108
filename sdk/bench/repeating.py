"""A row whose repeats are starts of the process, each of its own.

Where memory happens to lie, and what else a start decides, stays for a process's life: repeats within one process
share it, and say nothing of how the next start would differ. Two runs are two starts, so that is what must be known.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import msgspec

from devices.agent import SPREAD, Job, percentile, timing
from devices.profiling import Launch
from runtime_py.manifest import ProfileRow

SLOWER = 1.1
"""Times the least pulse of all starts: one above it ran while the processor was slow, and is made again. Two rows whose
pulses are further apart are not compared."""
SLOWED = "starts_slowed"
"""Their number, in a row's conditions."""
MOST = 3
"""Times as many starts, at most."""


def repeating(launch: Launch, repeats: int) -> Launch:
    """A launch that starts the agent so many times, one after the other, and gives one row of all.

    The job's samples and seconds are shared out. A sustained run and a meter are one start's alone. The first start
    that gives no row ends it, with what it said. Starts while the processor was slower than beside others, by the
    agent's pulse, which knows nothing of the network's own times, do not count, and are made again.
    """

    def started(job: Job) -> Iterator[bytes]:
        rows: list[ProfileRow] = []
        while (at := len(at_full_speed(rows))) < repeats and len(rows) < MOST * repeats:
            row: ProfileRow | None = None
            last = at == repeats - 1 and not any(_of_last(row) for row in rows)
            for line in launch(_part(job, repeats, last=last)):
                message = _message(line)
                if "row" in message:
                    row = msgspec.convert(message["row"], ProfileRow)
                elif "progress" in message:
                    share = (at + float(message["progress"])) / repeats
                    doing = f"start {at + 1}/{repeats}, {message.get('doing', '')}"
                    yield msgspec.json.encode({"progress": share, "doing": doing})
                elif message:
                    yield line
            if row is None:
                return
            rows.append(row)
        yield msgspec.json.encode({"row": merged(rows, repeats)})

    return started


def at_full_speed(rows: Sequence[ProfileRow]) -> list[ProfileRow]:
    """The starts beside which the processor was about as fast as beside any."""
    pulses = [max(row.repeats_pulse_us, default=0.0) for row in rows]
    return [row for row, pulse in zip(rows, pulses, strict=True) if pulse <= SLOWER * min(pulses)]


def merged(starts: Sequence[ProfileRow], repeats: int) -> ProfileRow:
    """One row of those `starts` that count, each with its samples; of all, where fewer than `repeats` do.

    Loading and the first answer are the starts' medians, memory is the most, and the stages are those of the start in
    the middle. It is invalid where a start is, or where their medians are further apart than the agent's SPREAD.
    """
    sound = at_full_speed(starts)
    rows = sound if len(sound) >= repeats else starts
    first, last = rows[0], next(filter(_of_last, starts), rows[-1])
    parts = [list(part) for row in rows for part in row.samples_ms]
    medians = [percentile(sorted(part), 50) for part in parts]
    spread = (max(medians) - min(medians)) / percentile(sorted(medians), 50)
    disturbed = [row.why for row in rows if not row.valid]
    why = [f"{len(disturbed)} of {len(rows)} starts were disturbed; the first: {disturbed[0]}"] if disturbed else []
    if spread > SPREAD:
        why.append(f"the repeats' medians are {spread:.0%} apart, over {SPREAD:.0%}")
    middle = sorted(rows, key=lambda row: row.repeats_p50_ms)[len(rows) // 2]
    memory = [row.peak_rss_mb for row in rows if row.peak_rss_mb is not None]
    begun = {name: text for name, text in first.conditions.items() if name.endswith("_start")}
    if len(sound) < len(starts):
        begun[SLOWED] = f"{len(starts) - len(sound)}"
    return msgspec.structs.replace(
        last,
        infer=timing([value for part in parts for value in part]),
        repeats_p50_ms=tuple(medians),
        repeats_pulse_us=tuple(pulse for row in rows for pulse in row.repeats_pulse_us),
        samples_ms=tuple(map(tuple, parts)),
        stages=middle.stages,
        load_ms=_median([row.load_ms for row in rows]),
        first_ms=_median([row.first_ms for row in rows]),
        peak_rss_mb=max(memory, default=None),
        valid=not why,
        why="; ".join(why),
        conditions=last.conditions | begun,
    )


def _part(job: Job, repeats: int, *, last: bool) -> Job:
    return msgspec.structs.replace(
        job, repeats=1, samples=-(-job.samples // repeats), seconds=job.seconds / repeats, keep_samples=True,
        sustain_s=job.sustain_s if last else 0.0, meter=job.meter if last else "",
    )  # fmt: skip


def _of_last(row: ProfileRow) -> bool:
    """Whether it has what one start alone is asked for."""
    return bool(row.sustained) or row.energy is not None or row.energy_mj is not None


def _message(line: bytes) -> dict[str, Any]:
    """Empty for what a runtime prints to standard output."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
