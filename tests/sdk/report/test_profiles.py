"""What the page says of measurements on devices."""

import re

import msgspec

from runtime_py.manifest import Manifest, OperatorRow, ProfileRow, Roofline, Second, Timing
from sdk.report.page import render


def timing(p50: float) -> Timing:
    return Timing(samples=5, p50_ms=p50, p90_ms=2 * p50, p99_ms=4 * p50, min_ms=p50, max_ms=4 * p50, mad_ms=0.1)


def row(target: str, p50: float, **changes: object) -> ProfileRow:
    fields: dict[str, object] = {
        "target": target, "precision": "fp32", "threads": 1, "device": "Raspberry Pi 5 Model B Rev 1.0",
        "infer": timing(p50), "valid": True, "created": "2026-11-26T12:00:00+00:00",
    }  # fmt: skip
    return ProfileRow(**(fields | changes))  # type: ignore[arg-type]


def page(manifest: Manifest, *rows: ProfileRow) -> str:
    return render(msgspec.structs.replace(manifest, profiles=rows), None, {})


def test_a_sustained_run_shows_its_temperature_frequency_and_power(manifest: Manifest) -> None:
    seconds = tuple(
        Second(at_s=float(at), runs=100, p50_ms=10.0, celsius=50.0 + at, mhz=2400 - 100 * at, watts=5.0 + at / 10)
        for at in range(11)
    )
    text = page(manifest, row("tflite", 10.0, sustained=seconds))
    assert "temperature, 50 to 60 °C" in text
    assert "frequency, 1400 to 2400 MHz" in text
    assert "power, 5 to 6 W" in text
    (falling,) = re.findall(r'class="line-mhz" points="([^"]+)"', text)
    heights = [float(point.split(",")[1]) for point in falling.split()]
    assert len(heights) == 11
    assert heights == sorted(heights)  # down the page, as the frequency falls


def test_what_a_board_does_not_say_has_no_line(manifest: Manifest) -> None:
    seconds = tuple(Second(at_s=float(at), runs=100, p50_ms=10.0) for at in range(3))
    text = page(manifest, row("tflite", 10.0, sustained=seconds))
    assert "second by second" in text
    assert 'class="line-hot"' not in text
    assert 'class="line-watts"' not in text


def test_layers_stand_side_by_side_on_one_scale(manifest: Manifest) -> None:
    slow = (OperatorRow(name="c", kind="CONV_2D", ms=4.0, node=0, module="stem<conv>", macs=8_000_000,
                        gmacs_per_s=2.0, roof=0.5),)  # fmt: skip
    fast = (OperatorRow(name="c", kind="Conv", ms=1.0, node=0, module="stem<conv>", macs=8_000_000, gmacs_per_s=8.0),)
    roof = Roofline(float_gmacs_per_s=4.0, gbytes_per_s=10.0)
    text = page(
        manifest, row("tflite", 4.5, operators=slow, roofline=roof, whole_ms=4.4), row("onnx", 1.1, operators=fast)
    )
    assert "stem&lt;conv&gt;" in text
    assert "stem<conv>" not in text
    assert "4.00 of 4.40 ms" in text
    assert "50% of what the device could" in text
    widths = [float(width) for width in re.findall(r'class="b\d" style="width: ([\d.]+)%', text)]
    assert widths == [100.0, 25.0]
    assert "4 G float32 MAC/s, 10 GB/s with 1 thread" in text


def test_without_operators_there_is_no_table_of_layers(manifest: Manifest) -> None:
    assert "Layers, targets side by side" not in page(manifest, row("tflite", 4.4))
