"""The table of layers: which rows and modules it shows."""

from runtime_py.manifest import OperatorRow, ProfileRow, Roofline
from sdk.report.operators import SHOWN, layers_of


def row(target: str, times: dict[str, float], whole_ms: float | None = None, **changes: object) -> ProfileRow:
    """The modules' times, in the network's order."""
    operators = tuple(
        OperatorRow(name=module, kind="Conv", ms=ms, node=place, module=module, macs=2_000_000, gmacs_per_s=2 / ms)
        for place, (module, ms) in enumerate(times.items())
    )
    fields: dict[str, object] = {"target": target, "precision": "fp32", "threads": 2, "device": "x",
                                 "whole_ms": whole_ms, "operators": operators}  # fmt: skip
    return ProfileRow(**(fields | changes))  # type: ignore[arg-type]


def test_a_row_without_operators_has_no_column() -> None:
    rows = [row("onnx", {}), row("tflite", {"stem": 3.0, "head": 1.0}, 4.2), row("openvino", {"head": 0.5})]
    found = layers_of(rows, ["ONNX", "LiteRT", "OpenVINO"])
    assert found is not None
    assert found.columns == ("LiteRT", "OpenVINO")
    assert [line.name for line in found.lines] == ["stem", "head"]
    stem, head = found.lines
    assert stem.macs == "2.00"
    assert stem.bars[1] is None
    assert [bar.text for bar in head.bars if bar] == ["1.000", "0.500"]
    assert [bar.width for bar in head.bars if bar] == [100 / 3, 50 / 3]
    assert head.bars[0] is not None
    assert head.bars[0].told == "1.0000 ms, 25.0% of the network, 2.0 G MAC/s, as Conv"
    assert found.sums == ("4.00 of 4.20 ms", "0.50 ms")
    assert found.roof == ""


def test_without_any_operators_there_is_nothing() -> None:
    assert layers_of([row("onnx", {})], ["ONNX"]) is None
    assert layers_of([], []) is None


def test_the_slowest_come_first_and_keep_the_network_s_order() -> None:
    times = {f"layer {at}": 1.0 + (at * 7) % 25 for at in range(25)}
    found = layers_of([row("onnx", times)], ["ONNX"])
    assert found is not None
    slowest = sorted(times, key=lambda name: -times[name])[:SHOWN]
    assert [line.name for line in found.lines] == [name for name in times if name in slowest]
    assert [line.name for line in found.others] == [name for name in times if name not in slowest]


def test_the_device_s_limits_are_the_best_of_what_was_measured() -> None:
    roofs = (Roofline(float_gmacs_per_s=40.0, gbytes_per_s=9.0), Roofline(float_gmacs_per_s=50.0))
    rows = [row("onnx", {"stem": 1.0}, roofline=roofs[0]), row("tflite", {"stem": 1.0}, roofline=roofs[1])]
    found = layers_of(rows, ["ONNX", "LiteRT"])
    assert found is not None
    assert found.roof == "50 G float32 MAC/s, 9 GB/s with 2 threads"
