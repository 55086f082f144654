"""What the spec no longer wants goes while the app lives, and not before nothing can need it any more."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from e2e_leftovers import left
from e2e_plan import plan
from e2e_policies import grant, members
from e2e_release import GROUP_VERSION, Deployment, shared_instance
from e2e_site import Site
from e2e_world import World, open_world
from google.api_core.exceptions import NotFound
from google.cloud import run_v2
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("surplus")]

INVOKER, VIEWER, CLIENT = "roles/run.invoker", "roles/run.viewer", "roles/cloudsql.client"
ACCESSOR = "roles/secretmanager.secretAccessor"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"sur-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


def copied(variable: str, secret: str) -> dict[str, Any]:
    return {"name": variable, "kubernetesSecret": {"name": secret, "key": "key"}}


async def is_there(world: World, name: str) -> bool:
    """A secret, by full name."""
    try:
        await world.google(SecretManagerServiceAsyncClient).get_secret(name=name)
    except NotFound:
        return False
    return True


async def test_what_spec_no_longer_wants_goes_once_no_revision_needs_it(place: World, local: Any) -> None:
    """Superuser, invokers, a copied and a named secret: each goes at its time; then rest writes and asks nothing."""
    secrets, services = place.google(SecretManagerServiceAsyncClient), place.google(run_v2.ServicesAsyncClient)
    project = f"projects/{place.site.project}"
    await place.patch("DjangoTenant", "default", {"spec": {"allow": {"secrets": [f"{place.namespace}-openai"]}}})
    openai = {"secret_id": f"{place.namespace}-openai", "secret": {"replication": {"automatic": {}}}}
    named = await secrets.create_secret(request={"parent": project, **openai})
    named_name = f"{project}/secrets/{named.name.rpartition('/')[2]}"
    await secrets.add_secret_version(request={"parent": named_name, "payload": {"data": b"sk_openai"}})
    await place.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stripe"}, "stringData": {"key": "sk_one"}}
    )
    shop = Deployment(place, "shop")
    both = {"access": "Authenticated", "invokers": ["user:an@acme.example", "user:jo@acme.example"]}
    await shop.release(
        image=await shop.image("v1"),
        superuser={"username": "admin", "email": "admin@acme.example"},
        env=[
            copied("STRIPE_KEY", "stripe"),
            {"name": "OPENAI", "secret": {"name": named_name.rpartition("/")[2], "version": "1"}},
        ],
        web=both,
    )
    password, copy = (
        f"{project}/secrets/{place.google_id('shop', part)}" for part in ("superuser-password", "env-STRIPE_KEY")
    )
    assert await is_there(place, password)
    assert await members(services, shop.service_name, INVOKER) == set(both["invokers"])
    runtime = await members(secrets, named_name, ACCESSOR)
    assert len(runtime) == 1
    await grant(services, shop.service_name, INVOKER, "user:mallory@acme.example")
    await grant(services, shop.service_name, VIEWER, "user:eve@acme.example")

    wanted = {**shop.spec, "web": {**both, "invokers": ["user:an@acme.example"]}}
    del wanted["superuser"], wanted["env"]
    code, told = await plan(
        local, place, {"apiVersion": GROUP_VERSION, "kind": "DjangoApp", "metadata": {"name": "shop"}, "spec": wanted}
    )
    id_ = place.google_id("shop")
    assert code == 2
    assert {line for line in told.splitlines() if line.startswith("-")} == {
        f"- delete Job {id_}-superuser",
        f"- delete run.invoker on {id_} for user:jo@acme.example",
        f"- delete run.invoker on {id_} for user:mallory@acme.example",
    }
    await shop.release(superuser=None, env=None, web=wanted["web"])
    assert await members(services, shop.service_name, INVOKER) == {"user:an@acme.example"}
    assert await members(services, shop.service_name, VIEWER) == {"user:eve@acme.example"}  # not ours to say
    assert await is_there(place, password)  # the user is there too: nobody could make it again
    with pytest.raises(NotFound):
        await place.google(run_v2.JobsAsyncClient).get_job(name=shop.job_name("superuser"))
    assert await is_there(place, copy)  # the revision before is kept, and may start again
    assert await members(secrets, named_name, ACCESSOR) == runtime

    await shop.release(env=[{"name": "COLOUR", "value": "red"}], release={"keepRevisions": 1})
    assert not await is_there(place, copy)
    assert await members(secrets, named_name, ACCESSOR) == set()
    assert await is_there(place, named_name)  # somebody else's
    kept = {row["name"]: row["state"] for row in (await shop.status())["resources"]}
    assert kept[f"{project}/secrets/{place.google_id('shop', 'db-password-a')}"] == "Ready"

    await grant(services, shop.service_name, INVOKER, "allAuthenticatedUsers")  # drift, with nothing to release
    await place.annotate("shop", "nuages.dev/reconcile-at", "first")
    app = await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "first", "shop")
    assert await members(services, shop.service_name, INVOKER) == {"user:an@acme.example"}
    added = f"run.invoker on {id_} for allAuthenticatedUsers: added"
    assert added in app["status"]["drift"]["fields"]
    await place.told("shop", "DriftCorrected", added)

    asked = len(local.requests(place.namespace, "shop"))
    await place.annotate("shop", "nuages.dev/reconcile-at", "now")
    await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "now", "shop")
    fresh = local.requests(place.namespace, "shop")[asked:]
    assert [f"{r.method} {r.resource}" for r in fresh if local.is_write(r)] == []


async def test_an_identity_goes_once_no_revision_runs_as_it(place: World) -> None:
    """With its grants, which would stay in the policies as those of a deleted account; nobody else's are touched."""
    accounts, projects = place.google(IAMAsyncClient), place.google(ProjectsAsyncClient)
    project, own = f"projects/{place.site.project}", f"{place.namespace}-runner@{place.site.project}"
    email = f"{own}.iam.gserviceaccount.com"
    await accounts.create_service_account(name=project, account_id=f"{place.namespace}-runner")
    await place.patch("DjangoTenant", "default", {"spec": {"allow": {"serviceAccounts": [email]}}})
    blog = Deployment(place, "blog")
    await blog.release(image=await blog.image("v1"), release={"keepRevisions": 1})
    before = (await blog.service()).template.service_account
    member = f"serviceAccount:{before}"
    assert member in await members(projects, project, CLIENT)

    await blog.release(serviceAccount={"existing": email})
    assert (await blog.service()).template.service_account == email
    assert await accounts.get_service_account(name=f"{project}/serviceAccounts/{before}")  # the revision before has it
    assert member in await members(projects, project, CLIENT)

    await blog.release(env=[{"name": "COLOUR", "value": "red"}])
    with pytest.raises(NotFound):
        await accounts.get_service_account(name=f"{project}/serviceAccounts/{before}")
    clients = await members(projects, project, CLIENT)
    assert f"serviceAccount:{email}" in clients
    key = f"{project}/secrets/{place.google_id('blog', 'secret-key')}"
    readers = await members(place.google(SecretManagerServiceAsyncClient), key, ACCESSOR)
    assert readers == {f"serviceAccount:{email}"}
    assert [name for name in clients if before in name] == []


async def test_what_the_app_made_goes_with_its_use_or_with_the_app(place: World) -> None:
    """A vanished instance's password at once; a superuser's only with the app, though the spec has long lost it."""
    secrets, project = place.google(SecretManagerServiceAsyncClient), f"projects/{place.site.project}"
    wiki = Deployment(place, "wiki")
    superuser = {"username": "admin", "email": "admin@acme.example"}
    await wiki.release(image=await wiki.image("v1"), deletionPolicy="Delete", superuser=superuser)
    password = f"{project}/secrets/{place.google_id('wiki', 'superuser-password')}"
    labels = dict((await secrets.get_secret(name=password)).labels)
    id_ = f"nuages-admin-{place.google_id('wiki')}-0a1b2c"  # as of an earlier life's instance
    body = {"replication": {"automatic": {}}, "labels": labels}
    await secrets.create_secret(request={"parent": project, "secret_id": id_, "secret": body})
    await wiki.release(superuser=None)
    await place.annotate("wiki", "nuages.dev/reconcile-at", "now")
    app = await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "now", "wiki")
    assert not await is_there(place, f"{project}/secrets/{id_}")
    assert await is_there(place, password)
    assert {row["name"]: row["state"] for row in app["status"]["resources"]}[password] == "Retained"
    await place.delete("DjangoApp", "wiki")
    assert not await is_there(place, password)


async def test_somebodys_copy_is_not_touched(place: World) -> None:
    """Its labels are the original's: neither the living app nor its deletion takes it for one of the app's own."""
    secrets, project = place.google(SecretManagerServiceAsyncClient), f"projects/{place.site.project}"
    jobs = place.google(run_v2.JobsAsyncClient)
    docs = Deployment(place, "docs")
    await docs.release(image=await docs.image("v1"), deletionPolicy="Delete")
    key = await secrets.get_secret(name=f"{project}/secrets/{place.google_id('docs', 'secret-key')}")
    body = {"replication": {"automatic": {}}, "labels": dict(key.labels)}
    precious = f"{place.google_id('docs')}-precious"
    await secrets.create_secret(request={"parent": project, "secret_id": precious, "secret": body})
    original, copy = await jobs.get_job(name=docs.job_name("migrate")), f"{place.google_id('docs')}-report"
    job = run_v2.Job(template=original.template, labels=original.labels)
    place_of_jobs = original.name.rpartition("/jobs/")[0]
    await jobs.create_job(parent=place_of_jobs, job_id=copy, job=job)
    await place.annotate("docs", "nuages.dev/reconcile-at", "now")
    app = await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "now", "docs")
    assert precious not in {row["name"].rpartition("/")[2] for row in app["status"]["resources"]}
    assert await jobs.get_job(name=f"{place_of_jobs}/jobs/{copy}")
    await place.delete("DjangoApp", "docs")
    assert set(await left(place, place.google_id("docs"))) == {"secrets", "jobs"}
    await place.told("docs", "LeftAlone", f"Secret {precious}")
    await place.told("docs", "LeftAlone", f"Job {copy}")
    await jobs.delete_job(name=f"{place_of_jobs}/jobs/{copy}")
    await secrets.delete_secret(name=f"{project}/secrets/{precious}")
