"""Extensions as on Cloud SQL: its own ones are created by who is no superuser, others are unknown.

A control file that says `trusted` lets whoever may create in the database create the extension, run as the bootstrap
superuser (PostgreSQL, "Extension Files"). From 18 on a server can be told where such files are; before, it looks beside
its own program (its make_relative_path), so that is put in a tree of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from localcloud.runtime.postgres_programs import PostgresMissingError, Programs, cache_folder, output

PATH_SINCE = 18
# What cloudsqlsuperuser may create (Google's page "Configure PostgreSQL extensions"); the others stay unknown.
EXTENSIONS = frozenset(
    {
        *(
            "amcheck",
            "autoinc",
            "bloom",
            "btree_gin",
            "btree_gist",
            "citext",
            "cube",
            "dblink",
            "dict_int",
            "dict_xsyn",
        ),
        *("earthdistance", "fuzzystrmatch", "hstore", "insert_username", "intagg", "intarray", "isn", "lo", "ltree"),
        *("moddatetime", "pageinspect", "pg_buffercache", "pg_freespacemap", "pg_prewarm", "pg_stat_statements"),
        *("pg_trgm", "pg_visibility", "pgcrypto", "pgrowlocks", "pgstattuple", "plpgsql", "postgres_fdw", "refint"),
        *(
            "seg",
            "sslinfo",
            "tablefunc",
            "tcn",
            "tsm_system_rows",
            "tsm_system_time",
            "unaccent",
            "uuid-ossp",
            "vector",
        ),
    }
)


def trust(folder: Path, programs: Programs) -> str | None:
    """Writes control files that trust; the value of extension_control_path, where the server knows it. Blocking."""
    if programs.major < PATH_SINCE:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    _trust_all(programs.share / "extension", folder / "extension")
    return str(folder)


async def trusting(programs: Programs) -> Programs:
    """The programs, or for servers before 18 a copy that finds control files that trust. Kept in the cache."""
    if programs.major >= PATH_SINCE:
        return programs
    config = await output([programs.path("pg_config"), "--bindir", "--pkglibdir", "--sharedir"])
    places = [Path(line) for line in config.splitlines()]
    base = Path(os.path.commonpath(places))
    root = cache_folder() / "postgres" / f"{programs.major}-{programs.key}-programs"
    bindir, _, share = (root / place.relative_to(base) for place in places)
    if not root.exists():
        await asyncio.to_thread(_in_one_step, root, lambda making: _copy(making, base, *places))
    try:
        found = await output([str(bindir / "pg_config"), "--sharedir"])
    except (OSError, PostgresMissingError):
        return programs
    return replace(programs, bin=bindir, share=share) if Path(found.strip()) == share else programs


def _copy(root: Path, base: Path, bindir: Path, libraries: Path, share: Path) -> None:
    ours = root / bindir.relative_to(base)
    ours.mkdir(parents=True)
    for name in ("postgres", "pg_config"):  # copies: through links, a program finds where it really lies
        shutil.copy2(bindir / name, ours / name)
    _link(libraries, root / libraries.relative_to(base))
    for entry in share.iterdir():
        if entry.name != "extension":
            _link(entry, root / share.relative_to(base) / entry.name)
    _trust_all(share / "extension", root / share.relative_to(base) / "extension")


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source)


def _in_one_step(place: Path, fill: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=place.parent))
    making.chmod(0o755)  # another uid may have to run what is there
    try:
        fill(making)
        with contextlib.suppress(OSError):  # another process was faster
            making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _trust_all(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for control in source.glob("*.control"):
        if control.stem in EXTENSIONS:
            _trust(control, target)


def _trust(control: Path, target: Path) -> None:
    lines = [line for line in control.read_text().splitlines() if not line.startswith("trusted")]
    (target / control.name).write_text("\n".join([*lines, "trusted = true", ""]))
    for script in control.parent.glob(f"{control.stem}--*.sql"):
        (target / script.name).symlink_to(script)
