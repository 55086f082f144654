"""Under simulation every field that Google keeps is kept and shown, also what nothing here could do."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from localcloud.localcloud import LocalCloud

KEY = "projects/demo/locations/europe-west1/keyRings/r/cryptoKeys/k"
PLACE = "/v2/projects/demo/locations/europe-west1"
IMAGE = "us-docker.pkg.dev/cloudrun/container/hello"
INSTANCES = "/sql/v1beta4/projects/demo/instances"


def _instance(version: str, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    tier = "db-n1-standard-1" if version.startswith("MYSQL") else "db-custom-1-3840"
    body = {"name": "thing", "region": "europe-west1", "databaseVersion": version, **more}
    return {**body, "settings": {"tier": tier, "edition": "ENTERPRISE", **settings}}


JOB = {
    "binaryAuthorization": {"useDefault": True},
    "template": {
        "template": {
            "encryptionKey": KEY,
            "vpcAccess": {"networkInterfaces": [{"network": "default", "tags": ["t"]}], "egress": "ALL_TRAFFIC"},
            "volumes": [
                {"name": "s", "secret": {"secret": "x", "items": [{"path": "p", "version": "1", "mode": 256}]}},
                {"name": "n", "nfs": {"server": "10.0.0.2", "path": "/x", "readOnly": True}},
            ],
            "containers": [
                {"name": "a", "image": IMAGE, "dependsOn": ["b"], "volumeMounts": [{"name": "n", "mountPath": "/n"}]},
                {"name": "b", "image": IMAGE, "startupProbe": {"tcpSocket": {"port": 81}}},
            ],
        }
    },
}
SERVICE = {
    "iapEnabled": True,
    "template": {
        "sessionAffinity": True,
        "nodeSelector": {"accelerator": "nvidia-l4"},
        "containers": [
            {"image": IMAGE, "ports": [{"name": "h2c", "containerPort": 81}], "livenessProbe": {"grpc": {}}}
        ],
    },
}
MYSQL = _instance(
    "MYSQL_8_0",
    {"ipConfiguration": {"ipv4Enabled": False, "pscConfig": {"pscEnabled": True}}, "userLabels": {"a": "b"}},
    diskEncryptionConfiguration={"kmsKeyName": KEY},
)
SQL_SERVER = _instance(
    "SQLSERVER_2019_STANDARD",
    {"sqlServerAuditConfig": {"bucket": "gs://b"}, "advancedMachineFeatures": {"threadsPerCore": 1}, "timeZone": "UTC"},
)
BUCKET = {
    "name": "thing-media",
    "location": "EUROPE-WEST1",
    "encryption": {"defaultKmsKeyName": KEY},
    "hierarchicalNamespace": {"enabled": True},
    "retentionPolicy": {"retentionPeriod": "86400", "isLocked": True},
}
SECRET = {
    "replication": {
        "userManaged": {
            "replicas": [{"location": "europe-west1", "customerManagedEncryption": {"kmsKeyName": KEY}}],
        }
    },
    "tags": {"tagKeys/1": "tagValues/2"},
    "topics": [{"name": "projects/demo/topics/t"}],
    "rotation": {"nextRotationTime": "2100-01-01T00:00:00Z", "rotationPeriod": "7200s"},
}


@pytest.mark.parametrize(
    ("host", "create", "get", "body"),
    [
        pytest.param("run", f"{PLACE}/jobs?jobId=thing", f"{PLACE}/jobs/thing", JOB, id="job"),
        pytest.param("run", f"{PLACE}/services?serviceId=thing", f"{PLACE}/services/thing", SERVICE, id="service"),
        pytest.param("sqladmin", INSTANCES, f"{INSTANCES}/thing", MYSQL, id="mysql"),
        pytest.param("sqladmin", INSTANCES, f"{INSTANCES}/thing", SQL_SERVER, id="sqlserver"),
        pytest.param("storage", "/storage/v1/b?project=demo", "/storage/v1/b/thing-media", BUCKET, id="bucket"),
        pytest.param(
            "secretmanager",
            "/v1/projects/demo/secrets?secretId=thing",
            "/v1/projects/demo/secrets/thing",
            SECRET,
            id="secret",
        ),
    ],
)
async def test_what_is_sent_is_shown(
    simulated: LocalCloud, host: str, create: str, get: str, body: dict[str, Any]
) -> None:
    """Every value of the request stands in the resource."""
    headers = {"Host": f"{host}.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(simulated.rest, headers=headers) as http:
        async with http.post(create, json=body) as response:
            assert response.status == 200, await response.text()
        async with http.get(get) as response:
            assert _lost(body, await response.json()) == []


def _lost(sent: Any, shown: Any, path: str = "") -> list[str]:
    """The paths of what was sent and is not shown."""
    if isinstance(sent, dict) and isinstance(shown, dict):
        return [lost for key, value in sent.items() for lost in _lost(value, shown.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(shown, list) and len(sent) == len(shown):
        pairs = enumerate(zip(sent, shown, strict=True))
        return [lost for index, (one, other) in pairs for lost in _lost(one, other, f"{path}[{index}]")]
    return [] if sent == shown else [f"{path}: {sent!r} is shown as {shown!r}"]
