"""Metadata servers, as clients of several makes ask them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import aiohttp
import pytest
from google.cloud import iam_admin_v1

EMAIL = "web-app@demo.iam.gserviceaccount.com"
ROOT = "/computeMetadata/v1/"
ASK_GOOGLE_AUTH = """
import json, google.auth, google.auth.transport.requests as t
from google.oauth2 import id_token
request = t.Request()
credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
credentials.refresh(request)
token = id_token.fetch_id_token(request, "https://shop.run.app")
claims = id_token.verify_oauth2_token(token, request, "https://shop.run.app")
print(json.dumps([credentials.service_account_email, project, credentials.token, claims["email"]]))
"""


@pytest.fixture
async def address(simulated, clients):
    """The server of one instance."""
    api = clients(iam_admin_v1.IAMAsyncClient)
    await api.create_service_account(request={"name": "projects/demo", "account_id": "web-app"})
    return await simulated.runtime.metadata.start(EMAIL, "demo", "europe-west1", "00ab")


@pytest.fixture
async def ask(address):
    async with aiohttp.ClientSession(f"http://{address}") as session:

        async def get(path, flavour=True, **query):
            headers = {"Metadata-Flavor": "Google"} if flavour else {}
            async with session.get(path, headers=headers, params=query, allow_redirects=False) as response:
                return response.status, response.headers, await response.text()

        yield get


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("instance/id", "00ab"),
        ("instance/region", "projects/187635794409/regions/europe-west1"),
        ("instance/zone", "projects/187635794409/zones/europe-west1-1"),
        ("instance/service-accounts/", f"default/\n{EMAIL}/\n"),
        ("instance/service-accounts/default/email", EMAIL),
        (f"instance/service-accounts/{EMAIL}/scopes", "https://www.googleapis.com/auth/cloud-platform\n"),
        ("project/project-id", "demo"),
        ("project/numeric-project-id", "187635794409"),
        ("universe/universe-domain", "googleapis.com"),
    ],
)
async def test_values_are_plain_text(ask, path, text):
    """With Google's headers."""
    status, headers, answer = await ask(ROOT + path)
    assert (status, answer) == (200, text)
    assert headers["Content-Type"] == "application/text"
    assert headers["Metadata-Flavor"] == "Google"


async def test_a_read_without_the_header_is_forbidden_but_the_ping_is_not(ask):
    """What keeps server-side request forgery out."""
    status, _, answer = await ask(f"{ROOT}project/project-id", flavour=False)
    assert status == 403
    assert "Missing Metadata-Flavor:Google header." in answer
    status, headers, _ = await ask("/", flavour=False)
    assert (status, headers["Metadata-Flavor"]) == (200, "Google")


async def test_what_is_not_there_is_not_found(ask):
    """Unknown values and other accounts: 404, which clients take for "not defined"."""
    for path in ("instance/attributes/cluster-name", "instance/service-accounts/other@x/token", "nothing"):
        assert (await ask(ROOT + path))[0] == 404


async def test_recursive_reads_are_camel_case_json(ask):
    """Of one account, and of everything."""
    _, headers, text = await ask(f"{ROOT}instance/service-accounts/default/", recursive="true")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(text)["email"] == EMAIL
    everything = json.loads((await ask(ROOT, recursive="true"))[2])
    assert everything["project"] == {"projectId": "demo", "numericProjectId": 187635794409}


async def test_a_token_is_handed_out_again_until_it_nears_its_end(simulated, ask):
    """One token for each set of scopes, in the name of the account."""
    path = f"{ROOT}instance/service-accounts/default/token"
    first, second = [json.loads((await ask(path))[2]) for _ in range(2)]
    other = json.loads((await ask(path, scopes="a,b"))[2])
    assert first["access_token"] == second["access_token"] != other["access_token"]
    assert 3590 < first["expires_in"] <= 3599
    assert simulated.core.tokens.email(other["access_token"]) == EMAIL
    assert simulated.core.tokens.scopes(other["access_token"]) == ["a", "b"]


async def test_an_id_token_needs_an_audience(ask):
    """400 in Google's words."""
    status, _, text = await ask(f"{ROOT}instance/service-accounts/default/identity")
    assert (status, text.count("non-empty audience parameter required")) == (400, 1)


async def test_google_auth_finds_everything_by_the_environment(simulated, address):
    """google.auth.default(), a token, an ID token, verified: in a process that knows only its variables."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GOOGLE_")},
        **simulated.runtime.client_environment,
        "GCE_METADATA_HOST": address,
        "GCE_METADATA_IP": address,
        "GCE_METADATA_ROOT": address,
        "HOME": "/nonexistent",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK_GOOGLE_AUTH, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    email, project, token, claimed = json.loads(output)
    assert (email, project, claimed) == (EMAIL, "demo", EMAIL)
    assert simulated.core.tokens.email(token) == EMAIL


async def test_a_hundred_servers_start_fast_and_stop(simulated, address):
    """Each with an address of its own; alone on the machine one takes under a millisecond."""
    began = time.perf_counter()
    made = [await simulated.runtime.metadata.start(EMAIL, "demo", "europe-west1", str(n)) for n in range(100)]
    assert (time.perf_counter() - began) / 100 < 0.02
    assert len(set(made)) == 100
    for one in made:
        await simulated.runtime.metadata.stop(one)
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection(*made[0].split(":"))


async def test_a_deleted_account_gets_no_token(clients, ask):
    """Its instances go on, without credentials."""
    api = clients(iam_admin_v1.IAMAsyncClient)
    await api.delete_service_account(name=f"projects/demo/serviceAccounts/{EMAIL}")
    assert (await ask(f"{ROOT}instance/service-accounts/default/token"))[0] == 404
