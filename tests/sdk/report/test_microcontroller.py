"""The report's section on a microcontroller's program."""

import msgspec
import pytest

from runtime_py.manifest import Affine, Emulation, Manifest, Microcontroller, StageRow
from sdk.report.microcontroller import on_board
from sdk.report.page import render
from tests.sdk.report.conftest import artifact

STAGE = {"how": "rows", "kept_bytes": 30_976, "line_bytes": 28_864, "waiting_bytes": 0, "macs": 12_545_280}
CORE = Emulation(core="cortex-m7", instructions=174_145_920, stack_bytes=1480, flash_bytes=815_282)


@pytest.fixture
def with_mcu(manifest: Manifest) -> Manifest:
    facts = Microcontroller(
        arena_bytes=59_840, macs=81_785_520, extra_macs=0, constant_bytes=799_394, whole_bytes=199_936,
        input=Affine(scale=0.008, zero_point=-1), output=Affine(scale=0.15, zero_point=-35),
        stages=(StageRow(modules="blocks.3.<expand> .. blocks.3", extra_macs=0, **STAGE),), emulations=(CORE,),
    )  # fmt: skip
    own = msgspec.structs.replace(artifact("onnx", "", "w8a8"), target="mcu", file="mcu", bytes=3_860_000, mcu=facts)
    return msgspec.structs.replace(manifest, artifacts=(*manifest.artifacts, own))


def changed(manifest: Manifest, **more: object) -> Manifest:
    *others, own = manifest.artifacts
    facts = msgspec.structs.replace(own.mcu, **more)
    return msgspec.structs.replace(manifest, artifacts=(*others, msgspec.structs.replace(own, mcu=facts)))


def test_it_says_what_the_program_takes_and_what_proved_it(with_mcu: Manifest) -> None:
    page = render(with_mcu, None, {})
    for text in ("59,840 B", "199,936 B", "815,282", "2.13", "12,545,280", "1,480", "blocks.3.&lt;expand&gt;"):
        assert text in page, text
    assert "815.3 kB" in page  # in the table of targets, where sources' bytes would mislead


def test_boards_that_hold_it_are_told_from_those_that_do_not(with_mcu: Manifest) -> None:
    board = on_board(with_mcu)
    assert board is not None
    holds = {one.name: (fits, why) for one, fits, why in board.boards}
    assert holds["stm32f746g-disco"][0]
    assert not holds["nucleo-f103rb"][0]
    assert "RAM" in holds["nucleo-f103rb"][1]


def test_bars_are_shares_of_the_arena(with_mcu: Manifest) -> None:
    board = on_board(with_mcu)
    assert board is not None
    stage = board.stages[0]
    assert stage.kept + stage.lines + stage.waiting == pytest.approx(100.0)


def test_without_an_emulator_it_says_so(with_mcu: Manifest) -> None:
    page = render(changed(with_mcu, emulations=(), not_emulated="qemu-system-arm not found"), None, {})
    assert "exporting machine only: qemu-system-arm not found" in page
    assert "instructions" not in page.lower().replace("instructions are", "")


def test_bundles_without_one_have_no_such_section(manifest: Manifest) -> None:
    assert on_board(manifest) is None
    assert "On a microcontroller" not in render(manifest, None, {})
