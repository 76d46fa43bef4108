"""MCUNetV2's figures of MobileNetV2 1.0 at 224 px (Lin et al., 2021, arXiv:2110.15352): 1372 kB layer by layer, 172 kB
in patches, +42 % of the stage's multiply-accumulates, +10 % of all; and what follows from its rule by hand."""

from dataclasses import replace

import pytest

from exporters.mcu import paper
from exporters.mcu.network import Layer, Network, Tensor
from exporters.mcu.schedule import block_ends, least_memory, patched
from runtime_py.errors import SdkError
from tests.exporters.mcu.networks import Builder, mcunet, mobilenet_v2

KIB = 1024


@pytest.fixture(scope="module")
def published() -> Network:
    return mobilenet_v2()


def convolutions(network: Network, macs: int) -> float:
    """Millions, without the classifier's 1.28: the paper counts convolutions."""
    return (macs - network.macs(network.layers[-1])) / 1e6


def test_the_stem_and_each_inverted_residual_are_a_block(published: Network) -> None:
    assert [published.layers[end].module.partition(".p")[0] for end in block_ends(published)] == [
        "stem",
        *(f"blocks.{number}" for number in range(1, 18)),
    ]


def test_layer_by_layer(published: Network) -> None:
    assert paper.layer_by_layer(published) == 112**2 * (16 + 96) == 1372 * KIB


def test_the_papers_choice(published: Network) -> None:
    found = paper.in_patches(published, 5, 4)
    assert found.reads == (75, 75)
    assert found.rest_bytes == 28**2 * (32 + 192) == 171.5 * KIB
    assert found.stage_bytes == 35**2 * (16 + 96) + 28**2 * 32
    assert found.stage_bytes / KIB == pytest.approx(158.5, abs=0.05)
    assert found.peak_bytes == found.rest_bytes
    assert found.base_macs / 1e6 == pytest.approx(91.28, abs=0.005)


def test_multiply_accumulates_of_the_stage_are_published_unclipped(published: Network) -> None:
    found = paper.in_patches(published, 5, 4)
    assert found.unclipped_macs / 1e6 == pytest.approx(129.52, abs=0.005)
    assert found.unclipped_overhead == pytest.approx(0.419, abs=0.0005)
    assert found.clipped_macs / 1e6 == pytest.approx(119.20, abs=0.005)
    assert found.clipped_overhead == pytest.approx(0.306, abs=0.0005)


def test_multiply_accumulates_of_the_network_are_published_clipped(published: Network) -> None:
    found = paper.in_patches(published, 5, 4)
    whole = convolutions(published, found.network_macs)
    unclipped = convolutions(published, found.network_unclipped_macs)
    clipped = convolutions(published, found.network_clipped_macs)
    assert (unclipped, clipped) == (pytest.approx(337.7, abs=0.05), pytest.approx(327.4, abs=0.05))
    assert unclipped / whole - 1 == pytest.approx(0.128, abs=0.0005)
    assert clipped / whole - 1 == pytest.approx(0.093, abs=0.0005)


@pytest.mark.parametrize(
    ("blocks", "patches", "kib", "overhead"),
    [
        (3, 4, 514.5, 0.091),
        (4, 4, 514.5, 0.315),
        (5, 4, 171.5, 0.419),
        (5, 3, 266.1, 0.474),
        (5, 2, 458.6, 0.198),
        (6, 4, 226.7, 1.08),
        (7, 4, 309.0, 1.82),
    ],
)
def test_blocks_and_patches(published: Network, blocks: int, patches: int, kib: float, overhead: float) -> None:
    (found,) = [one for one in paper.sweep(published) if (one.blocks, one.patches) == (blocks, patches)]
    assert found.peak_bytes / KIB == pytest.approx(kib, abs=0.05)
    assert found.unclipped_overhead == pytest.approx(overhead, abs=0.005)


def test_the_best_is_the_papers(published: Network) -> None:
    found = paper.best(published)
    assert found is not None
    assert (found.blocks, found.patches) == (5, 4)


def test_rows_take_less_than_the_papers_patches_and_make_nothing_again(published: Network) -> None:
    found = least_memory(published)
    print(f"rows {found.arena / KIB:.1f} KiB, MCUNetV2's patches 171.5 KiB")
    assert found.arena < 171.5 * KIB
    assert found.extra_macs == 0


@pytest.mark.parametrize(("blocks", "patches"), [(3, 4), (5, 3), (5, 4), (7, 2)])
def test_clipped_patches_are_those_that_run(published: Network, blocks: int, patches: int) -> None:
    found = paper.in_patches(published, blocks, patches)
    assert found.clipped_macs - found.base_macs == patched(published, blocks, patches).extra_macs


@pytest.mark.parametrize("patches", [3, 5])
def test_clipped_patches_of_uneven_size_are_those_that_run(patches: int) -> None:
    network = mcunet("mcunet_in3", 176)
    found = paper.in_patches(network, 4, patches)
    assert found.clipped_macs - found.base_macs == patched(network, 4, patches).extra_macs


def test_one_patch_makes_nothing_again(published: Network) -> None:
    found = paper.in_patches(published, 5, 1)
    assert found.clipped_macs == found.base_macs


def test_a_sum_accumulates_and_its_other_side_counts_once() -> None:
    made = Builder(8, channels=4)
    made.conv("stem", 4)
    made.inverted("block", 24, 4, 3, 1, expand=True, add=True)
    network = made.classified(2)
    assert paper.layer_by_layer(network) == 64 * (4 + 24)  # 64 * (24 + 4 + 4) where the sum had memory of its own


def test_a_depthwise_layer_that_halves_works_in_place() -> None:
    made = Builder(8, channels=6)
    made.conv("stem", 6, 3, 2, depthwise=True)
    assert paper.layer_by_layer(Network(tuple(made.layers))) == 64 * 6


def test_branches_count_together_and_what_they_share_once() -> None:
    made = Builder(4, channels=2)
    stem = made.conv("stem", 8)
    made.conv("left", 5)
    right = Layer("pointwise", "right", (stem,), Tensor(4, 4, 5), weight=made.layers[-1].weight)
    network = Network((*made.layers, right, Layer("multiply", "join", (2, 3), Tensor(4, 4, 5))))
    assert paper.layer_by_layer(network) == 16 * (8 + 5 + 5)  # while `right` runs: stem, left and right


def test_a_summand_that_is_read_again_keeps_its_memory() -> None:
    made = Builder(4, channels=2)
    stem = made.conv("stem", 8)
    made.conv("wide", 8)
    made.add("sum", stem)
    last = replace(made.layers[-1], inputs=(stem, made.last))
    network = Network((*made.layers, last))
    assert paper.layer_by_layer(network) == 16 * (8 + 8)


def test_nothing_behind_a_mean_runs_in_patches(published: Network) -> None:
    with pytest.raises(SdkError, match="19 blocks") as error:
        paper.in_patches(published, 19, 2)
    assert error.value.expected == "1 to 18 blocks, before any mean"


def test_no_more_patches_than_rows(published: Network) -> None:
    with pytest.raises(SdkError, match="29 x 29") as error:
        paper.in_patches(published, 5, 29)
    assert error.value.expected == "1 to 28 a side, of block 5"
    assert all(one.patches <= 7 for one in paper.sweep(published, (7, 8)) if one.blocks > 14)
