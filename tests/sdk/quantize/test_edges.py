"""Integer inputs and outputs, against torch's own quantised tensors and the program with floats at its ends."""

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

from runtime_py.manifest import Affine, Manifest
from sdk.quantize.edges import NoIntegers, NoPixels, check_pixels, in_float, told, with_edges
from tests.sdk.quantize.ended import INNER, INPUT, MANIFEST, SCORES, InFloat, normalised, pixels, program

SEEDS = range(6)


def answers(of: ExportedProgram, given: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(of.module(check_guards=False)(given))


def integers(x: Tensor, params: tuple[float, int]) -> Tensor:
    """By torch's quantised tensors, which are no part of the export."""
    return torch.quantize_per_tensor(x, *params, torch.qint8).int_repr()


def test_int8_takes_and_gives_what_torch_quantises() -> None:
    before = program()
    after, manifest = with_edges(before, MANIFEST, "int8")
    for seed in SEEDS:
        x = normalised(pixels(seed))
        scores, features, share = answers(before, x)
        found = answers(after, integers(x, INPUT))
        assert [tensor.dtype for tensor in found] == [torch.int8, torch.int8, torch.float32]
        assert torch.equal(found[0], integers(scores, SCORES))
        assert torch.equal(found[1], integers(features, INNER))
        assert torch.equal(found[2], share)
    assert manifest.io == "int8"
    assert [tensor.dtype for tensor in (*manifest.inputs, *manifest.outputs)] == ["int8", "int8", "int8", "float32"]
    assert manifest.inputs[0].quantization == Affine(scale=INPUT[0], zero_point=INPUT[1])
    assert manifest.outputs[0].quantization == Affine(scale=SCORES[0], zero_point=SCORES[1])
    assert manifest.outputs[2].quantization is None
    assert manifest.preprocessing == MANIFEST.preprocessing


def test_uint8_takes_pixels_and_gives_the_same_numbers_128_higher() -> None:
    before = program()
    after, manifest = with_edges(before, MANIFEST, "uint8")
    for seed in SEEDS:
        given = pixels(seed)
        expected = answers(before, normalised(given))
        found = answers(after, given)
        assert [tensor.dtype for tensor in found] == [torch.uint8, torch.uint8, torch.float32]
        for own, real, params in zip(found, expected, (SCORES, INNER), strict=False):
            steps = own.to(torch.int64) - 128 - integers(real, params).to(torch.int64)
            assert int(steps.abs().max()) <= 1  # a value between two may be rounded either way
    assert manifest.preprocessing is not None
    assert manifest.preprocessing.folded
    assert manifest.inputs[0].quantization is None
    assert manifest.outputs[0].quantization == Affine(scale=SCORES[0], zero_point=SCORES[1] + 128)


def test_the_front_of_uint8_is_the_normalisation_for_every_byte_of_every_channel() -> None:
    given = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    after, _ = with_edges(program(), MANIFEST, "uint8")
    network = after.module(check_guards=False)
    seen: list[Tensor] = []

    class Watch(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):  # type: ignore[no-untyped-def]  # as torch's own
            if target is torch.ops.quantized_decomposed.quantize_per_tensor.default:
                seen.append(args[0])
            return super().call_function(target, args, kwargs)

    Watch(network).run(given)
    torch.testing.assert_close(seen[0], normalised(given), rtol=0, atol=1e-6)


@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_every_reader_keeps_a_dequantisation_of_its_own(io: str) -> None:
    """XNNPACK and litert-torch lower one that two operators read to something else, and say nothing."""
    after, _ = with_edges(program(), MANIFEST, io)
    found = [node for node in after.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    assert len(found) >= 5
    assert all(len(node.users) == 1 for node in found if node.args[0].op != "placeholder")


@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_the_float_networks_manifest_comes_back(io: str) -> None:
    _, manifest = with_edges(program(), MANIFEST, io)
    assert in_float(manifest) == MANIFEST
    assert in_float(MANIFEST) is MANIFEST


def test_people_are_told_what_stays_float() -> None:
    _, manifest = with_edges(program(), MANIFEST, "int8")
    text = told(manifest)
    assert "input image int8" in text
    assert "output map int8" in text
    assert "output share stays" in text


def test_a_program_with_floats_at_both_ends_has_no_integers_to_give() -> None:
    manifest = msgspec.structs.replace(MANIFEST, outputs=MANIFEST.outputs[:1])
    with pytest.raises(NoIntegers, match="in float"):
        with_edges(program(InFloat), manifest, "int8")


def test_pixels_are_folded_into_a_network_that_begins_in_float_too() -> None:
    before, manifest = program(InFloat), msgspec.structs.replace(MANIFEST, outputs=MANIFEST.outputs[:1])
    after, manifest = with_edges(before, manifest, "uint8")
    with torch.no_grad():
        expected = before.module()(normalised(pixels(0)))
        found = after.module(check_guards=False)(pixels(0))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=2e-3)  # one step of the mean apart
    assert manifest.outputs[0].dtype == "float32"


def test_pixels_need_an_image() -> None:
    plain: Manifest = msgspec.structs.replace(MANIFEST, preprocessing=None)
    with pytest.raises(NoPixels, match="ended"):
        check_pixels("uint8", plain)
    check_pixels("int8", plain)
    check_pixels("uint8", MANIFEST)
