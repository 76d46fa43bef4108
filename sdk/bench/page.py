"""A run as a page in Markdown, and as a picture beside it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from devices.profiling import FULL, QUICK
from exporters import TARGETS
from runtime_py.engines import ENGINES
from sdk.bench.plan import Plan
from sdk.bench.repeating import SLOWED
from sdk.bench.results import Result
from sdk.bench.runner import Benched
from sdk.staging import replace_file
from sdk.templates import template

HERE = Path(__file__).parent
COLOURS = ("#1a7f4b", "#7fb3d5", "#e5a03c", "#8e6bbf", "#c96b6b", "#6b8e8e", "#b5b35c")
"""Of the precisions, in the plan's order."""
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "dotprod", "i8mm"}
"""Instructions that multiply bytes and add the products up, which make int8 networks quick."""
PLAIN = {"measured": "", "invalid": "not valid", "absent": "not run", "refused": "refused", "failed": "failed"}


def write_page(plan: Plan, found: Benched) -> None:
    """Write the plan's page and, of the same name, its picture. The plan must name a page."""
    assert plan.page is not None
    drawing = plan.page.with_suffix(".svg")
    replace_file(drawing, picture(plan, found).encode())
    replace_file(plan.page, markdown(plan, found, drawing.name).encode())


def markdown(plan: Plan, found: Benched, drawing: str) -> str:
    """The page: how it was measured, the picture, a table for each device and number of threads, and every reason."""
    page: str = template(HERE, "page.md.j2").render(
        plan=plan,
        file=os.path.relpath(plan.path, plan.page.parent if plan.page else plan.path.parent),
        run=found.run,
        slowed=sum(int(one.row.conditions.get(SLOWED, "0")) for one in found.results if one.row),
        drawing=drawing,
        blocks=_blocks(plan, found.results),
        precisions=_precisions(plan, found.results),
        targets=[(name, TARGETS[name].title) for name in plan.targets],
        counts=_counts(found.results),
        reasons=_reasons(found.results),
        protocol=plan.protocol,
        usual=QUICK if plan.protocol.quick else FULL,
        runtimes=_runtimes(found.results),
        weights=_weights(found.results),
        processor=_processor,
        text=_text,
        size=_size,
        memory=_memory,
    )
    return page


def picture(plan: Plan, found: Benched) -> str:
    """An SVG: a block of bars for each network, device and number of threads; a bar's length is its median."""
    blocks, precisions = _blocks(plan, found.results), _precisions(plan, found.results)
    drawn: list[dict[str, Any]] = []
    for (device, threads), names, cells in blocks:
        for name in names:
            rows = [(target, precision, cells.get((name, precision, target)))
                    for target in plan.targets for precision in precisions]  # fmt: skip
            times = [one.row.infer.p50_ms for _, _, one in rows if one and one.row and one.row.infer]
            title = f"{name}, {device}, {threads} thread{'s' * (threads > 1)}"
            drawn.append({"title": title, "rows": rows, "longest": max(times, default=1.0)})
    drawing: str = template(HERE, "picture.svg.j2").render(
        blocks=drawn, precisions=precisions, colours=dict(zip(precisions, COLOURS, strict=False)),
        titles={name: TARGETS[name].title for name in plan.targets}, bar=_bar, label=_label,
    )  # fmt: skip
    return drawing


Block = tuple[tuple[str, int], list[str], dict[tuple[str, str, str], Result]]


def _blocks(plan: Plan, results: Sequence[Result]) -> list[Block]:
    """By device and number of threads: the networks, and their results by network, precision and target."""
    found: list[Block] = []
    for place in plan.devices:
        for threads in plan.threads:
            rows = [one for one in results if (one.device, one.threads) == (place.name, threads)]
            names = [network.name for network in plan.networks if any(one.network == network.name for one in rows)]
            if rows:
                found.append(((place.name, threads), names,
                              {(one.network, one.precision, one.target): one for one in rows}))  # fmt: skip
    return found


def _precisions(plan: Plan, results: Sequence[Result]) -> list[str]:
    held = list(dict.fromkeys(one.precision for one in results))
    return [name for name in plan.precisions or held if name in held]


def _counts(results: Sequence[Result]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in results:
        word = PLAIN[one.outcome] or "measured"
        found[word] = found.get(word, 0) + 1
    return found


def _reasons(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """Each reason once, with the cells that it was given for; `not run, REASON`."""
    found: dict[str, list[str]] = {}
    for one in results:
        if one.outcome != "measured":
            said = f"{PLAIN[one.outcome]}: {one.why or 'no reason was given'}"
            found.setdefault(said, []).append(f"{one.network} {one.precision} {one.target}")
    return [(said, list(dict.fromkeys(cells))) for said, cells in found.items()]


def _runtimes(results: Sequence[Result]) -> dict[str, str]:
    """The version of each runtime."""
    found: dict[str, str] = {}
    for one in results:
        if one.row is not None:
            found[ENGINES[one.target].title] = one.row.conditions.get("runtime", "of unknown version")
    return found


def _processor(results: Iterable[Result]) -> str:
    """What the rows ran on, and what that means for int8."""
    row = next((one.row for one in results if one.row is not None), None)
    if row is None:
        return ""
    isa = row.conditions.get("isa", "")
    if not isa:
        return f"{row.device}."
    slow = not DOT_PRODUCTS & set(isa.split())
    return f"{row.device}: {isa}{', without dot products of bytes: int8 saves memory there, and often no time' * slow}."


def _weights(results: Sequence[Result]) -> dict[str, str]:
    return {one.network: one.made.weights or "random" for one in results if one.made is not None}


def _text(one: Result | None) -> str:
    """A cell of the table of times: the median and the 90th percentile, or what became of it."""
    if one is None:
        return "–"
    timing = one.row.infer if one.row else None
    word = PLAIN[one.outcome]
    if timing is None:
        return f"**{word}**{_elsewhere(one)}"
    said = f"{timing.p50_ms:.2f} ({timing.p90_ms:.2f})"
    return f"{said}, **{word}**{_apart(one)}" if word else said


def _apart(one: Result) -> str:
    """Between what its repeats' medians lay: 6 % apart tells more than 60 %, and neither is valid."""
    medians = one.row.repeats_p50_ms if one.row else ()
    return f", {min(medians):.2f} to {max(medians):.2f}" if len(medians) > 1 else ""


def _size(one: Result | None) -> str:
    return "–" if one is None or one.made is None else f"{one.made.bytes / 1e6:.2f}"


def _memory(one: Result | None) -> str:
    return "–" if one is None or one.row is None or one.row.peak_rss_mb is None else f"{one.row.peak_rss_mb:.0f}"


def _bar(one: Result | None, longest: float, wide: float) -> float:
    timing = one.row.infer if one and one.row else None
    return max(1.0, timing.p50_ms / longest * wide) if timing else 0.0


def _label(one: Result | None) -> str:
    timing = one.row.infer if one and one.row else None
    if one is None:
        return "–"
    word = PLAIN[one.outcome]
    if timing is not None:
        return f"{timing.p50_ms:.2f} ms{', ' if word else ''}{word}"
    return f"{word}{_elsewhere(one)}{f', {one.made.bytes / 1e6:.1f} MB' if one.made else ''}"


def _elsewhere(one: Result) -> str:
    """How a file was proven that has not run in its own runtime."""
    return f", {one.made.status}" if one.made and one.made.status != "executed" else ""
