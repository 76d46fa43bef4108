import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

from runtime_py.errors import SdkError
from sdk import commands
from sdk.cli import main
from sdk.commands import COMMANDS, Row

ALLOWED = {"sdk", "sdk.cli", "sdk.commands", "runtime_py", "runtime_py.errors"}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def stand_in(monkeypatch: pytest.MonkeyPatch, raises: BaseException | None = None, code: int | None = None) -> None:
    """Puts a command `broken` in the table, which raises or ends with an exit code."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    @click.pass_context
    def command(ctx: click.Context, as_json: bool) -> None:
        if raises is not None:
            raise raises
        ctx.exit(code or 0)

    module = ModuleType("stand_in_command")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stand_in_command", module)
    monkeypatch.setitem(COMMANDS, "broken", Row("stand_in_command", "Break."))


def test_help_lists_every_command_and_imports_none() -> None:
    script = (
        "import sys\nfrom sdk.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as exit_:\n    assert exit_.code == 0\n"
        "print('\\n'.join(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stderr.split())
    own = {name for name in modules if name.partition(".")[0] in {"sdk", "runtime_py", "exporters", "models_zoo"}}
    assert own <= ALLOWED
    assert not modules & {"torch", "numpy", "rich", "PIL", "msgspec", "jinja2", "importlib.metadata"}
    for name, row in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert row.summary in done.stdout


def test_table_and_folder_agree() -> None:
    folder = Path(commands.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {row.module for row in COMMANDS.values()} == {f"sdk.commands.{name}" for name in files}
    assert all(row.module == f"sdk.commands.{name}" for name, row in COMMANDS.items())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(import_module(COMMANDS[name].module).command, click.Command)
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: sdk {name}")
    assert f"  sdk {name}" in text.partition("Examples:")[2]


def test_no_arguments_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "Commands:" in capsys.readouterr().out


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("exprot") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: unknown command 'exprot'",
        f"expected: one of {', '.join(COMMANDS)}",
        "try: did you mean export?",
    ]


def test_usage_errors_exit_with_2_and_name_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--nonsense") == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: No such option '--nonsense'.",
        "try: sdk models --help",
    ]


def test_sdk_errors_have_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, raises=SdkError("seven", expected="an even number", hint="eight"))
    assert run("broken") == 1
    assert capsys.readouterr() == ("", "error: seven\nexpected: an even number\ntry: eight\n")


def test_json_errors_are_objects_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, raises=SdkError("seven", expected="an even number"))
    assert run("broken", "--json") == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {"error": {"id": "sdk-error", "given": "seven", "expected": "an even number", "hint": ""}}


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, raises=KeyboardInterrupt())
    assert run("broken") == 130
    assert "interrupted; nothing was left half-written" in capsys.readouterr().err


def test_full_disk_is_said_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, raises=OSError(28, "No space left on device", "/out/model.onnx"))
    assert run("broken") == 1
    assert capsys.readouterr().err == "error: No space left on device: /out/model.onnx\n"


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, raises=ModuleNotFoundError("No module named 'torch.fx'", name="torch.fx"))
    assert run("broken") == 1
    assert "pip install 'edge-sdk[all]'" in capsys.readouterr().err


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, raises=ModuleNotFoundError("No module named 'sdk.gone'", name="sdk.gone"))
    with pytest.raises(ModuleNotFoundError):
        main(["broken"])


def test_a_command_chooses_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, code=1)
    assert run("broken") == 1


def test_runs_as_a_module_and_says_its_version() -> None:
    done = subprocess.run([sys.executable, "-m", "sdk", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sdk")
