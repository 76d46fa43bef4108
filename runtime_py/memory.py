"""How the C library deals with memory that was freed."""

from numpy import empty, uint8

KEPT_BYTES = 4 << 20


def keep_freed() -> None:
    """Let the C library keep some megabytes that are free, for the next photo.

    glibc gives the end of its heap back to the system once more lies free there than twice the largest block that it
    mapped by itself and unmapped, or than 128 KiB at first (mallopt(3), M_MMAP_THRESHOLD). The pixels of a photo are
    more: for each one all pages could be mapped and cleared anew, which takes a tenth of the time of a small network;
    or not, in another process, by what happens to lie behind them. So such a block is mapped and unmapped here, and
    nothing is written to it. It does nothing with another C library.
    """
    empty(KEPT_BYTES, uint8)
