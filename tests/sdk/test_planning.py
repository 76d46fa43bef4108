"""Plans of small networks; what a schedule itself must hold is tested with the exporter."""

from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

from exporters.base import UnsupportedOperators
from exporters.mcu import paper
from exporters.mcu.network import Network
from exporters.mcu.schedule import BadPatches, OverBudget
from models_zoo.mcunet import VARIANTS
from runtime_py.errors import UnknownName
from sdk.planning import BadPlan, MemoryPlan, integer_network, plan, stage_bytes
from sdk.report.memory import draw_memory, plot_memory
from sdk.sizes import bytes_of, share_of
from tests.exporters.mcu.networks import mcunet

MODEL = "mcunet_in0"


class Tiny(nn.Module):
    """A stem, an inverted residual and a linear layer, for images of any size."""

    def __init__(self, last: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6())
        self.expand = nn.Sequential(nn.Conv2d(8, 32, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, groups=32), nn.ReLU6())
        self.project = nn.Conv2d(32, 8, 1)
        self.last = last()
        self.head = nn.Linear(8, 1000)  # the quantiser leaves a small one in float

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x = x + self.project(self.depthwise(self.expand(x)))
        scores: Tensor = self.head(self.last(x).mean((2, 3)))
        return scores


class Sorted(nn.Module):
    """An operator that no microcontroller has."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(1).values


@pytest.fixture(scope="module")
def planned() -> MemoryPlan:
    return plan(MODEL)


@pytest.fixture(scope="module")
def network(planned: MemoryPlan) -> Network:
    return planned.network


@pytest.fixture
def captured(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """MODEL is captured and quantised once for all tests of what is asked of it."""
    monkeypatch.setattr("sdk.planning._network", lambda *_: (network, MODEL))


def test_layers_are_those_of_the_published_table(network: Network) -> None:
    geometry = [(one.kind, one.output.bytes, one.kernel, one.stride) for one in network.layers]
    assert geometry == [
        (one.kind, one.output.bytes, one.kernel, one.stride) for one in mcunet(MODEL, 48).layers
    ]  # 7x7 kernels in one piece, though the quantiser cuts them
    assert network.total_macs == 6_364_224  # its authors' 6.4 M
    assert len([one for one in network.layers if one.kind == "add"]) == sum(b.add for b in VARIANTS[MODEL].blocks)


def test_flash_is_weights_biases_and_factors(planned: MemoryPlan) -> None:
    layers = planned.network.layers
    weights = sum(one.weight.size for one in layers)
    biases = sum(one.bias.size for one in layers)
    assert weights + biases == 743_008  # as its authors', norms folded
    factors = sum(one.multiplier.size for one in layers)
    assert planned.facts.constant_bytes == weights + 4 * biases + 5 * factors


def test_a_plan_adds_up(planned: MemoryPlan) -> None:
    facts = planned.facts
    assert facts.arena_bytes == max(map(stage_bytes, facts.stages)) == planned.schedule.arena
    assert sum(row.macs for row in facts.stages) == facts.macs
    assert facts.extra_macs == 0
    assert {row.how for row in facts.stages} <= {"whole", "rows"}
    assert facts.arena_bytes < facts.whole_bytes < planned.paper_bytes == paper.layer_by_layer(planned.network)
    boards = {board.name: fits for board, fits, _ in planned.boards}
    assert boards["stm32f746g-disco"]
    assert not boards["nucleo-f411re"]  # 512 KiB of flash


def test_a_live_network_with_a_size_of_its_own() -> None:
    small, large = (plan(Tiny(), input_size=side) for side in (32, 64))
    assert small.model == "Tiny"
    kinds = [one.kind for one in small.network.layers]
    assert kinds[:5] == ["read", "conv", "pointwise", "depthwise", "pointwise"]
    assert large.facts.macs > 3.5 * small.facts.macs
    assert large.facts.arena_bytes > small.facts.arena_bytes
    assert large.facts.constant_bytes == small.facts.constant_bytes


def test_the_image_need_not_be_square() -> None:
    found = plan(Tiny(), inputs=[(1, 3, 32, 48)])
    assert (found.network.input.height, found.network.input.width) == (32, 48)


def test_integer_network_changes_no_global_randomness() -> None:
    program = torch.export.export(Tiny().eval(), (torch.zeros(1, 3, 32, 32),), strict=False)
    before = torch.random.get_rng_state()
    first, second = integer_network(program), integer_network(program)
    assert torch.equal(before, torch.random.get_rng_state())
    assert [one.output for one in first.layers] == [one.output for one in second.layers]


@pytest.mark.usefixtures("captured")
def test_blocks_in_patches() -> None:
    found = plan(MODEL, patches="3,3")
    first, *rest = found.facts.stages
    assert first.how == "3 x 3 patches"
    assert first.modules.startswith("first_conv")
    assert {row.how for row in rest} == {"whole"}
    by_hand = paper.in_patches(found.network, 3, 3)
    assert found.facts.extra_macs == by_hand.clipped_macs - by_hand.base_macs > 0


@pytest.mark.usefixtures("captured")
def test_off_is_one_layer_after_the_other(planned: MemoryPlan) -> None:
    found = plan(MODEL, patches="off")
    assert found.facts.arena_bytes == planned.facts.whole_bytes
    assert "patches" not in {row.how for row in found.facts.stages}


@pytest.mark.usefixtures("captured")
def test_patches_that_make_too_much_again_are_refused() -> None:
    with pytest.raises(BadPatches, match=r"--patches 3,3 makes .* again") as error:
        plan(MODEL, patches="3,3", max_extra_macs=0.001)
    assert error.value.expected == "at most 0.1%"
    allowed = share_of(error.value.hint.partition(",")[0].removeprefix("--max-extra-macs "))
    assert plan(MODEL, patches="3,3", max_extra_macs=allowed).facts.extra_macs > 0


@pytest.mark.usefixtures("captured")
def test_more_may_be_made_again_for_less_ram(planned: MemoryPlan) -> None:
    found = plan(MODEL, max_extra_macs=0.5).facts
    assert found.arena_bytes < planned.facts.arena_bytes
    assert 0 < found.extra_macs <= 0.5 * found.macs


@pytest.mark.usefixtures("captured")
def test_ram_that_suffices_makes_nothing_again(planned: MemoryPlan) -> None:
    found = plan(MODEL, sram=planned.facts.arena_bytes, max_extra_macs=0.5).facts
    assert (found.arena_bytes, found.extra_macs) == (planned.facts.arena_bytes, 0)


@pytest.mark.usefixtures("captured")
def test_ram_that_needs_patches_says_how_many_macs(planned: MemoryPlan) -> None:
    sram = planned.facts.arena_bytes - 1
    with pytest.raises(OverBudget, match="again") as error:
        plan(MODEL, sram=sram, max_extra_macs=0.0)
    assert error.value.expected == f"at most 0.0%, which takes {planned.facts.arena_bytes:,} bytes"
    share = share_of(error.value.hint.removeprefix("--max-extra-macs "))
    for found in (plan(MODEL, sram=sram, max_extra_macs=share).facts, plan(MODEL, sram=sram).facts):
        assert found.arena_bytes <= sram
        assert 0 < found.extra_macs <= share * found.macs


def test_too_little_ram_names_the_least() -> None:
    with pytest.raises(OverBudget, match="--sram 100 bytes") as error:
        plan(Tiny(), input_size=32, sram=100)
    assert error.value.id == "over-budget"
    least = plan(Tiny(), input_size=32, max_extra_macs=10.0)
    assert error.value.expected == f"at least {least.facts.arena_bytes:,} bytes"


@pytest.mark.usefixtures("captured")
@pytest.mark.parametrize("patches", ["off", "3,3"])
def test_what_was_asked_for_must_fit(patches: str) -> None:
    freely = plan(MODEL, patches=patches).facts.arena_bytes
    with pytest.raises(OverBudget) as error:
        plan(MODEL, patches=patches, sram=freely - 1)
    assert error.value.expected == f"at least {freely:,} bytes"


@pytest.mark.usefixtures("captured")
def test_too_little_flash_names_the_least_and_the_largest() -> None:
    with pytest.raises(OverBudget, match=r"--flash 500,000 bytes: .*classifier\.linear 201,000") as error:
        plan(MODEL, flash=500_000)
    least = bytes_of(error.value.expected.removeprefix("at least ").removesuffix(" bytes").replace(",", ""))
    assert plan(MODEL, flash=least).flash == least
    with pytest.raises(OverBudget):
        plan(MODEL, flash=least - 1)


def test_operators_that_are_lacking_are_named_with_their_line() -> None:
    with pytest.raises(UnsupportedOperators, match=r"aten::sort.* at .*test_planning\.py") as error:
        plan(nn.Sequential(nn.Conv2d(3, 8, 3), Sorted(), nn.Conv2d(8, 8, 1)), input_size=32)
    assert "Microcontroller C" in str(error.value)


def test_unknown_names() -> None:
    with pytest.raises(UnknownName, match="mcunet_in9"):
        plan("mcunet_in9")
    with pytest.raises(BadPlan, match="--target onnx"):
        plan(MODEL, "onnx")


@pytest.mark.parametrize(
    ("text", "size"),
    [("98304", 98304), ("96kB", 96_000), ("96 KiB", 98_304), ("1MB", 10**6), ("1.5MiB", 1_572_864), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "kB", "-1", "1GB", "1 k", "0", "1e3", "ten"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        bytes_of(text)


def test_shares() -> None:
    assert share_of("10%") == share_of("0.1") == pytest.approx(0.1)
    assert share_of("150 %") == pytest.approx(1.5)
    for text in ("10", "-5%", "%", "much"):
        with pytest.raises(ValueError, match="is no share"):
            share_of(text)


@pytest.mark.parametrize("text", ["5", "5x4", "", "99,4", "1,99"])
def test_what_is_no_patches(text: str) -> None:
    with pytest.raises(BadPatches, match=f"--patches {text}"):
        plan(Tiny(), input_size=32, patches=text)


def test_the_picture_has_a_step_a_stage(planned: MemoryPlan) -> None:
    plot = plot_memory(planned)
    assert len(plot.steps) == len(planned.facts.stages)
    assert (plot.steps[0].x1, plot.steps[-1].x2) == (plot.left, plot.right)
    assert all(before.x2 == after.x1 for before, after in zip(plot.steps, plot.steps[1:], strict=False))
    highest = min(plot.steps, key=lambda step: step.y)
    assert f"{planned.facts.arena_bytes:,} bytes" in highest.text
    assert plot.limit_y is None


@pytest.mark.usefixtures("captured")
def test_the_picture_is_an_svg_that_names_all(planned: MemoryPlan) -> None:
    drawing = draw_memory(plan(MODEL, sram=20_000))
    root = ElementTree.fromstring(drawing)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"chosen: {planned.facts.arena_bytes / 1000:.1f} kB" in texts
    assert f"whole layers: {planned.facts.whole_bytes / 1000:.1f} kB" in texts
    assert "--sram 20 kB" in texts
