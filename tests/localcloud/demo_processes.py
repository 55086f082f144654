"""Which processes belong to a command that a test started, wherever they went."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """`began` (clock ticks since the machine's start) tells it from a later one with the same id."""

    pid: int
    parent: int
    session: int
    began: int
    command: str


def of(leader: int, marker: str) -> set[Process]:
    """Those in the leader's session, all descendants of such, and whatever bears the marker.

    A process bears it in its arguments, environment or working folder; so one that left its session and lost its
    parent is found too.
    """
    # Twice: while processes come and go, a listing of /proc may miss one that stays.
    running = {found.pid: found for _ in range(2) for found in _all()}
    mine = {pid for pid, found in running.items() if pid == leader or found.session == leader or _bears(pid, marker)}
    grown = True
    while grown:
        more = {pid for pid, found in running.items() if found.parent in mine} - mine
        mine, grown = mine | more, bool(more)
    return {running[pid] for pid in mine - {os.getpid()}}


def still(among: set[Process]) -> set[Process]:
    """Those that run now."""
    return among & set(_all())


def _all() -> list[Process]:
    """Zombies left out: they have ended, and are their parent's to bury."""
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                command = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            except OSError:  # it ended meanwhile
                continue
            state, parent, _, session, *rest = stat.rpartition(")")[2].split()
            if state != "Z":
                found.append(Process(int(folder.name), int(parent), int(session), int(rest[15]), command))
    return found


def _bears(pid: int, marker: str) -> bool:
    folder = PROC / str(pid)
    for read in (
        lambda: (folder / "cmdline").read_text(errors="replace"),
        lambda: (folder / "environ").read_text(errors="replace"),
        lambda: str((folder / "cwd").readlink()),
    ):
        try:
            if marker in read():
                return True
        except OSError:  # another user's, or gone
            continue
    return False
