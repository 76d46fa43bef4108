"""The plot's places against the closed form: linear from 0 dB at 1.5 % to the last tick at 86 %."""

import pytest

from runtime_py.manifest import Artifact, Manifest, Proof
from sdk.report import words
from sdk.report.plot import plot_sqnr


def bare(proofs: tuple[Proof, ...], precision: str = "fp32") -> Artifact:
    return Artifact(
        target="onnx",
        precision=precision,
        file="a.onnx",
        bytes=1,
        sha256="0",
        status="executed",
        proofs=proofs,
    )


def proof(name: str, db: float) -> Proof:
    return Proof(input=name, sqnr_db=db, cosine=1.0, max_error=0.0, top1=1.0)


def test_places_are_linear_in_db() -> None:
    plot = plot_sqnr([("ONNX", bare((proof("photo", 30.0), proof("random", 90.0))))])
    assert plot is not None
    assert plot.ticks[0] == (1.5, 0)
    assert plot.ticks[-1] == (86.0, 120)
    photo, random = plot.lanes[0].dots
    assert photo.x == pytest.approx(1.5 + 84.5 / 4, abs=1e-3)
    assert random.x == pytest.approx(1.5 + 84.5 * 3 / 4, abs=1e-3)
    assert plot.excellent_x == pytest.approx(1.5 + 84.5 * 100 / 120, abs=1e-3)
    assert plot.exact_x is None


def test_axis_grows_to_the_next_20_db() -> None:
    plot = plot_sqnr([("ONNX", bare((proof("photo", 141.0),)))])
    assert plot is not None
    assert plot.ticks[-1] == (86.0, 160)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 60), ("fp16", 40)])
def test_limit_belongs_to_the_precision(precision: str, limit: int) -> None:
    plot = plot_sqnr([("ONNX", bare((proof("photo", 70.0),), precision))])
    assert plot is not None
    assert plot.lanes[0].limit_x == pytest.approx(1.5 + 84.5 * limit / 120, abs=1e-3)
    assert plot.limits == ((precision, limit),)


def test_an_exact_answer_stands_right_of_every_number() -> None:
    plot = plot_sqnr([("ONNX", bare((proof("zeros", 200.0), proof("photo", 120.0))))])
    assert plot is not None
    exact, number = plot.lanes[0].dots
    assert exact.x == plot.exact_x
    assert exact.x > number.x
    assert plot.lanes[0].worst == "120.0 dB"


def test_identical_answers_are_no_number_in_the_table() -> None:
    assert [words.sqnr(db) for db in (None, 0.0, 119.84, 200.0)] == ["–", "0.0", "119.8", "identical"]


def test_only_exact_answers_are_called_identical() -> None:
    plot = plot_sqnr([("ONNX", bare((proof("zeros", 200.0),)))])
    assert plot is not None
    assert plot.lanes[0].worst == "identical"


def test_a_negative_sqnr_stays_on_the_page_and_keeps_its_value_in_words() -> None:
    plot = plot_sqnr([("ONNX", bare((proof("photo", -6.0),)))])
    assert plot is not None
    assert plot.lanes[0].dots[0].x == 1.5
    assert plot.lanes[0].worst == "-6.0 dB"


def test_lanes_hold_their_dots_and_do_not_overlap(manifest: Manifest) -> None:
    plot = plot_sqnr([(a.target, a) for a in manifest.artifacts])
    assert plot is not None
    for lane, following in zip(plot.lanes, plot.lanes[1:], strict=False):
        assert lane.top + lane.height < following.top
    for lane in plot.lanes:
        assert all(lane.top < dot.y < lane.top + lane.height for dot in lane.dots)
        assert len({dot.y for dot in lane.dots}) == len(lane.dots)
    assert plot.lanes[-1].top + plot.lanes[-1].height < plot.height


def test_nothing_proven_is_no_plot() -> None:
    assert plot_sqnr([("ONNX", bare(()))]) is None
