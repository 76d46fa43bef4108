import pytest

from sdk.report.answers import side_by_side

REFERENCE = [("cat", 0.7), ("dog", 0.2), ("fox", 0.1)]


@pytest.mark.parametrize(
    ("rows", "verdict", "marked"),
    [
        (REFERENCE, "same scores", []),
        ([("cat", 0.7 + 1e-12), ("dog", 0.2), ("fox", 0.1)], "same scores", []),
        ([("cat", 0.699), ("dog", 0.2), ("fox", 0.1)], "same order, scores within 0.1 points", []),
        ([("cat", 0.6), ("dog", 0.2), ("fox", 0.1)], "same order, scores within 10 points", ["cat"]),
        ([("cat", 0.7), ("fox", 0.2), ("dog", 0.1)], "same first answer, other order below", ["fox", "dog"]),
        ([("dog", 0.7), ("cat", 0.2), ("fox", 0.1)], "another first answer", ["dog", "cat"]),
    ],
)
def test_verdicts(rows: list[tuple[str, float]], verdict: str, marked: list[str]) -> None:
    reference, answer = side_by_side({"pytorch": REFERENCE, "onnx": rows}, {"onnx": "ONNX"})
    assert reference.is_reference
    assert (answer.title, answer.verdict) == ("ONNX", verdict)
    assert [row.label for row in answer.rows if row.differs] == marked
    assert answer.differs is bool(marked)


def test_pytorch_comes_first_whatever_the_order() -> None:
    titles = [answer.title for answer in side_by_side({"onnx": REFERENCE, "pytorch": REFERENCE}, {})]
    assert titles == ["PyTorch", "onnx"]


def test_without_a_reference_nothing_is_judged() -> None:
    (answer,) = side_by_side({"onnx": REFERENCE}, {"onnx": "ONNX"})
    assert (answer.verdict, answer.differs) == ("", False)
