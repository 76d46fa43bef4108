"""The page and the picture show every cell, and the reason of each that has no valid row."""

from collections.abc import Sequence
from xml.etree import ElementTree

from sdk.bench.page import markdown, picture, write_page
from sdk.bench.plan import Plan
from sdk.bench.results import Made, Result
from sdk.bench.runner import Benched
from tests.sdk.bench.conftest import PlanOf
from tests.sdk.bench.rows import result_of, row_of, run_of

SVG = "{http://www.w3.org/2000/svg}"
LIKE = {"network": "mcunet_in0"}


def benched(results: Sequence[Result]) -> Benched:
    run = run_of(id=7, host={"cpu": "a <fast> one", "os": "Linux"}, created="2026-01-01")
    return Benched(run, tuple(results), kept=0)


def planned(plan_of: PlanOf) -> tuple[Plan, Benched]:
    plan = plan_of('targets = ["onnx", "tflite", "coreml", "openvino"]', 'precisions = ["fp32", "w8a8"]',
                   'page = "pages/b.md"', networks='["mcunet_in0"]')  # fmt: skip
    interpreted = Made(sha256="", bytes=2_500_000, status="interpreted")
    results = [
        result_of([2.0] * 8, **LIKE),
        result_of([3.9, *[4.0] * 6, 4.4], **LIKE, target="tflite", outcome="invalid", why="other | work"),
        result_of(**LIKE, target="coreml", outcome="absent", row=None, why="Apple only", made=interpreted),
        result_of(**LIKE, target="openvino", outcome="failed", row=None, why="no <op>", made=None),
        result_of([1.0] * 8, **LIKE, precision="w8a8", row=row_of([1.0] * 8, peak_rss_mb=80.0)),
    ]
    return plan, benched(results)


def test_the_page(plan_of: PlanOf) -> None:
    page = markdown(*planned(plan_of), "b.svg")
    rows = [line for line in page.splitlines() if line.startswith("| mcunet_in0")]
    assert rows == [
        "| mcunet_in0 | fp32 | 2.00 (2.01) | 4.00 (4.39), **not valid**, 3.90 to 4.40 "
        "| **not run**, interpreted | **failed** |",
        "| mcunet_in0 | w8a8 | 1.00 (1.00) | – | – | – |",
        "| mcunet_in0 | fp32 | 1.00 (–) | 1.00 (–) | 2.50 (–) | – (–) |",
        "| mcunet_in0 | w8a8 | 1.00 (80) | – (–) | – (–) | – (–) |",
    ]
    assert "- not run: Apple only (mcunet_in0 fp32 coreml)" in page
    assert "- failed: no <op> (mcunet_in0 fp32 openvino)" in page
    assert "- not valid: other | work (mcunet_in0 fp32 tflite)" in page
    assert "1 network, 4 targets, fp32 and w8a8: 2 measured, 1 not valid, 1 not run, 1 failed." in page
    assert "[../b.toml](../b.toml)" in page
    assert "ONNX Runtime 1.0" in page


def test_the_page_says_where_int8_saves_no_time(plan_of: PlanOf) -> None:
    plan, _ = planned(plan_of)
    words = "without dot products of bytes"
    for isa, told in (
        ("avx avx2", True),
        ("avx2 avx_vnni", False),
        ("neon", True),
        ("neon dotprod", False),
        ("", False),
    ):
        row = row_of([2.0] * 8, device="a board", conditions={"isa": isa})
        page = markdown(plan, benched([result_of([2.0] * 8, **LIKE, row=row)]), "b.svg")
        assert f"a board: {isa}" in page if isa else "a board." in page
        assert (words in page) == told


def test_the_picture_has_a_bar_as_long_as_its_median(plan_of: PlanOf) -> None:
    drawing = ElementTree.fromstring(picture(*planned(plan_of)))
    shown = {}
    for group in drawing.iter(f"{SVG}g"):
        title, bar = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        shown[str(title.text).split(": ", 1)[1]] = None if bar is None else float(bar.attrib["width"])
    assert shown["2.00 ms"] == 2 * shown["1.00 ms"]  # type: ignore[operator]
    assert shown["4.00 ms, not valid"] == 2 * shown["2.00 ms"]  # type: ignore[operator]
    assert shown["not run, interpreted, 2.5 MB"] is None
    assert shown["failed"] is None
    height = float(drawing.attrib["height"])
    assert all(float(text.attrib["y"]) < height for text in drawing.iter(f"{SVG}text"))


def test_both_are_written_beside_each_other(plan_of: PlanOf) -> None:
    plan, found = planned(plan_of)
    write_page(plan, found)
    assert plan.page is not None
    assert "(b.svg)" in plan.page.read_text(encoding="utf-8")
    assert plan.page.with_suffix(".svg").is_file()
