"""Secret Manager v1 (gcp/behaviour.md, section 3; behaviour-runtime.md, section 7)."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import google_crc32c
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from localcloud.api import listing
from localcloud.api.masks import exists, take
from localcloud.api.messages import secretmanager as pb
from localcloud.api.secretmanager_rules import MUTABLE, Etags, check_secret, invalid
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, error_info
from localcloud.core.identity import current_caller
from localcloud.core.service import Service, rpc

BY_NAME = "/v1/{name=projects/*/secrets/*}"
VERSION = "/v1/{name=projects/*/secrets/*/versions/*}"
RESOURCE = "/v1/{resource=projects/*/secrets/*}"
SECRET_ID = re.compile(r"[a-zA-Z0-9_-]{1,255}")
MAX_PAYLOAD_BYTES = 65_536


class SecretManager(Service):
    """Secrets of all projects. Payloads stand in a collection of their own, and in nothing else."""

    host = "secretmanager.googleapis.com"
    grpc = "google.cloud.secretmanager.v1.SecretManagerService"
    title = "Secret Manager API"

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        store = cloud.store
        self._secrets = store.collection("secretmanager.secrets", pb.Secret, _no_secret)
        self._versions = store.collection("secretmanager.versions", pb.SecretVersion, _no_version)
        self._payloads = store.collection("secretmanager.payloads", pb.SecretPayload, _no_version)
        self._counters = store.records("secretmanager.counters")  # secret -> the last version's number
        self._etags = Etags(cloud)

    # secrets

    @rpc("POST /v1/{parent=projects/*}/secrets", body="secret")
    async def create_secret(self, request: pb.CreateSecretRequest) -> pb.Secret:
        project = self._project(request.parent)
        self._require("secretmanager.secrets.create", project)
        if not SECRET_ID.fullmatch(request.secret_id):
            raise invalid(
                f"The provided Secret ID [{request.secret_id}] does not match the expected format [[a-zA-Z_0-9-]+]"
            )
        name = f"{project}/secrets/{request.secret_id}"
        if self._find(name) is not None:
            raise ApiError(Code.ALREADY_EXISTS, f"Secret [{name}] already exists.")
        secret = pb.Secret()
        secret.CopyFrom(request.secret)
        check_secret(secret, self.cloud.simulate)
        secret.name = name
        secret.create_time.CopyFrom(self.cloud.clock.timestamp())
        self._settle(secret)
        self._counters.put(name, {"last": 0})
        return self._secrets.put(name, secret)

    @rpc(f"GET {BY_NAME}")
    async def get_secret(self, request: pb.GetSecretRequest) -> pb.Secret:
        name = self._name(request.name)
        self._require("secretmanager.secrets.get", name)
        return self._secret(name)

    @rpc("GET /v1/{parent=projects/*}/secrets")
    async def list_secrets(self, request: pb.ListSecretsRequest) -> pb.ListSecretsResponse:
        project = self._project(request.parent)
        self._require("secretmanager.secrets.list", project)
        living = [secret for secret in self._secrets.under(project) if not self._has_expired(secret)]
        found = listing.matching(living, request.filter)
        items, token = listing.page(found, request.page_size, request.page_token, 25_000, 25_000)
        return pb.ListSecretsResponse(secrets=items, next_page_token=token, total_size=len(found))

    @rpc("PATCH /v1/{secret.name=projects/*/secrets/*}", body="secret")
    async def update_secret(self, request: pb.UpdateSecretRequest) -> pb.Secret:
        name = self._name(request.secret.name)
        self._require("secretmanager.secrets.update", name)
        secret = self._secret(name)
        paths = list(request.update_mask.paths)
        if not paths:
            raise invalid("The update mask must be provided.")
        if paths == ["*"]:
            paths = sorted(MUTABLE - {"etag", "ttl"})
        for path in paths:
            if not exists(path, secret):
                raise invalid(f"The field [{path}] in the update mask does not exist.")
            if path.split(".")[0] not in MUTABLE:
                raise invalid(f"The field [{path}] in the update mask is not mutable.")
        self._etags.check(request.secret.etag, secret.etag, name)
        for path in paths:
            take(path, request.secret, secret)
        check_secret(secret, self.cloud.simulate)
        self._settle(secret)
        return self._secrets.put(name, secret)

    @rpc(f"DELETE {BY_NAME}")
    async def delete_secret(self, request: pb.DeleteSecretRequest) -> Empty:
        name = self._name(request.name)
        self._require("secretmanager.secrets.delete", name)
        self._etags.check(request.etag, self._secret(name).etag, name)
        self._forget(name)
        return Empty()

    # versions

    @rpc("POST /v1/{parent=projects/*/secrets/*}:addVersion", body="*")
    async def add_secret_version(self, request: pb.AddSecretVersionRequest) -> pb.SecretVersion:
        parent = self._name(request.parent)
        self._require("secretmanager.versions.add", parent)
        secret = self._secret(parent)
        data, has_checksum = request.payload.data, request.payload.HasField("data_crc32c")
        checksum = google_crc32c.value(data)
        if not request.HasField("payload"):
            raise invalid("The payload must be provided.")
        if len(data) > MAX_PAYLOAD_BYTES:
            raise invalid(f"The payload is too large. The maximum size is {MAX_PAYLOAD_BYTES} bytes.")
        if has_checksum and request.payload.data_crc32c != checksum:
            raise invalid("The provided CRC32C checksum does not match the payload.")
        counter = (self._counters.find(parent) or {"last": 0})["last"] + 1
        name = f"{parent}/versions/{counter}"
        version = pb.SecretVersion(
            name=name,
            create_time=self.cloud.clock.timestamp(),
            state=pb.ENABLED,
            client_specified_payload_checksum=has_checksum,
            etag=self._etags.new(),
        )
        _mirror_replication(secret, version)
        self._payloads.put(name, pb.SecretPayload(data=data, data_crc32c=checksum))
        self._counters.put(parent, {"last": counter})
        return self._versions.put(name, version)

    @rpc(f"GET {VERSION}")
    async def get_secret_version(self, request: pb.GetSecretVersionRequest) -> pb.SecretVersion:
        name = self._name(request.name)
        self._require("secretmanager.versions.get", name)
        return self._version(name)

    @rpc("GET /v1/{parent=projects/*/secrets/*}/versions")
    async def list_secret_versions(self, request: pb.ListSecretVersionsRequest) -> pb.ListSecretVersionsResponse:
        parent = self._name(request.parent)
        self._require("secretmanager.versions.list", parent)
        self._secret(parent)
        newest_first = [self._version(v.name) for v in reversed(self._versions.under(parent))]
        found = listing.matching(newest_first, request.filter)
        items, token = listing.page(found, request.page_size, request.page_token, 25_000, 25_000)
        return pb.ListSecretVersionsResponse(versions=items, next_page_token=token, total_size=len(found))

    @rpc(f"GET {VERSION}:access")
    async def access_secret_version(self, request: pb.AccessSecretVersionRequest) -> pb.AccessSecretVersionResponse:
        name = self._name(request.name)
        self._require("secretmanager.versions.access", name)
        version = self._version(name)
        if version.state != pb.ENABLED:
            raise _in_state(version)
        return pb.AccessSecretVersionResponse(name=version.name, payload=self._payloads.get(version.name))

    @rpc(f"POST {VERSION}:enable", body="*")
    async def enable_secret_version(self, request: pb.EnableSecretVersionRequest) -> pb.SecretVersion:
        version = self._changing("secretmanager.versions.enable", request)
        version.ClearField("scheduled_destroy_time")
        return self._put_state(version, pb.ENABLED)

    @rpc(f"POST {VERSION}:disable", body="*")
    async def disable_secret_version(self, request: pb.DisableSecretVersionRequest) -> pb.SecretVersion:
        return self._put_state(self._changing("secretmanager.versions.disable", request), pb.DISABLED)

    @rpc(f"POST {VERSION}:destroy", body="*")
    async def destroy_secret_version(self, request: pb.DestroySecretVersionRequest) -> pb.SecretVersion:
        version = self._changing("secretmanager.versions.destroy", request)
        secret = self._secret(_secret_of(version.name))
        if not secret.HasField("version_destroy_ttl"):
            return self._destroy(version)
        due = self.cloud.clock.now() + secret.version_destroy_ttl.ToTimedelta()
        version.scheduled_destroy_time.FromDatetime(due)
        return self._put_state(version, pb.DISABLED)

    # policies

    @rpc(f"GET {RESOURCE}:getIamPolicy")
    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        name = self._name(request.resource)
        self._require("secretmanager.secrets.getIamPolicy", name)
        self._secret(name)
        return self.cloud.policies.shown(name, request)

    @rpc(f"POST {RESOURCE}:setIamPolicy", body="*")
    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        name = self._name(request.resource)
        self._require("secretmanager.secrets.setIamPolicy", name)
        self._secret(name)
        return self.cloud.policies.change(name, request)

    @rpc(f"POST {RESOURCE}:testIamPermissions", body="*")
    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        return self.cloud.policies.tested(self._name(request.resource), request)

    # names and rights

    def _project(self, parent: str) -> str:
        return f"projects/{self.cloud.projects.get(parent.split('/')[1]).number}"

    def _name(self, name: str) -> str:
        """As answers show it: by the project's number."""
        parts = name.split("/")
        return "/".join(["projects", self.cloud.projects.get(parts[1]).number, *parts[2:]])

    def _require(self, permission: str, name: str) -> None:
        if self.cloud.policies.allows(current_caller.get(), permission, name):
            return
        info = {"permission": permission, "resource": name}
        raise ApiError(
            Code.PERMISSION_DENIED,
            f"Permission '{permission}' denied for resource '{name}' (or it may not exist).",
            details=(error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", info),),
        )

    # state

    def _find(self, name: str) -> pb.Secret | None:
        secret = self._secrets.find(name)
        if secret is not None and self._has_expired(secret):
            self._forget(name)
            return None
        return secret

    def _secret(self, name: str) -> pb.Secret:
        found = self._find(name)
        if found is None:
            raise _no_secret(name)
        return found

    def _version(self, name: str) -> pb.SecretVersion:
        """By number, by alias, or the highest number for `latest`, even where that one is disabled."""
        secret_name, last = _secret_of(name), name.rsplit("/", 1)[1]
        secret = self._secret(secret_name)
        if last == "latest":
            last = str((self._counters.find(secret_name) or {"last": 0})["last"])
        elif last in secret.version_aliases:
            last = str(secret.version_aliases[last])
        version = self._versions.find(f"{secret_name}/versions/{last}")
        if version is None:
            raise _no_version(name)
        if self._is_due(version):
            return self._destroy(version)
        return version

    def _changing(self, permission: str, request: Message) -> pb.SecretVersion:
        name, etag = self._name(request.name), request.etag  # type: ignore[attr-defined]
        self._require(permission, name)
        version = self._version(name)
        self._etags.check(etag, version.etag, version.name)
        if version.state == pb.DESTROYED:
            raise _in_state(version)
        return version

    def _put_state(self, version: pb.SecretVersion, state: int) -> pb.SecretVersion:
        """A state that it has already changes nothing, the etag neither."""
        if version.state != state or version.HasField("scheduled_destroy_time"):
            version.state, version.etag = state, self._etags.new()
        return self._versions.put(version.name, version)

    def _destroy(self, version: pb.SecretVersion) -> pb.SecretVersion:
        self._payloads.remove(version.name)
        version.destroy_time.CopyFrom(self.cloud.clock.timestamp())
        version.ClearField("scheduled_destroy_time")
        version.state, version.etag = pb.DESTROYED, self._etags.new()
        return self._versions.put(version.name, version)

    def _is_due(self, version: pb.SecretVersion) -> bool:
        due = version.HasField("scheduled_destroy_time") and version.scheduled_destroy_time.ToDatetime(dt.UTC)
        return bool(due and due <= self.cloud.clock.now())

    def _has_expired(self, secret: pb.Secret) -> bool:
        """A time that was over before the secret was made is kept as sent, and expires nothing."""
        if not secret.HasField("expire_time"):
            return False
        expires = secret.expire_time.ToDatetime(dt.UTC)
        return bool(secret.create_time.ToDatetime(dt.UTC) < expires <= self.cloud.clock.now())

    def _forget(self, name: str) -> None:
        for version in self._versions.under(name):
            self._payloads.remove(version.name)
            self._versions.remove(version.name)
        self._secrets.remove(name)
        self._counters.remove(name)
        self.cloud.policies.remove(name)

    def _settle(self, secret: pb.Secret) -> None:
        """What the server makes of the input: ttl becomes a time and is never shown; a new etag."""
        if secret.HasField("ttl"):
            expires = self.cloud.clock.now() + secret.ttl.ToTimedelta()
            secret.expire_time.FromDatetime(expires)
        secret.etag = self._etags.new()


def _mirror_replication(secret: pb.Secret, version: pb.SecretVersion) -> None:
    wanted, shown = secret.replication, version.replication_status
    if wanted.HasField("automatic"):
        shown.automatic.SetInParent()
        _mirror_key(wanted.automatic, shown.automatic)
    for replica in wanted.user_managed.replicas:
        _mirror_key(replica, shown.user_managed.replicas.add(location=replica.location))


def _mirror_key(wanted: Any, shown: Any) -> None:
    """A secret names a key, its versions the key's version that they are encrypted with."""
    if wanted.HasField("customer_managed_encryption"):
        key = wanted.customer_managed_encryption.kms_key_name
        shown.customer_managed_encryption.kms_key_version_name = f"{key}/cryptoKeyVersions/1"


def _secret_of(version_name: str) -> str:
    return version_name.rsplit("/", 2)[0]


def _no_secret(name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"Secret [{name}] not found.")


def _no_version(name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, f"Secret Version [{name}] not found.")


def _in_state(version: pb.SecretVersion) -> ApiError:
    state = {pb.DISABLED: "DISABLED", pb.DESTROYED: "DESTROYED", pb.ENABLED: "ENABLED"}[version.state]
    return ApiError(Code.FAILED_PRECONDITION, f"Secret Version [{version.name}] is in {state} state.")
