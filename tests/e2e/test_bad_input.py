# ruff: noqa: E501 - sentences are tested whole, each on its line
"""Bad input: one sentence of field, cause and remedy, at admission or in Stalled; nothing is made, nothing is shown.

All cases are tried at once, each in a namespace of its own; each test then reads what came of one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from e2e_site import Site
from e2e_world import Refused, World, conditions, is_current, open_world
from google.cloud.iam_admin_v1 import IAMAsyncClient
from google.cloud.resourcemanager_v3 import ProjectsAsyncClient
from google.cloud.run_v2 import JobsAsyncClient, ServicesAsyncClient
from google.cloud.secretmanager_v1 import SecretManagerServiceAsyncClient
from google.cloud.sqladmin_v1 import SqlDatabasesServiceAsyncClient, SqlInstancesServiceAsyncClient
from google.cloud.storage import Client as StorageClient
from google.iam.v1 import policy_pb2

if TYPE_CHECKING:
    from e2e_local import LocalSite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad_input")]

PAYLOAD = "sk_live_no_eye_may_see_this"
STALLED_S = 60.0
NOWHERE = "registry.nowhere.invalid/apps/shop:v1"
STRANGER, POWERLESS, ASLEEP = "nuages-stranger", "nuages-powerless", "nuages-asleep"
CONTRACT = "SECRET_KEY, SECRET_KEY_FALLBACKS, DEBUG, ALLOWED_HOSTS, CSRF_TRUSTED_ORIGINS, CORS_ALLOWED_ORIGINS, DJANGO_SETTINGS_MODULE, CLOUDRUN_SERVICE_URLS, LOG_FORMAT, USE_REDIS, USE_GCP, GS_PROJECT_ID, GS_BUCKET_NAME, MEDIA_ROOT, STATIC_URL, GOOGLE_CLOUD_PROJECT, DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD, DATABASE_URL"
TAKEN = f"spec.env: Invalid value: Nuages sets one of these ({CONTRACT}) itself. Remove it, and use spec.django where that has a field for it, or rename ours by spec.django.envNames."
UNCHECKED = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
UNKNOWN = 'DjangoApp in version "v1alpha1" cannot be handled as a DjangoApp: strict decoding error: unknown field'

# The app's name, its spec besides the image, and what the API server says; "…" opens with the object's name.
ADMISSION: dict[str, tuple[str, dict[str, Any], str]] = {
    "number-for-string": ("shop", {"web": {"cpu": 1}}, f'… [spec.web.cpu: Invalid value: "integer": spec.web.cpu in body must be of type string: "integer", {UNCHECKED}]'),
    "string-for-number": ("shop", {"web": {"port": "80"}}, f'… [spec.web.port: Invalid value: "string": spec.web.port in body must be of type integer: "string", {UNCHECKED}]'),
    "no-such-choice": ("shop", {"web": {"access": "Everyone"}}, f'… [spec.web.access: Unsupported value: "Everyone": supported values: "Public", "Authenticated", {UNCHECKED}]'),
    "unknown-field": ("shop", {"web": {"replicas": 3}}, f'{UNKNOWN} "spec.web.replicas"'),
    "map-for-list": ("shop", {"env": {"A": "b"}}, f'{UNKNOWN} "spec.env.A"'),
    "name-with-dot": ("shop.eu", {}, "… metadata.name: Invalid value: Is no DNS label. Begin with a small letter, then small letters, digits and - between them."),
    "name-too-long": ("a" * 41, {}, "… metadata.name: Invalid value: Is too long for Google's names. Use at most 40 characters."),
    "image-without-tag": ("shop", {"image": "gcr.io/acme/shop"}, '… spec.image: Invalid value: "gcr.io/acme/shop": Names neither a tag nor a digest. Add one, such as :v4; a tag is resolved and pinned to its digest.'),
    "env-of-ours": ("shop", {"env": [{"name": "SECRET_KEY", "value": "x"}]}, f"… {TAKEN}"),
    "env-of-cloud-run": ("shop", {"env": [{"name": "PORT", "value": "x"}]}, '… spec.env[0].name: Invalid value: "PORT": Cloud Run sets this name itself. Choose another.'),
    "env-renamed": ("shop", {"django": {"envNames": {"DB_HOST": "PGHOST"}}, "env": [{"name": "PGHOST", "value": "x"}]}, f"… {TAKEN}"),
    "envnames-of-cloud-run": ("shop", {"django": {"envNames": {"DB_HOST": "K_SERVICE"}}}, '… spec.django.envNames[DB_HOST]: Invalid value: "K_SERVICE": Cloud Run sets this name itself. Choose another.'),
    "envnames-twice": ("shop", {"django": {"envNames": {"DB_HOST": "SECRET_KEY"}}}, "… spec.django.envNames: Invalid value: Two variables would bear the same name. Give each its own."),
    "media-is-root": ("shop", {"storage": {"media": {"mountPath": "/"}}}, '… spec.storage.media.mountPath: Invalid value: "/": Is no folder. Give an absolute path below /, without .. and without / at its end, or "" for no mount.'),
    "media-is-system": ("shop", {"storage": {"media": {"mountPath": "/usr/lib"}}}, '… spec.storage.media.mountPath: Invalid value: "/usr/lib": A mount there hides files of the system. Use a folder of the app, such as /app/media.'),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is applied, and what Stalled is to say; `tenant` is None for the operator's default."""

    reason: str
    message: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    tenant: Mapping[str, Any] | None = None
    objects: tuple[Mapping[str, Any], ...] = ()
    makes_nothing: bool = True
    others_secret: str = ""  # that somebody else made in Secret Manager


def _named(kind: str, name: str, **data: str) -> dict[str, Any]:
    key = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, key: data}


FROM_SECRET = {"env": [{"name": "STRIPE_KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}]}
FROM_MAP = {"envFrom": [{"configMap": {"name": "shop-env"}}]}
EXISTING = {"database": {"instance": {"existing": "acme-pg"}}}

CASES = {
    "tag-absent": Case("ImageNotFound", 'spec.image: {image}9 is not in its registry. Push it or correct the tag. It says: "Failed to fetch "v19"".', {"image": "{image}9"}),
    "registry-nowhere": Case("ImageUnreachable", f'spec.image: no connection to the registry of {NOWHERE}. Correct the name, or open the operator\'s way to it. It says: "registry.nowhere.invalid does not answer: the proxy found no way to it (502 Bad Gateway)".', {"image": NOWHERE}),
    "repository-denied": Case("ImageUnreachable", f'spec.image: the registry of {{region}}-docker.pkg.dev/{STRANGER}/apps/shop:v1 refused the operator. Grant it roles/artifactregistry.reader, or correct the name. It says: "Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/{STRANGER}/locations/{{region}}/repositories/apps" (or it may not exist)".', {"image": f"{{region}}-docker.pkg.dev/{STRANGER}/apps/shop:v1"}),
    "instance-absent": Case("InstanceNotFound", "spec.database.instance.existing: instance acme-pg is not in project {project}. Create it or correct the name.", EXISTING, {"allow": {"instances": ["*"]}}),
    "instance-of-tenant-absent": Case("InstanceNotFound", "DjangoTenant spec.database.existing: instance acme-pg is not in project {project}. Create it or correct the name.", {}, {"database": {"existing": "acme-pg"}}),
    "project-denied": Case("PermissionDenied", f'DjangoTenant spec.project: {{operator}} lacks resourcemanager.projects.get in {STRANGER}, or there is no such project. Grant it the roles of an operator there, or correct the id. Google says: "The caller does not have permission".', {}, {"project": STRANGER}),
    "project-absent": Case("PermissionDenied", 'DjangoTenant spec.project: {operator} lacks resourcemanager.projects.get in nuages-nosuch, or there is no such project. Grant it the roles of an operator there, or correct the id. Google says: "The caller does not have permission".', {}, {"project": "nuages-nosuch"}),
    "role-missing": Case("PermissionDenied", f"DjangoTenant spec.project: {{operator}} lacks iam.serviceAccounts.actAs, run.jobs.create, run.jobs.run, run.services.create in {POWERLESS}. Grant it roles/iam.serviceAccountUser, roles/run.admin.", {}, {"project": POWERLESS}),
    "impersonation-denied": Case("PermissionDenied", 'DjangoTenant spec.impersonateServiceAccount: somebody@{project}.iam.gserviceaccount.com: the operator\'s identity lacks iam.serviceAccounts.getAccessToken. Grant it roles/iam.serviceAccountTokenCreator. Google says: "The service account somebody@{project}.iam.gserviceaccount.com cannot be impersonated, or is not there".', {}, {"impersonateServiceAccount": "somebody@{project}.iam.gserviceaccount.com"}),
    "api-disabled": Case("ApiDisabled", 'Service {namespace}-shop: the API run.googleapis.com is disabled. Set enableServices in DjangoTenant, or run: gcloud services enable run.googleapis.com. Google says: "Cloud Run Admin API has not been used in project {asleep} before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/run.googleapis.com/overview?project={asleep} then retry. …".', {}, {"project": ASLEEP, "enableServices": False}),
    "secret-absent": Case("SecretMissing", "spec.env[0].kubernetesSecret: there is no Secret stripe in namespace {namespace}. Create it or correct the name.", FROM_SECRET),
    "secret-without-key": Case("SecretKeyMissing", 'spec.env[0].kubernetesSecret: stripe has no key "key". Add it or name another.', FROM_SECRET, None, (_named("Secret", "stripe", other=PAYLOAD),)),
    "secret-empty": Case("SecretUnusable", 'spec.env[0].kubernetesSecret: key "key" of stripe is empty. Put another value in.', FROM_SECRET, None, (_named("Secret", "stripe", key="", other=PAYLOAD),)),
    "google-secret-absent": Case("SecretMissing", "spec.env[0].secret: secret stripe is not in Secret Manager of project {project}. Create it or correct the name.", {"env": [{"name": "A", "secret": {"name": "stripe", "version": "3"}}]}, {"allow": {"secrets": ["stripe"]}}),
    "account-absent": Case("ServiceAccountNotFound", "spec.serviceAccount.existing: nobody@{project}.iam.gserviceaccount.com is not in project {project}. Create it or correct the address.", {"serviceAccount": {"existing": "nobody@{project}.iam.gserviceaccount.com"}}, {"allow": {"serviceAccounts": ["**"]}}),
    "configmap-absent": Case("ConfigMapMissing", "spec.envFrom[0].configMap: there is no ConfigMap shop-env in namespace {namespace}. Create it or correct the name.", FROM_MAP),
    "configmap-of-cloud-run": Case("ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "PORT". Cloud Run sets this name itself. Choose another.', FROM_MAP, None, (_named("ConfigMap", "shop-env", PORT="80"),)),
    "configmap-of-files": Case("ConfigMapInvalid", 'spec.envFrom[0].configMap: shop-env has the key "app.ini", which is no environment variable name. Begin with a letter or _, then letters, digits and _.', FROM_MAP, None, (_named("ConfigMap", "shop-env", **{"app.ini": "x"}),)),
    "media-is-image": Case("MountHidesImage", "spec.storage.media.mountPath: /app would hide the image's working directory /app. Use a folder below it, such as /app/media.", {"storage": {"media": {"mountPath": "/app"}}}),
    "media-above-image": Case("MountHidesImage", "spec.storage.media.mountPath: /srv/acme would hide the image's working directory /srv/acme/site. Use a folder below it, such as /srv/acme/site/media.", {"image": "{deep}", "storage": {"media": {"mountPath": "/srv/acme"}}}),
    "name-taken": Case("NameConflict", 'metadata.name: Secret {namespace}-shop-secret-key is not ours: it bears no marker of ours. Read "nuages plan", then annotate nuages.dev/adopt: "true", or rename.', others_secret="{namespace}-shop-secret-key"),
    "name-of-password-taken": Case("NameConflict", 'metadata.name: Secret {namespace}-shop-superuser-password is not ours: it bears no marker of ours. Read "nuages plan", then annotate nuages.dev/adopt: "true", or rename.', {"superuser": {"username": "admin", "email": "admin@acme.example"}}, others_secret="{namespace}-shop-superuser-password"),
    "image-not-allowed": Case("NotAllowed", "spec.image: The tenant does not allow image {image}. Name another, or add it to DjangoTenant spec.allow.images.", {}, {"allow": {"images": ["gcr.io/**"]}}),
    "instance-not-allowed": Case("NotAllowed", "spec.database.instance.existing: The operator's default tenant does not allow instance acme-pg. Name another, or create a DjangoTenant in namespace {namespace} with spec.allow.instances: [acme-pg].", EXISTING),
    "over-budget": Case("ConnectionBudgetExceeded", "spec.web.maxInstances: 2 revisions of 30 instances with 8 connections each exceed {namespace}-shop-{uid6}'s 100. Use at most 5, or raise max_connections in spec.database.instance.create.flags.", {"web": {"maxInstances": 30}}),
    "extension-absent": Case("ExtensionNotAvailable", "spec.database.extensions: pg_trigram is not available on this instance. Use pg_trgm for pg_trigram. Log: {log}", {"database": {"extensions": ["pg_trigram"]}}, makes_nothing=False),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a case: the app once it stalled, and what was left at Google by then."""

    world: World
    app: dict[str, Any]
    message: str  # as it should be
    writes: list[str]
    made: list[str]


@dataclass(frozen=True)
class Trials:
    """All cases, under way at once."""

    local: LocalSite
    admission: World
    outcomes: Mapping[str, asyncio.Task[Outcome]]


def an_app(spec: Mapping[str, Any], name: str = "shop") -> dict[str, Any]:
    return {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp", "metadata": {"name": name}, "spec": dict(spec)}


def filled(template: Any, values: Mapping[str, str]) -> Any:
    """Each {name} replaced by its value, in all strings."""
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(item, values) for item in template]
    if not isinstance(template, str):
        return template
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], template)


async def make_project(world: World, project: str, member: str, roles: list[str]) -> str:
    """The number of a new project, in which the member has the roles."""
    projects = world.google(ProjectsAsyncClient)
    creation = await projects.create_project(request={"project": {"project_id": project}})
    made = await creation.result()  # type: ignore[no-untyped-call]
    policy = await projects.get_iam_policy(request={"resource": f"projects/{project}"})
    policy.bindings.extend(policy_pb2.Binding(role=role, members=[member]) for role in roles)
    await projects.set_iam_policy(request={"resource": f"projects/{project}", "policy": policy})
    return str(made.name.rsplit("/", 1)[1])


async def make_image(local: LocalSite, folder: Any, workdir: str) -> str:
    """An image that nobody will run."""
    from localcloud.runtime.images import ImageConfig

    name = f"{local.region}-docker.pkg.dev/{local.project}/apps/deep"
    (folder / "hello.txt").write_text("hello")

    async def put() -> None:
        images = local.cloud.runtime.images
        images.tag(name, "v1", await images.put(ImageConfig(cmd=("hello",), workdir=workdir), folder, {}))

    await local.call(put())
    return f"{name}:v1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trials(
    site: Site, local: LocalSite, google_environment: None, tmp_path_factory: Any
) -> AsyncIterator[Trials]:
    """The projects that the cases need, then all cases."""
    from localcloud import operator

    email = local.installation.email
    member, roles = f"serviceAccount:{email}", operator.roles()
    powerless = [role for role in roles if role not in ("roles/run.admin", "roles/iam.serviceAccountUser")]
    async with AsyncExitStack() as stack:
        run = uuid.uuid4().hex[:4]
        admission = await stack.enter_async_context(open_world(site, f"bad-{run}"))
        await make_project(admission, STRANGER, member, [])
        await make_project(admission, POWERLESS, member, powerless)
        values = {
            "asleep": await make_project(admission, ASLEEP, member, roles),
            "deep": await make_image(local, tmp_path_factory.mktemp("deep"), "/srv/acme/site"),
            "image": await site.image("shop", "v1"),
            "operator": email,
            "project": site.project,
            "region": site.region,
        }
        worlds = [await stack.enter_async_context(open_world(site, f"bad-{run}-{n}")) for n in range(len(CASES))]
        tried = {
            name: asyncio.create_task(attempt(local, world, case, values))
            for world, (name, case) in zip(worlds, CASES.items(), strict=True)
        }
        yield Trials(local, admission, tried)
        await asyncio.gather(*tried.values(), return_exceptions=True)


async def attempt(local: LocalSite, world: World, case: Case, values: Mapping[str, str]) -> Outcome:
    """Apply, wait for Stalled, look what was made."""
    known = {**values, "namespace": world.namespace}
    for manifest in case.objects:
        await world.apply(manifest)
    if case.others_secret:
        theirs = {"parent": f"projects/{known['project']}", "secret_id": filled(case.others_secret, known)}
        secrets = world.google(SecretManagerServiceAsyncClient)
        await secrets.create_secret(request={**theirs, "secret": {"replication": {"automatic": {}}}})
    if case.tenant is not None:
        spec = {"project": known["project"], "region": known["region"], **filled(case.tenant, known)}
        tenant = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoTenant", "metadata": {"name": "default"}}
        await world.apply({**tenant, "spec": spec})
    await world.create(an_app({"image": known["image"], **filled(case.spec, known)}))
    app = await world.wait("shop", "Stalled", reason=case.reason, timeout=STALLED_S)
    said = conditions(app)["Stalled"]["message"]
    known["uid6"] = hashlib.sha256(app["metadata"]["uid"].encode()).hexdigest()[:6]
    known["log"] = said.rpartition(" Log: ")[2]
    writes = [f"{r.method} {r.resource}" for r in local.requests(world.namespace, "shop") if changes(r)]
    of_others = f"/{filled(case.others_secret, known)}"  # "/" ends no name
    made = [name for name in await made_for(world) if not name.endswith(of_others)]
    return Outcome(world, app, filled(case.message, known), writes, made)


def changes(request: Any) -> bool:
    """Whether a request to Google was one that changes something."""
    from e2e_local import LocalSite

    return LocalSite.is_write(request) and "/GET " not in request.method


async def made_for(world: World) -> list[str]:
    """Everything in the project that bears the namespace's name, as the owner's clients list it."""
    project, place = world.site.project, f"projects/{world.site.project}/locations/{world.site.region}"
    secrets = await world.google(SecretManagerServiceAsyncClient).list_secrets(parent=f"projects/{project}")
    accounts = await world.google(IAMAsyncClient).list_service_accounts(name=f"projects/{project}")
    instances = await world.google(SqlInstancesServiceAsyncClient).list(request={"project": project})
    found = [item.name async for item in secrets] + [item.name for item in accounts.accounts]
    found += [item.name for item in instances.items]
    found += [item.name async for item in await world.google(ServicesAsyncClient).list_services(parent=place)]
    found += [item.name async for item in await world.google(JobsAsyncClient).list_jobs(parent=place)]

    def buckets() -> list[str]:
        return [
            item.name for item in StorageClient(project=project, credentials=world.site.credentials()).list_buckets()
        ]

    found += await asyncio.to_thread(buckets)
    return [name for name in found if re.search(rf"\b{world.namespace}-(shop|-dbinit)", name)]


@pytest.mark.parametrize("case", ADMISSION)
async def test_what_admission_can_know_is_refused_there(trials: Trials, case: str) -> None:
    """In the API server's words, or ours behind its own; nothing is stored."""
    name, spec, message = ADMISSION[case]
    with pytest.raises(Refused) as refused:
        await trials.admission.create(an_app({"image": "gcr.io/acme/shop:v1", **spec}, name))
    assert str(refused.value) == message.replace("…", f'DjangoApp.nuages.dev "{name}" is invalid:', 1)
    assert await trials.admission.get("DjangoApp", name) is None


@pytest.mark.parametrize("case", CASES)
async def test_what_only_the_operator_can_know_stalls(trials: Trials, case: str) -> None:
    """One sentence in Stalled, in Ready and in an event; nothing was made."""
    outcome = await trials.outcomes[case]
    found = conditions(outcome.app)
    assert found["Stalled"]["message"] == outcome.message
    assert (found["Ready"]["status"], found["Ready"]["message"]) == ("False", outcome.message)
    assert "Reconciling" not in found
    assert await event_of(outcome.world, CASES[case].reason) == outcome.message
    if CASES[case].makes_nothing:
        assert (outcome.writes, outcome.made) == ([], [])


async def event_of(world: World, reason: str) -> str:
    """The text of the one event with this reason; it follows the status."""
    deadline = time.monotonic() + STALLED_S
    while not (found := [text for name, text in await world.events("shop") if name == reason]):
        assert time.monotonic() < deadline, f"{world.namespace}: no event {reason}"
        await asyncio.sleep(0.1)
    assert len(found) == 1
    return found[0]


async def test_an_extension_is_looked_for_before_anything_is_made_inside(trials: Trials) -> None:
    """The instance is there, without the app's database, and without a service; corrected, the app goes on to Ready."""
    outcome = await trials.outcomes["extension-absent"]
    world = outcome.world
    (instance,) = (name for name in outcome.made if re.fullmatch(rf"{world.namespace}-shop-[0-9a-f]{{6}}", name))
    request = {"project": world.site.project, "instance": instance}
    databases = await world.google(SqlDatabasesServiceAsyncClient).list(request=request)
    assert [item.name for item in databases.items] == ["postgres"]
    assert not [name for name in outcome.made if "/services/" in name or name.endswith("-migrate")]
    await world.patch("DjangoApp", "shop", {"spec": {"database": {"extensions": ["pg_trgm"]}}})
    app = await world.wait("shop")
    assert app["status"]["database"]["instance"] == instance


async def test_what_made_nothing_goes_without_google(trials: Trials) -> None:
    """An app that stalled on a project out of reach bears no finalizer of ours, and can be deleted."""
    outcome = await trials.outcomes["project-denied"]
    assert outcome.app["metadata"].get("finalizers", []) == []
    await outcome.world.delete("DjangoApp", "shop", timeout=10)


async def test_a_mended_app_goes_on_and_keeps_serving_when_it_is_spoilt(trials: Trials) -> None:
    """A Secret that comes later is noticed; a bad update changes nothing; no eye sees the payload."""
    world = (await trials.outcomes["secret-absent"]).world
    await world.apply(_named("Secret", "stripe", key=PAYLOAD))
    before = await world.wait("shop")
    good, browser = before["spec"]["image"], await world.browser(before)
    for spec in ({"image": f"{good}9"}, {"image": good, "storage": {"media": {"mountPath": "/app"}}}):
        await world.patch("DjangoApp", "shop", {"spec": spec})
        spoilt = await world.until(lambda app: is_current(app) and "Stalled" in conditions(app), "shop")
        assert (await browser.get("/")).status == 200
        for kept in ("url", "revision", "traffic"):
            assert spoilt["status"][kept] == before["status"][kept]
    await world.patch("DjangoApp", "shop", {"spec": {"storage": None}})
    after = await world.wait("shop")
    assert after["status"]["revision"] == before["status"]["revision"]
    await find_nothing(trials, world)


async def find_nothing(trials: Trials, world: World) -> None:
    """The payload is in the Secret and in Secret Manager alone."""
    services, jobs = world.google(ServicesAsyncClient), world.google(JobsAsyncClient)
    place = f"projects/{world.site.project}/locations/{world.site.region}"
    kinds = "djangoapps,djangotenants,configmaps,events,leases"
    seen = {
        "cluster": await asyncio.to_thread(world.kubectl, "get", kinds, "-A", "-o", "json", "--show-managed-fields"),
        "operator": (trials.local.cloud.folder.path / "operator.log").read_text(),
        "services": str([item async for item in await services.list_services(parent=place)]),
        "jobs": str([item async for item in await jobs.list_jobs(parent=place)]),
        "logs": json.dumps(list(trials.local.cloud.runtime.logs.entries()), default=str),
    }
    assert world.namespace in seen["cluster"]
    for where, text in seen.items():
        for form in (PAYLOAD, base64.b64encode(PAYLOAD.encode()).decode()):
            assert form not in text, where


async def test_no_stack_trace_is_shown(trials: Trials) -> None:
    """Neither in the operator's log, nor in a status or an event."""
    await asyncio.gather(*trials.outcomes.values(), return_exceptions=True)
    log = (trials.local.cloud.folder.path / "operator.log").read_text()
    shown = await asyncio.to_thread(trials.admission.kubectl, "get", "djangoapps,events", "-A", "-o", "json")
    for text in (log, shown):
        assert "Traceback" not in text
        assert "InternalError" not in text
        assert " object at 0x" not in text
