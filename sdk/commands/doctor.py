"""`sdk doctor`: what this machine is, what is installed, and what is missing."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtime_py.host import Host
    from sdk.capabilities import Capability
    from sdk.packages import Package


@click.command(epilog="\b\nExamples:\n  sdk doctor\n  sdk doctor --json > machine.json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Say what this machine is, which packages it has, and what each target can do here."""
    from runtime_py.host import probe
    from sdk.capabilities import capabilities
    from sdk.console import print_json
    from sdk.packages import packages

    host, installed, targets = probe(), packages(), capabilities()
    if as_json:
        machine = {name: getattr(host, name) for name in host.__dataclass_fields__}
        lists = {"packages": [p.to_dict() for p in installed], "targets": [t.to_dict() for t in targets]}
        print_json({"host": machine} | lists)
        return
    _print_host(host)
    _print_packages(installed)
    _print_targets(targets)


def _print_host(host: "Host") -> None:
    click.echo(f"Python  {host.python}")
    click.echo(f"system  {host.os}, {host.arch}")
    click.echo(f"CPU     {host.cpu}, {host.cores} cores")
    click.echo(f"ISA     {' '.join(host.isa) or 'unknown'}")
    if host.ram_total_mb and host.ram_available_mb:
        click.echo(f"memory  {host.ram_available_mb:,} MB free of {host.ram_total_mb:,} MB")


def _print_packages(installed: "list[Package]") -> None:
    from sdk.console import print_table

    rows = [[p.name, p.installed or "-", p.needed or "any", p.state, ", ".join(p.extras) or "base"] for p in installed]
    click.echo()
    print_table(("package", "installed", "needed", "state", "for"), rows)


def _print_targets(targets: "list[Capability]") -> None:
    from sdk.console import print_table

    words = {True: "yes", False: "no"}
    rows = [
        [t.target, words[t.convert], words[t.execute], words[t.interpret], "; ".join(t.missing), t.install]
        for t in targets
    ]
    click.echo()
    print_table(("target", "convert", "execute", "interpret", "what is missing", "how to get it"), rows)
