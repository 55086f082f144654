"""An app's process sees the paths that Cloud Run shows it: /cloudsql sockets, bucket folders, its image's own files.

Two ways, probed once, the better preferred (localcloud.md, Processes):
- namespace (Linux): a root of its own, where those paths are true and the rest of the host is not there;
- rewrite (macOS, hardened kernels): arguments and variables that name such a path get the host's path instead. What the
  app's code itself spells out is not found then, and nothing is hidden from it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["namespace", "rewrite"]

APP_UID = 2000
ENTER = Path(__file__).with_name("sandbox_enter.py")
PROBE_S = 10.0
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
SETTINGS = (  # of /etc: what programs need to resolve names, verify certificates and find libraries; no secrets
    *("alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "gai.conf", "host.conf"),
    *("hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "nsswitch.conf", "pki"),
    *("protocols", "resolv.conf", "services", "ssl", "timezone"),
)
# root's own uid, though without its powers, may write these; container engines close them as well
KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
WRITABLE = ("/tmp", "/var/tmp", "/run", "/dev/shm", "/home/app")  # noqa: S108 - in memory, the app's own


class SandboxError(Exception):
    """The way that was asked for does not work here; the message says why."""


@dataclass(frozen=True)
class Way:
    """How paths are shown, and why not better."""

    kind: Kind
    reason: str | None = None
    overlay: bool = False  # writes to the image's files go to memory; else they are refused


@dataclass(frozen=True)
class Launch:
    """What to start."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path


class Sandbox:
    """Turns an app's command into one that runs here."""

    def __init__(self, folder: Path, force: Kind | None = None) -> None:
        """`folder` is kept for mount points; nothing is written there. `force` takes one way, or fails."""
        self._root = folder.absolute() / "root"
        self._force = force
        self._way: Way | None = None

    async def probe(self) -> Way:
        """The way taken, found out once. Raises SandboxError where the forced one does not work."""
        if self._way is None:
            self._way = await self._find_way()
        return self._way

    async def _find_way(self) -> Way:
        if self._force == "rewrite":
            return Way("rewrite", "asked for")
        await asyncio.to_thread(self._root.mkdir, parents=True, exist_ok=True)
        failure = f"{sys.platform} has no mount namespaces"
        if sys.platform == "linux":
            for overlay in (True, False):
                way = Way("namespace", failure if not overlay else None, overlay)
                failure = await self._try(way)
                if not failure:
                    return way
        if self._force == "namespace":
            raise SandboxError(f"Namespaces do not work here: {failure}.")
        return Way("rewrite", failure)

    async def _try(self, way: Way) -> str:
        """Why it does not work; empty where it does."""
        argv = [str(Path(sys.executable)), "-I", "-S", "-c", "open('/probe/new', 'w')" if way.overlay else ""]
        plan = self._plan(way, argv, "/", {"/probe": self._root}, {"/probe"}, [Path(sys.prefix)], APP_UID, {})
        child = await asyncio.create_subprocess_exec(
            *_entering(plan), env={}, stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL, cwd="/"
        )
        try:
            _, said = await asyncio.wait_for(child.communicate(), PROBE_S)
        except TimeoutError:
            child.kill()
            await child.wait()
            return f"no answer within {PROBE_S:.0f} s"
        return "" if child.returncode == 0 else said.decode().strip() or f"exit code {child.returncode}"

    def command(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        mounts: Mapping[str, Path],
        *,
        image: Collection[str] = (),
        visible: Iterable[Path] = (),
        uid: int = APP_UID,
        report: Path | None = None,
    ) -> Launch:
        """The command with `mounts` (the app's path → the host's) in place; probe() must have been awaited.

        `image` names those mounts that are the image's own: many processes share them, so that none may change them.
        `visible` are host paths that stay where they are, to be read: the image's environment, certificates. The
        Python that an environment among all of these was made from is added. `cwd` is the app's path. In the
        namespace, the process has user id `uid`, and where the program cannot be run the file `report` has why, in
        Google's words, after the end (None: the standard error has); the other way fails to start then.
        """
        if self._way is None:
            raise SandboxError("probe() was not awaited")
        if self._way.kind == "rewrite":
            rewritten = Rewriting(mounts)
            changed = {name: rewritten(value) for name, value in env.items()}
            return Launch(tuple(map(rewritten, argv)), changed, Path(rewritten(cwd)))
        plan = self._plan(self._way, list(argv), cwd, mounts, image, visible, uid, env, report)
        return Launch(tuple(_entering(plan)), dict(env), Path("/"))

    def _plan(
        self,
        way: Way,
        argv: list[str],
        cwd: str,
        mounts: Mapping[str, Path],
        image: Collection[str],
        visible: Iterable[Path],
        uid: int,
        env: Mapping[str, str],
        report: Path | None = None,
    ) -> dict[str, Any]:
        image_way = "overlay" if way.overlay else "mirror"
        visible = list(visible)
        readable = [*_system(), *map(str, visible), *_pythons([*visible, *mounts.values()])]
        # No overlay: in it, nothing can be made in a folder whose owner has no id in the namespace: root, mostly.
        shown = {path: (path, "mirror" if _holds(path, mounts) else "read") for path in readable}
        shown["/proc"] = ("/proc", "shared")  # user id maps are written through it
        shown |= {path: (str(source), image_way if path in image else "shared") for path, source in mounts.items()}
        return {
            "root": str(self._root),
            "argv": argv,
            "cwd": cwd,
            "uid": uid,
            "gid": uid,
            "folders": WRITABLE,
            "files": {"/etc/passwd": _passwd(uid), "/etc/group": _group(uid)},
            "links": _links(),
            "mounts": [[source, path, kind] for path, (source, kind) in sorted(shown.items())],  # parents first
            "report": str(report or ""),
            "unset": [] if "LC_CTYPE" in env else ["LC_CTYPE"],  # Python sets it in the C locale (PEP 538)
        }


def _entering(plan: dict[str, Any]) -> list[str]:
    return [sys.executable, "-I", "-S", str(ENTER), json.dumps(plan)]


def _system() -> Iterator[str]:
    """Programs and libraries, a few devices and settings."""
    yield from (path for path in SYSTEM if os.path.isdir(path) and not os.path.islink(path))
    yield from (path for path in KERNEL if os.path.exists(path))
    yield from (f"/dev/{name}" for name in DEVICES if os.path.exists(f"/dev/{name}"))
    yield from (f"/etc/{name}" for name in SETTINGS if os.path.exists(f"/etc/{name}"))


def _pythons(places: Iterable[Path]) -> Iterator[str]:
    found = {path for place in places for path in interpreters(place)}
    yield from (path for path in found if not path.startswith(SYSTEM))


def interpreters(place: Path) -> Iterator[str]:
    """The installations that the environments at `place` link to; a link to a link makes two."""
    for environment in (place, place.parent, place / ".venv", place / "venv"):
        if not (environment / "pyvenv.cfg").exists():
            continue
        python = environment / "bin" / "python"
        while python.is_symlink():
            python = Path(os.path.normpath(python.parent / os.readlink(python)))
            if not python.is_relative_to(environment):
                yield str(python.parent.parent)
        yield str(Path(os.path.realpath(python)).parent.parent)


def _holds(path: str, mounts: Mapping[str, Path]) -> bool:
    """An image may live below a folder of the host, as in /usr/src/app, where the host has no place for it."""
    return any(target.startswith(path + "/") for target in mounts)


def _links() -> dict[str, str]:
    """Of the host: /bin → usr/bin and its kin; of /dev: the standard streams."""
    streams = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1"}
    merged = {path: os.readlink(path) for path in SYSTEM if os.path.islink(path)}
    return {**streams, "/dev/stderr": "/proc/self/fd/2", "/etc/mtab": "/proc/self/mounts", **merged}


def _passwd(uid: int) -> str:
    app = f"app:x:{uid}:{uid}::/home/app:/bin/sh\n" if uid else ""
    return f"root:x:0:0::/root:/bin/sh\n{app}nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"


def _group(uid: int) -> str:
    return f"root:x:0:\n{f'app:x:{uid}:' if uid else ''}\nnogroup:x:65534:\n"


class Rewriting:
    """Replaces an app's paths by the host's where a path begins, plain or URL-encoded; the longest one wins."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        self._targets = {path.rstrip("/"): str(target) for path, target in mounts.items()}
        known = sorted(self._targets, key=len, reverse=True)
        alternatives = [re.escape(path) for path in known] + [_encoded(path) for path in known]
        # not in the middle of a path or word; the socket of a URL follows its "@/" (postgres://u:p@//cloudsql/…)
        begins, ends = r"(?:(?<![\w.%/-])|(?<=@/))", r"(?![\w.-])"
        self._pattern = re.compile(f"{begins}({'|'.join(alternatives)}){ends}") if known else None

    def __call__(self, value: str) -> str:
        """The value with the host's paths."""
        return self._pattern.sub(self._replacement, value) if self._pattern else value

    def _replacement(self, match: re.Match[str]) -> str:
        found = match[0]
        if found in self._targets:
            return self._targets[found]
        return urllib.parse.quote(self._targets[urllib.parse.unquote(found)], safe="")


def _encoded(path: str) -> str:
    """Of %2F, either case; a colon may stand as it is."""
    return "".join({"/": "%2[fF]", ":": "(?::|%3[aA])"}.get(char, re.escape(urllib.parse.quote(char))) for char in path)
