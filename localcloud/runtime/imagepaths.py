"""Where the paths of an image are on this machine.

An image is a folder here, so `/app` of the image is `<rootfs>/app`. Where a mount namespace can show it in its own
place nothing needs rewriting; elsewhere (macOS, hardened kernels) the paths in arguments and in the environment are
rewritten. A path that a program holds in its own code cannot be.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SYSTEM_ENVIRONMENT = "/usr/local"  # where the official python images keep Python and what pip installs
# Folders that every machine has: only what an image adds below them is the image's own.
_SYSTEM_FOLDERS = frozenset({
    "/", "/bin", "/boot", "/data", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/root",
    "/run", "/sbin", "/srv", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/lib",  # noqa: S108
    "/usr/local/share", "/usr/share", "/usr/src", "/var", "/var/lib", "/var/log", "/var/run", "/var/tmp", "/var/www",  # noqa: S108
})  # fmt: skip


@dataclass(frozen=True)
class PathMap:
    """An image's own paths and where each is on this machine, longest first."""

    entries: tuple[tuple[str, Path], ...]
    # Of /usr/local, only what is asked for by name is found: shown there, it could hide this machine's own Python.
    system: tuple[tuple[str, Path], ...] = ()

    @classmethod
    def of(cls, rootfs: Path, environments: Mapping[str, Path], workdir: str) -> "PathMap":
        """The map of a tree; `environments` are Python's, by image path."""
        found = {root: rootfs / root.lstrip("/") for root in own_paths(rootfs)}
        if workdir not in ("/", "/tmp", "/usr", "/etc"):  # noqa: S108 (names of an image, not of this machine)
            found.setdefault(workdir, rootfs / workdir.lstrip("/"))
        found |= {place: folder for place, folder in environments.items() if place != SYSTEM_ENVIRONMENT}
        base = environments.get(SYSTEM_ENVIRONMENT)
        system = () if base is None else ((f"{SYSTEM_ENVIRONMENT}/bin", base / "bin"),)
        return cls(_longest_first(found), system)

    def with_mounts(self, mounts: Mapping[str, Path]) -> "PathMap":
        """The same map with folders of this machine shown at image paths (buckets, sockets)."""
        return PathMap(_longest_first({**dict(self.entries), **mounts}), self.system)

    @property
    def only_system(self) -> "PathMap":
        """What is to be rewritten even where the image's own paths are shown in their place."""
        return PathMap((), self.system)

    def rewrite(self, text: str) -> str:
        """`text` with every own path in it replaced: whole words, after `=` and `:`, and URL-encoded ones."""
        known = (*self.entries, *self.system)
        if not known or ("/" not in text and "%2F" not in text.upper()):
            return text
        places = {place: str(directory) for place, directory in known}
        alternatives = "|".join(re.escape(place) for place, _ in known)
        plain = rf"(?:(?<![\w.*%/-])|(?<=sqlite:///))({alternatives})(?=$|[/:;,&?#\s\"')\]}}])"
        text = re.sub(plain, lambda match: places[match[1]], text)
        encoded = {place.replace("/", "%2F").lower(): place for place in places}
        pattern = "|".join(re.escape(place) for place in encoded)

        def encode(match: re.Match[str]) -> str:
            return places[encoded[match[1].lower()]].replace("/", "%2F")

        return re.sub(rf"(?<![\w.-])({pattern})(?=$|%2F|[/:;,&?#\s])", encode, text, flags=re.IGNORECASE)

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The values rewritten; what names a URL path (STATIC_URL=/static/) is no file, and stays."""
        return {
            name: value if name.endswith("_URL") and value.startswith("/") else self.rewrite(value)
            for name, value in variables.items()
        }


def _longest_first(places: Mapping[str, Path]) -> tuple[tuple[str, Path], ...]:
    return tuple(sorted(places.items(), key=lambda entry: (-len(entry[0]), entry[0])))


def own_paths(rootfs: Path, folder: str = "/") -> Iterator[str]:
    """The highest paths of a tree that a machine does not have by itself: /app, /srv/blog, /usr/local/bin/start.sh."""
    here = rootfs / folder.lstrip("/")
    for name in sorted(os.listdir(here)) if here.is_dir() else ():
        path = str(PurePosixPath(folder) / name)
        if path in _SYSTEM_FOLDERS and (here / name).is_dir() and not (here / name).is_symlink():
            yield from own_paths(rootfs, path)
        else:
            yield path


def search_path(path: str, rootfs: Path, environments: Mapping[str, Path], paths: PathMap) -> list[str]:
    """The entries of an image's PATH on this machine; /usr/local/bin is the image's, never this machine's."""
    found: list[str] = []
    for entry in path.split(":"):
        if entry == f"{SYSTEM_ENVIRONMENT}/bin":
            found.append(str(rootfs / entry.lstrip("/")))
            if SYSTEM_ENVIRONMENT in environments:
                found.append(str(environments[SYSTEM_ENVIRONMENT] / "bin"))
        elif not entry.startswith(SYSTEM_ENVIRONMENT):
            found.append(paths.rewrite(entry))
    return list(dict.fromkeys(found))


def environment_on_path(path: str, environments: Mapping[str, Path]) -> str | None:
    """The image path of the first Python environment on PATH, whose `python` a bare `python` runs."""
    for entry in path.split(":"):
        place = entry.removesuffix("/bin")
        if entry.endswith("/bin") and place in environments:
            return place
    return None
