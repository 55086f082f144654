"""etcd and kube-apiserver from the archives that Kubernetes publishes for tests.

The index is controller-tools' envtest-releases.yaml: per version and file the address and its SHA-512; the archive
holds controller-tools/envtest/{etcd,kube-apiserver,kubectl}.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from localcloud.controlplane.binaries import Binaries

INDEX = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"
WANTED = ("etcd", "kube-apiserver")
TIMEOUT = aiohttp.ClientTimeout(total=600, connect=15)


class UnavailableError(Exception):
    """The archive cannot be had; the message says why."""


async def fetch(
    cache: Path, version: str, machine: tuple[str, str], progress: Callable[[str], None], index: str = INDEX
) -> Binaries:
    """The binaries nearest to the version, from the cache or the network. Raises UnavailableError."""
    minor = _numbers(version)[:2]
    suffix = "-".join(machine)
    if found := await asyncio.to_thread(_kept, cache, minor, suffix):
        return found
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
            async with session.get(index, raise_for_status=True) as answer:
                releases = yaml.safe_load(await answer.text())["releases"]
            release = _nearest(releases, minor, suffix)
            folder = cache / f"envtest-{release}-{suffix}"
            entry = releases[release][f"{folder.name}.tar.gz"]
            progress(f"fetching {entry['selfLink']}")
            await _download(session, entry, folder)
    except (aiohttp.ClientError, TimeoutError, OSError, tarfile.TarError) as error:
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise UnavailableError(f"{index} is not the index that is expected ({error!r})") from error
    found = _binaries(folder)
    if found is None:
        raise UnavailableError(f"{entry['selfLink']} lacks {' or '.join(WANTED)}")
    return found


def _kept(cache: Path, minor: tuple[int, ...], suffix: str) -> Binaries | None:
    kept = [path for path in cache.glob(f"envtest-v*-{suffix}") if _numbers(path.name)[:2] <= minor]
    found = [_binaries(folder) for folder in sorted(kept, key=lambda path: _numbers(path.name), reverse=True)]
    return next(filter(None, found), None)


def _nearest(releases: dict[str, Any], minor: tuple[int, ...], suffix: str) -> str:
    """The newest release of that minor version, else the newest before it."""
    suitable = [
        name
        for name, files in releases.items()
        if re.fullmatch(r"v\d+\.\d+\.\d+", name)
        and f"envtest-{name}-{suffix}.tar.gz" in files
        and _numbers(name)[:2] <= minor
    ]
    if not suitable:
        raise UnavailableError(f"there is none for {suffix}")
    return max(suitable, key=_numbers)


async def _download(session: aiohttp.ClientSession, entry: dict[str, str], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="envtest-") as scratch:
        archive = Path(scratch, "archive.tar.gz")
        digest = hashlib.sha512()
        async with session.get(entry["selfLink"], raise_for_status=True) as answer:
            with await asyncio.to_thread(archive.open, "wb") as file:
                async for chunk in answer.content.iter_chunked(1 << 20):
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
        if digest.hexdigest() != entry["hash"]:
            raise UnavailableError(f"{entry['selfLink']} has not the SHA-512 that the index names")
        await asyncio.to_thread(_unpack, archive, Path(scratch, "unpacked"), folder)


def _unpack(archive: Path, scratch: Path, folder: Path) -> None:
    scratch.mkdir()
    with tarfile.open(archive) as content:
        for member in content:
            name = Path(member.name).name
            source = content.extractfile(member) if member.isfile() and name in WANTED else None
            if source is not None:
                with source, (scratch / name).open("wb") as file:
                    shutil.copyfileobj(source, file)
                (scratch / name).chmod(0o755)
    if folder.exists():  # left incomplete by somebody: complete ones were found before
        shutil.rmtree(folder)
    scratch.rename(folder)


def _binaries(folder: Path) -> Binaries | None:
    version = ".".join(map(str, _numbers(folder.name)))
    return Binaries.beside_each_other(folder, "from the envtest archive", version)


def _numbers(text: str) -> tuple[int, ...]:
    """The three numbers of the version in a name."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()
