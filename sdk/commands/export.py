"""`sdk export`: a network in, a proven bundle out."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table
from sdk.sizes import Bytes, Share

if TYPE_CHECKING:
    from runtime_py.manifest import Io, Microcontroller
    from sdk.results import ExportResult, TargetResult


def _shape(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    try:
        shapes = tuple(tuple(int(size) for size in value.replace("x", ",").split(",")) for value in values)
    except ValueError as error:
        raise click.BadParameter(f"{values[0]!r} is no shape; give it as 1,3,224,224") from error
    if any(size < 1 for shape in shapes for size in shape):
        raise click.BadParameter("every size of a shape is 1 or more")
    return shapes


def _triple(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r}; give three numbers such as 0.485,0.456,0.406") from error
    if len(numbers) != 3:
        raise click.BadParameter(f"{value!r} has {len(numbers)} numbers; give three, for R, G and B")
    return numbers


@click.command(
    epilog="\b\nExamples:\n"
    "  sdk export mobilenetv4_conv_small --target all\n"
    "  sdk export mobilenetv4_conv_small --target coreml,tflite --precision fp16 --out bundles\n"
    "  sdk export net.py:make_net --input 1,3,224,160 --target onnx --labels labels.txt\n"
    "  sdk export my_package.nets:Tiny --input 1,3,96,96 --weights tiny.safetensors --target all --json\n"
    "  sdk export saved.pt2 --target executorch\n"
    "  sdk export mobilenetv4_conv_small --target coreml,onnx,openvino --precision w4\n"
    "  sdk export mobilenetv4_conv_small --target all --precision w8a8 --calibration photos/ --eval-data val/\n"
    "  sdk export mobilenetv4_conv_small --target tflite --precision w8a8 --io uint8 --calibration photos/\n"
    "  sdk export leyolo_nano --weights leyolo_nano.pt --target tflite --precision mixed \\\n"
    "      --calibration instances_train.json --eval-data instances_val.json --max-drop 0.5"
)
@click.argument("model")
@click.option("--target", "-t", "targets", required=True, help="all, or names with commas; see `sdk targets`.")
@click.option("--weights", help="A tag of the zoo (see `sdk models`), or a .safetensors or .pth file.")
@click.option("--precision", default="fp32", show_default=True,
              help="fp32, fp16, w8, w4 (weights only), w8a8, w8a16 (LiteRT), mixed: float where needed.")  # fmt: skip
@click.option("--io", default="float32", show_default=True,
              help="Inputs and outputs of w8a8 and mixed: float32, int8, or uint8 (takes pixels).")  # fmt: skip
@click.option("--input-size", type=click.IntRange(min=1), help="Side of a square image, in pixels.")
@click.option("--input", "inputs", multiple=True, callback=_shape, help="Shape of an input; once for each.")
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one a line; makes a classifier of it.")
@click.option("--mean", callback=_triple, help="Mean of R,G,B in 0..1 that the network was trained with.")
@click.option("--std", callback=_triple, help="Standard deviation of R,G,B in 0..1.")
@click.option("--calibration", type=click.Path(path_type=Path),
              help="To quantise: a folder or .zip of images, a COCO json, or an .npz of arrays.")  # fmt: skip
@click.option("--images", type=click.Path(path_type=Path), help="The calibration json's images.")
@click.option("--calibration-size", default=300, show_default=True, type=click.IntRange(min=16))
@click.option("--eval-data", type=click.Path(path_type=Path),
              help="Score every target on it, as `sdk eval --data`, and refuse what loses too much.")  # fmt: skip
@click.option("--eval-images", type=click.Path(path_type=Path), help="The evaluation json's images.")
@click.option("--max-drop", default=1.0, show_default=True, type=click.FloatRange(min=0),
              help="Points of the task's metric (dB of a video decoder) that a target may lose.")  # fmt: skip
@click.option("--max-mac-share", type=click.FloatRange(0, 1), help="mixed: the most MACs in float, a share of all.")
@click.option("--max-size", type=Bytes(), help="mixed: the most bytes of weights, such as 900kB.")
@click.option("--sram", type=Bytes(), help="mcu: the most RAM, such as 96kB (KiB is 1024 bytes).")
@click.option("--flash", type=Bytes(), help="mcu: the most flash for weights and code, such as 1MB.")
@click.option("--patches", default="auto", show_default=True,
              help="mcu: auto; off: layer by layer; N,P: first N blocks in P x P patches (`sdk plan`).")  # fmt: skip
@click.option("--max-extra-macs", type=Share(), help="mcu: share of the MACs that may be made again, such as 10%.")
@click.option("--arena", type=click.Choice(["static", "dynamic"]), default="static", show_default=True,
              help="mcu: whose memory: the generated code's own, or what the caller passes.")  # fmt: skip
@click.option("--out", default=".", type=click.Path(path_type=Path), help="Where NAME.bundle is written.")
@click.option("--name", help="Name of the bundle; the model's by default.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Targets at a time; one for each core by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str,
    targets: str,
    weights: str | None,
    precision: str,
    io: "Io",
    input_size: int | None,
    inputs: tuple[tuple[int, ...], ...],
    labels: Path | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    calibration: Path | None,
    images: Path | None,
    calibration_size: int,
    eval_data: Path | None,
    eval_images: Path | None,
    max_drop: float,
    max_mac_share: float | None,
    max_size: int | None,
    sram: int | None,
    flash: int | None,
    patches: str,
    max_extra_macs: float | None,
    arena: str,
    out: Path,
    name: str | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Export MODEL to one or more targets and prove each file against PyTorch in its own runtime.

    MODEL is a name of the zoo, package.module:factory, file.py:factory, or a .pt2 file saved by torch.export.
    A target that fails leaves the others alone; the exit code is then 1.
    """
    from exporters.base import McuOptions
    from sdk.exporting import export
    from sdk.live import live_progress

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidies up as Ctrl-C does

    with live_progress(quiet=as_json) as progress:
        result = export(
            model,
            targets,
            weights=weights,
            precision=precision,
            io=io,
            input_size=input_size,
            inputs=inputs,
            labels=_read_labels(labels),
            mean=mean,
            std=std,
            calibration=calibration,
            images=images,
            calibration_size=calibration_size,
            eval_data=eval_data,
            eval_images=eval_images,
            max_drop=max_drop,
            max_mac_share=max_mac_share,
            max_size=max_size,
            mcu=McuOptions(patches, sram, flash, max_extra_macs, arena),
            out=out,
            name=name,
            jobs=jobs,
            progress=progress,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)
    raise SystemExit(0 if result.ok else 1)


def _read_labels(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} could not be read as text: {error}", param_hint="--labels") from error


def _print(result: "ExportResult") -> None:
    print_targets(result.targets)
    click.echo()
    if result.bundle is not None:
        click.echo(f"bundle  {result.bundle}")
        click.echo(f"report  {result.report}")
    else:
        click.echo("no target succeeded, so no bundle was written")
    click.echo(f"{result.seconds:.1f} s, peak memory of all processes {result.peak_mb:,.0f} MB")


def print_targets(targets: "tuple[TargetResult, ...]") -> None:
    """The table of targets, and below it why those failed that did."""
    measured = any(row.artifact and row.artifact.accuracy for row in targets)
    columns: tuple[str, ...] = ("target", "status", "size", "SQNR dB", "top-1 agreement", "delegated", "seconds")
    cells: list[tuple[str, ...]] = [_cells(row) for row in targets]
    if measured:
        columns = (*columns[:4], "accuracy", "drop", "95 % interval", *columns[5:])
        cells = [(*row[:4], *_accuracy(target), *row[5:]) for row, target in zip(cells, targets, strict=True)]
    print_table(columns, cells, right=columns[2:])
    for row in targets:
        if row.error:
            click.echo(f"\n{row.target}: {row.error['given']}")
            for word, key in (("expected", "expected"), ("try", "hint")):
                if row.error.get(key):
                    click.echo(f"  {word}: {row.error[key]}")
        elif row.artifact and row.artifact.reason:
            click.echo(f"\n{row.target}: {row.artifact.reason}")
        if row.artifact and row.artifact.mcu:
            click.echo(f"\n{row.target}: {words_of(row.artifact.mcu)}")


def words_of(facts: "Microcontroller") -> str:
    """What a microcontroller's program takes, and what proved it, in one paragraph."""
    again = f", {facts.extra_macs / facts.macs:.1%} of {facts.macs:,} MACs made again" if facts.extra_macs else ""
    lines = [
        f"arena {facts.arena_bytes:,} B (one layer after the other: {facts.whole_bytes:,} B){again}",
        *(
            f"  {one.core}: equal to the last bit in QEMU; {one.instructions / facts.macs:.2f} instructions a MAC,"
            f" stack {one.stack_bytes:,} B, flash {one.flash_bytes:,} B"
            for one in facts.emulations
        ),
    ]
    if facts.not_emulated:
        lines.append(f"  ran on this host only: {facts.not_emulated}")
    return "\n".join(lines)


def _cells(row: "TargetResult") -> tuple[str, ...]:
    artifact = row.artifact
    if artifact is None:
        return (row.target, row.status, "-", "-", "-", "-", f"{row.seconds:.1f}")
    return (
        row.target,
        row.status,
        f"{artifact.bytes / 1e6:.2f} MB",
        "-" if artifact.sqnr_db is None else f"{artifact.sqnr_db:.1f}",
        "-" if artifact.top1_agreement is None else f"{artifact.top1_agreement:.0%}",
        f"{_count(artifact.operators_delegated)}/{_count(artifact.operators_total)}",
        f"{row.seconds:.1f}",
    )


def _accuracy(row: "TargetResult") -> tuple[str, str, str]:
    """The task's metric, its drop and the drop's interval, in % and points, or dB."""
    found = row.artifact.accuracy if row.artifact else None
    if found is None:
        return ("-", "-", "-")
    unit = 1.0 if found.metric == "psnr_db" else 100.0
    name = {"top1": "top-1", "map50_95": "mAP50-95", "psnr_db": "PSNR"}[found.metric]
    low, high = unit * found.low, unit * found.high
    return (f"{name} {unit * found.value:.2f}", f"{unit * found.drop:+.2f}", f"{low:+.2f} .. {high:+.2f}")


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)
