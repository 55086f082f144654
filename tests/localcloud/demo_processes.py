"""Which processes belong to a command that a test started, wherever they went, and where they listen.

On Linux /proc says it; elsewhere (macOS) ps and lsof do, which show neither a stranger's environment nor its folder.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = (PROC / "self" / "stat").exists()
LISTEN = "0A"  # as /proc/net/tcp writes the state
Place = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]  # an address and a port


@dataclass(frozen=True)
class Process:
    """`began` (as the system writes it) tells it from a later one with the same id."""

    pid: int
    parent: int
    session: int
    began: str
    command: str


def of(leader: int, marker: str) -> set[Process]:
    """Those in the leader's session, all descendants of such, and whatever bears the marker.

    A process bears it in its arguments, environment or working folder; so one that left its session and lost its
    parent is found too.
    """
    # Twice: while processes come and go, a listing of /proc may miss one that stays.
    running = {found.pid: found for _ in range(2) for found in _all()}
    mine = {pid for pid, found in running.items() if pid == leader or found.session == leader or _bears(found, marker)}
    grown = True
    while grown:
        more = {pid for pid, found in running.items() if found.parent in mine} - mine
        mine, grown = mine | more, bool(more)
    return {running[pid] for pid in mine - {os.getpid()}}


def still(among: set[Process]) -> set[Process]:
    """Those that run now."""
    return among & set(_all())


def listening(among: Iterable[Process]) -> set[tuple[str, int]]:
    """The addresses and ports at which TCP connections to them are taken; an IPv4 address stays one within IPv6."""
    pids = [process.pid for process in among]
    found = _sockets_of_proc(pids) if HAS_PROC else _sockets_of_lsof(pids)
    return {(str(getattr(address, "ipv4_mapped", None) or address), port) for address, port in found}


def _all() -> list[Process]:
    """Zombies left out: they have ended, and are their parent's to bury."""
    return list(from_proc() if HAS_PROC else from_ps())


def from_proc() -> Iterable[Process]:
    """As Linux shows them."""
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                command = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            except OSError:  # it ended meanwhile
                continue
            state, parent, _, session, *rest = stat.rpartition(")")[2].split()
            if state != "Z":
                yield Process(int(folder.name), int(parent), int(session), rest[15], command)


def from_ps() -> Iterable[Process]:
    """As every Unix shows them. The session's number is asked of the kernel: macOS's ps prints an address for it."""
    done = subprocess.run(
        ["ps", "-axww", "-o", "pid=,ppid=,stat=,lstart=,args="], capture_output=True, check=True, env={"LC_ALL": "C"}
    )
    for line in done.stdout.decode(errors="replace").splitlines():
        pid, parent, state, *rest = line.split(None, 8)
        try:
            session = os.getsid(int(pid))
        except OSError:  # it ended meanwhile
            continue
        if not state.startswith("Z"):
            yield Process(int(pid), int(parent), session, " ".join(rest[:5]), "".join(rest[5:]).strip())


def _bears(process: Process, marker: str) -> bool:
    if marker in process.command:
        return True
    folder = PROC / str(process.pid)
    for read in (lambda: (folder / "environ").read_text(errors="replace"), lambda: str((folder / "cwd").readlink())):
        try:
            if marker in read():
                return True
        except OSError:  # another user's, or gone; or a system without /proc
            continue
    return False


def _sockets_of_proc(pids: Iterable[int]) -> Iterable[Place]:
    held = set()
    for pid in pids:
        try:
            held |= {os.readlink(descriptor) for descriptor in (PROC / str(pid) / "fd").iterdir()}
        except OSError:  # it ended meanwhile
            continue
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state == LISTEN and f"socket:[{inode}]" in held:
                address, _, port = local.partition(":")
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                yield ipaddress.ip_address(b"".join(words)), int(port, 16)


def _sockets_of_lsof(pids: Iterable[int]) -> Iterable[Place]:
    chosen = ["-a", "-p", ",".join(map(str, pids)), "-iTCP", "-sTCP:LISTEN"]
    done = subprocess.run(["lsof", "-nP", "-Ftn", *chosen], capture_output=True, check=False)  # 1: some pid is gone
    is_6 = False
    for line in done.stdout.decode().splitlines():
        if line.startswith("t"):
            is_6 = line == "tIPv6"
        elif line.startswith("n"):
            host, _, port = line[1:].rpartition(":")
            wildcard = "::" if is_6 else "0.0.0.0"  # noqa: S104 - what it stands for
            yield ipaddress.ip_address(wildcard if host == "*" else host.strip("[]")), int(port)
