"""A manifest as an export writes it: five targets, one of them failed, one interpreted."""

import hashlib

import pytest

from runtime_py.manifest import (
    Artifact,
    Classify,
    Failure,
    File,
    Manifest,
    Preprocessing,
    Proof,
    Tensor,
)

TOP5 = [
    ("tabby, tabby cat", 0.7312),
    ("Egyptian cat", 0.2104),
    ("Persian cat", 0.0231),
    ("lynx", 0.0122),
    ("cougar, puma", 0.0047),
]
SQNR = {
    "coreml": (127.9, 129.4, 200.0, 121.6),
    "tflite": (125.1, 126.0, 131.3, 119.8),
    "openvino": (66.2, 67.1, 70.4, 58.9),
    "onnx": (129.2, 130.5, 200.0, 123.4),
}
INPUTS = ("photo", "random", "zeros", "saturated")


def artifact(target: str, suffix: str, precision: str = "fp32", **more: object) -> Artifact:
    proofs = tuple(
        Proof(
            input=name,
            sqnr_db=db,
            cosine=0.99999998,
            max_error=0.0 if db == 200.0 else 10 ** (-db / 20) * 9,
            top1=1.0,
        )
        for name, db in zip(INPUTS, SQNR[target], strict=True)
    )
    values: dict[str, object] = {
        "target": target,
        "precision": precision,
        "file": f"mobilenetv4_conv_small.{precision}{suffix}",
        "bytes": 10_812_340 if precision == "fp32" else 5_420_112,
        "sha256": hashlib.sha256(target.encode()).hexdigest(),
        "status": "executed",
        "sqnr_db": min(SQNR[target]),
        "cosine": min(proof.cosine for proof in proofs),
        "max_error": max(proof.max_error for proof in proofs),
        "top1_agreement": 1.0,
        "proofs": proofs,
        "seconds": 12.4,
        "peak_mb": 1180.5,
    }
    return Artifact(**(values | more))  # type: ignore[arg-type]


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        model="mobilenetv4_conv_small",
        task="classify",
        weights="tin200",
        source="zoo",
        source_commit="0f41ebe",
        licence="Apache-2.0; trained on a subset of ImageNet, whose terms allow non-commercial research",
        created="2026-11-24T12:40:31Z",
        inputs=(Tensor(name="image", shape=(1, 3, 128, 128), layout="NCHW"),),
        outputs=(Tensor(name="logits", shape=(1, 200)),),
        preprocessing=Preprocessing(
            input="image",
            width=128,
            height=128,
            mean_values=(123.675, 116.28, 103.53),
            scale_values=(58.395, 57.12, 57.375),
        ),
        postprocessing=Classify(output="logits"),
        parameters=2_747_624,
        published={"top1": 0.738, "macs": 184_725_568, "weights_top1": 0.579, "source": "arXiv:2404.10518"},
        artifacts=(
            artifact("coreml", ".mlpackage", status="interpreted", seconds=19.2, peak_mb=1422.0,
                     reason="Core ML's own runtime needs macOS; its MIL program was interpreted instead.",
                     tool_versions={"coremltools": "9.0"}),
            artifact("tflite", ".tflite", operators_total=132, operators_delegated=130,
                     not_delegated={"RESHAPE": 1, "SOFTMAX": 1}, tool_versions={"litert-torch": "0.10.0"}),
            artifact("openvino", ".openvino", "fp16", operators_total=96, operators_delegated=96,
                     tool_versions={"openvino": "2026.4.1"}),
            artifact("onnx", ".onnx", operators_total=98, operators_delegated=81,
                     not_delegated={"Transpose": 9, "Reshape": 6, "Gather": 2},
                     tool_versions={"onnx": "1.23.2", "onnxruntime": "1.32.0"}),
        ),
        failures=(
            Failure(target="executorch", precision="fp32", error={
                "id": "unsupported-operator",
                "given": "XNNPACK has no aten.conv3d",
                "operator": "aten.conv3d.default",
                "source": "net.py:41: x = self.mix(x)",
                "expected": "Conv2d, or Conv3d whose depth the rewrite can slice",
                "hint": "export the other targets, or replace Conv3d by a sum of Conv2d over depth",
            }),
        ),
        files=(File(file="golden.npz", bytes=1_204_331, sha256=hashlib.sha256(b"golden").hexdigest()),),
        tool_versions={"torch": "2.13.0", "numpy": "2.4.6", "edge-sdk": "0.1.0", "python": "3.11.7"},
        host={"os": "Debian 12", "arch": "x86_64", "cpu": "Intel Xeon", "cores": "2", "isa": "avx2"},
    )  # fmt: skip


@pytest.fixture
def top5() -> dict[str, list[tuple[str, float]]]:
    swapped = [TOP5[1], TOP5[0], *TOP5[2:]]
    return {
        "pytorch": TOP5,
        "coreml": TOP5,
        "tflite": [(label, score + 0.00004) for label, score in TOP5],
        "openvino": swapped,
        "onnx": TOP5,
    }
