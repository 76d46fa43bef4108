"""Who may import whom, and what an import costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = frozenset({"sdk", "exporters", "runtime_py", "models_zoo", "devices", "apps"})
RUNTIMES = frozenset({"ai_edge_litert", "tflite_runtime", "onnxruntime", "openvino", "executorch", "coremltools"})
CONVERTERS = frozenset(
    {"coremltools", "litert_torch", "ai_edge_litert", "ai_edge_quantizer", "litert_converter", "flatbuffers"}
    | {"executorch", "torchao", "openvino", "onnx", "onnxscript", "onnx_ir", "onnxruntime"}
)
ANYWHERE = {  # third-party packages that a folder may import, inside functions or at the top
    "runtime_py": frozenset({"numpy", "msgspec", "PIL"}) | RUNTIMES,
    "devices": frozenset({"numpy", "msgspec", "PIL"}),
    "models_zoo": frozenset({"torch", "safetensors", "requests", "filelock", "huggingface_hub"}),
    "exporters": frozenset({"torch", "numpy", "google"}) | CONVERTERS,
    "apps": frozenset({"numpy", "PIL"}),
}
AT_THE_TOP = {"runtime_py": frozenset({"numpy", "msgspec", "PIL"})}  # the rest inside functions only
BY_FILE = {
    "runtime_py/engines/executorch.py": {"torch"},  # ExecuTorch's own bindings import torch
    "runtime_py/signing.py": {"cryptography"},
    "devices/operators/tflite.py": {"ai_edge_litert", "flatbuffers"},  # which cuts files apart
    "devices/operators/executorch.py": {"executorch"},  # its Inspector
    "devices/operators/onnx.py": {"onnxruntime"},  # times a chain of its own
    "devices/roofline.py": {"ai_edge_litert"},
}
HEAVY = {"torch", "safetensors", "numpy", "PIL", "rich", "jinja2", "msgspec"} | RUNTIMES | CONVERTERS


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST, *, top_only: bool) -> Iterator[tuple[str, int]]:
    """Names and lines of imports: all of them, or those that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not (top_only and (later or for_types)):
            yield from imported(node, top_only=top_only)


def strangers(folder: str, allowed: frozenset[str], *, top_only: bool) -> list[str]:
    known = allowed | OWN | sys.stdlib_module_names
    found = []
    for path in sources(folder):
        place = path.relative_to(ROOT).as_posix()
        known_here = known | (set() if top_only else BY_FILE.get(place, set()))
        imports = imported(ast.parse(path.read_text(encoding="utf-8")), top_only=top_only)
        found += [f"{place}:{line}: {name}" for name, line in imports if name.partition(".")[0] not in known_here]
    return found


def test_a_forbidden_import_is_found(tmp_path: Path) -> None:
    tree = ast.parse("import numpy\nif TYPE_CHECKING:\n  import torch\ndef f():\n  from onnx.helper import x\n")
    assert [name for name, _ in imported(tree, top_only=True)] == ["numpy"]
    assert [name for name, _ in imported(tree, top_only=False)] == ["numpy", "torch", "onnx.helper"]


@pytest.mark.parametrize("folder", ANYWHERE)
def test_a_folder_imports_only_the_packages_it_may(folder: str) -> None:
    assert sources(folder), f"{folder} holds no Python files"
    assert strangers(folder, ANYWHERE[folder], top_only=False) == []


@pytest.mark.parametrize("folder", AT_THE_TOP)
def test_runtimes_are_imported_inside_functions(folder: str) -> None:
    assert strangers(folder, AT_THE_TOP[folder], top_only=True) == []


def test_contracts_between_folders() -> None:
    contracts = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert contracts.returncode == 0, contracts.stdout + contracts.stderr
    assert " 0 broken" in contracts.stdout


def loaded_by(*arguments: str) -> set[str]:
    """Top-level packages in `sys.modules` when a fresh interpreter has run `arguments`."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_the_listener_hears_a_heavy_import() -> None:
    assert "numpy" in loaded_by("-c", "import numpy")


@pytest.mark.parametrize("package", ["sdk", "exporters", "models_zoo", "devices", "runtime_py", "runtime_py.engines"])
def test_a_package_imports_lightly(package: str) -> None:
    light = {"numpy", "msgspec"} if package.startswith("runtime_py") or package == "devices" else set()
    assert loaded_by("-c", f"import {package}") & HEAVY <= light


def test_loading_code_of_the_device_takes_no_runtime() -> None:
    loaded = loaded_by("-c", "import runtime_py; runtime_py.load")
    assert loaded & HEAVY == {"numpy", "msgspec", "PIL"}


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["run", "--help"], ["verify", "--help"]])
def test_help_of_the_command_is_light(arguments: list[str]) -> None:
    heavy = HEAVY - ({"rich", "msgspec"} if len(arguments) > 1 else set())
    assert loaded_by("-m", "sdk", *arguments) & heavy == set()
