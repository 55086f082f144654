"""CPU and memory as Cloud Run combines them (its limits for memory by CPU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nuages.api.rules import Rule, given

MEMORY = "[1-9][0-9]{0,4}(Mi|Gi)"
"""The form of an amount, to the API server and to Python alike."""
_UNITS = {"Mi": 2**20, "Gi": 2**30}


def memory_bytes(amount: str) -> int:
    """Bytes of an amount such as 512Mi or 1Gi."""
    return int(amount[:-2]) * _UNITS[amount[-2:]]


@dataclass(frozen=True)
class _Size:
    cpus: str
    """A CEL condition on `cpu`, and below how many CPUs it holds in Python."""
    below: float
    least: str
    most: str


_FRACTIONS = (
    _Size("cpu.matches('^0[.][0-4]')", 0.5, "128Mi", "512Mi"),
    _Size("cpu.startsWith('0')", 1, "128Mi", "1Gi"),
)
JOB_SIZES = (
    _Size("cpu == '1'", 2, "128Mi", "4Gi"),
    _Size("cpu == '2'", 4, "128Mi", "8Gi"),
    _Size("cpu == '4'", 6, "2Gi", "16Gi"),
    _Size("cpu == '6'", 8, "4Gi", "24Gi"),
    _Size("cpu == '8'", 9, "4Gi", "32Gi"),
)
WEB_SIZES = (*_FRACTIONS, *JOB_SIZES)


def memory_fits_cpu(sizes: Sequence[_Size], cpu: str, memory: str) -> Rule:
    """The rule of an object with fields `cpu` and `memory`, whose defaults are given.

    What is none of the sizes, or no memory, is told by the rules of those fields alone.
    """
    cpu_cel, memory_cel = given("cpu", cpu), given("memory", memory)
    fits = "true"
    for size in reversed(sizes):
        within = " && ".join(
            f"quantity({memory_cel}).compareTo(quantity('{bound}')) {comparison} 0"
            for bound, comparison in ((size.least, ">="), (size.most, "<="))
        )
        fits = f"({size.cpus.replace('cpu', cpu_cel)} ? {within} : {fits})"
    return Rule(
        cel=f"!{memory_cel}.matches('^{MEMORY}$') || {fits}",
        message="Does not fit cpu. Cloud Run takes at least 128Mi (2Gi with 4 cpu, 4Gi with 6 or 8) and at most 512Mi "
        "below 0.5 cpu, 1Gi below 1, 4Gi with 1, 8Gi with 2, 16Gi with 4, 24Gi with 6 and 32Gi with 8.",
        check=_fits,
        field="memory",
    )


def _fits(part: Any) -> bool:
    size = next(size for size in WEB_SIZES if float(part.cpu) < size.below)
    return memory_bytes(size.least) <= memory_bytes(part.memory) <= memory_bytes(size.most)
