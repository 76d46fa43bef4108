import tomllib

import pytest

from exporters.mcu.boards import TABLE, boards, fits

KIB = 1024
CORES = {"cortex-m0+", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"}
PUBLISHED = {  # name: core, MHz, KiB of SRAM, KiB of flash
    "arduino-nano-33-ble-sense": ("cortex-m4", 64, 256, 1024),
    "nucleo-f411re": ("cortex-m4", 100, 128, 512),
    "nucleo-f446re": ("cortex-m4", 180, 128, 512),
    "stm32f746g-disco": ("cortex-m7", 216, 320, 1024),
    "nucleo-f767zi": ("cortex-m7", 216, 512, 2048),
    "nucleo-h743zi2": ("cortex-m7", 480, 512, 2048),
    "raspberry-pi-pico": ("cortex-m0+", 133, 264, 2048),
    "raspberry-pi-pico-2": ("cortex-m33", 150, 520, 4096),
    "nrf5340-dk": ("cortex-m33", 128, 512, 1024),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_board_is_what_its_maker_says(name: str) -> None:
    (board,) = [board for board in boards() if board.name == name]
    assert (board.core, board.clock_mhz, board.sram / KIB, board.flash / KIB) == PUBLISHED[name]


def test_every_board_says_all_and_who_said_so() -> None:
    assert len(boards()) >= 12
    assert len({board.name for board in boards()}) == len(boards())
    for board in boards():
        assert board.core in CORES
        assert 0 < board.sram <= board.sram_all
        assert board.sram % KIB == board.sram_all % KIB == board.flash % KIB == 0
        assert 0 < board.clock_mhz < 1000
        assert len(board.source) > 20
        assert "://" not in board.source


def test_the_table_holds_no_board_twice() -> None:
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["board"]
    assert len({row["chip"] for row in rows}) == len(rows)


def test_a_board_that_holds_it_to_the_byte_holds_it() -> None:
    rows = {board.name: (held, why) for board, held, why in fits(128 * KIB - 4096, 4096, 512 * KIB)}
    assert rows["nucleo-f411re"] == (True, "")


def test_a_byte_too_many_is_named() -> None:
    rows = {board.name: (held, why) for board, held, why in fits(128 * KIB - 4096, 4097, 512 * KIB + 2)}
    assert rows["nucleo-f411re"] == (
        False,
        "RAM of 131,073 bytes, 1 more than its 131,072; flash of 524,290 bytes, 2 more than its 524,288",
    )
    assert rows["nucleo-l476rg"] == (False, "RAM of 131,073 bytes, 32,769 more than its 98,304")
    assert rows["arduino-nano-33-ble-sense"] == (True, "")


def test_all_boards_are_listed_the_smallest_first() -> None:
    found = [board.sram for board, _, _ in fits(1, 0, 1)]
    assert found == sorted(found)
    assert len(found) == len(boards())
