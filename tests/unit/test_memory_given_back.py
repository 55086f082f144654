"""A buffer that was freed is the system's again, whatever was freed before it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

HAS_GLIBC = hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
# Prints the bytes that the allocator has mapped for a buffer that is as large as one which was freed before.
TWICE = """
import ctypes
from nuages.kube.memory import give_back_large_buffers

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd usmblks".split()]
    _fields_ += [(name, ctypes.c_int) for name in "fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo.restype = Counts
{call}
bytearray(2 ** 20)
before = libc.mallinfo().hblkhd
again = bytearray(2 ** 20)
print(libc.mallinfo().hblkhd - before)
"""


@pytest.mark.skipif(not HAS_GLIBC, reason="another C library than glibc: its allocator has no such threshold")
@pytest.mark.parametrize(("call", "mapped"), [("give_back_large_buffers()", True), ("", False)])
def test_a_large_buffer_is_mapped_though_one_was_freed(call: str, mapped: bool) -> None:
    """Without the call glibc would have learned to keep buffers of that size."""
    script = TWICE.replace("{call}", call)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert (int(done.stdout) >= 2**20) is mapped
