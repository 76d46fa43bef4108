"""Operators of two runtimes side by side, by hand."""

import pytest

from runtime_py.manifest import OperatorRow, ProfileRow
from sdk.layers import side_by_side


def operator(module: str, node: int | None, ms: float, macs: int = 0, **more: object) -> OperatorRow:
    return OperatorRow(name="x", kind="Conv", ms=ms, node=node, module=module, macs=macs, **more)  # type: ignore[arg-type]


def row(*operators: OperatorRow) -> ProfileRow:
    return ProfileRow(target="onnx", precision="fp32", threads=1, device="d", operators=operators)


def test_modules_stand_in_the_network_s_order_with_each_target_s_time() -> None:
    first = row(operator("stem", 0, 1.0), operator("stem", 0, 2.0, 6_000_000, roof=0.5), operator("head", 5, 1.0))
    second = row(operator("head", 5, 4.0), operator("mid", 3, 4.0))
    found = side_by_side([first, second])
    assert [module.name for module in found] == ["stem", "mid", "head"]
    stem, mid, head = found
    assert stem.spent[0] is not None
    assert (stem.spent[0].ms, stem.spent[0].share) == (3.0, 0.75)
    assert stem.spent[0].gmacs_per_s == pytest.approx(3.0)  # of the operator that multiplies, alone
    assert stem.spent[0].roof == pytest.approx(0.5)
    assert stem.spent[1] is None
    assert mid.spent[0] is None
    assert (stem.macs, head.slowest_ms) == (6_000_000, 4.0)


def test_what_belongs_to_no_module_is_the_network_s_own() -> None:
    (only,) = side_by_side([row(operator("", None, 1.0))])
    assert only.name == "(the network itself)"
    assert side_by_side([]) == ()
