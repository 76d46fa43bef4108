"""Worker processes that begin with their libraries imported: an export's workers spend most of their time on that.

Each is forked from a process that has imported what its kind of work needs and has done nothing else. So it is as much
a process of its own as the SDK's, which `python -m` starts: those are in test_export.py, test_pool.py and the tests of
the command line. A file of tests asks for warm ones by `pytestmark = pytest.mark.usefixtures("warm_workers")`.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
KINDS = {
    "coreml": ("torch", "coremltools", "exporters.coreml"),
    "tflite": ("torch", "litert_torch", "exporters.tflite"),
    "executorch": ("torch", "torchao", "executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner"),
    "other": ("torch", "onnxscript", "onnx", "torch.onnx", "nncf", "exporters.onnx", "exporters.openvino"),
    "prove": ("numpy", "msgspec", "PIL", "runtime_py", "runtime_py.proof", "sdk.worker"),
}
"""What each parent imports before its workers are forked. A proof's has no runtime: it loads that by itself."""
WORKERS = ("sdk.worker", "sdk.quantize.worker", "sdk.evaluate.worker")


class Parent:
    """A process that forks workers of one kind, asked by lines of JSON; one question at a time."""

    def __init__(self, kind: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, env=os.environ | quiet | {"PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        self._lock = threading.Lock()

    def ask(self, **what: Any) -> Any:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Its end."""
        self._process.communicate(timeout=30)


class Worker:
    """A forked worker, with as much of Popen as the SDK uses."""

    def __init__(
        self, parent: Parent, module: str, arguments: list[str], log: str, environment: dict[str, str]
    ) -> None:
        self._parent, self.returncode = parent, None
        self.pid: int = parent.ask(module=module, arguments=arguments, log=log, environment=environment)

    returncode: int | None

    def poll(self) -> int | None:
        """Its exit code once it has ended, a signal's number negative."""
        if self.returncode is None:
            self.returncode = self._parent.ask(ended=self.pid, wait=False)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended."""
        if self.returncode is None:
            self.returncode = self._parent.ask(ended=self.pid, wait=True)
        return self.returncode or 0

    def kill(self) -> None:
        """At once."""
        if self.poll() is None:
            os.kill(self.pid, 9)


class Warm:
    """Stands in for the module `subprocess` where the SDK starts workers; anything else is subprocess's own."""

    def __init__(self) -> None:
        self._parents: dict[str, Parent] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, command: list[str], *, stdout: IO[bytes], env: dict[str, str], **how: Any) -> Any:  # noqa: N802
        """A worker, or what subprocess makes."""
        if command[1:3] != ["-P", "-m"] or command[3] not in WORKERS:
            return subprocess.Popen(command, stdout=stdout, env=env, **how)
        kind = kind_of(command[3], Path(command[4]))
        if kind not in self._parents:
            self._parents[kind] = Parent(kind)
        asked = {"module": command[3], "arguments": command[4:], "log": str(stdout.name), "environment": env}
        return Worker(self._parents[kind], **asked)

    def close(self) -> None:
        """Ends all parents."""
        for parent in self._parents.values():
            parent.close()


def kind_of(module: str, job: Path) -> str:
    """The parent for a job."""
    given = json.loads(job.read_bytes())
    if module != "sdk.worker":
        return "other" if module == "sdk.quantize.worker" or given.get("target") in (None, "coreml") else "prove"
    target: str = given["target"]
    if not given.get("program"):
        return "other" if target in ("coreml", "executorch") else "prove"  # both answer through torch
    return target if target in KINDS else "other"


def main() -> None:
    """The parent's side: fork, or tell whether a worker has ended."""
    for name in KINDS[sys.argv[1]]:
        import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if "ended" in asked:
            pid, status = os.waitpid(asked["ended"], 0 if asked["wait"] else os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                become(asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def become(asked: dict[str, Any]) -> None:
    """Be that worker, to its end."""
    code = 1
    try:
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(asked["environment"])
        tempfile.tempdir = None
        sys.argv = [asked["module"], *asked["arguments"]]
        with suppress(SystemExit):
            runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
