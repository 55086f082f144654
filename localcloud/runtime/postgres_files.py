"""The files of a PostgreSQL instance: settings, the running server's id, copies for backups."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg

NOT_COPIED = ("pg_wal", "postmaster.pid", "postmaster.opts", "localcloud.conf", "pg_replslot", "pg_stat_tmp")
PASSWORD = "cloudsqladmin"  # noqa: S105 - a file's name, in the cluster's folder: the administrator's password, replaced together with it


def settings(port: int, socket_dir: Path, extensions: str | None, flags: Mapping[str, str]) -> str:
    """What localcloud sets, then the instance's own flags, the last word being localcloud's on where it listens."""
    small = {"shared_buffers": "16MB", "max_connections": "100"}
    lines = {
        **small,
        **{name: value for name, value in flags.items() if not name.startswith("cloudsql.")},  # the cloud's own
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(socket_dir),
        "password_encryption": "scram-sha-256",
        "log_line_prefix": "%m [%p]: [%l-1] db=%d,user=%u ",  # Cloud SQL's own
        "lc_messages": "C",  # the clients of the API read English
        "timezone": flags.get("timezone", "UTC"),
        # survives kill -9 of every process; only a crash of the machine itself may lose the last seconds
        "fsync": "off",
    }
    if extensions is not None:
        lines["extension_control_path"] = extensions
    return "".join(f"{name} = '{_escaped(value)}'\n" for name, value in lines.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''").replace("\n", " ")


def live_postmaster(pid_file: Path) -> int | None:
    """The server that this file speaks of, if it lives: ids are reused, so its command is looked at."""
    try:
        pid, data = pid_file.read_text().splitlines()[:2]
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if data in _command(int(pid)) else None


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    if Path("/proc/self").exists():
        return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


async def copy_running(connection: psycopg.AsyncConnection, folder: Path, path: Path) -> None:
    """PostgreSQL's own way (its manual, "Making a Base Backup Using the Low Level API"): nobody has to stop."""
    await connection.execute("SELECT pg_backup_start('localcloud', true)")
    await asyncio.to_thread(_copy, folder, path)
    cursor = await connection.execute("SELECT labelfile FROM pg_backup_stop(false)")
    row = await cursor.fetchone()
    assert row is not None
    (path / "data" / "backup_label").write_text(row[0])
    await asyncio.to_thread(_copy_log, folder, path)
    _seal(path)


def copy_stopped(folder: Path, path: Path) -> None:
    """A server that does not run is copied as it lies. Blocking."""
    _copy(folder, path)
    _copy_log(folder, path)
    _seal(path)


def _copy(folder: Path, path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o700)

    def skipped(base: str, names: list[str]) -> set[str]:
        return set(names) & set(NOT_COPIED) if Path(base) == folder / "data" else set()

    shutil.copytree(folder / "data", path / "data", symlinks=True, ignore=skipped, copy_function=_copy_present)
    (path / "data" / "pg_replslot").mkdir()
    (path / "data" / "pg_stat_tmp").mkdir()


def _copy_present(source: str, target: str) -> None:
    """A running server removes files under our hands; its log tells what they held."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _copy_log(folder: Path, path: Path) -> None:
    shutil.copytree(folder / "data" / "pg_wal", path / "data" / "pg_wal", copy_function=_copy_present)


def _seal(path: Path) -> None:
    (path / "complete").touch()


def replace(folder: Path, path: Path) -> None:
    """The instance becomes the copy. A half-made copy is refused by FileNotFoundError. Blocking."""
    if not (path / "complete").exists():
        raise FileNotFoundError(f"{path} holds no complete backup")
    data, coming, leaving = folder / "data", folder / "data.new", folder / "data.old"
    finish_replacing(folder)
    shutil.rmtree(coming, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(path / "data", coming, symlinks=True)
    if data.exists():
        data.rename(leaving)
    coming.rename(data)
    shutil.rmtree(leaving, ignore_errors=True)


def finish_replacing(folder: Path) -> None:
    """After a kill in the middle of replace(): once the old cluster was moved away, the new one is complete."""
    data, coming, leaving = folder / "data", folder / "data.new", folder / "data.old"
    if leaving.exists() and not data.exists():
        (coming if coming.exists() else leaving).rename(data)
    shutil.rmtree(leaving, ignore_errors=True)
