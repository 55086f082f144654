"""What the command line asks of a running localcloud, over HTTP with its token."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient as Secrets

from localcloud.localcloud import LocalCloud

DEADLINE_S = 10.0
LONG_S = 3_600_000.0  # of Google's time: an hour at the tests' speed


async def _admin(simulated: LocalCloud, verb: str, what: str, body: Any = None) -> tuple[int, Any]:
    headers = {"X-Localcloud-Token": simulated.token}
    async with aiohttp.request(verb, f"{simulated.rest}/_localcloud/{what}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_limits_are_set_from_outside(simulated: LocalCloud) -> None:
    """What is not named stays; nonsense is refused and changes nothing."""
    asked = {"accounts": 500, "grant_delay_s": 7, "writes_per_minute": {"run.googleapis.com": 60}}
    status, shown = await _admin(simulated, "POST", "limits", asked)
    wanted = {
        "accounts": 500,
        "account_delay_s": 0,
        "grant_delay_s": 7,
        "writes_per_minute": {"run.googleapis.com": 60},
    }
    assert (status, shown) == (200, wanted)
    wanted["account_delay_s"] = 9
    assert await _admin(simulated, "POST", "limits", {"account_delay_s": 9}) == (200, wanted)
    assert await _admin(simulated, "POST", "limits", {"accounts": 500}) == (200, wanted)
    assert (await _admin(simulated, "POST", "limits", {"accounts": "many"}))[0] == 400
    await _admin(simulated, "POST", "limits", {"writes_per_minute": {"run.googleapis.com": None}})
    assert (await _admin(simulated, "GET", "limits"))[1] == {**wanted, "writes_per_minute": {}}


async def test_accounts_that_are_known_late_are_asked_for_from_outside(simulated: LocalCloud, clients: Any) -> None:
    """Those that are made from then on; without it they are known at once."""
    accounts = clients(IAMAsyncClient)

    async def made(account_id: str) -> str:
        request = {"name": "projects/demo", "account_id": account_id}
        return str((await accounts.create_service_account(request=request, retry=None)).name)

    assert (await _admin(simulated, "POST", "limits", {"account_delay_s": LONG_S}))[0] == 200
    late = await made("late-app")
    with pytest.raises(exceptions.NotFound):
        await accounts.get_service_account(name=late, retry=None)
    assert (await _admin(simulated, "POST", "limits", {"account_delay_s": 0}))[0] == 200
    assert await accounts.get_service_account(name=await made("early-app"), retry=None)


async def test_a_process_can_be_killed_from_outside(simulated: LocalCloud, clients: Any) -> None:
    """By its id, which must be given."""
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    asked = {"method": "*CreateSecret", "kind": "kill"}
    assert (await _admin(simulated, "POST", "faults", asked))[0] == 400
    assert (await _admin(simulated, "POST", "faults", {**asked, "pid": caller.pid}))[0] == 200
    with pytest.raises(exceptions.Cancelled):
        await clients(Secrets).create_secret(parent="projects/demo", secret_id="key", secret={}, retry=None)
    assert await asyncio.wait_for(caller.wait(), DEADLINE_S) == -9
