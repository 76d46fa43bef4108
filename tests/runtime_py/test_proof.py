import numpy as np
import pytest

from runtime_py.manifest import Proof
from runtime_py.proof import LOWERING_DB, ProofFailed, compare, cosine, gate, pooled_db, sqnr_db, top1, top5_of


def test_sqnr_of_a_known_error() -> None:
    signal = np.array([3.0, 4.0])  # energy 25
    assert sqnr_db(signal, signal + np.array([0.5, 0.0])) == pytest.approx(20.0)  # 25 / 0.25 = 100


def test_sqnr_of_identical_and_of_pure_noise() -> None:
    assert sqnr_db(np.ones(3), np.ones(3)) == 200.0
    assert sqnr_db(np.zeros(3), np.ones(3)) == 0.0


def test_cosine_of_known_angles() -> None:
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(np.sqrt(0.5))
    assert cosine(np.zeros(2), np.zeros(2)) == 1.0
    assert cosine(np.zeros(2), np.ones(2)) == 0.0


def test_top1_counts_rows() -> None:
    assert top1(np.array([[1, 2], [2, 1]]), np.array([[1, 2], [1, 2]])) == 0.5


def test_a_bad_output_is_not_hidden_by_a_large_good_one() -> None:
    expected = {"large": np.full(1000, 100.0), "small": np.array([0.1, 0.2])}
    found = {"large": np.full(1000, 100.0), "small": np.array([0.2, 0.1])}
    proof = compare("random", expected, found)
    assert proof.sqnr_db == pytest.approx(10 * np.log10(0.05 / 0.02))
    assert proof.max_error == pytest.approx(0.1)
    assert proof.top1 == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_fail(bad: float) -> None:
    with pytest.raises(ProofFailed, match="not finite"):
        compare("zeros", {"y": np.ones(2)}, {"y": np.array([1.0, bad])})


def test_another_shape_fails() -> None:
    with pytest.raises(ProofFailed, match=r"shape \(3,\)"):
        compare("zeros", {"y": np.ones(2)}, {"y": np.ones(3)})


@pytest.mark.parametrize(
    ("precision", "db", "passes"),
    [("fp32", 60.1, True), ("fp32", 59.9, False), ("fp16", 40.1, True), ("fp16", 39.9, False)],
)
def test_the_gate_is_where_the_documentation_says(precision: str, db: float, passes: bool) -> None:
    proofs = tuple(
        Proof(input=kind, sqnr_db=value, cosine=1.0, max_error=0.0, top1=1.0)
        for kind, value in (("a", 150.0), ("b", db))
    )
    if passes:
        gate("onnx", precision, proofs)
    else:
        with pytest.raises(ProofFailed, match="'b'"):
            gate("onnx", precision, proofs)


def test_samples_are_pooled_by_their_noise() -> None:
    assert pooled_db([20.0, 20.0]) == pytest.approx(20.0)
    assert pooled_db([10.0, 30.0]) == pytest.approx(-10 * np.log10((0.1 + 0.001) / 2))


@pytest.mark.parametrize(("loss", "passes"), [(LOWERING_DB - 0.1, True), (LOWERING_DB + 0.1, False)])
def test_a_file_may_lose_so_much_of_its_program(loss: float, passes: bool) -> None:
    proofs = tuple(
        Proof(input=kind, sqnr_db=db - loss, cosine=1.0, max_error=0.0, top1=1.0, quantised_db=db)
        for kind, db in (("sample0", 22.0), ("sample1", 27.0))
    )
    if passes:
        gate("onnx", "w8a8", proofs)
    else:
        with pytest.raises(ProofFailed, match=r"onnx loses 6\.1 dB against the quantised program"):
            gate("onnx", "w8a8", proofs)


def test_a_sample_that_is_right_by_luck_does_not_fail_a_file() -> None:
    """The program's second sample is nearly exact, the file's is merely good: over both they are alike."""
    proofs = tuple(
        Proof(input=kind, sqnr_db=own, cosine=1.0, max_error=0.0, top1=1.0, quantised_db=programs)
        for kind, own, programs in (("sample0", 20.0, 21.0), ("sample1", 25.0, 50.0))
    )
    gate("onnx", "w8a8", proofs)


def test_top5_are_softmax_probabilities() -> None:
    logits = np.log(np.array([[1.0, 4.0, 3.0, 2.0, 0.5, 0.25]]))
    best = top5_of(logits)
    assert [row.index for row in best] == [1, 2, 3, 0, 4]
    assert best[0].score == pytest.approx(4.0 / 10.75)
