"""Images on disk: references, digests, the registry's blobs, the command that runs."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from localcloud.runtime.imagereference import BadReference, Reference
from localcloud.runtime.images import Image, ImageConfig, ImageIncomplete, ImageStore

REPOSITORY = "europe-west1-docker.pkg.dev/demo/apps/shop"
CONFIG = ImageConfig(cmd=("python", "/app/main.py"), env={"PATH": "/opt/venv/bin:/usr/local/bin:/bin"}, workdir="/app")

Put = Callable[..., Awaitable[str]]  # files, config → digest


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.fixture
def put(store: ImageStore, tmp_path: Path) -> Put:
    """Puts an image of the given files, with an environment at /opt/venv and the system's own."""
    count = iter(range(100))

    async def put(files: dict[str, str], config: ImageConfig = CONFIG) -> str:
        rootfs = tmp_path / f"tree-{next(count)}"
        for name, content in files.items():
            (rootfs / name).parent.mkdir(parents=True, exist_ok=True)
            (rootfs / name).write_text(content)
        environment = tmp_path / "environment"
        (environment / "bin").mkdir(parents=True, exist_ok=True)
        (environment / "bin" / "python").write_text("#!/bin/sh\n")
        (environment / "bin" / "python").chmod(0o755)
        return await store.put(
            config, rootfs, {"/opt/venv": ("key-a", environment), "/usr/local": ("key-b", environment)}
        )

    return put


def found(store: ImageStore, name: str) -> Image:
    """The image of a tag or digest."""
    image = store.resolve(f"{REPOSITORY}{'@' if name.startswith('sha256:') else ':'}{name}")
    assert image is not None
    return image


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{REPOSITORY}:v1", Reference(REPOSITORY, "v1")),
        (REPOSITORY, Reference(REPOSITORY)),
        (f"{REPOSITORY}@sha256:{'a' * 64}", Reference(REPOSITORY, None, f"sha256:{'a' * 64}")),
        (f"{REPOSITORY}:v1@sha256:{'a' * 64}", Reference(REPOSITORY, "v1", f"sha256:{'a' * 64}")),
        ("gcr.io/demo/team/shop:v1.2_b", Reference("gcr.io/demo/team/shop", "v1.2_b")),
        ("localhost:5000/shop", Reference("localhost:5000/shop")),
    ],
)
def test_reference_is_read(text: str, expected: Reference) -> None:
    """Host, path, tag and digest."""
    assert Reference.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "shop", "shop:v1", f"{REPOSITORY}:", f"{REPOSITORY}:a b", f"{REPOSITORY}@sha256:12", "gcr.io/Demo/x:v1"],
)
def test_bad_reference_is_refused(text: str) -> None:
    """A text that names no image is refused with a remedy."""
    with pytest.raises(BadReference, match="image "):
        Reference.parse(text)


def test_capitals_in_a_repository_are_named_as_the_fault() -> None:
    """The rest of the name is right."""
    with pytest.raises(BadReference, match=r"'gcr.io/demo/Shop' holds capitals; write gcr.io/demo/shop\.$"):
        Reference.parse("gcr.io/demo/Shop:v1")


async def test_same_files_have_the_same_digest(put: Put) -> None:
    """Byte code and times do not count; contents, names and settings do."""
    first = await put({"app/main.py": "1"})
    assert await put({"app/main.py": "1", "app/__pycache__/main.pyc": "code"}) == first
    assert await put({"app/main.py": "2"}) != first
    assert await put({"app/other.py": "1"}) != first
    assert await put({"app/main.py": "1"}, ImageConfig(workdir="/app")) != first


async def test_blobs_are_what_a_registry_serves(store: ImageStore, put: Put) -> None:
    """Manifest, config and layer are bytes with the digests and sizes that the manifest says."""
    digest = await put({"app/main.py": "1"})
    manifest = store.blob(digest)
    assert manifest is not None
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest
    document = json.loads(manifest)
    for part in (document["config"], *document["layers"]):
        content = store.blob(part["digest"])
        assert content is not None
        assert (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}") == (part["size"], part["digest"])
    assert store.blob("sha256:../../etc") is None


async def test_tags_move_and_digests_stay(store: ImageStore, put: Put) -> None:
    """A tag names the last image that it was given; the earlier one is still there by digest."""
    old, new = await put({"app/main.py": "1"}), await put({"app/main.py": "2"})
    store.tag(REPOSITORY, "v1", old)
    store.tag(REPOSITORY, "v1", new)
    assert found(store, "v1").digest == new
    assert found(store, old).digest == old
    assert store.resolve(f"{REPOSITORY}:v2") is None
    assert store.resolve(f"europe-west1-docker.pkg.dev/demo/apps/other@{old}") is None
    assert store.tags(REPOSITORY) == ["v1"]
    assert {(item.digest, item.tags) for item in store.manifests(REPOSITORY)} == {(old, ()), (new, ("v1",))}
    assert store.repositories() == [REPOSITORY]


async def test_deleted_image_is_not_found_but_still_runs(store: ImageStore, put: Put) -> None:
    """Deleting takes the names away; a deployed revision keeps its files."""
    digest = await put({"app/main.py": "1"})
    store.tag(REPOSITORY, "v1", digest)
    assert store.delete(REPOSITORY, digest)
    assert not store.delete(REPOSITORY, digest)
    assert store.resolve(f"{REPOSITORY}:v1") is None
    assert store.open(REPOSITORY, digest).rootfs.is_dir()


async def test_another_store_object_sees_the_same_images(store: ImageStore, put: Put) -> None:
    """State is on disk alone."""
    digest = await put({"app/main.py": "1"})
    store.tag(REPOSITORY, "v1", digest)
    assert ImageStore(store.directory).resolve(f"{REPOSITORY}:v1") == store.resolve(f"{REPOSITORY}:v1")


async def test_command_rewrites_the_image_s_own_paths(store: ImageStore, put: Put) -> None:
    """Paths of the image lead to its files here; others, and URL paths, stay."""
    image = store.open(REPOSITORY, await put({"app/main.py": "1", "app/conf/x": "", "usr/local/bin/start.sh": ""}))
    mounts = {"/app/media": Path("/buckets/media"), "/cloudsql": Path("/sockets")}
    extra = {
        "CONFIG": "/app/conf/x:/app/conf",
        "MEDIA_ROOT": "/app/media",
        "DB_HOST": "/cloudsql/p:r:i",
        "DATABASE_URL": "postgres://u:p@%2Fcloudsql%2Fp:r:i/db",
        "STATIC_URL": "/app/static/",
        "SITE": "https://example.com/app/x",
        "APPLICATION": "/application",
        "FILE": "sqlite:////app/db.sqlite3",
        "START": "/usr/local/bin/start.sh",
    }
    argv, env, cwd = image.command(extra, mounts=mounts)
    app = str(image.rootfs / "app")
    assert argv == [str(image.python / "python"), f"{app}/main.py"]
    assert cwd == image.rootfs / "app"
    assert env["CONFIG"] == f"{app}/conf/x:{app}/conf"
    assert env["MEDIA_ROOT"] == "/buckets/media"
    assert env["DB_HOST"] == "/sockets/p:r:i"
    assert env["DATABASE_URL"] == "postgres://u:p@%2Fsockets%2Fp:r:i/db"
    assert env["FILE"] == f"sqlite:///{app}/db.sqlite3"
    assert env["START"] == str(image.rootfs / "usr/local/bin/start.sh")
    assert {name: env[name] for name in ("STATIC_URL", "SITE", "APPLICATION")} == {
        name: extra[name] for name in ("STATIC_URL", "SITE", "APPLICATION")
    }
    assert env["HOME"] == str(image.rootfs / "root")


async def test_command_in_a_namespace_keeps_the_image_s_paths(store: ImageStore, put: Put) -> None:
    """Where the process sees the image in its own place, only PATH and HOME are this machine's."""
    image = store.open(REPOSITORY, await put({"app/main.py": "1"}))
    argv, env, cwd = image.command({"MEDIA_ROOT": "/app/media"}, in_namespace=True)
    assert (argv[1:], env["MEDIA_ROOT"], cwd) == (["/app/main.py"], "/app/media", Path("/app"))
    assert env["PATH"].startswith(str(image.python))


async def test_command_and_args_override_as_in_cloud_run(store: ImageStore, put: Put) -> None:
    """A command drops the image's CMD too; args replace CMD alone."""
    config = ImageConfig(entrypoint=("/bin/echo",), cmd=("hello",), env=CONFIG.env)
    image = store.open(REPOSITORY, await put({"app/main.py": "1"}, config))
    assert image.command({})[0] == ["/bin/echo", "hello"]
    assert image.command({}, args=["bye"])[0] == ["/bin/echo", "bye"]
    assert image.command({}, command=["/bin/cat"])[0] == ["/bin/cat"]
    assert image.command({}, command=["/bin/cat"], args=["x"])[0] == ["/bin/cat", "x"]


async def test_missing_files_are_said(store: ImageStore, put: Put, tmp_path: Path) -> None:
    """An image whose tree is gone is not run half."""
    image = store.open(REPOSITORY, await put({"app/main.py": "1"}))
    image.rootfs.rename(tmp_path / "elsewhere")
    with pytest.raises(ImageIncomplete, match="build it again"):
        image.command({})
