"""When this process began: what a command took is counted from there, as who typed it does."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_IMPORTED = time.monotonic()


def process_began() -> float:
    """On time.monotonic()'s clock, which all processes share; where the system does not say it, our first import."""
    if sys.platform != "linux":
        return _IMPORTED
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # starttime, proc_pid_stat(5)
    except OSError:
        return _IMPORTED
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age
