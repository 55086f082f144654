"""Cloud Run's v1 API (Knative's): the same services, revisions, jobs and executions as v2 has."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.cloud import run_v2
from google.iam.v1 import policy_pb2
from knative_support import GLOBAL, IMAGE, REGIONAL, RUN, SERVING, V1, job_body, service_body, shop
from run_support import NUMBER, PARENT, finished

from localcloud.localcloud import LocalCloud

ACCOUNT = f"{NUMBER}-compute@developer.gserviceaccount.com"


@pytest.fixture
async def v1(simulated: LocalCloud) -> AsyncIterator[V1]:
    async with aiohttp.ClientSession() as session:
        yield V1(session, simulated.rest)


@pytest.fixture
async def services(simulated: LocalCloud, clients: Any) -> Any:
    return clients(run_v2.ServicesAsyncClient)


@pytest.fixture
async def jobs(simulated: LocalCloud, clients: Any) -> Any:
    return clients(run_v2.JobsAsyncClient)


async def test_a_service_of_v2_is_shown_as_knative_does(v1: V1, services: Any) -> None:
    """System fields are annotations and labels, a database is an annotation, a bucket a CSI volume."""
    await finished(await services.create_service(shop()))
    shown = await v1("GET", f"{SERVING}/services/shop")
    metadata, template = shown["metadata"], shown["spec"]["template"]
    assert (metadata["namespace"], metadata["labels"]["cloud.googleapis.com/location"]) == (NUMBER, "europe-west1")
    assert metadata["annotations"]["run.googleapis.com/ingress"] == "all"
    assert metadata["annotations"]["run.googleapis.com/invoker-iam-disabled"] == "true"
    assert metadata["annotations"]["run.googleapis.com/description"] == "A shop"
    assert template["metadata"]["annotations"] == {
        "autoscaling.knative.dev/minScale": "1",
        "autoscaling.knative.dev/maxScale": "3",
        "run.googleapis.com/cloudsql-instances": "demo:europe-west1:pg",
        "run.googleapis.com/cpu-throttling": "false",
        "run.googleapis.com/startup-cpu-boost": "true",
    }
    container = template["spec"]["containers"][0]
    assert container["env"] == [
        {"name": "DEBUG", "value": "false"},
        {"name": "EMPTY", "value": ""},
        {"name": "SECRET_KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "2"}}},
    ]
    assert container["volumeMounts"] == [{"name": "media", "mountPath": "/srv/media"}]
    attributes = {"bucketName": "media", "mountOptions": "uid=2000"}
    csi = {"driver": "gcsfuse.run.googleapis.com", "volumeAttributes": attributes}
    assert template["spec"]["volumes"] == [{"name": "media", "csi": csi}]
    status = shown["status"]
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [
        ("Ready", "True"),
        ("ConfigurationsReady", "True"),
        ("RoutesReady", "True"),
    ]
    latest = status["latestReadyRevisionName"]
    assert status["traffic"] == [{"latestRevision": True, "percent": 100, "revisionName": latest}]
    urls = json.loads(metadata["annotations"]["run.googleapis.com/urls"])
    assert urls[0] == f"https://shop-{NUMBER}.europe-west1.run.app"
    assert status["url"] == urls[1]


async def test_what_was_read_may_be_sent_back(v1: V1, services: Any) -> None:
    """Moving traffic that way makes no revision, and loses nothing that v1 has no field for."""
    await finished(await services.create_service(shop()))
    before = await services.get_service(name=f"{PARENT}/services/shop")
    shown = await v1("GET", f"{SERVING}/services/shop")
    shown["spec"]["traffic"] = [
        {"latestRevision": True, "percent": 100},
        {"revisionName": shown["status"]["latestReadyRevisionName"], "tag": "blue"},
    ]
    await v1("PUT", f"{SERVING}/services/shop", shown)
    after = await v1.ready(f"{SERVING}/services/shop")
    assert after["status"]["traffic"][1]["url"].startswith("https://blue---shop-")
    now = await services.get_service(name=before.name)
    assert (now.template, now.latest_created_revision) == (before.template, before.latest_created_revision)
    assert now.invoker_iam_disabled
    assert now.labels == {"team": "web"}


async def test_a_service_made_by_v1_has_the_fields_of_v2(v1: V1, services: Any) -> None:
    """Each annotation stands for its field, as gcloud writes them."""
    body = service_body(
        name="shop-one",
        labels={"client.knative.dev/nonce": "abc"},
        annotations={
            "autoscaling.knative.dev/maxScale": "4",
            "run.googleapis.com/client-name": "gcloud",
            "run.googleapis.com/cloudsql-instances": "demo:europe-west1:pg,demo:europe-west1:other",
            "run.googleapis.com/cpu-throttling": "False",
            "run.googleapis.com/execution-environment": "gen2",
            "run.googleapis.com/network-interfaces": '[{"network":"default","subnetwork":"apps"}]',
            "run.googleapis.com/vpc-access-egress": "all",
        },
        metadata={
            "annotations": {"run.googleapis.com/ingress": "internal", "run.googleapis.com/client-name": "gcloud"}
        },
        spec={
            "containerConcurrency": 20,
            "timeoutSeconds": 100,
            "nodeSelector": {},
            "volumes": [{"name": "s", "secret": {"secretName": "key", "items": [{"key": "latest", "path": "x"}]}}],
            "containers": [
                {
                    "image": IMAGE,
                    "name": "",
                    "env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "key", "key": "1"}}}],
                    "resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {}},
                    "startupProbe": {"httpGet": {"path": "/up"}, "successThreshold": 1},
                    "volumeMounts": [{"name": "s", "mountPath": "/secrets"}],
                }
            ],
        },
    )
    body["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}, {"revisionName": "shop-one", "tag": "blue"}]
    made = await v1("POST", f"{SERVING}/services", body)
    assert made["status"]["conditions"][0]["status"] == "Unknown"
    await v1.ready(f"{SERVING}/services/shop")
    service = await services.get_service(name=f"{PARENT}/services/shop")
    template, container = service.template, service.template.containers[0]
    assert (service.client, service.ingress) == ("gcloud", run_v2.IngressTraffic.INGRESS_TRAFFIC_INTERNAL_ONLY)
    assert (template.revision, template.labels) == ("shop-one", {"client.knative.dev/nonce": "abc"})
    assert template.scaling.max_instance_count == 4
    assert template.max_instance_request_concurrency == 20
    assert template.timeout.total_seconds() == 100
    assert template.execution_environment == run_v2.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2
    assert template.vpc_access.network_interfaces[0].subnetwork == "apps"
    assert template.vpc_access.egress == run_v2.VpcAccess.VpcEgress.ALL_TRAFFIC
    assert container.env[0].value_source.secret_key_ref == run_v2.SecretKeySelector(secret="key", version="1")
    assert not container.resources.cpu_idle
    assert container.resources.limits["memory"] == "1Gi"
    assert container.startup_probe.http_get.path == "/up"
    assert [(mount.name, mount.mount_path) for mount in container.volume_mounts] == [
        ("s", "/secrets"),
        ("cloudsql", "/cloudsql"),
    ]
    assert template.volumes[0].secret.items[0].version == "latest"
    assert len(template.volumes[1].cloud_sql_instance.instances) == 2
    assert [target.tag for target in service.traffic] == ["", "blue"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"annotations": {"run.googleapis.com/base-images": "{}"}}, "annotation run.googleapis.com/base-images"),
        ({"spec": {"nodeSelector": {"run.googleapis.com/accelerator": "l4"}}}, "spec.template.spec.nodeSelector"),
        ({"spec": {"containers": [{"image": IMAGE, "resources": {"requests": {"cpu": "1"}}}]}}, "resources.requests"),
    ],
)
async def test_what_is_not_modelled_is_refused_by_name(v1: V1, change: dict[str, Any], named: str) -> None:
    """And nothing is made."""
    answer = await v1("POST", f"{SERVING}/services", service_body(**change), status=501)
    assert f"localcloud does not model {named}" in answer["error"]["message"].replace("the annotation", "annotation")
    assert (await v1("GET", f"{SERVING}/services"))["items"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"containers": [{"image": IMAGE, "envFrom": [{}]}]}}, 'no field named "envFrom"'),
        ({"annotations": {"autoscaling.knative.dev/maxScale": "many"}}, "[autoscaling.knative.dev/maxScale]"),
        ({"annotations": {"run.googleapis.com/cpu-throttling": "maybe"}}, "[run.googleapis.com/cpu-throttling]"),
        ({"metadata": {"namespace": "other"}}, "metadata.namespace: 'other'"),
        ({"spec": {"containers": []}}, "containers"),
        ({"spec": {"containers": ["shop"]}}, "Invalid JSON payload received."),
    ],
)
async def test_a_bad_body_is_an_invalid_argument(v1: V1, change: dict[str, Any], message: str) -> None:
    """The field is named."""
    answer = await v1("POST", f"{SERVING}/services", service_body(**change), status=400)
    assert message in answer["error"]["message"]


async def test_an_object_that_changed_meanwhile_is_not_replaced(v1: V1, services: Any) -> None:
    """resourceVersion is what etag is in v2."""
    await finished(await services.create_service(shop()))
    old = await v1("GET", f"{SERVING}/services/shop")
    await v1("PUT", f"{SERVING}/services/shop", old)
    answer = await v1("PUT", f"{SERVING}/services/shop", old, status=409)
    assert answer["error"]["message"].startswith("Conflict for resource 'shop': version ")


async def test_dry_run_validates_and_makes_nothing(v1: V1) -> None:
    """As v2's validateOnly."""
    shown = await v1("POST", f"{SERVING}/services", service_body(), dryRun="all")
    assert shown["spec"]["template"]["spec"]["containerConcurrency"] == 80
    await v1("GET", f"{SERVING}/services/shop", status=404)


async def test_revisions_configuration_and_route_belong_to_the_service(v1: V1, services: Any) -> None:
    """Selected by label; only what can get requests is active."""
    await finished(await services.create_service(shop()))
    await finished(await services.create_service(shop(name="other")))
    shown = await v1("GET", f"{SERVING}/services/shop")
    shown["spec"]["template"]["spec"]["timeoutSeconds"] = 60
    await v1("PUT", f"{SERVING}/services/shop", shown)
    service = await v1.ready(f"{SERVING}/services/shop")
    selector = "serving.knative.dev/service = shop"
    revisions = (await v1("GET", f"{SERVING}/revisions", labelSelector=selector))["items"]
    active = [next(c["status"] for c in r["status"]["conditions"] if c["type"] == "Active") for r in revisions]
    assert active == ["True", "False"]
    assert revisions[0]["spec"]["timeoutSeconds"] == 60
    one = await v1("GET", f"{SERVING}/revisions/{revisions[1]['metadata']['name']}")
    assert one["metadata"]["labels"]["serving.knative.dev/service"] == "shop"
    configuration = await v1("GET", f"{SERVING}/configurations/shop")
    assert configuration["status"]["latestReadyRevisionName"] == revisions[0]["metadata"]["name"]
    route = await v1("GET", f"{SERVING}/routes/shop")
    assert route["status"]["traffic"] == service["status"]["traffic"]
    assert len((await v1("GET", f"{SERVING}/revisions"))["items"]) == 3
    await v1("DELETE", f"{SERVING}/revisions/{revisions[0]['metadata']['name']}", status=400)
    await v1("DELETE", f"{SERVING}/revisions/{revisions[1]['metadata']['name']}")
    await v1.gone(f"{SERVING}/revisions/{revisions[1]['metadata']['name']}")


async def test_regional_names_have_their_region_and_the_global_one_all(v1: V1, services: Any) -> None:
    """A single resource needs a region."""
    await finished(await services.create_service(shop()))
    await finished(await services.create_service(shop("us-east1", "far")))
    here = await v1("GET", f"{SERVING}/services")
    assert [item["metadata"]["name"] for item in here["items"]] == ["shop"]
    for path in (f"{SERVING}/services", "/v1/projects/demo/locations/-/services"):
        assert len((await v1("GET", path, host=GLOBAL))["items"]) == 2
    far = await v1("GET", f"/v1/projects/{NUMBER}/locations/us-east1/services/far", host=GLOBAL)
    assert far["metadata"]["labels"]["cloud.googleapis.com/location"] == "us-east1"
    answer = await v1("GET", f"{SERVING}/services/shop", host=GLOBAL, status=400)
    assert "REGION-run.googleapis.com" in answer["error"]["message"]
    regions = await v1("GET", "/v1/projects/demo/locations", host=GLOBAL)
    assert "europe-west1" in [region["locationId"] for region in regions["locations"]]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("team=web", ["shop", "other"]),
        ("team==web,cloud.googleapis.com/location in (europe-west1, us-east1)", ["shop", "other"]),
        ("team!=web", []),
        ("team notin (api)", ["shop", "other"]),
        ("!team", []),
        ("team", ["shop", "other"]),
    ],
)
async def test_lists_take_label_selectors(v1: V1, services: Any, selector: str, names: list[str]) -> None:
    """Kubernetes' grammar."""
    for name in ("shop", "other"):
        await finished(await services.create_service(shop(name=name)))
    found = await v1("GET", f"{SERVING}/services", labelSelector=selector)
    assert [item["metadata"]["name"] for item in found["items"]] == names


async def test_lists_have_pages(v1: V1, services: Any) -> None:
    """limit and continue, until nothing is left; what cannot be read is refused."""
    for name in ("shop", "other"):
        await finished(await services.create_service(shop(name=name)))
    first = await v1("GET", f"{SERVING}/services", limit="1")
    rest = await v1("GET", f"{SERVING}/services", limit="1", **{"continue": first["metadata"]["continue"]})
    assert [page["items"][0]["metadata"]["name"] for page in (first, rest)] == ["shop", "other"]
    assert rest["metadata"] == {}
    await v1("GET", f"{SERVING}/services", limit="many", status=400)
    await v1("GET", f"{SERVING}/services", labelSelector="a in (", status=400)


async def test_jobs_run_with_overrides_and_tell_of_their_tasks(v1: V1, jobs: Any) -> None:
    """`:run` answers with the execution; its tasks carry the label that gcloud selects by."""
    await v1("POST", f"{RUN}/jobs", job_body())
    job = await v1.ready(f"{RUN}/jobs/migrate")
    task = job["spec"]["template"]["spec"]["template"]["spec"]
    assert (task["maxRetries"], task["timeoutSeconds"]) == (0, "90")
    overrides = {
        "containerOverrides": [{"args": ["migrate"], "env": [{"name": "A", "value": "1"}]}],
        "taskCount": 3,
        "timeoutSeconds": 60,
    }
    execution = await v1("POST", f"{RUN}/jobs/migrate:run", {"overrides": overrides})
    name = execution["metadata"]["name"]
    assert execution["metadata"]["labels"]["run.googleapis.com/job"] == "migrate"
    done = await v1.ready(f"{RUN}/executions/{name}")
    spec = done["spec"]["template"]["spec"]
    assert (spec["timeoutSeconds"], spec["containers"][0]["args"]) == ("60", ["migrate"])
    assert (done["spec"]["taskCount"], done["status"]["succeededCount"]) == (3, 3)
    selector = f"run.googleapis.com/execution = {name},run.googleapis.com/runningState in (Succeeded)"
    tasks = (await v1("GET", f"{RUN}/tasks", labelSelector=selector))["items"]
    assert [task["status"]["index"] for task in tasks] == [0, 1, 2]
    assert (await v1("GET", f"{RUN}/tasks/{name}-task1"))["status"]["conditions"][0]["type"] == "Completed"
    job = await v1("GET", f"{RUN}/jobs/migrate")
    assert job["status"]["executionCount"] == 1
    assert job["status"]["latestCreatedExecution"]["completionStatus"] == "EXECUTION_SUCCEEDED"
    assert (await jobs.get_job(name=f"{PARENT}/jobs/migrate")).template.template.max_retries == 0
    await v1("DELETE", f"{RUN}/executions/{name}")
    await v1.gone(f"{RUN}/executions/{name}")


async def test_jobs_are_replaced_cancelled_and_deleted(v1: V1, simulated: LocalCloud) -> None:
    """Without an answer that says more than v2's would."""
    await v1("POST", f"{RUN}/jobs", job_body())
    job = await v1.ready(f"{RUN}/jobs/migrate")
    job["spec"]["template"]["spec"]["parallelism"] = 1
    replaced = await v1("PUT", f"{RUN}/jobs/migrate", job)
    assert replaced["metadata"]["generation"] == 2
    assert replaced["spec"]["template"]["spec"]["parallelism"] == 1
    await v1.ready(f"{RUN}/jobs/migrate")
    simulated.core.clock.speed = 1  # so that it has not ended before it is cancelled
    execution = await v1("POST", f"{RUN}/jobs/migrate:run", {})
    path = f"{RUN}/executions/{execution['metadata']['name']}"
    await v1("POST", f"{path}:cancel", {})
    cancelled = await v1.ready(path, status="False")
    assert cancelled["status"]["conditions"][0]["reason"] == "Cancelled"
    simulated.core.clock.speed = 1000
    assert [item["metadata"]["name"] for item in (await v1("GET", f"{RUN}/jobs", host=GLOBAL))["items"]] == ["migrate"]
    await v1("DELETE", f"{RUN}/jobs/migrate")
    await v1.gone(f"{RUN}/jobs/migrate")


async def test_a_role_on_one_service_counts_here_too(v1: V1, services: Any, simulated: LocalCloud) -> None:
    """Permissions are judged on the service, as v2 does."""
    await finished(await services.create_service(shop()))
    await finished(await services.create_service(shop(name="other")))
    policy = policy_pb2.Policy()
    policy.bindings.add(role="roles/run.viewer", members=[f"serviceAccount:{ACCOUNT}"])
    await services.set_iam_policy({"resource": f"{PARENT}/services/shop", "policy": policy})
    read = await v1("GET", "/v1/projects/demo/locations/europe-west1/services/shop:getIamPolicy", host=GLOBAL)
    assert read["bindings"][0]["role"] == "roles/run.viewer"
    mine = V1(v1.session, v1.rest, simulated.core.tokens.issue(ACCOUNT))
    assert (await mine("GET", f"{SERVING}/services/shop"))["metadata"]["name"] == "shop"
    answer = await mine("GET", f"{SERVING}/services/other", status=403)
    assert "run.services.get" in answer["error"]["message"]
    await mine("GET", f"{SERVING}/services", status=403)
    await mine("DELETE", f"{SERVING}/services/shop", status=403)


async def test_a_service_that_cannot_start_says_why(cloud: LocalCloud) -> None:
    """The answer comes at once, the failure in the conditions, as gcloud reads it."""
    async with aiohttp.ClientSession() as session:
        v1 = V1(session, cloud.rest)
        await v1("POST", f"{SERVING}/services", service_body())
        failed = await v1.ready(f"{SERVING}/services/shop", status="False")
    ready = failed["status"]["conditions"][0]
    assert ready["reason"] == "ContainerMissing"
    assert f"Image '{IMAGE}' not found." in ready["message"]
    assert "latestReadyRevisionName" not in failed["status"]


async def test_what_is_deleted_is_gone(v1: V1, services: Any) -> None:
    """v1 answers with a status, and 404 later."""
    await finished(await services.create_service(shop()))
    assert await v1("DELETE", f"{SERVING}/services/shop") == {"status": "Success"}
    await v1.gone(f"{SERVING}/services/shop")
    answer = await v1("GET", f"{SERVING}/services/shop", status=404)
    assert "Resource 'shop' of kind 'SERVICE'" in answer["error"]["message"]


async def test_parts_of_v1_that_are_not_modelled_say_so(v1: V1) -> None:
    """Worker pools and domain mappings, say."""
    for path in (f"{RUN}/workerpools", "/apis/domains.cloudrun.com/v1/namespaces/demo/domainmappings"):
        answer = await v1("GET", path, status=501)
        assert answer["error"]["message"] == f"localcloud does not model GET {REGIONAL}{path}."
