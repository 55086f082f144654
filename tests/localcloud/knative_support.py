"""What the tests of Cloud Run's v1 API share: its client, and what clients send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
from google.cloud import run_v2
from run_support import env, eventually

REGIONAL = "europe-west1-run.googleapis.com"
GLOBAL = "run.googleapis.com"
SERVING = "/apis/serving.knative.dev/v1/namespaces/demo"
RUN = "/apis/run.googleapis.com/v1/namespaces/demo"
IMAGE = "europe-west1-docker.pkg.dev/demo/apps/shop:v1"


@dataclass
class V1:
    """Requests to the v1 API, as gcloud makes them."""

    session: aiohttp.ClientSession
    rest: str
    token: str = "any"

    async def __call__(
        self, method: str, path: str, body: Any = None, *, host: str = REGIONAL, status: int = 200, **query: str
    ) -> Any:
        """The JSON answer of a request that must end in `status`."""
        headers = {"Host": host, "Authorization": f"Bearer {self.token}"}
        async with self.session.request(method, self.rest + path, json=body, headers=headers, params=query) as answer:
            shown = await answer.json()
            assert answer.status == status, shown
            return shown

    async def ready(self, path: str, status: str = "True") -> Any:
        """The object at the path once its summing condition has that status."""
        found: Any = {}

        async def look() -> bool:
            nonlocal found
            found = await self("GET", path)
            observed = found["status"].get("observedGeneration") == found["metadata"]["generation"]
            return observed and bool(found["status"]["conditions"][0]["status"] == status)

        await eventually(look)
        return found

    async def gone(self, path: str) -> None:
        """Return once nothing is at the path any more."""
        headers = {"Host": REGIONAL, "Authorization": f"Bearer {self.token}"}

        async def look() -> bool:
            async with self.session.get(self.rest + path, headers=headers) as answer:
                return answer.status == 404

        await eventually(look)


def shop(region: str = "europe-west1", name: str = "shop") -> run_v2.CreateServiceRequest:
    """As the operator would make it: a database, a bucket, a pinned secret."""
    secret = run_v2.EnvVarSource(secret_key_ref=run_v2.SecretKeySelector(secret="key", version="2"))
    container = run_v2.Container(
        image=IMAGE,
        env=[*env(DEBUG="false", EMPTY=""), run_v2.EnvVar(name="SECRET_KEY", value_source=secret)],
        volume_mounts=[
            run_v2.VolumeMount(name="sql", mount_path="/cloudsql"),
            run_v2.VolumeMount(name="media", mount_path="/srv/media"),
        ],
        resources=run_v2.ResourceRequirements(limits={"cpu": "1"}, cpu_idle=False, startup_cpu_boost=True),
    )
    template = run_v2.RevisionTemplate(
        containers=[container],
        scaling=run_v2.RevisionScaling(min_instance_count=1, max_instance_count=3),
        volumes=[
            run_v2.Volume(name="sql", cloud_sql_instance=run_v2.CloudSqlInstance(instances=["demo:europe-west1:pg"])),
            run_v2.Volume(name="media", gcs=run_v2.GCSVolumeSource(bucket="media", mount_options=["uid=2000"])),
        ],
    )
    service = run_v2.Service(labels={"team": "web"}, template=template, invoker_iam_disabled=True, description="A shop")
    parent = f"projects/demo/locations/{region}"
    return run_v2.CreateServiceRequest(parent=parent, service=service, service_id=name)


def service_body(**template: Any) -> dict[str, Any]:
    """What a client of v1 sends for the service `shop`."""
    spec = {"containers": [{"image": IMAGE}], **template.pop("spec", {})}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": "demo", **template.pop("metadata", {})},
        "spec": {"template": {"metadata": template, "spec": spec}},
    }


def job_body(**spec: Any) -> dict[str, Any]:
    """What a client of v1 sends for the job `migrate`."""
    task = {"containers": [{"image": IMAGE, "command": ["python"]}], "maxRetries": 0, "timeoutSeconds": "90"}
    return {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"template": {"spec": {"taskCount": 2, "template": {"spec": task}, **spec}}},
    }
