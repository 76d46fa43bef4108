"""Seconds of `create_model` and of the capture of a network, each network in a fresh process that has torch already.

python tests/benchmarks/zoo.py [--model NAME ...] [--json]
"""

import argparse
import json
import subprocess
import sys
from typing import Any

LARGEST = ("mobilenetv4_hybrid_large", "ghostnet_130", "leyolo_large", "mcunet_in4", "mobilenet_v2", "turbo_vaed_dc")
PROGRAM = """
import json, sys, time
import torch
import models_zoo
from sdk.capture import capture
from sdk.source import Wishes
from sdk.sources import find_source

name, seconds = sys.argv[1], []
for _ in range(4):
    started = time.perf_counter()
    model = models_zoo.create_model(name)
    seconds.append(time.perf_counter() - started)
parameters = sum(parameter.numel() for parameter in model.parameters())
source = find_source(name, Wishes())
started = time.perf_counter()
capture(source)
print(json.dumps({"model": name, "parameters": parameters, "first_s": seconds[0], "best_s": min(seconds[1:]),
                  "capture_s": time.perf_counter() - started}))
"""


def measure(name: str) -> dict[str, Any]:
    """One network: the first `create_model` of a process, the best of three more, and one capture."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, name], check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    """Print a markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeat for several; the largest of each family by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(name) for name in options.model or LARGEST]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(
        "| network | parameters | create_model, first, s | create_model, best, s | capture, s |\n|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['model']} | {row['parameters']:,} | {row['first_s']:.2f} | {row['best_s']:.2f} | "
            f"{row['capture_s']:.1f} |"
        )


if __name__ == "__main__":
    main()
