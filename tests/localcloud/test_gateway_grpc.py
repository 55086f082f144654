"""Google's asyncio clients against localcloud, through its proxy, with call credentials."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import run_v2, secretmanager_v1

from localcloud.core.faults import Fault, Kind
from localcloud.localcloud import LocalCloud

Clients = Callable[..., Any]
Secrets = secretmanager_v1.SecretManagerServiceAsyncClient
PARENT = "projects/demo"
AUTOMATIC: Any = {"replication": {"automatic": {}}}


async def _create(client: Secrets, name: str = "key") -> None:
    await client.create_secret(parent=PARENT, secret_id=name, secret=AUTOMATIC)


async def test_two_hundred_calls_at_once(simulated: LocalCloud, clients: Clients) -> None:
    """All are answered over one channel."""
    client = clients(Secrets)
    await _create(client)
    found = await asyncio.gather(*(client.get_secret(name=f"{PARENT}/secrets/key") for _ in range(200)))
    assert len(found) == 200


async def test_errors_carry_code_message_and_details(simulated: LocalCloud, clients: Clients) -> None:
    """The client's exception has Google's ErrorInfo."""
    token = simulated.core.tokens.issue("nobody@example.com")
    with pytest.raises(exceptions.PermissionDenied) as caught:
        await clients(Secrets, token).get_secret(name=f"{PARENT}/secrets/key")
    assert caught.value.reason == "IAM_PERMISSION_DENIED"
    assert caught.value.metadata["permission"] == "secretmanager.secrets.get"


async def test_an_expired_token_is_refused(simulated: LocalCloud, clients: Clients) -> None:
    """UNAUTHENTICATED, as Google says it."""
    token = simulated.core.tokens.issue("nobody@example.com", seconds=-1)
    with pytest.raises(exceptions.Unauthenticated, match="invalid authentication credentials"):
        await clients(Secrets, token).get_secret(name=f"{PARENT}/secrets/key")


async def test_a_disabled_api_is_refused_by_its_title(simulated: LocalCloud, clients: Clients) -> None:
    """With the reason that clients branch on."""
    simulated.core.projects.enable("demo", "secretmanager.googleapis.com", on=False)
    with pytest.raises(exceptions.PermissionDenied, match="has not been used in project 187635794409") as caught:
        await clients(Secrets).get_secret(name=f"{PARENT}/secrets/key")
    assert caught.value.reason == "SERVICE_DISABLED"


async def test_a_method_that_is_not_there_is_refused_by_name(simulated: LocalCloud, clients: Clients) -> None:
    """UNIMPLEMENTED names the method path."""
    with pytest.raises(exceptions.MethodNotImplemented, match=r"/google\.cloud\.run\.v2\.Builds/SubmitBuild"):
        await clients(run_v2.BuildsAsyncClient).submit_build(request={"parent": f"{PARENT}/locations/europe-west1"})


async def test_an_answer_can_be_lost_after_the_work(simulated: LocalCloud, clients: Clients) -> None:
    """The fault answers UNAVAILABLE, yet the secret is there."""
    simulated.faults.add(Fault("secretmanager.googleapis.com/*.CreateSecret", Kind.LOSE))
    client = clients(Secrets)
    with pytest.raises(exceptions.ServiceUnavailable):
        await client.create_secret(parent=PARENT, secret_id="key", secret=AUTOMATIC, retry=None)
    assert await client.get_secret(name=f"{PARENT}/secrets/key")


async def test_requests_are_logged_with_their_reason(simulated: LocalCloud, clients: Clients) -> None:
    """X-Goog-Request-Reason and the caller stand in the log."""
    metadata = [("x-goog-request-reason", "nuages/default/shop@1")]
    await clients(Secrets).create_secret(parent=PARENT, secret_id="key", secret=AUTOMATIC, metadata=metadata)
    (request,) = simulated.core.requests.last("nuages/default/shop")
    assert request.method == "secretmanager.googleapis.com/SecretManagerService.CreateSecret"
    assert request.resource == "projects/demo/secrets"


async def test_a_cancelled_call_leaves_the_server_well(simulated: LocalCloud, clients: Clients) -> None:
    """A client that gives up in the middle disturbs nobody else."""
    client = clients(Secrets)
    await _create(client)
    simulated.faults.add(Fault("*GetSecret", Kind.DELAY, seconds=30))
    began = time.monotonic()
    with pytest.raises(exceptions.DeadlineExceeded):
        await client.get_secret(name=f"{PARENT}/secrets/key", timeout=0.2, retry=None)
    assert await client.get_secret(name=f"{PARENT}/secrets/key")
    assert time.monotonic() - began < 10
