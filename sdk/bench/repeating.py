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


def repeating(launch: Launch, repeats: int) -> Launch:
    """A launch that starts the agent so many times, one after the other, and gives one row of all.

    The job's samples and seconds are shared out. A sustained run and a meter are the last start's alone. The first
    start that gives no row ends it, with what it said.
    """

    def started(job: Job) -> Iterator[bytes]:
        rows: list[ProfileRow] = []
        for at in range(repeats):
            row: ProfileRow | None = None
            for line in launch(_part(job, repeats, last=at == repeats - 1)):
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
        yield msgspec.json.encode({"row": merged(rows)})

    return started


def merged(rows: Sequence[ProfileRow]) -> ProfileRow:
    """One row of several starts, each with its samples.

    Loading and the first answer are the starts' medians, memory is the most, and the stages are those of the start in
    the middle. It is invalid where a start is, or where their medians are further apart than the agent's SPREAD.
    """
    first, last = rows[0], rows[-1]
    parts = [list(part) for row in rows for part in row.samples_ms]
    medians = [percentile(sorted(part), 50) for part in parts]
    spread = (max(medians) - min(medians)) / percentile(sorted(medians), 50)
    disturbed = [row.why for row in rows if not row.valid]
    why = [f"{len(disturbed)} of {len(rows)} starts were disturbed; the first: {disturbed[0]}"] if disturbed else []
    if spread > SPREAD:
        why.append(f"the repeats' medians are {spread:.0%} apart, over {SPREAD:.0%}")
    middle = sorted(rows, key=lambda row: row.repeats_p50_ms)[len(rows) // 2]
    memory = [row.peak_rss_mb for row in rows if row.peak_rss_mb is not None]
    return msgspec.structs.replace(
        last,
        infer=timing([value for part in parts for value in part]),
        repeats_p50_ms=tuple(medians),
        samples_ms=tuple(map(tuple, parts)),
        stages=middle.stages,
        load_ms=_median([row.load_ms for row in rows]),
        first_ms=_median([row.first_ms for row in rows]),
        peak_rss_mb=max(memory, default=None),
        valid=not why,
        why="; ".join(why),
        conditions=last.conditions | {name: text for name, text in first.conditions.items() if name.endswith("_start")},
    )


def _part(job: Job, repeats: int, *, last: bool) -> Job:
    return msgspec.structs.replace(
        job, repeats=1, samples=-(-job.samples // repeats), seconds=job.seconds / repeats, keep_samples=True,
        sustain_s=job.sustain_s if last else 0.0, meter=job.meter if last else "",
    )  # fmt: skip


def _message(line: bytes) -> dict[str, Any]:
    """Empty for what a runtime prints to standard output."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
