"""The report's section on a microcontroller's program."""

import html
import re

import msgspec
import pytest

from runtime_py.manifest import Affine, Artifact, Emulation, Manifest, Microcontroller, StageRow, Tensor
from sdk.report.devices import guides
from sdk.report.microcontroller import flash_of, on_board
from sdk.report.page import render
from tests.sdk.report.conftest import artifact
from tests.sdk.report.test_page import HOSTILE, Page

FULL = StageRow(
    modules="blocks.3.<expand> .. blocks.3", how="rows", kept_bytes=30_976, line_bytes=28_864, waiting_bytes=0,
    macs=12_545_280, extra_macs=0,
)  # fmt: skip
PATCHES = StageRow(
    modules="stem", how="4 x 4 patches", kept_bytes=14_960, line_bytes=7_480, waiting_bytes=7_480, macs=9_958_784,
    extra_macs=41_900,
)  # fmt: skip
CORES = (
    Emulation(core="cortex-m4", instructions=174_468_400, stack_bytes=1488, flash_bytes=815_234, compiler="gcc 12"),
    Emulation(core="cortex-m7", instructions=174_148_720, stack_bytes=1480, flash_bytes=815_282),
)


@pytest.fixture
def with_mcu(manifest: Manifest) -> Manifest:
    facts = Microcontroller(
        arena_bytes=59_840, macs=81_785_520, extra_macs=41_900, constant_bytes=799_394, whole_bytes=199_936,
        input=Affine(scale=0.008, zero_point=-1), output=Affine(scale=0.15, zero_point=-35),
        stages=(PATCHES, FULL), emulations=CORES,
    )  # fmt: skip
    own = msgspec.structs.replace(
        artifact("onnx", "", "w8a8"), target="mcu", file="mcu", bytes=3_860_000, mcu=facts,
        operators_total=67, operators_delegated=67,
    )  # fmt: skip
    return msgspec.structs.replace(manifest, artifacts=(*manifest.artifacts, own))


def own_of(manifest: Manifest) -> Artifact:
    return manifest.artifacts[-1]


def changed(manifest: Manifest, **more: object) -> Manifest:
    own = own_of(manifest)
    assert own.mcu is not None
    own = msgspec.structs.replace(own, mcu=msgspec.structs.replace(own.mcu, **more))
    return msgspec.structs.replace(manifest, artifacts=(*manifest.artifacts[:-1], own))


def section(page: str) -> str:
    """The section's words, and its markup's titles where a test looks for tags."""
    return re.findall(r'<section aria-labelledby="microcontroller">.*?</section>', page, re.DOTALL)[0]


def words_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def test_it_says_what_the_program_takes(with_mcu: Manifest) -> None:
    text = words_of(section(render(with_mcu, None, {})))
    assert "RAM, but for the stack 59.8 kB one layer after the other 199.9 kB (3.3 ×)" in text
    assert "constants in flash 799.4 kB MACs 81,785,520 MACs made again, on top 41,900 (0.05 %)" in text


def test_it_comes_behind_the_fast_path_and_before_the_guides(with_mcu: Manifest) -> None:
    sections = re.findall(r'<section aria-labelledby="(\w+)"', render(with_mcu, None, {}))
    assert sections[sections.index("delegated") :] == ["delegated", "microcontroller", "run", "versions"]


def test_each_stage_has_its_schedule_and_its_bar(with_mcu: Manifest) -> None:
    own = section(render(with_mcu, None, {}))
    text = words_of(own)
    assert "stem 4 × 4 patches 29.9 kB 9,958,784 41,900" in text
    assert "blocks.3.<expand> .. blocks.3 row by row 59.8 kB 12,545,280 –" in text
    widths = [re.findall(r'part-(\w+)" style="width: ([\d.]+)%', bar) for bar in own.split('class="arena"')[1:]]
    assert widths == [
        [("kept", "25.00"), ("lines", "12.50"), ("waiting", "12.50")],
        [("kept", "51.76"), ("lines", "48.24")],
    ]
    assert "input and output 31.0 kB, rows in between 28.9 kB: 100 % of the arena" in own
    assert "what later stages read" in text


def test_the_legend_leaves_out_what_no_stage_has(with_mcu: Manifest) -> None:
    assert "what later stages read" not in render(changed(with_mcu, stages=(FULL,)), None, {})


def test_without_stages_there_is_no_table_of_them(with_mcu: Manifest) -> None:
    assert "Layers that run together" not in render(changed(with_mcu, stages=()), None, {})


def test_emulated_cores_have_counts_but_no_time(with_mcu: Manifest) -> None:
    text = words_of(section(render(with_mcu, None, {})))
    assert "cortex-m4 equal to the last bit 174,468,400 2.13 1.5 kB 815.2 kB" in text
    assert "cortex-m7 equal to the last bit 174,148,720 2.13 1.5 kB 815.3 kB" in text
    assert "Instructions were counted: they are no cycles, and say nothing of milliseconds." in text
    assert "exporting machine only" not in text


def test_without_an_emulator_it_says_so(with_mcu: Manifest) -> None:
    lone = changed(with_mcu, emulations=(), not_emulated="qemu-system-arm not found")
    text = words_of(section(render(lone, None, {})))
    assert "It ran on the exporting machine only: qemu-system-arm not found" in text
    assert "equal to the last bit" not in text
    assert "instructions" not in text
    assert "(arena, and 4.1 kB allowed for the stack) and 823.4 kB of flash (constants, and 24.0 kB allowed" in text


def test_a_program_that_nothing_ran_is_not_said_to_have_run(with_mcu: Manifest) -> None:
    lone = changed(with_mcu, emulations=(), not_emulated="cc not found")
    own = msgspec.structs.replace(own_of(lone), status="converted")
    lone = msgspec.structs.replace(lone, artifacts=(*lone.artifacts[:-1], own))
    text = words_of(section(render(lone, None, {})))
    assert "No core was emulated: cc not found" in text
    assert "exporting machine only" not in text


def test_boards_that_hold_it_are_told_from_those_that_do_not(with_mcu: Manifest) -> None:
    board = on_board(with_mcu)
    assert board is not None
    holds = {one.name: (fits, why) for one, fits, why in board.boards}
    assert holds["stm32f746g-disco"] == (True, "")
    fits, why = holds["nucleo-f103rb"]
    assert not fits
    assert "RAM of 61,328 bytes" in why  # the arena and the larger stack
    assert "flash of 815,282 bytes" in why  # the larger of the cores
    verdicts = [fits for _, fits, _ in board.boards]
    assert verdicts == sorted(verdicts, reverse=True)
    text = words_of(section(render(with_mcu, None, {})))
    assert f"{sum(verdicts)} of {len(verdicts)} hold it. It takes 61.3 kB of RAM" in text
    assert f"no {why}" in text


def test_the_table_of_targets_has_its_flash_not_its_sources(with_mcu: Manifest) -> None:
    assert flash_of(own_of(with_mcu)) == (
        815_282,
        "of flash: code and constants, compiled for cortex-m7; the folder of sources takes 3.9 MB",
    )
    page = render(with_mcu, None, {})
    cell = re.search(r'<td data-name="flash" class="n" title="([^"]+)">([^<]+)</td>', page)
    assert cell is not None
    assert cell.groups() == (flash_of(own_of(with_mcu))[1], "815.3 kB")
    lone = flash_of(own_of(changed(with_mcu, emulations=())))
    assert lone[0] == 799_394
    assert "constants, without code" in lone[1]


def test_nothing_of_it_is_delegated(with_mcu: Manifest) -> None:
    page = render(with_mcu, None, {})
    fast = page[page.index('id="delegated"') : page.index('id="microcontroller"')]
    assert "Microcontroller" not in fast
    assert "LiteRT" in fast


def test_its_guide_is_there_for_bundles_that_have_it(manifest: Manifest, with_mcu: Manifest) -> None:
    assert "Microcontroller" not in [guide.device for guide in guides(manifest)]
    guide = guides(with_mcu)[-1]
    assert guide.device == "Microcontroller"
    (code,) = guide.blocks
    assert '#include "model.h"' in code
    assert "model_invoke_image(image, output);" in code
    assert "// 128 x 128 x 3 bytes" in code
    assert "round(x / MODEL_INPUT_SCALE)" in code


def test_its_guide_takes_integers_as_they_are(with_mcu: Manifest) -> None:
    given = Tensor(name="image", shape=(1, 3, 128, 96), dtype="int8", quantization=Affine(scale=0.008, zero_point=-1))
    gives = Tensor(name="boxes", shape=(1, 18, 16, 12), dtype="int8", quantization=Affine(scale=0.1, zero_point=0))
    (code,) = guides(msgspec.structs.replace(with_mcu, inputs=(given,), outputs=(gives,)))[-1].blocks
    assert "// 128 x 96 x 3 bytes" in code
    assert "MODEL_INPUT_SCALE" not in code
    assert "output[MODEL_OUTPUT_N];  // 16 x 12 x 18" in code


def test_a_failed_program_has_no_guide(with_mcu: Manifest) -> None:
    failed = msgspec.structs.replace(own_of(with_mcu), status="failed")
    lone = msgspec.structs.replace(with_mcu, artifacts=(*with_mcu.artifacts[:-1], failed))
    assert "Microcontroller" not in [guide.device for guide in guides(lone)]


def test_hostile_words_stay_text(with_mcu: Manifest) -> None:
    stage = msgspec.structs.replace(FULL, modules=f"{HOSTILE} .. {HOSTILE}", how=HOSTILE)
    core = msgspec.structs.replace(CORES[0], core=HOSTILE, compiler=HOSTILE)
    for more in ({"stages": (stage,), "emulations": (core,)}, {"emulations": (), "not_emulated": HOSTILE}):
        page = Page(render(changed(with_mcu, **more), None, {}))
        assert not [tag for tag, _ in page.elements if tag in ("script", "img")]


def test_numbers_of_nothing_do_not_break_it(with_mcu: Manifest) -> None:
    text = words_of(section(render(changed(with_mcu, arena_bytes=0, macs=0, extra_macs=0), None, {})))
    assert "MACs 0 MACs made again, on top none" in text


def test_bundles_without_one_have_no_such_section(manifest: Manifest) -> None:
    assert on_board(manifest) is None
    page = render(manifest, None, {})
    assert "microcontroller" not in page.lower()
    assert ".onboard" not in page
