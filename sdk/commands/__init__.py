"""The table of commands. A module is imported when its command runs, never for `sdk --help`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A command: the module that holds `command: click.Command`, and its line in `sdk --help`."""

    module: str
    summary: str


COMMANDS: dict[str, Row] = {
    "export": Row("sdk.commands.export", "Turn a network into files for devices, each proven."),
    "verify": Row("sdk.commands.verify", "Prove a bundle again on this machine, from its files alone."),
    "run": Row("sdk.commands.run", "Answer images with a bundle, in any of its runtimes."),
    "eval": Row("sdk.commands.eval", "Score every artifact on real data, beside PyTorch."),
    "profile": Row("sdk.commands.profile", "Measure how a bundle runs here: latency, stages, memory."),
    "bench": Row("sdk.commands.bench", "Measure networks, targets and devices from one file."),
    "results": Row("sdk.commands.results", "Show what bench measured, and compare two runs."),
    "predict": Row("sdk.commands.predict", "Say how fast a bundle would be on a board not at hand."),
    "plan": Row("sdk.commands.plan", "Say how a network would run on a microcontroller: RAM, flash, MACs."),
    "compare": Row("sdk.commands.compare", "Put two bundles side by side: size, accuracy, and what changed."),
    "push": Row("sdk.commands.push", "Copy a bundle to a device over ssh, and prove it there."),
    "sign": Row("sdk.commands.sign", "Sign a bundle, so that devices know who made it."),
    "keys": Row("sdk.commands.keys", "Make the keys that sign bundles, or look at one."),
    "pack": Row("sdk.commands.pack", "Write a bundle as one zip file."),
    "train": Row("sdk.commands.train", "Train a network from a recipe; stops and goes on where it was."),
    "matrix": Row("sdk.commands.matrix", "Export every network to every target, and write the table."),
    "models": Row("sdk.commands.models", "List the networks that come with the SDK, and their weights."),
    "devices": Row("sdk.commands.devices", "List devices, and say what one is, has and lacks."),
    "targets": Row("sdk.commands.targets", "List the formats to export to, and what this machine can do."),
    "doctor": Row("sdk.commands.doctor", "Say what is installed, what is missing and how to get it."),
}
