"""Verdicts, and what must not decide."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy.stats", reason="scipy has the distributions")

from runtime_py.manifest import ProfileRow
from sdk.bench.comparing import Compared, Pair, compare_runs
from sdk.bench.database import Database
from sdk.bench.results import Made, Result
from tests.sdk.bench.rows import result_of, row_of, run_of, times


def simulated(seed: int, mean: float = 1.0, **fields: Any) -> ProfileRow:
    parts = times(np.random.default_rng(seed), mean=mean)
    medians = tuple(float(np.median(part)) for part in parts)
    return row_of(medians, samples_ms=tuple(tuple(part.tolist()) for part in parts), **fields)


def compared(tmp_path: Path, old: list[Result], new: list[Result], **runs: Any) -> Compared:
    with Database(tmp_path / "r.sqlite", create=True) as database:
        before, after = database.begin(run_of()), database.begin(run_of(**runs))
        for run, rows in ((before, old), (after, new)):
            for one in rows:
                database.put(run, one)
        return compare_runs(database, before, after)


def one(tmp_path: Path, old: Result, new: Result) -> Pair:
    (pair,) = compared(tmp_path, [old], [new]).pairs
    return pair


def test_a_tenth_more_is_found_and_nothing_is_not(tmp_path: Path) -> None:
    targets = ("onnx", "tflite", "openvino", "executorch")
    means = dict(zip(targets, (1.0, 1.1, 1.0, 1 / 1.1), strict=True))
    old = [result_of(target=name, row=simulated(at)) for at, name in enumerate(targets)]
    new = [result_of(target=name, row=simulated(10 + at, means[name])) for at, name in enumerate(targets)]
    found = compared(tmp_path, old, new)
    assert {pair.cell.target: pair.verdict for pair in found.pairs} == {
        "onnx": "no difference seen", "tflite": "slower", "openvino": "no difference seen", "executorch": "faster"
    }  # fmt: skip
    assert [pair.cell.target for pair in found.above(1.05)] == ["tflite"]
    assert found.above(1.2) == ()
    for pair in found.pairs:
        assert pair.low is not None
        assert pair.high is not None
        assert pair.low < means[pair.cell.target] < pair.high


def test_simulated_runs_without_a_difference_are_called_different_almost_never(tmp_path: Path) -> None:
    """5 % would be the level; the ratio must be beyond the repeats' spread besides, which makes it rarer by far."""
    rows = [result_of(threads=at + 1, row=simulated(at)) for at in range(100)]
    others = [result_of(threads=at + 1, row=simulated(1000 + at)) for at in range(100)]
    found = compared(tmp_path, rows, others)
    assert len(found.deciding) == 100
    assert sum(pair.verdict != "no difference seen" for pair in found.pairs) <= 1
    assert found.above(1.05) == ()


def test_a_sure_difference_within_the_repeats_own_spread_is_none(tmp_path: Path) -> None:
    """3 % slower in every repeat, where the repeats of one run lie 4 % apart: the test alone would call it slower."""
    old = [1.0 + 0.04 * at / 7 for at in range(8)]
    pair = one(tmp_path, result_of(old), result_of([value * 1.045 for value in old]))
    assert (pair.verdict, pair.spread) == ("slower", pytest.approx(0.04))
    narrow = [1.0 + 0.04 * (at / 7) ** 8 for at in range(8)]
    other = one(tmp_path, result_of(narrow), result_of([value * 1.03 for value in narrow]))
    assert other.p_holm is not None
    assert other.p_holm < 0.05
    assert other.verdict == "no difference seen"


def test_holm_counts_every_row(tmp_path: Path) -> None:
    """Five repeats a run have a least p of 0.008: one row is seen, and of ten none can be."""
    old, new = result_of([1.0, 1.001, 1.002, 1.003, 1.004]), result_of([1.5, 1.501, 1.502, 1.503, 1.504])
    assert one(tmp_path, old, new).verdict == "slower"
    ten = [[result_of(row_.row.repeats_p50_ms, threads=at + 1) for at in range(10)] for row_ in (old, new) if row_.row]
    found = compared(tmp_path, *ten)
    assert {pair.verdict for pair in found.pairs} == {"no difference seen"}
    assert found.pairs[0].p_holm == pytest.approx(10 * 2 / 252)


UNDECIDED: dict[str, tuple[dict[str, Any], str]] = {
    "disturbed": ({"outcome": "invalid", "why": "other work"}, "new is no valid measurement: other work"),
    "failed": ({"outcome": "failed", "row": None, "why": "crashed"}, "new was not measured (failed): crashed"),
    "absent": ({"outcome": "absent", "row": None, "why": "no runtime"}, "new was not measured (absent): no runtime"),
    "emulated": ({"row": row_of([9.0] * 8, kind="emulated")}, "new is of an emulator, whose times mean nothing"),
    "another processor": ({"row": row_of([9.0] * 8, device="B")}, "two processors: a processor and B"),
    "slowed": (
        {"row": row_of([9.0] * 8, repeats_pulse_us=(25.0, 26.0, 24.0))},
        "the processor itself was 1.25 times slower beside new, whatever ran on it",
    ),
    "one repeat": ({"row": row_of([9.0])}, "new has fewer than 2 repeats"),
}


@pytest.mark.parametrize("case", UNDECIDED)
def test_what_does_not_decide(case: str, tmp_path: Path) -> None:
    fields, why = UNDECIDED[case]
    old = result_of(row=row_of([1.0] * 8, repeats_pulse_us=(20.0, 19.0, 40.0)))
    found = compared(tmp_path, [old], [result_of([9.0] * 8, **fields)])
    (pair,) = found.pairs
    assert (pair.verdict, pair.why, pair.ratio) == ("not decided", why, None)
    assert found.above(1.05) == ()
    assert found.deciding == ()


@pytest.mark.parametrize("pulses", [((20.0,), (21.9,)), ((21.9,), (20.0,)), ((), (40.0,)), ((40.0,), ())])
def test_rows_beside_which_the_processor_was_as_fast_decide(pulses: tuple[Any, Any], tmp_path: Path) -> None:
    """So do those of a time when no pulse was noted."""
    old, new = (
        result_of(row=row_of([mean] * 8, repeats_pulse_us=pulse))
        for mean, pulse in zip((1.0, 2.0), pulses, strict=True)
    )
    assert one(tmp_path, old, new).verdict == "slower"


def test_rows_of_one_run_alone_are_named_and_what_neither_has_is_left_out(tmp_path: Path) -> None:
    absent = result_of(target="coreml", outcome="absent", row=None)
    found = compared(
        tmp_path, [result_of(), result_of(target="tflite"), absent], [result_of(), result_of(threads=2), absent]
    )
    assert [cell.target for cell in found.only_old] == ["tflite"]
    assert [cell.threads for cell in found.only_new] == [2]
    assert [pair.cell.target for pair in found.pairs] == ["onnx"]


def test_what_else_changed_is_said(tmp_path: Path) -> None:
    new = result_of(row=row_of(conditions={"runtime": "2.0"}), made=Made(sha256="1" * 64, bytes=1, status="executed"))
    found = compared(tmp_path, [result_of()], [new], protocol='{"quick":true}')
    assert found.pairs[0].notes == ("another file", "runtime 1.0 → 2.0")
    assert "measured differently" in found.warnings[0]


def test_rows_without_single_times_are_compared_by_their_medians(tmp_path: Path) -> None:
    medians = [1.0, 1.01, 1.02, 1.0, 1.01, 1.02, 1.0, 1.01]
    bare = result_of(row=row_of(medians, samples_ms=()))
    slower = result_of(row=row_of([1.2 * value for value in medians], samples_ms=()))
    pair = one(tmp_path, bare, slower)
    assert pair.ratio == pytest.approx(1.2)
    assert pair.low is not None
    assert pair.low > 1.15
