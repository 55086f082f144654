"""The image registry, as Docker clients and the operator ask it."""

from __future__ import annotations

import base64
import json

import aiohttp
import pytest
from google.iam.v1 import policy_pb2

from localcloud.runtime.images import ImageConfig

HOST = "europe-west1-docker.pkg.dev"
IMAGE = "demo/apps/shop"
RESOURCE = "projects/demo/locations/europe-west1/repositories/apps"
DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"


async def push(images, folder, name=IMAGE, tag="v1", host=HOST):
    """An image with one file and no environment."""
    root = folder / f"root-{tag}"
    root.mkdir()
    (root / "hello.txt").write_text(tag)
    digest = await images.put(ImageConfig(cmd=("hello",), workdir="/app"), root, {})
    images.tag(f"{host}/{name}", tag, digest)
    return digest


@pytest.fixture
async def digest(cloud, tmp_path):
    return await push(cloud.runtime.images, tmp_path)


@pytest.fixture
async def ask(cloud):
    async with aiohttp.ClientSession() as session:

        async def call(path, authorization="Bearer any", method="GET", host=HOST):
            headers = {"Host": host} | ({"Authorization": authorization} if authorization else {})
            async with session.request(method, f"{cloud.rest}{path}", headers=headers) as response:
                return response.status, response.headers, await response.read()

        yield call


def error(body):
    (found,) = json.loads(body)["errors"]
    return found["code"], found["message"]


async def test_a_tag_leads_to_its_manifest_config_and_digest(ask, digest):
    """HEAD tells the digest, GET the manifest, whose config says how the image starts."""
    status, headers, body = await ask(f"/v2/{IMAGE}/manifests/v1", method="HEAD")
    assert (status, headers["Docker-Content-Digest"], body) == (200, digest, b"")
    status, headers, body = await ask(f"/v2/{IMAGE}/manifests/{digest}")
    assert headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
    config = json.loads(body)["config"]["digest"]
    status, _, body = await ask(f"/v2/{IMAGE}/blobs/{config}")
    assert json.loads(body)["config"]["WorkingDir"] == "/app"
    assert json.loads((await ask(f"/v2/{IMAGE}/tags/list"))[2]) == {"name": IMAGE, "tags": ["v1"]}


async def test_a_manifest_is_read_by_the_older_registrys_name(cloud, ask, tmp_path):
    """gcr.io, where an image stands right below its project."""
    digest = await push(cloud.runtime.images, tmp_path, "demo/shop", host="gcr.io")
    status, headers, body = await ask("/v2/demo/shop/manifests/v1", host="gcr.io")
    assert (status, headers["Docker-Content-Digest"], json.loads(body)["schemaVersion"]) == (200, digest, 2)


async def test_without_a_credential_the_challenge_says_where_tokens_are(ask, digest):
    """401 with realm, and inside a repository with service and scope."""
    status, headers, body = await ask("/v2/", authorization="")
    assert (status, headers["WWW-Authenticate"]) == (401, f'Bearer realm="https://{HOST}/v2/token"')
    assert error(body) == ("UNAUTHORIZED", "not authenticated: No credential was supplied.")
    status, headers, body = await ask(f"/v2/{IMAGE}/manifests/v1", authorization="")
    assert headers["WWW-Authenticate"].endswith(f'service="{HOST}",scope="repository:{IMAGE}:pull"')
    assert error(body) == ("UNAUTHORIZED", "not authenticated: No valid credential was supplied.")


async def test_a_docker_login_with_an_access_token_works(cloud, ask, digest):
    """Basic at /v2/token, then the token as bearer."""
    basic = base64.b64encode(b"oauth2accesstoken:any").decode()
    status, _, body = await ask(f"/v2/token?service={HOST}&scope=repository:{IMAGE}:pull", f"Basic {basic}")
    answer = json.loads(body)
    assert (status, answer["expires_in"]) == (200, 43200)
    assert (await ask(f"/v2/{IMAGE}/manifests/v1", f"Bearer {answer['token']}"))[0] == 200
    key = base64.b64encode(b"_json_key:{}").decode()
    assert error((await ask("/v2/token", f"Basic {key}"))[2]) == ("UNAUTHORIZED", "authentication failed")


async def test_an_account_needs_the_permission_to_download(cloud, ask, digest):
    """403 DENIED naming it; a missing repository is no different."""
    email = "187635794409-compute@developer.gserviceaccount.com"
    token = f"Bearer {cloud.core.tokens.issue(email)}"
    denied = f'Permission "{DOWNLOAD}" denied on resource "{RESOURCE}" (or it may not exist)'
    status, _, body = await ask(f"/v2/{IMAGE}/manifests/v1", token)
    assert (status, error(body)) == (403, ("DENIED", denied))
    binding = policy_pb2.Binding(role="roles/artifactregistry.reader", members=[f"serviceAccount:{email}"])
    cloud.core.policies.set("projects/demo", policy_pb2.Policy(bindings=[binding]))
    assert (await ask(f"/v2/{IMAGE}/manifests/v1", token))[0] == 200
    status, _, body = await ask("/v2/demo/other/shop/manifests/v1", token)
    assert (status, error(body)[0]) == (403, "DENIED")


async def test_an_anonymous_scope_on_a_private_repository_is_denied_at_once(ask, digest):
    """At the token endpoint, as Google does."""
    status, _, body = await ask(f"/v2/token?scope=repository:{IMAGE}:pull", authorization="")
    assert (status, error(body)[0]) == (403, "DENIED")
    assert error(body)[1].startswith("Unauthenticated request.")


async def test_an_unknown_tag_is_named(ask, digest):
    """404 MANIFEST_UNKNOWN, for who may know."""
    status, _, body = await ask(f"/v2/{IMAGE}/manifests/v9")
    assert (status, error(body)) == (404, ("MANIFEST_UNKNOWN", 'Failed to fetch "v9"'))


async def test_pushes_are_refused_by_name(ask, digest):
    """With the command that does it here."""
    status, _, body = await ask(f"/v2/{IMAGE}/blobs/uploads/", method="POST")
    assert (status, error(body)[0]) == (405, "UNSUPPORTED")
    assert "localcloud build" in error(body)[1]


async def test_artifact_registry_tells_a_tags_version(ask, digest):
    """Without the Docker protocol."""
    host = "artifactregistry.googleapis.com"
    path = f"/v1/{RESOURCE}/packages/shop/tags"
    _, _, body = await ask(f"{path}/v1", host=host)
    package = f"{RESOURCE}/packages/shop"
    assert json.loads(body) == {"name": f"{package}/tags/v1", "version": f"{package}/versions/{digest}"}
    assert (await ask(f"{path}/v9", host=host))[0] == 404
