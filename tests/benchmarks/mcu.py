"""Microcontroller programs: RAM, flash and instructions of the zoo's networks, and speed beside LiteRT Micro.

python tests/benchmarks/mcu.py networks [NAME ...] [--cores cortex-m7,cortex-m55]
    A markdown table, by random weights: RAM, MACs and, in QEMU, instructions, stack and flash. Needs gcc-arm-none-eabi
    and qemu-system-arm.
python tests/benchmarks/mcu.py speed BUNDLE.bundle THEIRS.tflite [--runs 30]
    The bundle's C on this host, one thread, in turns with the interpreter of LiteRT Micro (pip install tflite-micro)
    and with LiteRT on THEIRS.tflite.
python tests/benchmarks/mcu.py litert mcunet_in3 --weights FILE --data PHOTOS.zip
    Answers beside LiteRT's int8 reference kernels, of one program, byte by byte.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import runtime_py
from exporters.mcu.emulate import CORES, emulate
from exporters.mcu.generate import Facts, sources
from exporters.mcu.network import Network
from exporters.mcu.schedule import least_memory, whole_layers
from exporters.mcu.simulate import as_bytes, simulate
from models_zoo import create_model, get_spec
from models_zoo.mcunet import Block, MCUNet, Variant
from models_zoo.mobilenet_v2 import mobilenet_v2
from sdk.planning import integer_network

NETWORKS = (
    "mcunet_in0", "mcunet_in1", "mcunet_in2", "mcunet_in3", "mcunet_in4", "mcunet_vww1", "mcunet_vww2",
    "mobilenet_v2_0.35_144",
)  # fmt: skip
VWW2_SIDE = 144
VWW2 = Variant(16, tuple(Block(*row) for row in (
    (16, 8, 3), (24, 16, 3, 2), (80, 16, 3, 1, True), (96, 16, 5, 1, True), (48, 16, 3, 1, True), (80, 24, 7, 2),
    (96, 24, 5, 1, True), (96, 24, 3, 1, True), (144, 24, 7, 1, True), (144, 40, 3, 2), (240, 40, 7, 1, True),
    (160, 40, 5, 1, True), (200, 40, 3, 1, True), (200, 48, 5), (144, 48, 5, 1, True), (192, 48, 3, 1, True),
    (144, 48, 5, 1, True), (192, 96, 3, 2), (480, 96, 5, 1, True), (384, 96, 5, 1, True), (384, 96, 3, 1, True),
    (480, 160, 3),
)), classes=2)  # fmt: skip
"""As public re-implementations of its authors' file have it; 55.8 million MACs, as published. Not in the zoo: there are
no weights to hold it against."""


def network(name: str) -> Network:
    """A zoo's network, or `mobilenet_v2_WIDTH_SIDE`, with random weights."""
    torch.manual_seed(0)
    if name == "mcunet_vww2":
        net, shape = MCUNet(VWW2, VWW2.classes, 0.0), (3, VWW2_SIDE, VWW2_SIDE)
    elif name.startswith("mobilenet_v2_"):
        width, side = name.removeprefix("mobilenet_v2_").split("_")
        net, shape = mobilenet_v2("mobilenet_v2", width=float(width)), (3, int(side), int(side))
    else:
        net, shape = create_model(name), get_spec(name).shape
    return integer_network(torch.export.export(net.eval(), (torch.rand(1, *shape),)))


def tabulate(names: list[str], cores: list[str]) -> None:
    """A row a network."""
    heads = [f"{core}: instructions a MAC" for core in cores]
    print("| network | RAM, B | layer by layer, B | MACs |", " | ".join(heads), "| stack, B | flash, B |")
    print("|---|---:|---:|---:|" + "---:|" * (len(cores) + 2))
    for name in names:
        made = network(name)
        schedule, image = least_memory(made), as_bytes(made, None)
        with tempfile.TemporaryDirectory() as folder:
            for file, text in sources(schedule, Facts(name), image, simulate(made, image)).items():
                Path(folder, file).write_text(text)
            runs = [emulate(Path(folder), core) for core in cores]
        assert all(run.agrees for run in runs), name
        counts = " | ".join(f"{run.instructions / made.total_macs:.2f}" for run in runs)
        stack, flash = max(run.stack_bytes for run in runs), max(run.flash_bytes for run in runs)
        row = f"{schedule.arena:,} | {whole_layers(made).arena:,} | {made.total_macs:,} | {counts}"
        print(f"| {name} | {row} | {stack:,} | {flash:,} |", flush=True)


def race(bundle: str, theirs: Path, runs: int) -> None:
    """Milliseconds and ratios, of turns in one run."""
    from ai_edge_litert.interpreter import Interpreter

    session = runtime_py.load(bundle, target="mcu")
    spec = session.spec.inputs[0]
    image = np.random.default_rng(0).uniform(-1, 1, spec.shape).astype(np.float32)
    turns: dict[str, Callable[[], object]] = {"generated C": lambda: session.run({spec.name: image})}
    litert = Interpreter(str(theirs), num_threads=1)
    litert.allocate_tensors()
    given = litert.get_input_details()[0]
    litert.set_tensor(given["index"], np.ones(given["shape"], given["dtype"]))
    turns["LiteRT, one thread"] = litert.invoke
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        sys.exit("pip install tflite-micro")
    micro = runtime.Interpreter.from_bytes(theirs.read_bytes(), arena_size=1 << 23)
    micro.set_input(np.ones(given["shape"], given["dtype"]), 0)
    turns["LiteRT Micro"] = micro.invoke
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(runs + 2):
        for name, call in turns.items():
            started = time.perf_counter()
            call()
            if turn >= 2:
                times[name].append(1e3 * (time.perf_counter() - started))
    slowest = statistics.median(times["LiteRT Micro"])
    for name, values in times.items():
        own = statistics.median(values)
        print(f"{name:20} p50 {own:8.2f} ms  {slowest / own:6.1f} x LiteRT Micro")


def against_litert(name: str, weights: str, data: str) -> None:
    """Every photo through LiteRT's reference kernels and through the C's integers, of one program without bands."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from exporters import load_exporter
    from exporters.base import Options
    from exporters.mcu.reader import read
    from runtime_py.preprocess import decode_image, placed
    from sdk.capture import capture
    from sdk.quantize import network as networks
    from sdk.quantize.quantizer import EdgeQuantizer
    from sdk.source import Fetching, Wishes
    from sdk.sources import find_source

    networks.MOST_TAPS = 49  # LiteRT's plain kernels take any
    source = find_source(name, Wishes(weights), Fetching(lambda *_: None, print))
    captured = capture(source)
    before = source.preprocessing(captured.inputs[0].name)
    assert before is not None, f"{name} takes no image"
    with zipfile.ZipFile(data) as file:
        photos = [
            placed(decode_image(np.asarray(Image.open(io.BytesIO(file.read(entry))).convert("RGB"))), before,
                   captured.inputs[0])[0]
            for entry in file.namelist() if entry.lower().endswith((".jpg", ".jpeg", ".png"))
        ]  # fmt: skip
    prepared = prepare_pt2e(networks.network_of(captured.program), EdgeQuantizer())
    with torch.no_grad():
        for photo in photos[::25]:
            prepared(torch.from_numpy(photo))
    program = torch.export.export(convert_pt2e(prepared), (torch.from_numpy(photos[0]),))
    made = read(program)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.tflite")
        load_exporter("tflite").lower(program, Options("w8a8", ("x",), ("y",)), path)
        interpreter = Interpreter(
            str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )  # fmt: skip
    interpreter.allocate_tensors()
    given, gives = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    image = next(
        row["index"] for row in interpreter.get_tensor_details()
        if row["dtype"] == np.int8 and row["shape"][-1] == 3 and row["shape"].prod() == made.input.bytes
    )  # fmt: skip
    apart: Counter[int] = Counter()
    same = 0
    for photo in photos:
        interpreter.set_tensor(given, photo)
        interpreter.invoke()
        theirs = np.rint(interpreter.get_tensor(gives).ravel() / made.output.scale) + made.output.zero
        ours = simulate(made, np.ascontiguousarray(interpreter.get_tensor(image)[0])).ravel()
        apart.update(np.abs(theirs - ours).astype(int).tolist())
        same += int(theirs.argmax() == ours.argmax())
    print(f"{len(photos)} photos; best class the same: {same}; outputs by units apart: {dict(sorted(apart.items()))}")


def main() -> None:
    """One of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    table = kinds.add_parser("networks")
    table.add_argument("names", nargs="*")
    table.add_argument("--cores", default=",".join(CORES))
    speed = kinds.add_parser("speed")
    speed.add_argument("bundle")
    speed.add_argument("theirs", type=Path)
    speed.add_argument("--runs", type=int, default=30)
    reference = kinds.add_parser("litert")
    reference.add_argument("network")
    reference.add_argument("--weights", required=True)
    reference.add_argument("--data", required=True)
    options = parser.parse_args()
    if options.kind == "networks":
        tabulate(options.names or list(NETWORKS), options.cores.split(","))
    elif options.kind == "litert":
        against_litert(options.network, options.weights, options.data)
    else:
        race(options.bundle, options.theirs, options.runs)


if __name__ == "__main__":
    main()
