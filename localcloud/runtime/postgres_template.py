"""A new cluster as Cloud SQL makes it: initdb and its roles once, kept as a template, then copied."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from localcloud.runtime.postgres_programs import Programs, Unprivileged, cache_folder, locale, output

REVISION = "1"  # raise it when what the template holds changes
SCRAM_ROUNDS = 4096  # PostgreSQL's own default
ADMINISTRATOR = "cloudsqladmin"

# `\l` and `\du` of a fresh Cloud SQL instance: administrators are members of cloudsqlsuperuser, which is no superuser
ROLES = f"""
CREATE ROLE cloudsqlsuperuser NOLOGIN CREATEROLE CREATEDB;

GRANT pg_monitor, pg_signal_backend TO cloudsqlsuperuser;

CREATE ROLE postgres LOGIN CREATEROLE CREATEDB IN ROLE cloudsqlsuperuser;

ALTER DATABASE postgres OWNER TO cloudsqlsuperuser;

ALTER DATABASE template1 OWNER TO cloudsqlsuperuser;

CREATE DATABASE {ADMINISTRATOR};

REVOKE CONNECT ON DATABASE {ADMINISTRATOR} FROM PUBLIC;

"""

ACCESS = f"""# the cloud's own superuser: by socket only, its password is kept beside the cluster; nobody is trusted
local all             {ADMINISTRATOR}              scram-sha-256
host  all             {ADMINISTRATOR} all          reject
local {ADMINISTRATOR} all                          reject
host  {ADMINISTRATOR} all             all          reject
local all             all                          scram-sha-256
host  all             all             127.0.0.1/32 scram-sha-256
"""


async def make_cluster(data: Path, password_file: Path, programs: Programs, way: Unprivileged) -> None:
    """Fills `data` with a cluster whose administrator has a password of its own, written to `password_file`."""
    template = await _template(programs, way)
    password = secrets.token_hex(24)
    await asyncio.to_thread(_copy, template, data, way)
    await _single_user(data, programs, way, f"ALTER ROLE {ADMINISTRATOR} PASSWORD '{verifier(password)}';\n\n")
    write_private(password_file, password)


async def _template(programs: Programs, way: Unprivileged) -> Path:
    collation = await locale()
    key = hashlib.sha256(f"{REVISION} {programs.key} {collation} {way} {ROLES} {ACCESS}".encode()).hexdigest()
    folder = cache_folder() / "postgres"
    template = folder / f"{programs.major}-{key[:16]}"
    if template.exists():
        return template
    folder.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f"{template.name}-", dir=folder))
    try:
        await _initialise(making, programs, way, collation)
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(making, template)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return template


def _copy(template: Path, data: Path, way: Unprivileged) -> None:
    shutil.copytree(template, data, symlinks=True)
    way.own(data)


async def _initialise(data: Path, programs: Programs, way: Unprivileged, collation: str) -> None:
    way.own(data)
    initdb = [*way.prefix, programs.path("initdb"), "-D", str(data), "-U", ADMINISTRATOR, "--no-sync"]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    settings = ["-E", "UTF8", f"--locale={collation}", "--wal-segsize=1", "--auth=scram-sha-256"]
    with _private_file(secrets.token_hex(24), way) as password:  # replaced in every copy
        await output([*initdb, *settings, f"--pwfile={password}"], env=environment)
    await _single_user(data, programs, way, ROLES)
    (data / "pg_hba.conf").write_text(ACCESS)
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write("\ninclude 'localcloud.conf'\n")


async def _single_user(data: Path, programs: Programs, way: Unprivileged, statements: str) -> None:
    """Statements, each ended by an empty line, on a cluster that does not run: no socket, nobody else."""
    options = ["-c", "fsync=off", "-c", "config_file=" + str(data / "postgresql.conf")]
    (data / "localcloud.conf").touch()
    single = [*way.prefix, programs.path("postgres"), "--single", "-j", "-D", str(data), *options, "postgres"]
    await output(single, stdin=statements)


def verifier(password: str) -> str:
    """What PostgreSQL stores for an ASCII password (RFC 5803), so that none stands in a statement."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${SCRAM_ROUNDS}:{salt64}${stored64}:{server64}"


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, readable by us alone."""
    making = path.with_suffix(".new")
    making.unlink(missing_ok=True)
    with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    making.replace(path)


@contextlib.contextmanager
def _private_file(text: str, way: Unprivileged) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="lc-"))
    try:
        write_private(folder / "password", text)
        way.own(folder)
        yield str(folder / "password")
    finally:
        shutil.rmtree(folder)
