"""A bundle proven on the device it lies on: every byte, then the golden inputs, each runtime in its own process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from runtime_py.bundle import check_files, open_bundle
from runtime_py.choice import AS_CODE
from runtime_py.cores import default_threads
from runtime_py.engines import available, version_of
from runtime_py.errors import SdkError
from runtime_py.golden import GOLDEN, load_golden
from runtime_py.host import peak_rss_mb, probe
from runtime_py.manifest import Artifact
from runtime_py.proof import gate, prove
from runtime_py.session import load
from runtime_py.signing import Keys

MOST_SECONDS = 900
RUNS, RUN_SECONDS = 10, 2.0
"""Timed answers: so many, or what fits into so many seconds, and always one."""
PROVE = "import sys; from runtime_py.proving import prove_one; prove_one(*sys.argv[1:])"


def verify(path: Path, threads: int | None = None, key: Keys | None = None) -> dict[str, Any]:
    """A row for each artifact, as plain data. `ok` where at least one was executed and none failed.

    Raises NotABundle, CorruptBundle, NewerBundle, or what a key raises.
    """
    bundle = open_bundle(path, key, older=True)
    check_files(bundle, complete=True)
    count = threads or default_threads()
    rows = [
        proven_alone(path, artifact, count) for artifact in bundle.manifest.artifacts if artifact.status != "failed"
    ]
    done = [row["status"] for row in rows]
    return {
        "bundle": bundle.manifest.model,
        "device": probe().cpu,
        "threads": count,
        "signed": bundle.signed is not None,
        "ok": "executed" in done and "failed" not in done,
        "rows": rows,
    }


def proven_alone(path: Path, artifact: Artifact, threads: int) -> dict[str, Any]:
    """The row of one artifact: executed, failed, or absent where its runtime is."""
    about = {"target": artifact.target, "precision": artifact.precision, "exported_sqnr_db": artifact.sqnr_db,
             "sqnr_db": None, "p50_ms": None, "peak_rss_mb": None, "runtime": "", "why": ""}  # fmt: skip
    why_not = "C that runs only if it is asked for" if artifact.target in AS_CODE else available(artifact.target)
    if why_not is not None:
        return {**about, "status": "absent", "why": why_not}
    command = [sys.executable, "-c", PROVE, str(path), artifact.target, str(threads)]
    about["runtime"] = version_of(artifact.target)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {**about, "status": "failed", "why": f"it did not end within {MOST_SECONDS} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"proof"')]
    if done.returncode == 0 and lines:
        return {**about, "status": "executed", **json.loads(lines[-1])["proof"]}
    return {**about, "status": "failed", "why": _ended(done.returncode, done.stderr)}


def _ended(code: int, said: str) -> str:
    """Why a process gave no answer. An emulator passes a signal on as its number and 128."""
    number = -code if code < 0 else code - 128 if code > 128 else 0
    names = {one.value: one.name for one in signal.Signals}
    if number in names:
        return f"its process ended with {names[number]}: the runtime crashes on this processor"
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"its process ended with {code}"


def prove_one(path: str, target: str, threads: str) -> None:
    """One artifact in this process: prints its proof, or ends with 1 and the reason."""
    try:
        with load(path, target, int(threads)) as session:
            golden = load_golden(Path(path) / GOLDEN, session.spec)
            proofs = prove(session.run, golden, session.spec)
            gate(target, session.artifact.precision, proofs)
            times = _timed(session, next(iter(golden.inputs.values())))
    except SdkError as error:
        sys.exit(" ".join(str(error).split("\n")))
    proof = {
        "sqnr_db": min(one.sqnr_db for one in proofs),
        "p50_ms": times[len(times) // 2],
        "peak_rss_mb": peak_rss_mb(),
    }
    print(json.dumps({"proof": proof}))


def _timed(session: Any, inputs: dict[str, Any]) -> list[float]:
    found: list[float] = []
    began = time.perf_counter()
    while not found or (len(found) < RUNS and time.perf_counter() - began < RUN_SECONDS):
        start = time.perf_counter()
        session.run(inputs)
        found.append(1e3 * (time.perf_counter() - start))
    return sorted(found)
