"""From a tag to a digest, asked of a registry that speaks Docker's protocol."""

from __future__ import annotations

import hashlib
import json

import pytest

from localcloud.runtime.images import ImageConfig
from nuages.cloud.errors import Invalid, NotFound, PermissionDenied, Unreachable

HOST = "europe-west1-docker.pkg.dev"
IMAGE = f"{HOST}/demo/apps/shop"
INDEX, MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
async def digest(real_scene, tmp_path):
    """An image with one file, tagged v1."""
    images, root = real_scene.cloud.runtime.images, tmp_path / "root"
    root.mkdir()
    (root / "hello.txt").write_text("hello")
    digest = await images.put(ImageConfig(cmd=("hello",), workdir="/app", user="web"), root, {})
    images.tag(IMAGE, "v1", digest)
    return digest


async def test_a_tag_is_pinned_to_its_digest(real_scene, digest):
    """With the working directory and the user of the image's configuration."""
    found = await real_scene.access.images.resolve(f"{IMAGE}:v1")
    assert (found.reference, found.digest) == (f"{IMAGE}@{digest}", digest)
    assert (found.working_dir, found.user) == ("/app", "web")
    assert await real_scene.access.images.resolve(found.reference) == found


@pytest.fixture
async def index(real_scene, tmp_path):
    """Tags an index of images as `many`; one image for each platform, which its working directory names."""
    images = real_scene.cloud.runtime.images

    async def push(*platforms):
        entries = []
        for platform in platforms:
            (root := tmp_path / platform.replace("/", "-")).mkdir()
            found = await images.put(ImageConfig(cmd=("hello",), workdir=f"/{platform}"), root, {})
            images.tag(IMAGE, root.name, found)
            system, architecture = platform.split("/")
            named = {"os": system, "architecture": architecture}
            entries.append({"mediaType": MANIFEST, "digest": found, "size": len(images.blob(found)), "platform": named})
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        (images.directory / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(content)
        images.tag(IMAGE, "many", digest)
        return digest

    return push


async def test_an_index_is_pinned_as_a_whole_and_read_for_cloud_runs_platform(real_scene, index):
    """Cloud Run chooses linux/amd64 of it, wherever that stands."""
    digest = await index("linux/arm64", "windows/amd64", "linux/amd64", "unknown/unknown")
    found = await real_scene.access.images.resolve(f"{IMAGE}:many")
    assert (found.reference, found.working_dir) == (f"{IMAGE}@{digest}", "/linux/amd64")


async def test_an_index_without_cloud_runs_platform_is_refused(real_scene, index):
    """Before a revision is made that could never start."""
    await index("linux/arm64", "windows/amd64")
    with pytest.raises(Invalid, match=f"^{IMAGE}:many is not made for linux/amd64, which Cloud Run needs$"):
        await real_scene.access.images.resolve(f"{IMAGE}:many")


async def test_an_unknown_tag_is_not_found(real_scene, digest):
    """In the registry's words, which name the tag."""
    with pytest.raises(NotFound, match="v2"):
        await real_scene.access.images.resolve(f"{IMAGE}:v2")


async def test_a_registry_that_refuses_names_the_permission(real_scene, digest):
    """What to grant, and where."""
    access = await real_scene.as_nobody()
    with pytest.raises(PermissionDenied, match="repositories/apps") as denied:
        await access.images.resolve(f"{IMAGE}:v1")
    assert denied.value.permission == "artifactregistry.repositories.downloadArtifacts"


async def test_a_registry_that_does_not_answer_heals(real_scene):
    """A host that nobody has: told as what may pass, in words that stay the same."""
    said = r"^registry\.invalid does not answer: (the proxy found no way to it \(502 Bad Gateway\)|[\w ]+)$"
    with pytest.raises(Unreachable, match=said):
        await real_scene.access.images.resolve("registry.invalid/shop:v1")
