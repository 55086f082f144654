"""Images without a container engine: OCI manifests and configs by digest, and their files as folders.

A manifest's one layer is a listing of the tree (paths, modes, SHA-256) under a media type of our own: it makes the
digest depend on every file, and a real engine that pulls it refuses it by name instead of getting half an image.
Python environments enter the listing by the key of their lock, Python and platform, not file by file; what localcloud
adds to them and byte code not at all: neither is the project's, and two compilers of a source need not agree.
"""

import asyncio
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from localcloud.runtime.imagepaths import PathMap, environment_on_path, search_path
from localcloud.runtime.imagereference import DIGEST, TAG, Reference

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
TREE_TYPE = "application/vnd.localcloud.tree.v1+json"


class ImageIncomplete(RuntimeError):
    """An image whose files are gone from the store's folder."""


@dataclass(frozen=True)
class StandIn:
    """Another Python than the Dockerfile asks for, for want of that one."""

    asked: str  # "3.12"
    used: str  # "3.11.7"


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about its process."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""  # as written in USER
    uid: int = 0  # what that user resolves to
    home: str = "/root"
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    stand_in: StandIn | None = None

    def to_oci(self, tree_digest: str) -> dict[str, object]:
        """The OCI image config. It says linux/amd64, the platform that Cloud Run runs, whatever this machine is."""
        stand_in = self.stand_in
        return {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": list(self.entrypoint),
                "Cmd": list(self.cmd),
                "Env": [f"{name}={value}" for name, value in self.env.items()],
                "WorkingDir": self.workdir,
                "User": self.user,
                "ExposedPorts": {port: {} for port in self.exposed_ports},
                "Labels": dict(self.labels),
            },
            "rootfs": {"type": "layers", "diff_ids": [tree_digest]},
            "localcloud": {"uid": self.uid, "home": self.home} | ({"python": asdict(stand_in)} if stand_in else {}),
        }

    @classmethod
    def from_oci(cls, document: Mapping[str, dict[str, object]]) -> "ImageConfig":
        """Reads back what `to_oci` wrote."""
        inner: dict[str, object] = document["config"]
        own = document["localcloud"]
        return cls(
            entrypoint=_strings(inner["Entrypoint"]),
            cmd=_strings(inner["Cmd"]),
            env={item.partition("=")[0]: item.partition("=")[2] for item in _strings(inner["Env"])},
            workdir=str(inner["WorkingDir"]),
            user=str(inner["User"]),
            uid=int(str(own["uid"])),
            home=str(own["home"]),
            exposed_ports=_strings(inner["ExposedPorts"]),
            labels={str(key): str(value) for key, value in _mapping(inner["Labels"]).items()},
            stand_in=_stand_in(own.get("python")),
        )


def _stand_in(value: object) -> StandIn | None:
    if value is None:
        return None
    found = _mapping(value)
    return StandIn(str(found["asked"]), str(found["used"]))


def _strings(value: object) -> tuple[str, ...]:
    assert isinstance(value, (list, dict))
    return tuple(str(item) for item in value)


def _mapping(value: object) -> dict[object, object]:
    assert isinstance(value, dict)
    return value


@dataclass(frozen=True)
class Image:
    """An image whose files are on this machine."""

    digest: str
    repository: str
    config: ImageConfig
    rootfs: Path  # its own files only, read-only; `<rootfs>/app/manage.py` is `/app/manage.py`
    environments: Mapping[str, Path]  # Python environments by image path

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"

    @property
    def python(self) -> Path:
        """The `bin` folder of the environment whose Python a bare `python` runs."""
        place = environment_on_path(self.config.env.get("PATH", ""), self.environments)
        return self.environments[place or "/usr/local"] / "bin"

    @property
    def paths(self) -> PathMap:
        """Where the image's own paths are on this machine; what a mount namespace would have to show."""
        return PathMap.of(self.rootfs, self.environments, self.config.workdir)

    def command(
        self,
        extra_env: Mapping[str, str],
        *,
        command: Sequence[str] = (),
        args: Sequence[str] = (),
        mounts: Mapping[str, Path] | None = None,
        in_namespace: bool = False,
    ) -> tuple[list[str], dict[str, str], Path]:
        """Arguments, environment and working folder to run the image with.

        `command` replaces the entrypoint (and drops the image's CMD), `args` replaces CMD, as in Cloud Run. `mounts`
        are folders of this machine to be found at image paths. `in_namespace`: the process sees the image's paths in
        their own place, so nothing is rewritten but PATH and HOME. A HOME in `extra_env` stays.
        Nothing is inherited from this machine's environment. Raises ImageIncomplete.
        """
        if not self.rootfs.is_dir() or not all(place.is_dir() for place in self.environments.values()):
            raise ImageIncomplete(f"image {self.reference}: its files are gone from the store; build it again.")
        cmd = tuple(args) or (() if command else self.config.cmd)
        argv = [*(tuple(command) or self.config.entrypoint), *cmd]
        env = {**self.config.env, **extra_env}
        search = search_path(env.get("PATH", ""), self.rootfs, self.environments, self.paths)
        paths = self.paths.only_system if in_namespace else self.paths.with_mounts(mounts or {})
        argv = [paths.rewrite(word) for word in argv]
        env = paths.environment(env)
        env["PATH"] = ":".join(search)
        env.setdefault("HOME", str(self.rootfs / self.config.home.lstrip("/")))
        cwd = Path(self.config.workdir) if in_namespace else self.rootfs / self.config.workdir.lstrip("/")
        if argv and "/" not in argv[0]:
            argv[0] = shutil.which(argv[0], path=env["PATH"]) or argv[0]
        return argv, env, cwd


@dataclass(frozen=True)
class StoredManifest:
    """One manifest of a repository, as the registry's listings show it."""

    digest: str
    tags: tuple[str, ...]
    uploaded: datetime
    size_bytes: int


class ImageStore:
    """Images on disk. Several processes may use one store: every write is a rename, every name a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = directory / "blobs" / "sha256"
        self._trees = directory / "trees"
        self._environments = directory / "environments"
        self._repositories = directory / "repositories"

    async def put(self, config: ImageConfig, rootfs: Path, environments: Mapping[str, tuple[str, Path]]) -> str:
        """Takes over the folder `rootfs` and returns the manifest's digest.

        `environments`: key and folder by image path; they are linked, or copied from another disk.
        """
        return await asyncio.to_thread(self._put, config, rootfs, environments)

    def _put(self, config: ImageConfig, rootfs: Path, environments: Mapping[str, tuple[str, Path]]) -> str:
        keys = {place: key for place, (key, _) in sorted(environments.items())}
        files = _listing(rootfs)
        layer = self._write_blob(_json({"environments": keys, "files": files}))
        settings = self._write_blob(_json(config.to_oci(layer[0])))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": settings[0], "size": settings[1]},
            "layers": [{"mediaType": TREE_TYPE, "digest": layer[0], "size": layer[1]}],
        }
        for key, source in environments.values():
            self._adopt_environment(key, source)
        digest, _ = self._write_blob(_json(manifest))
        self._place(rootfs, self._tree(digest), keys)
        return digest

    def _place(self, rootfs: Path, target: Path, keys: Mapping[str, str]) -> None:
        if target.is_dir():
            shutil.rmtree(rootfs)
            return
        for place, key in keys.items():
            link = rootfs / place.lstrip("/")
            if place != "/usr/local":  # files may stand beside the system's own environment
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self._environments / key)
        for folder, _, names in os.walk(rootfs):
            for path in (Path(folder) / name for name in names):
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode & 0o555)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            rootfs.rename(target)
        except OSError:  # another disk, or another process was first
            if not target.is_dir():
                partial = target.with_name(f".{uuid.uuid4().hex}")
                shutil.copytree(rootfs, partial, symlinks=True)
                partial.rename(target)
            shutil.rmtree(rootfs, ignore_errors=True)

    def _tree(self, digest: str) -> Path:
        # Short: programs make Unix sockets below, whose paths may have 104 bytes.
        return self._trees / digest.removeprefix("sha256:")[:16]

    def _adopt_environment(self, key: str, source: Path) -> None:
        target = self._environments / key
        if target.is_dir():
            return
        partial = self._environments / f".{uuid.uuid4().hex}"
        clone_tree(source, partial)
        try:
            partial.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(partial)

    def _write_blob(self, content: bytes) -> tuple[str, int]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        _write(self._blobs / digest.removeprefix("sha256:"), content)
        return digest, len(content)

    def blob(self, digest: str) -> bytes | None:
        """The bytes of a manifest, config or layer."""
        return _read(self._blobs / digest.removeprefix("sha256:")) if DIGEST.fullmatch(digest) else None

    def tag(self, repository: str, tag: str, digest: str) -> None:
        """Names a manifest in a repository (`host/project/repo/name`); moves the tag where it exists."""
        reference = Reference.parse(f"{repository}:{tag}")
        folder = self._repositories / reference.repository.replace(":", "%3A")
        marker = folder / "_manifests" / digest.removeprefix("sha256:")
        if not marker.exists():
            _write(marker, b"")
        _write(folder / "_tags" / tag, digest.encode())

    def digest_of(self, reference: Reference) -> str | None:
        """The digest that a reference means; without tag and digest, that of `latest`."""
        folder = self._folder(reference.repository)
        if reference.digest is not None:
            known = (folder / "_manifests" / reference.digest.removeprefix("sha256:")).exists()
            return reference.digest if known else None
        found = _read(folder / "_tags" / (reference.tag or "latest"))
        return None if found is None else found.decode()

    def resolve(self, text: str) -> Image | None:
        """The image of a reference, or None. Raises BadReference."""
        reference = Reference.parse(text)
        digest = self.digest_of(reference)
        return None if digest is None else self.open(reference.repository, digest)

    def open(self, repository: str, digest: str) -> Image:
        """The image of a digest that this store holds. Raises ImageIncomplete."""
        manifest = self.blob(digest)
        if manifest is None:
            raise ImageIncomplete(f"image {repository}@{digest}: it is not in the store; build it again.")
        document = json.loads(manifest)
        config = json.loads(self.blob(document["config"]["digest"]) or b"{}")
        tree = json.loads(self.blob(document["layers"][0]["digest"]) or b"{}")
        environments = {place: self._environments / key for place, key in tree["environments"].items()}
        rootfs = self._tree(digest)
        return Image(digest, repository, ImageConfig.from_oci(config), rootfs, environments)

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, sorted."""
        folder = self._folder(repository) / "_tags"
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        return sorted(name for name in names if TAG.fullmatch(name))  # not what is being written

    def manifests(self, repository: str) -> list[StoredManifest]:
        """The manifests of a repository, oldest first."""
        folder = self._folder(repository) / "_manifests"
        by_digest: dict[str, list[str]] = {}
        for tag in self.tags(repository):
            by_digest.setdefault(self.digest_of(Reference(repository, tag)) or "", []).append(tag)
        found = []
        for marker in folder.glob("[0-9a-f]*") if folder.is_dir() else ():
            digest = f"sha256:{marker.name}"
            content = self.blob(digest) or b"{}"
            uploaded = datetime.fromtimestamp(marker.stat().st_mtime, UTC)
            size = sum(part["size"] for part in json.loads(content).get("layers", ()))
            found.append(StoredManifest(digest, tuple(by_digest.get(digest, ())), uploaded, size))
        return sorted(found, key=lambda item: (item.uploaded, item.digest))

    def repositories(self) -> list[str]:
        """Every repository that ever had an image, sorted."""
        folders = (path.parent for path in self._repositories.rglob("_manifests"))
        return sorted(str(path.relative_to(self._repositories)).replace("%3A", ":") for path in folders)

    def delete(self, repository: str, name: str) -> bool:
        """Removes a tag, or a manifest with its tags, from a repository; False if it was not there.

        The files stay: a revision that was deployed from them still runs, as on Cloud Run.
        """
        folder = self._folder(repository)
        if not name.startswith("sha256:"):
            found = (folder / "_tags" / name).is_file() if TAG.fullmatch(name) else False
            (folder / "_tags" / name).unlink() if found else None
            return found
        for tag in self.tags(repository):
            if self.digest_of(Reference(repository, tag)) == name:
                (folder / "_tags" / tag).unlink()
        marker = folder / "_manifests" / name.removeprefix("sha256:")
        found = marker.is_file()
        marker.unlink(missing_ok=True)
        return found

    def _folder(self, repository: str) -> Path:
        return self._repositories / Reference.parse(repository).repository.replace(":", "%3A")


def clone_tree(source: Path, target: Path) -> None:
    """A copy of a folder in which files share their blocks, where the file system can."""

    def link_or_copy(origin: str, copy: str) -> str:
        try:
            os.link(origin, copy, follow_symlinks=False)
        except OSError:
            shutil.copy2(origin, copy, follow_symlinks=False)
        return copy

    shutil.copytree(source, target, symlinks=True, copy_function=link_or_copy)


def _listing(rootfs: Path) -> list[list[str]]:
    found: list[list[str]] = []
    for folder, folders, names in os.walk(rootfs):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        here = Path(folder)
        found.append([f"/{here.relative_to(rootfs)}", "folder"])
        for path in (here / name for name in sorted([*names, *(n for n in folders if (here / n).is_symlink())])):
            place = f"/{path.relative_to(rootfs)}"
            if path.is_symlink():
                found.append([place, "link", os.readlink(path)])
            else:
                kind = "program" if path.stat().st_mode & 0o111 else "file"
                found.append([place, kind, hashlib.sha256(path.read_bytes()).hexdigest()])
    return found


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}")
    partial.write_bytes(content)
    partial.replace(path)
