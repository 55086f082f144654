"""What the process gives back to the system."""

from __future__ import annotations

import contextlib
import ctypes

M_MMAP_THRESHOLD = -3  # malloc.h
THRESHOLD_BYTES = 128 * 1024  # glibc's own at the start


def give_back_large_buffers() -> None:
    """The answers that list all apps, or all of a project, go when they were read.

    glibc takes buffers above a threshold from the system, and gives them back. It raises the threshold to the size of
    what was freed, up to 32 MiB, until somebody sets it (mallopt(3), M_MMAP_THRESHOLD): lists that come again and again
    would be made in the heap, and what lives longer behind them would keep their pages. Other systems' allocators have
    no such call.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
