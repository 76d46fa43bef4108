"""`sdk plan`: RAM, flash and recomputation of a network on a microcontroller, before anything is exported."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.commands.export import _shape
from sdk.console import print_json, print_table
from sdk.sizes import Bytes, Share

if TYPE_CHECKING:
    from sdk.planning import MemoryPlan


@click.command(
    epilog="\b\nExamples:\n"
    "  sdk plan mcunet_in3 --target mcu\n"
    "  sdk plan mcunet_in3 --sram 64kB --flash 1MB\n"
    "  sdk plan mobilenet_v2 --patches 5,4\n"
    "  sdk plan mobilenet_v2 --sram 96KiB --max-extra-macs 15% --out plan.svg\n"
    "  sdk plan net.py:make_net --input-size 96 --json"
)
@click.argument("model")
@click.option("--target", "-t", default="mcu", show_default=True, help="Generated C for microcontrollers.")
@click.option("--weights", help="A tag of the zoo (see `sdk models`), or a .safetensors or .pth file.")
@click.option("--input-size", type=click.IntRange(min=1), help="Side of a square image, in pixels.")
@click.option("--input", "inputs", multiple=True, callback=_shape, help="Shape of the input, such as 1,3,96,128.")
@click.option("--patches", default="auto", show_default=True,
              help="auto; off: layer by layer; N,P: the first N blocks (stem: 1) in P x P patches.")  # fmt: skip
@click.option("--sram", type=Bytes(), help="The most RAM, such as 96kB. kB is 1000 bytes, KiB 1024, likewise MB, MiB.")
@click.option("--flash", type=Bytes(), help="The most flash for weights and code, such as 1MB.")
@click.option("--max-extra-macs", type=Share(),
              help="Share of the MACs that may be made again, such as 10%; by default what --sram takes.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw RAM over one answer: plan.svg.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def command(
    model: str,
    target: str,
    weights: str | None,
    input_size: int | None,
    inputs: tuple[tuple[int, ...], ...],
    patches: str,
    sram: int | None,
    flash: int | None,
    max_extra_macs: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say how MODEL would run on a microcontroller in 8 bits: which layers run together, in how much RAM.

    No data is needed: structure alone matters. MODEL is what `sdk export` takes. Bytes are those of the arena; stack
    and code come on top, and the image is read row by row, from a camera or from anywhere.
    """
    from sdk.live import live_progress
    from sdk.planning import BadPlan, plan

    if out is not None and out.suffix != ".svg":
        raise BadPlan(f"--out {out}", expected="a file name that ends in .svg")
    with live_progress(quiet=as_json) as progress:
        found = plan(
            model,
            target,
            weights=weights,
            input_size=input_size,
            inputs=inputs,
            patches=patches,
            sram=sram,
            flash=flash,
            max_extra_macs=max_extra_macs,
            progress=progress,
        )
    if out is not None:
        from sdk.report.memory import draw_memory
        from sdk.staging import replace_file

        replace_file(out, draw_memory(found).encode())
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
        if out is not None:
            click.echo(f"picture         {out}")


def _print(found: "MemoryPlan") -> None:
    from sdk.planning import stage_bytes

    facts = found.facts
    columns = ("stage", "schedule", "RAM, B", "kept, B", "lines, B", "MACs", "overhead")
    rows = [
        (
            row.modules,
            row.how,
            f"{stage_bytes(row):,}",
            f"{row.kept_bytes + row.waiting_bytes:,}",
            f"{row.line_bytes:,}",
            f"{row.macs:,}",
            _share(row.extra_macs, row.macs) if row.extra_macs else "-",
        )
        for row in facts.stages
    ]
    print_table(columns, rows, right=columns[2:])
    click.echo(
        f"\ntotal           arena {_size(facts.arena_bytes)}, {facts.macs:,} MACs,"
        f" {_share(facts.extra_macs, facts.macs)} made again, weights {_size(facts.constant_bytes)} of flash"
    )
    click.echo(f"whole layers    {_size(facts.whole_bytes)}: one layer after the other, outputs over inputs")
    click.echo(f"MCUNetV2's rule {_size(found.paper_bytes)}: layer by layer, depthwise layers and sums in place")
    if found.paper_patches is not None:
        best = found.paper_patches
        again = _share(best.network_clipped_macs - best.network_macs, best.network_macs)
        click.echo(
            f"                {_size(best.peak_bytes)}: its least, {best.blocks} blocks in {best.patches} x"
            f" {best.patches} patches, {again} of the MACs made again"
        )
    fitting = [board.name for board, fits, _ in found.boards if fits]
    click.echo(f"fits            {', '.join(fitting) or 'none of the boards that the SDK knows'}")


def _size(size: int) -> str:
    return f"{size:,} B ({size / 1024:.1f} KiB)"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"
