"""Which artifact is taken, and what is said where it cannot run."""

import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import runtime_py
from runtime_py.bundle import describe, open_bundle, write_bundle
from runtime_py.choice import ranked
from runtime_py.engines import EngineFailed, load_engine
from runtime_py.errors import SdkError
from runtime_py.host import probe
from runtime_py.manifest import Artifact, Manifest, ProfileRow, Timing
from runtime_py.session import FellBack
from tests.runtime_py.colours import make_bundle

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")


def measured(target: str, p50_ms: float, threads: int = 1, **more: Any) -> ProfileRow:
    """A profile's row, of this machine where nothing else is said."""
    timing = Timing(samples=5, p50_ms=p50_ms, p90_ms=p50_ms, p99_ms=p50_ms, min_ms=p50_ms, max_ms=p50_ms, mad_ms=0.0)
    fields = {"device": probe().cpu, "infer": timing, "valid": True, "precision": "fp32"} | more
    return ProfileRow(target=target, threads=threads, **fields)


def with_artifacts(folder: Path, *targets: str, profiles: tuple[ProfileRow, ...] = (), **changes: Any) -> Path:
    """The small bundle with further artifacts, whose content no runtime of these tests reads."""
    bundle = open_bundle(make_bundle(folder))
    (own,) = bundle.manifest.artifacts
    made = [own]
    for target in targets:
        (folder / target).write_bytes(target.encode())
        size, sha256 = describe(folder / target)
        made.append(msgspec.structs.replace(own, target=target, file=target, bytes=size, sha256=sha256))
    made = [msgspec.structs.replace(one, **changes.get(one.target, {})) for one in made]
    write_bundle(folder, msgspec.structs.replace(bundle.manifest, artifacts=tuple(made), profiles=profiles))
    return folder


def manifest_of(tmp_path: Path, *targets: str, **changes: Any) -> Manifest:
    return open_bundle(with_artifacts(tmp_path / "x.bundle", *targets, **changes)).manifest


def order(manifest: Manifest) -> list[str]:
    return [one.target for one in ranked(manifest)]


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr("runtime_py.choice.platform", SimpleNamespace(system=lambda: system, machine=lambda: machine))


ALL = ("tflite", "openvino", "executorch", "coreml")


@pytest.mark.parametrize(
    ("system", "machine", "precision", "first"),
    [
        ("Darwin", "arm64", "fp32", ["coreml", "onnx"]),
        ("Linux", "aarch64", "fp32", ["tflite", "onnx"]),
        ("Linux", "aarch64", "w8a8", ["tflite", "onnx"]),
        ("Linux", "x86_64", "fp32", ["onnx", "tflite"]),
        ("Linux", "x86_64", "w8a8", ["tflite", "openvino"]),
    ],
)
def test_the_order_is_the_device_s(
    system: str, machine: str, precision: str, first: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, system, machine)
    manifest = manifest_of(tmp_path, *ALL, **{target: {"precision": precision} for target in ("onnx", *ALL)})
    assert order(manifest)[:2] == first
    assert sorted(order(manifest)) == sorted(("onnx", *ALL))


def test_what_was_measured_here_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Linux", "aarch64")
    rows = (
        measured("openvino", 30.0), measured("openvino", 12.25, 3), measured("onnx", 30.0),
        measured("tflite", 0.1, device="Another Board"), measured("tflite", 0.1, valid=False, why="throttled"),
        measured("tflite", 0.1, kind="emulated"), measured("tflite", 0.1, precision="w8a8"), measured("mcu", 0.1),
    )  # fmt: skip
    manifest = manifest_of(tmp_path, "tflite", "openvino", "coreml", "mcu", profiles=rows)
    assert order(manifest) == ["openvino", "onnx", "tflite", "coreml"]
    best = ranked(manifest)[0]
    assert best.threads == 3
    assert best.why == f"openvino: 12.2 ms with 3 threads, measured on {probe().cpu}"


def test_what_never_ran_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Linux", "aarch64")
    manifest = manifest_of(tmp_path, "tflite", tflite={"status": "converted", "reason": "no LiteRT there"})
    assert order(manifest) == ["onnx", "tflite"]
    assert "never run" in ranked(manifest)[1].why


def test_code_is_not_run_unless_it_is_asked_for(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "mcu")
    assert order(manifest) == ["onnx"]
    assert [one.target for one in ranked(manifest, "mcu")] == ["mcu"]
    alone = msgspec.structs.replace(manifest, artifacts=manifest.artifacts[1:])
    with pytest.raises(SdkError, match="target='mcu'"):
        ranked(alone)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bundle whose LiteRT file is the best here, and refused by its runtime."""
    on(monkeypatch, "Linux", "aarch64")

    def load(target: str) -> Any:
        if target != "tflite":
            return load_engine(target)

        def refuse(path: Path, artifact: Artifact, manifest: Manifest, threads: int | None) -> Any:
            raise EngineFailed("LiteRT refused tflite: op 130 is unknown", hint="export the bundle again")

        return SimpleNamespace(load=refuse)

    monkeypatch.setattr("runtime_py.session.load_engine", load)
    monkeypatch.setattr("runtime_py.choice.available", lambda target: None)
    return with_artifacts(tmp_path / "x.bundle", "tflite")


def test_a_runtime_that_fails_is_passed_over_with_a_warning(refused: Path) -> None:
    with pytest.warns(FellBack, match=r"onnx runs in place of tflite: .*op 130"):
        session = runtime_py.load(refused)
    assert session.target == "onnx"
    assert "passed over: tflite: LiteRT refused" in session.why
    assert session.run({"photo": np.ones((1, 3, 8, 12), np.float32)})["logits"].shape == (1, 4)


def test_the_warning_points_at_the_caller(refused: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        runtime_py.load(refused)
    assert [Path(one.filename).name for one in said if one.category is FellBack] == [Path(__file__).name]


def test_strict_refuses_to_fall_back(refused: Path) -> None:
    with pytest.raises(EngineFailed, match="op 130"):
        runtime_py.load(refused, strict=True)


def test_a_target_that_was_asked_for_is_not_replaced(refused: Path) -> None:
    with pytest.raises(EngineFailed, match="op 130"):
        runtime_py.load(refused, "tflite")


def test_a_missing_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, "Linux", "aarch64")
    monkeypatch.setattr("runtime_py.choice.available", lambda target: "it is away" if target == "tflite" else None)
    bundle = with_artifacts(tmp_path / "x.bundle", "tflite")
    with pytest.warns(FellBack, match=r"tflite.*'ai_edge_litert'"):
        assert runtime_py.load(bundle).target == "onnx"
    with pytest.raises(SdkError, match=r"edge-sdk\[litert\]"):
        runtime_py.load(bundle, strict=True)


def test_what_cannot_exist_here_is_passed_over_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_artifacts(tmp_path / "x.bundle", "coreml", profiles=(measured("coreml", 1.0),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = runtime_py.load(bundle)
    assert session.target == "onnx"
    assert "passed over: coreml" in session.why


def test_a_changed_file_is_no_reason_to_fall_back(refused: Path) -> None:
    (refused / "tflite").write_bytes(b"tflitx")
    with pytest.raises(SdkError, match="sha256"):
        runtime_py.load(refused)


def test_a_library_that_a_runtime_lacks_is_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> Any:
        raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr("runtime_py.session.load_engine", lambda target: SimpleNamespace(load=load))
    with pytest.raises(SdkError, match=r"ONNX Runtime refused colours\.onnx: libgomp"):
        runtime_py.load(make_bundle(tmp_path / "x.bundle"), "onnx")


def test_threads_take_turns_and_a_session_closes_after_the_last(bundle: Path) -> None:
    session = runtime_py.load(bundle)
    engine, inside, most = session._engine, 0, 0
    assert engine is not None

    class Counting:
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            found = engine.run(inputs)
            inside -= 1
            return found

        def close(self) -> None:
            assert inside == 0
            engine.close()

    session._engine = Counting()
    array = {"photo": np.ones((1, 3, 8, 12), np.float32)}
    expected = session.run(array)["logits"].tobytes()
    wrong: list[Any] = []

    def ask() -> None:
        for _ in range(50):
            if session.run(array)["logits"].tobytes() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    session.close()
    assert (most, wrong) == (1, [])
