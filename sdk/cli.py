"""The command `sdk`: finds the command's module, runs it, and prints errors without a traceback."""

import json
import sys
from importlib import import_module
from typing import NoReturn

try:
    import click
except ModuleNotFoundError:
    raise SystemExit("error: the command sdk needs click\ntry: pip install 'edge-sdk[sdk]'") from None

from runtime_py.errors import SdkError, missing_extra, unknown_name
from sdk.commands import COMMANDS

OWN_PACKAGES = ("sdk", "exporters", "runtime_py", "models_zoo", "devices", "apps")
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


class UsageMistakeError(SdkError):
    """A command line that no command understands."""

    id = "usage"


class LazyGroup(click.Group):
    """A group over the table of commands, which imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name of the table, in its order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name].module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first argument; an unknown name lists the known ones and the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            unknown = unknown_name("command", name, list(COMMANDS))
            raise UsageMistakeError(unknown.given, expected=unknown.expected, hint=unknown.hint or "sdk --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table's summaries, so that `--help` imports no command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.summary) for name, row in COMMANDS.items()])


def _print_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version  # here: it costs as much as all of --help

    try:
        click.echo(f"sdk {version('edge-sdk')}")
    except PackageNotFoundError:
        click.echo("sdk, run from its source folder without an installation")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n"
    "  sdk export mobilenetv4_conv_small --target all\n"
    "  sdk run mobilenetv4_conv_small.bundle cat.jpg\n"
    "  sdk verify mobilenetv4_conv_small.bundle\n"
    "  sdk COMMAND --help",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """One trained network, five edge runtimes, each export proven against PyTorch."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0, 1 where something failed, 2 on a usage mistake, 130 on Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        result = cli.main(given, prog_name="sdk", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.ClickException as error:
        code = _report(_from_click(error), as_json, error.exit_code)
    except SdkError as error:
        code = _report(error, as_json, EXIT_USAGE if isinstance(error, UsageMistakeError) else EXIT_FAILED)
    except ModuleNotFoundError as error:
        code = _report(_from_missing_module(error), as_json, EXIT_FAILED)
    except OSError as error:
        code = _report(_from_system(error), as_json, EXIT_FAILED)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; nothing was left half-written", err=True)
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _report(error: SdkError, as_json: bool, code: int) -> int:
    if as_json:
        click.echo(json.dumps({"error": error.to_dict()}, indent=2))
        return code
    lines = (
        ("error: ", "red", error.given),
        ("expected: ", "cyan", error.expected),
        ("try: ", "green", error.hint),
    )
    for prefix, colour, text in lines:
        if text:
            click.echo(click.style(prefix, fg=colour, bold=True) + text, err=True)
    return code


def _from_click(error: click.ClickException) -> SdkError:
    context = getattr(error, "ctx", None)
    return UsageMistakeError(error.format_message(), hint=f"{context.command_path} --help" if context else "sdk --help")


def _from_missing_module(error: ModuleNotFoundError) -> SdkError:
    package = (error.name or "").partition(".")[0]
    if package in OWN_PACKAGES or not package:
        raise error
    return missing_extra(package, "all", "this command")


def _from_system(error: OSError) -> SdkError:
    """A full disk or a refused permission is the user's to mend, so it needs no traceback."""
    where = f": {error.filename}" if error.filename else ""
    return SdkError(f"{error.strerror or error}{where}")
