"""What COPY copies: the build context without what .dockerignore excludes, or another stage's tree."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class CopyError(ValueError):
    """A COPY that names something that is not there, or that would leave the image."""


@dataclass(frozen=True)
class Ignore:
    """The patterns of a .dockerignore: the last one that matches decides, `!` takes back in."""

    rules: tuple[tuple[re.Pattern[str], bool], ...]

    @classmethod
    def parse(cls, text: str) -> "Ignore":
        rules = []
        for line in text.splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            excludes = not pattern.startswith("!")
            cleaned = os.path.normpath(pattern.lstrip("!").strip()).strip("/")
            rules.append((re.compile(f"{_regex(cleaned)}(/.*)?"), excludes))
        return cls(tuple(rules))

    @property
    def takes_back(self) -> bool:
        return any(not excludes for _, excludes in self.rules)

    def excludes(self, path: str) -> bool:
        """Whether a path, relative to the context, stays out."""
        verdict = False
        for pattern, excludes in self.rules:
            if pattern.fullmatch(path):
                verdict = excludes
        return verdict


def _regex(pattern: str) -> str:
    """Go's filepath.Match with Docker's `**`."""
    out = ""
    position = 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            out, position = f"{out}(?:.*/)?", position + 3
        elif rest.startswith("**"):
            out, position = f"{out}.*", position + 2
        elif rest[0] == "*":
            out, position = f"{out}[^/]*", position + 1
        elif rest[0] == "?":
            out, position = f"{out}[^/]", position + 1
        elif rest[0] == "[" and "]" in rest:
            group = rest[: rest.index("]") + 1]
            out, position = out + group, position + len(group)
        else:
            out, position = out + re.escape(rest[0]), position + 1
    return out


@dataclass(frozen=True)
class Source:
    """A folder to copy from: the context, with its .dockerignore, or a stage's tree."""

    root: Path
    ignore: Ignore = Ignore(())

    def entries(self, folder: str = "") -> Iterator[tuple[str, Path]]:
        """Everything below a folder that is not excluded, as (path relative to root, place), folders first."""
        for item in sorted(os.scandir(self.root / folder), key=lambda entry: entry.name):
            path = f"{folder}/{item.name}".lstrip("/")
            excluded = self.ignore.excludes(path)
            is_folder = item.is_dir(follow_symlinks=False)
            if not excluded:
                yield path, Path(item.path)
            if is_folder and (not excluded or self.ignore.takes_back):
                yield from self.entries(path)

    def digest(self) -> str:
        """SHA-256 over paths, modes and contents of all that is not excluded."""
        total = hashlib.sha256()
        for path, place in self.entries():
            if place.is_symlink():
                total.update(f"{path}\0link\0{os.readlink(place)}\0".encode())
            elif place.is_dir():
                total.update(f"{path}\0folder\0".encode())
            else:
                content = hashlib.sha256(place.read_bytes()).hexdigest()
                total.update(f"{path}\0{place.stat().st_mode & 0o111:o}\0{content}\0".encode())
        return total.hexdigest()

    def select(self, pattern: str) -> list[str]:
        """The paths that one source of COPY means. Raises CopyError."""
        cleaned = os.path.normpath(pattern.lstrip("/") or ".")
        if cleaned.startswith(".."):
            raise CopyError(f"{pattern} lies outside the build context")
        if cleaned == ".":
            return [""]
        if re.search(r"[*?\[]", cleaned):
            matcher = re.compile(_regex(cleaned))
            depth = cleaned.count("/")
            found = [p for p, _ in self.entries() if p.count("/") == depth and matcher.fullmatch(p)]
        else:
            found = [cleaned] if self._has(cleaned) else []
        if not found:
            raise CopyError(f"{pattern} is not in the build context, or .dockerignore excludes it")
        return found

    def _has(self, path: str) -> bool:
        place = self.root / path
        if not os.path.lexists(place):
            return False
        return not self.ignore.excludes(path) or (self.ignore.takes_back and place.is_dir())


def digest_of(places: list[Path]) -> str:
    """SHA-256 over files and folders, whatever their names on this machine."""
    parts = []
    for place in places:
        if place.is_dir():
            ignored = Ignore.parse("**/__pycache__\n.git\n.venv\n*.egg-info")
            parts.append(Source(place, ignored).digest())
        else:
            parts.append(hashlib.sha256(place.read_bytes()).hexdigest())
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def place_in(rootfs: Path, path: str) -> Path:
    """Where an image path is in a tree. Raises CopyError if links would lead out of it."""
    place = rootfs / os.path.normpath(f"/{path}").lstrip("/")
    base, parent = os.path.realpath(rootfs), os.path.realpath(place.parent)
    if place != rootfs and os.path.commonpath([base, parent]) != base:
        raise CopyError(f"{path} leads out of the image through a link")
    return place


def copy(
    source: Source,
    patterns: tuple[str, ...],
    rootfs: Path,
    destination: str,
    *,
    mode: str | None = None,
) -> None:
    """COPY: files and folders into a tree, as Docker does. Raises CopyError.

    `destination` is absolute in the image; a closing slash makes it a folder.
    """
    selected = [path for pattern in patterns for path in source.select(pattern)]
    target = place_in(rootfs, destination)
    into_folder = destination.endswith("/") or len(selected) > 1 or target.is_dir()
    for path in selected:
        place = source.root / path
        if place.is_dir() and not place.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
            for below, item in source.entries(path):
                _copy_entry(item, _below(rootfs, destination, PurePosixPath(below).relative_to(path)), mode)
        else:
            name = f"{destination.rstrip('/')}/{place.name}" if into_folder else destination
            _copy_entry(place, place_in(rootfs, name), mode)


def _below(rootfs: Path, destination: str, relative: PurePosixPath) -> Path:
    return place_in(rootfs, f"{destination.rstrip('/')}/{relative}")


def _copy_entry(item: Path, target: Path, mode: str | None) -> None:
    if item.is_dir() and not item.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(target):
        target.unlink()
    if item.is_symlink():
        target.symlink_to(os.readlink(item))
        return
    shutil.copyfile(item, target)
    target.chmod(int(mode, 8) if mode else 0o755 if item.stat().st_mode & 0o111 else 0o644)
