"""What the command line asks of a running localcloud, over HTTP with its token."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient as Secrets

from localcloud.localcloud import LocalCloud

DEADLINE_S = 10.0


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
    assert (await _admin(simulated, "POST", "limits", {"accounts": "many"}))[0] == 400
    await _admin(simulated, "POST", "limits", {"writes_per_minute": {"run.googleapis.com": None}})
    assert (await _admin(simulated, "GET", "limits"))[1] == {**wanted, "writes_per_minute": {}}


async def test_a_process_can_be_killed_from_outside(simulated: LocalCloud, clients: Any) -> None:
    """By its id, which must be given."""
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    asked = {"method": "*CreateSecret", "kind": "kill"}
    assert (await _admin(simulated, "POST", "faults", asked))[0] == 400
    assert (await _admin(simulated, "POST", "faults", {**asked, "pid": caller.pid}))[0] == 200
    with pytest.raises(exceptions.Cancelled):
        await clients(Secrets).create_secret(parent="projects/demo", secret_id="key", secret={}, retry=None)
    assert await asyncio.wait_for(caller.wait(), DEADLINE_S) == -9
