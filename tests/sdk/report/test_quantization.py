"""The quantised sections: places against their closed form, and every name of the manifest on the page as text."""

import random
from itertools import combinations, pairwise

import pytest
from msgspec.structs import replace

from runtime_py.manifest import Accuracy, Artifact, Calibrated, Contents, LayerError, Manifest, Quantization, Trial
from sdk.report import words
from sdk.report.axis import round_axis
from sdk.report.drops import plot_drops
from sdk.report.front import LINE, front_of, plot_front, spread
from sdk.report.layers import DRAWN, READABLE, labels, plot_sensitivity, shortened
from sdk.report.page import render
from tests.sdk.report.test_page import HOSTILE, Page

SECTIONS = {"quantised", "accuracy", "inside", "sensitivity", "tried"}


def layer(index: int, quality_db: float, content: float = 0.01, kept: bool = False) -> LayerError:
    return LayerError(
        name=f"conv2d_{index}", module=f"blocks.{index}.conv", macs=1_000_000 + index, weights=1000 + index,
        quality_db=quality_db, content=content, kept=kept, why=f"why of {index}" if kept else "",
    )  # fmt: skip


def layers_of(count: int) -> tuple[LayerError, ...]:
    chance = random.Random(count)
    return tuple(layer(index, chance.uniform(5, 60), chance.random(), index % 17 == 3) for index in range(count))


def trial(name: str, score: float, size: int | None, share: float = 1.0, chosen: bool = False) -> Trial:
    return Trial(
        name=name, metric="top1", score=score, drop=0.58 - score, bytes=size, int8_macs=share, chosen=chosen, seconds=9
    )


TRIALS = (
    trial("fp32", 0.58, 10_000_000, 0.0),
    trial("extremes", 0.54, 3_000_000),
    trial("searched ranges", 0.561, 3_000_000),
    trial("equalised channels, searched ranges", 0.5605, 3_001_000),
    trial("2 layers in float", 0.569, 3_010_000, 0.96),
    trial("4 layers in float", 0.574, 3_100_000, 0.91, chosen=True),
)


def record(**changes: object) -> Quantization:
    fields: dict[str, object] = {
        "scheme": "mixed",
        "program_sha256": "0123456789abcdef" * 4,
        "calibration": Calibrated(data="imagenette", count=128, sha256="0" * 64, skipped=("broken.jpg", "empty.png")),
        "ranges": "searched ranges",
        "sqnr_db": 17.25,
        "agreement": 0.9375,
        "trials": TRIALS,
        "layers": layers_of(60),
        "int8_macs": 0.91,
        "max_drop": 0.01,
    }
    return Quantization(**(fields | changes))  # type: ignore[arg-type]


def accuracy(drop: float, low: float, high: float, metric: str = "top1") -> Accuracy:
    return Accuracy(
        metric=metric, value=0.58 - drop, reference=0.58, drop=drop, low=low, high=high, samples=3925, data="imagenette"
    )


def measured(artifact: Artifact, found: Accuracy | None) -> Artifact:
    contents = Contents(weights={"int8": 960, "float32": 40}, integer_layers=56, layers=60)
    return replace(artifact, precision="mixed", accuracy=found, contents=contents, fidelity_db=31.25)


@pytest.fixture
def quantised(manifest: Manifest) -> Manifest:
    found = accuracy(0.0044, 0.0012, 0.0078)
    artifacts = tuple(measured(a, found if a.target != "coreml" else None) for a in manifest.artifacts)
    return replace(manifest, quantization=record(), artifacts=artifacts)


def unmeasured(manifest: Manifest, **changes: object) -> Manifest:
    artifacts = tuple(measured(a, None) for a in manifest.artifacts)
    return replace(manifest, quantization=record(max_drop=None, **changes), artifacts=artifacts)


def text_of(page: Page) -> str:
    return " ".join(" ".join(page.text).split())


# axis


@pytest.mark.parametrize(
    ("low", "high", "ends"), [(0, 1, (0, 1)), (0.1, 0.9, (0, 1)), (-3, 17, (-5, 20)), (54.1, 57.9, (54, 58))]
)
def test_an_axis_ends_on_round_values(low: float, high: float, ends: tuple[float, float]) -> None:
    axis = round_axis(low, high, 10, 90)
    assert (axis.low, axis.high) == pytest.approx(ends)
    assert [place for place, _ in axis.ticks] == pytest.approx(
        [axis.place(float(t.replace("−", "-"))) for _, t in axis.ticks]
    )
    assert axis.place((low + high) / 2) == pytest.approx(
        10 + 80 * ((low + high) / 2 - ends[0]) / (ends[1] - ends[0]), abs=1e-3
    )


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 1e4, 3e9])
def test_an_axis_holds_its_values_with_few_ticks_that_differ(scale: float) -> None:
    chance = random.Random(7)
    for _ in range(200):
        low, high = sorted((chance.uniform(-scale, scale), chance.uniform(-scale, scale)))
        axis = round_axis(low, high, 0, 100)
        assert axis.low <= low + 1e-9 * scale
        assert axis.high >= high - 1e-9 * scale
        assert 2 <= len(axis.ticks) <= 6
        assert len({text for _, text in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("value", [0.0, 0.7, -20.0, 5e6])
def test_an_axis_of_one_value_has_a_width(value: float) -> None:
    axis = round_axis(value, value, 0, 100)
    assert axis.low < value < axis.high


# drops


def test_drops_are_linear_and_judged_by_the_gate() -> None:
    given = {"a": (0.004, 0.001, 0.007), "b": (0.012, 0.008, 0.016), "c": (-0.002, -0.005, 0.001)}
    base = Artifact(target="onnx", precision="w8a8", file="a", bytes=1, sha256="0", status="executed")
    plot = plot_drops([(name, measured(base, accuracy(*ends))) for name, ends in given.items()], 0.01)
    assert plot is not None
    assert plot.limit_x is not None
    per_point = (plot.limit_x - plot.zero_x) / 1.0  # the gate stands at one point
    for lane, ends in zip(plot.lanes, given.values(), strict=True):
        for x, value in zip((lane.x, lane.low_x, lane.high_x), ends, strict=True):
            assert x == pytest.approx(plot.zero_x + per_point * 100 * value, abs=2e-3)
            assert 0 <= x <= 100
        assert lane.top + plot.lane_height < plot.axis_y < plot.height
    assert [lane.beyond for lane in plot.lanes] == [False, True, False]
    assert [lane.drop for lane in plot.lanes] == ["0.40 points", "1.20 points", "−0.20 points"]


def test_drops_of_a_video_decoder_are_in_db() -> None:
    base = Artifact(target="onnx", precision="w8a8", file="a", bytes=1, sha256="0", status="executed")
    plot = plot_drops([("a", measured(base, accuracy(0.4, 0.3, 0.5, "psnr_db")))], 0.5)
    assert plot is not None
    assert (plot.unit, plot.limit, plot.lanes[0].drop) == ("dB", "0.50 dB", "0.40 dB")


def test_no_accuracy_is_no_plot() -> None:
    base = Artifact(target="onnx", precision="w8a8", file="a", bytes=1, sha256="0", status="executed")
    assert plot_drops([("a", base)], 0.01) is None


# sensitivity


@pytest.mark.parametrize("count", [1, READABLE, READABLE + 1, 110])
def test_layers_stand_in_the_networks_order_inside_the_drawing(count: int) -> None:
    given = layers_of(count)
    plot = plot_sensitivity(given, 17.0)
    assert plot is not None
    drawn = [next(g for g in given if row.text.startswith(f"{g.name} (")) for row in plot.rows]
    assert drawn == [g for g in given if g in drawn]
    assert len(plot.rows) + plot.left_out == count
    for low, high in combinations(zip(drawn, plot.rows, strict=True), 2):
        assert (low[0].quality_db - high[0].quality_db) * (low[1].x - high[1].x) >= 0
        assert (low[0].content - high[0].content) * (low[1].bar - high[1].bar) >= 0
    for above, below in pairwise(plot.rows):
        assert below.y - above.y >= 19
    assert all(plot.left <= row.x <= plot.right and row.bar + plot.bar <= 100 for row in plot.rows)
    assert plot.top < plot.rows[0].y < plot.rows[-1].y + 9 < plot.axis_y + 0.6 if count > 1 else True
    assert plot.axis_y < plot.height


def test_of_many_layers_the_most_sensitive_and_the_kept_are_drawn() -> None:
    given = tuple(layer(index, 60.0 - index / 2, kept=index in (0, 109)) for index in range(110))
    plot = plot_sensitivity(given)
    assert plot is not None
    expected = [f"blocks.{index}.conv" for index in (0, *range(110 - DRAWN, 110))]
    assert [row.name for row in plot.rows] == expected
    assert [row.name for row in plot.rows if row.kept] == [expected[0], expected[-1]]
    assert (plot.kept, plot.left_out) == (2, 110 - DRAWN - 1)


def test_a_layer_that_changes_nothing_stands_at_the_end() -> None:
    plot = plot_sensitivity((layer(0, 200.0, 0.0), layer(1, -3.0)))
    assert plot is not None
    unchanged, worse = plot.rows
    assert unchanged.x == plot.right
    assert worse.x < plot.ticks[-1][0]
    assert "identical" in unchanged.text
    assert unchanged.bar == 0


def test_a_module_of_two_layers_does_not_name_either() -> None:
    given = [replace(layer(index, 20.0), module="attn" if index < 2 else f"m{index}") for index in range(4)]
    assert list(labels(given).values()) == ["conv2d_0", "conv2d_1", "m2", "m3"]


@pytest.mark.parametrize(
    ("name", "letters", "short"),
    [
        ("blocks.0.conv", 17, "blocks.0.conv"),
        ("blocks.0.1.conv_pw.conv", 20, "b.0.1.conv_pw.conv"),
        ("blocks.0.1.conv_pw.conv", 14, "b.0.1.c.conv"),
        ("x" * 50, 10, "…" + "x" * 9),
    ],
)
def test_names_keep_their_numbers_and_their_end(name: str, letters: int, short: str) -> None:
    assert shortened(name, letters) == short


# front


def test_the_front_is_what_no_other_beats() -> None:
    chance = random.Random(3)
    for count in range(1, 30):
        points = [(chance.randrange(6), chance.randrange(6)) for _ in range(count)]
        found = front_of([float(a) for a, _ in points], [float(b) for _, b in points])
        beaten = {
            p for p in points for q in points if q[0] <= p[0] and q[1] >= p[1] and q != p
        }  # as the definition has it
        assert {points[index] for index in found} == set(points) - beaten
        assert len({points[index] for index in found}) == len(found)


@pytest.mark.parametrize("by_size", [True, False])
def test_trials_stand_where_size_and_score_say(by_size: bool) -> None:
    trials = TRIALS if by_size else tuple(replace(t, bytes=None) for t in TRIALS)
    plot = plot_front(record(trials=trials))
    assert plot is not None
    assert ("size" in plot.x_title) is by_size
    along = [(t.bytes or 0) if by_size else t.int8_macs for t in trials]
    for (a, one), (b, other) in combinations(zip(zip(along, trials, strict=True), plot.marks, strict=True), 2):
        assert (a[0] - b[0]) * (one.x - other.x) >= 0
        assert (a[1].score - b[1].score) * (other.y - one.y) >= 0
    assert all(plot.left <= mark.x <= plot.right and plot.top <= mark.y <= plot.axis_y for mark in plot.marks)
    assert [mark.label for mark in plot.marks if mark.chosen] == ["4 layers in float · chosen"]
    assert [mark.on_front for mark in plot.marks] == [True, False, True, False, True, True]
    ends = [(mark.x, mark.y) for mark in plot.marks if mark.on_front]
    assert {(step.x1, step.y1) for step in plot.steps} | {(step.x2, step.y2) for step in plot.steps} >= set(ends)
    assert all(step.x1 == step.x2 or step.y1 == step.y2 for step in plot.steps)


def test_the_gate_stands_at_the_floats_score_less_the_drop() -> None:
    plot = plot_front(record())
    assert plot is not None
    assert plot.gate_y is not None
    fp32, best = plot.marks[0], plot.marks[5]  # 58 % and 57.4 %; the gate is at 57 %
    assert plot.gate_y == pytest.approx(fp32.y + (best.y - fp32.y) / 0.6, abs=0.02)
    ungated = plot_front(record(max_drop=None))
    assert ungated is not None
    assert ungated.gate_y is None


def test_trials_that_all_cost_the_same_are_a_table_and_no_plot() -> None:
    assert plot_front(record(trials=tuple(trial(f"t{i}", 0.5 + i / 1000, 10**6) for i in range(4)))) is None


@pytest.mark.parametrize("count", [2, 6, 40])
def test_labels_have_a_line_each(count: int) -> None:
    plot = plot_front(record(trials=tuple(trial(f"t{i}", 0.5 + i % 2 / 1000, 10**6 + i) for i in range(count))))
    assert plot is not None
    lines = sorted(mark.y + mark.shift for mark in plot.marks)
    assert all(below - above >= LINE - 0.01 for above, below in pairwise(lines))
    assert lines[0] >= 12
    assert lines[-1] <= plot.axis_y


def test_labels_stay_where_there_is_room() -> None:
    assert spread([10, 50, 90], 0, 100, 16) == [10, 50, 90]
    assert spread([50, 50, 100], 0, 100, 16) == [50, 66, 100]
    assert spread([100, 100], 0, 100, 16) == [84, 100]


@pytest.mark.parametrize("trials", [(), TRIALS[:1], (TRIALS[0], replace(TRIALS[1], metric="agreement"))])
def test_one_trial_is_no_plot_and_still_a_table(quantised: Manifest, trials: tuple[Trial, ...]) -> None:
    page = Page(render(replace(quantised, quantization=record(trials=trials)), None, {}))
    assert not [attrs for tag, attrs in page.elements if tag == "svg" and "front" in (attrs.get("class") or "")]
    assert ("What was tried" in page.text) is bool(trials)


# page


def test_the_page_has_every_section_layer_and_trial(quantised: Manifest) -> None:
    page = Page(render(quantised, None, {}))
    text = text_of(page)
    assert {attrs.get("aria-labelledby") for tag, attrs in page.elements if tag == "section"} >= SECTIONS
    record_ = quantised.quantization
    assert record_ is not None
    for row in record_.layers:
        assert row.module in page.text
        assert row.name in page.text
        assert row.why in text
    assert all(t.name in page.text for t in record_.trials)
    for expected in ("128 samples of imagenette", "broken.jpg", "empty.png", "0123456789ab", "91 %", "searched ranges"):
        assert expected in text
    for expected in ("57.56 %", "0.44 points", "0.12 to 0.78", "3,925", "not measured", "56 of 60", "96 %", "31.2"):
        assert expected in text
    assert "30 most sensitive of 60 layers" in text
    assert "108.1 %" in text  # 10,812,340 bytes against the fp32 trial's 10,000,000
    assert not [tag for tag, _ in page.elements if tag in ("script", "img")]


def test_ids_stand_once_and_references_lead_to_them(quantised: Manifest) -> None:
    page = Page(render(quantised, None, {}))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        assert set((attrs.get("aria-labelledby") or "").split()) <= set(ids)
        assert (attrs.get("href") or "#").removeprefix("#") in {"", "data:,", *ids}


def test_every_place_is_inside_its_drawing(quantised: Manifest) -> None:
    page = Page(render(quantised, None, {}))
    for _, attrs in page.elements:
        for name in ("x", "x1", "x2", "cx", "width"):
            value = attrs.get(name) or ""
            assert not value.endswith("%") or 0 <= float(value[:-1]) <= 100


def test_without_accuracy_the_page_says_that_it_was_not_measured(manifest: Manifest) -> None:
    text = text_of(Page(render(unmeasured(manifest), None, {})))
    assert "Accuracy was not measured." in text
    assert "not calibrated on: an SQNR of 17.2 dB and the same best class on 93.8 % of them." in text
    assert "95 % interval" not in text


def test_with_nothing_known_the_sentence_promises_nothing(manifest: Manifest) -> None:
    text = text_of(Page(render(unmeasured(manifest, sqnr_db=None, agreement=None), None, {})))
    assert "Accuracy was not measured: the bundle says nothing of what the integers cost." in text


def test_hostile_names_stay_text(quantised: Manifest) -> None:
    hostile = record(
        scheme=HOSTILE,
        program_sha256=HOSTILE,
        ranges=HOSTILE,
        calibration=Calibrated(data=HOSTILE, count=1, sha256="0", skipped=(HOSTILE,)),
        trials=tuple(replace(t, name=HOSTILE) for t in TRIALS),
        layers=tuple(replace(row, name=HOSTILE, module=HOSTILE, why=HOSTILE) for row in layers_of(3)),
    )
    found = replace(accuracy(0.1, 0.0, 0.2), metric=HOSTILE, data=HOSTILE)
    artifacts = tuple(measured(a, found) for a in quantised.artifacts)
    page = Page(render(replace(quantised, quantization=hostile, artifacts=artifacts), None, {}))
    assert not [tag for tag, _ in page.elements if tag in ("script", "img")]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert sum("<script>" in text for text in page.text) > 10


def test_a_bundle_without_quantisation_has_the_page_it_had(manifest: Manifest, quantised: Manifest) -> None:
    old, new = render(manifest, None, {}), render(replace(manifest, quantization=record()), None, {})
    sections = {attrs.get("aria-labelledby") for tag, attrs in Page(old).elements if tag == "section"}
    assert not sections & SECTIONS
    assert "quantised" not in old
    start = new.index('<section aria-labelledby="quantised">')
    end = new.index('<section aria-labelledby="delegated">')
    style = new.index("\n/* quantised bundles */")
    without = new[:style] + new[new.index("</style>") : start] + new[end:]
    assert "".join(without.split()) == "".join(old.split())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.99996, "99.99 %"), (0.00001, "< 0.01 %"), (0.0029, "0.29 %"), (0.913, "91.3 %")],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(value: float, text: str) -> None:
    assert words.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1500, "1.5 k"), (999_999, "1000 k"), (10**9, "1.0 G")]
)
def test_counts_have_a_unit(value: int, text: str) -> None:
    assert words.count(value) == text


def test_what_files_lost_stands_beside_what_their_program_did(quantised: Manifest) -> None:
    page = Page(render(replace(quantised, quantization=record()), None, {}))
    assert "worst file’s drop" not in page.text, "where no round knows it"
    trials = (*TRIALS[:-1], replace(TRIALS[-1], files_drop=0.0123))
    page = Page(render(replace(quantised, quantization=record(trials=trials)), None, {}))
    assert "worst file’s drop" in page.text
    assert "1.23 points" in page.text
