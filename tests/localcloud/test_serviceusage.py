"""Service Usage, through Google's client and over REST."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.service_usage_v1 import ServiceUsageAsyncClient

from localcloud.localcloud import LocalCloud

NUMBER = "187635794409"


async def test_an_api_is_of_use_once_it_is_enabled(simulated: LocalCloud, clients: Any) -> None:
    """Before, calls say which API to enable for which project; the operation ends with the service."""
    simulated.core.projects.create("other", "222222222222")
    usage, secrets = clients(ServiceUsageAsyncClient), clients(SecretManagerServiceAsyncClient)
    with pytest.raises(
        exceptions.PermissionDenied, match="Secret Manager API has not been used in project 222222222222"
    ):
        await secrets.list_secrets(parent="projects/other")
    operation = await usage.enable_service(request={"name": "projects/other/services/secretmanager.googleapis.com"})
    assert operation.operation.name.startswith("operations/")
    answer = await operation.result(timeout=60)
    assert answer.service.name == "projects/222222222222/services/secretmanager.googleapis.com"
    assert answer.service.state.name == "ENABLED"
    await secrets.list_secrets(parent="projects/other")


async def test_enabling_what_is_on_is_done_at_once(simulated: LocalCloud, clients: Any) -> None:
    """In Google's own no-operation."""
    usage = clients(ServiceUsageAsyncClient)
    ids = ["run.googleapis.com", "sqladmin.googleapis.com"]
    for name in ids:
        simulated.core.projects.enable("demo", name)
    operation = await usage.batch_enable_services(request={"parent": "projects/demo", "service_ids": ids})
    assert operation.operation.name == "operations/noop.DONE_OPERATION"
    assert [service.config.name for service in (await operation.result()).services] == ids


async def test_unknown_services_and_long_batches_are_refused(simulated: LocalCloud, clients: Any) -> None:
    """The whole call fails."""
    usage = clients(ServiceUsageAsyncClient)
    with pytest.raises(
        exceptions.PermissionDenied, match=r"Not found or permission denied for service\(s\): no\.such\."
    ):
        await usage.batch_enable_services(request={"parent": "projects/demo", "service_ids": ["no.such"]})
    many = ["dns.googleapis.com"] * 21
    with pytest.raises(exceptions.InvalidArgument):
        await usage.batch_enable_services(request={"parent": "projects/demo", "service_ids": many})


async def test_only_one_change_at_a_time(simulated: LocalCloud, clients: Any) -> None:
    """The second one is told so."""
    simulated.core.projects.create("other", "222222222222")
    usage = clients(ServiceUsageAsyncClient)
    simulated.core.clock.speed = 10.0
    name = "projects/other/services/{}.googleapis.com"
    first = await usage.enable_service(request={"name": name.format("run")})
    with pytest.raises(exceptions.FailedPrecondition, match="Another activation or deactivation is in progress"):
        await usage.enable_service(request={"name": name.format("dns")})
    await first.result(timeout=60)


async def test_a_forgotten_operation_is_in_nobodys_way(simulated: LocalCloud, clients: Any) -> None:
    """Its client may delete it once it is done; the next change works, in this project and in others."""
    simulated.core.projects.create("other", "222222222222")
    usage = clients(ServiceUsageAsyncClient)
    operation = await usage.enable_service(request={"name": "projects/other/services/run.googleapis.com"})
    await operation.result(timeout=60)
    path = f"{simulated.rest}/v1/{operation.operation.name}"
    headers = {"Host": "serviceusage.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as http, http.delete(path) as answer:
        assert answer.status == 200
    for project in ("other", "demo"):
        name = f"projects/{project}/services/dns.googleapis.com"
        assert (await (await usage.enable_service(request={"name": name})).result(timeout=60)).service


async def test_without_the_right_nothing_is_enabled(simulated: LocalCloud, clients: Any) -> None:
    """The denial names the service."""
    usage = clients(ServiceUsageAsyncClient, token=simulated.core.tokens.issue("nobody@example.com"))
    with pytest.raises(
        exceptions.PermissionDenied, match=r"Permission denied to enable service \[run\.googleapis\.com\]"
    ):
        await usage.enable_service(request={"name": "projects/demo/services/run.googleapis.com"})


async def test_lists_show_both_states_and_are_filtered(simulated: LocalCloud, clients: Any) -> None:
    """A disabled API is listed too, unless the filter says otherwise."""
    usage = clients(ServiceUsageAsyncClient)
    operation = await usage.disable_service(request={"name": "projects/demo/services/secretmanager.googleapis.com"})
    await operation.result(timeout=60)
    states = {}
    for expression in ("", "state:ENABLED"):
        pager = await usage.list_services(request={"parent": "projects/demo", "filter": expression, "page_size": 3})
        states[expression] = {service.config.name: service.state.name async for service in pager}
    assert states[""]["secretmanager.googleapis.com"] == "DISABLED"
    assert "secretmanager.googleapis.com" not in states["state:ENABLED"]
    assert set(states["state:ENABLED"].values()) == {"ENABLED"}


async def test_a_service_agent_is_named(simulated: LocalCloud) -> None:
    """By the v1beta1 call that Terraform makes."""
    url = f"{simulated.rest}/v1beta1/projects/demo/services/secretmanager.googleapis.com:generateServiceIdentity"
    async with aiohttp.ClientSession() as http:
        answer = await http.post(url, headers={"Host": "serviceusage.googleapis.com", "Authorization": "Bearer any"})
        made = await answer.json()
    assert made["done"] is True
    assert made["response"]["email"] == f"service-{NUMBER}@gcp-sa-secretmanager.iam.gserviceaccount.com"
