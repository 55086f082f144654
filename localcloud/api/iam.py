"""Identity and Access Management v1: service accounts and their policies (gcp/behaviour.md, section 5)."""

from __future__ import annotations

import re

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf import empty_pb2

from localcloud.api.messages import iam as messages
from localcloud.core.accounts import account_etag, unique_id
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, Family, error_info
from localcloud.core.identity import current_caller
from localcloud.core.service import Service, rpc

ACCOUNT_ID = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")
MUTABLE = ("display_name", "description")
DISPLAY_NAME_BYTES, DESCRIPTION_BYTES = 100, 256
PAGE, LARGEST_PAGE = 20, 100
UNDELETE_SECONDS = 30 * 24 * 3600


class Iam(Service):
    """Accounts live in Cloud.accounts, which the token endpoints share."""

    host = "iam.googleapis.com"
    grpc = "google.iam.admin.v1.IAM"
    title = "Identity and Access Management (IAM) API"
    errors = Family.MIXED

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self._accounts = cloud.accounts
        self._deleted = cloud.store.records("iam.accounts.deleted")  # by unique id

    @rpc("POST /v1/{name=projects/*}/serviceAccounts", body="*")
    async def create_service_account(self, request: messages.CreateServiceAccountRequest) -> messages.ServiceAccount:
        project = self.cloud.projects.get(request.name.split("/")[1])
        self._require("iam.serviceAccounts.create", f"projects/{project.id}")
        if not ACCOUNT_ID.fullmatch(request.account_id):
            raise ApiError(
                Code.INVALID_ARGUMENT,
                f"Invalid service account ID '{request.account_id}'. The ID must be between 6 and 30 characters, begin "
                "with a lower-case letter, hold lower-case letters, digits and hyphens, and not end with a hyphen.",
            )
        name, _, domain = project.id[::-1].partition(":")  # domain-scoped projects: example.com:app
        host = f"{name[::-1]}.{domain[::-1]}" if domain else project.id
        email = f"{request.account_id}@{host}.iam.gserviceaccount.com"
        if self._accounts.find(email) is not None:
            raise ApiError(
                Code.ALREADY_EXISTS,
                f"Service account {request.account_id} already exists within project projects/{project.id}.",
            )
        _check_lengths(request.service_account)
        self._accounts.require_room(project.id)
        return self._accounts.add(
            messages.ServiceAccount(
                name=f"projects/{project.id}/serviceAccounts/{email}",
                project_id=project.id,
                email=email,
                display_name=request.service_account.display_name,
                description=request.service_account.description,
                etag=account_etag(),
                oauth2_client_id=unique_id(),
            )
        )

    @rpc("GET /v1/{name=projects/*/serviceAccounts/*}")
    async def get_service_account(self, request: messages.GetServiceAccountRequest) -> messages.ServiceAccount:
        return self._account(request.name, "iam.serviceAccounts.get")

    @rpc("GET /v1/{name=projects/*}/serviceAccounts")
    async def list_service_accounts(
        self, request: messages.ListServiceAccountsRequest
    ) -> messages.ListServiceAccountsResponse:
        project = self.cloud.projects.get(request.name.split("/")[1])
        self._require("iam.serviceAccounts.list", f"projects/{project.id}")
        accounts = self._accounts.under(project.id)
        begin = _offset(request.page_token)
        end = begin + min(request.page_size or PAGE, LARGEST_PAGE)
        return messages.ListServiceAccountsResponse(
            accounts=accounts[begin:end], next_page_token=str(end) if end < len(accounts) else ""
        )

    @rpc("PATCH /v1/{service_account.name=projects/*/serviceAccounts/*}", body="*")
    async def patch_service_account(self, request: messages.PatchServiceAccountRequest) -> messages.ServiceAccount:
        """The answer holds the name and what was changed, no more."""
        account = self._account(request.service_account.name, "iam.serviceAccounts.update")
        paths = list(request.update_mask.paths) or [p for p in MUTABLE if getattr(request.service_account, p)]
        foreign = [path for path in paths if path not in MUTABLE]
        if foreign:
            raise ApiError(Code.INVALID_ARGUMENT, f"update_mask: {foreign[0]} cannot be changed.")
        _check_lengths(request.service_account)
        answer = messages.ServiceAccount(name=account.name)
        for path in paths:
            setattr(account, path, getattr(request.service_account, path))
            setattr(answer, path, getattr(request.service_account, path))
        account.etag = account_etag()
        self._accounts.put(account)
        return answer

    @rpc("PUT /v1/{name=projects/*/serviceAccounts/*}", body="*")
    async def update_service_account(self, request: messages.ServiceAccount) -> messages.ServiceAccount:
        """The older form: display name and description, both replaced."""
        account = self._account(request.name, "iam.serviceAccounts.update")
        _check_lengths(request)
        account.display_name, account.description = request.display_name, request.description
        account.etag = account_etag()
        return self._accounts.put(account)

    @rpc("POST /v1/{name=projects/*/serviceAccounts/*}:disable", body="*")
    async def disable_service_account(self, request: messages.DisableServiceAccountRequest) -> empty_pb2.Empty:
        return self._switch(request.name, "iam.serviceAccounts.disable", disabled=True)

    @rpc("POST /v1/{name=projects/*/serviceAccounts/*}:enable", body="*")
    async def enable_service_account(self, request: messages.EnableServiceAccountRequest) -> empty_pb2.Empty:
        return self._switch(request.name, "iam.serviceAccounts.enable", disabled=False)

    @rpc("DELETE /v1/{name=projects/*/serviceAccounts/*}")
    async def delete_service_account(self, request: messages.DeleteServiceAccountRequest) -> empty_pb2.Empty:
        """Bindings stay, under `deleted:…`; so does what undelete needs, for 30 days."""
        account = self._account(request.name, "iam.serviceAccounts.delete")
        policy = self.cloud.policies.get(account.name)
        self._deleted.put(
            account.unique_id,
            {
                "account": account.SerializeToString().hex(),
                "policy": policy.SerializeToString().hex() if policy.bindings else "",
                "at": self.cloud.clock.now().timestamp(),
            },
        )
        self.cloud.policies.remove(account.name)
        self._accounts.remove(account)
        self.cloud.keys.forget(account.email)
        self.cloud.policies.rename_member(*_members(account))
        return empty_pb2.Empty()

    @rpc("POST /v1/{name=projects/*/serviceAccounts/*}:undelete", body="*")
    async def undelete_service_account(
        self, request: messages.UndeleteServiceAccountRequest
    ) -> messages.UndeleteServiceAccountResponse:
        record = self._deleted.find(request.name.rsplit("/", 1)[1])
        if record is None or record["at"] + UNDELETE_SECONDS < self.cloud.clock.now().timestamp():
            raise ApiError(Code.NOT_FOUND, "Unknown service account")
        account = messages.ServiceAccount.FromString(bytes.fromhex(record["account"]))
        self._require("iam.serviceAccounts.undelete", f"projects/{account.project_id}")
        if self._accounts.find(account.email) is not None:
            raise ApiError(Code.ALREADY_EXISTS, f"Service account {account.email} already exists.")
        self._accounts.add(account)
        if record["policy"]:
            policy = policy_pb2.Policy.FromString(bytes.fromhex(record["policy"]))
            policy.etag = b""
            self.cloud.policies.set(account.name, policy)
        self.cloud.policies.rename_member(*reversed(_members(account)))
        self._deleted.remove(account.unique_id)
        return messages.UndeleteServiceAccountResponse(restored_account=account)

    @rpc("POST /v1/{resource=projects/*/serviceAccounts/*}:getIamPolicy", body="*")
    async def get_iam_policy(self, request: iam_policy_pb2.GetIamPolicyRequest) -> policy_pb2.Policy:
        account = self._account(request.resource, "iam.serviceAccounts.getIamPolicy")
        return self.cloud.policies.shown(account.name, request)

    @rpc("POST /v1/{resource=projects/*/serviceAccounts/*}:setIamPolicy", body="*")
    async def set_iam_policy(self, request: iam_policy_pb2.SetIamPolicyRequest) -> policy_pb2.Policy:
        account = self._account(request.resource, "iam.serviceAccounts.setIamPolicy")
        return self.cloud.policies.change(account.name, request)

    @rpc("POST /v1/{resource=projects/*/serviceAccounts/*}:testIamPermissions", body="*")
    async def test_iam_permissions(
        self, request: iam_policy_pb2.TestIamPermissionsRequest
    ) -> iam_policy_pb2.TestIamPermissionsResponse:
        return self.cloud.policies.tested(self._accounts.resolve(request.resource).name, request)

    def _account(self, name: str, permission: str) -> messages.ServiceAccount:
        """The account, if the caller may do this to it: else 403, and 404 only to who may know."""
        resource = self._accounts.resource(name)
        self._require(permission, resource)
        self.cloud.projects.require_enabled(resource, self.host, self.title)  # where the name had `-` for a project
        return self._accounts.resolve(name)

    def _require(self, permission: str, resource: str) -> None:
        if not self.cloud.policies.allows(current_caller.get(), permission, resource):
            raise denied(permission)

    def _switch(self, name: str, permission: str, *, disabled: bool) -> empty_pb2.Empty:
        account = self._account(name, permission)
        account.disabled = disabled
        self._accounts.put(account)
        return empty_pb2.Empty()


def denied(permission: str) -> ApiError:
    """IAM names no resource when it refuses (behaviour-runtime.md, section 2)."""
    return ApiError(
        Code.PERMISSION_DENIED,
        f"Permission '{permission}' denied on resource (or it may not exist).",
        details=(error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", {"permission": permission}),),
    )


def _members(account: messages.ServiceAccount) -> tuple[str, str]:
    """As policies name it while it lives, and after."""
    living = f"serviceAccount:{account.email}"
    return living, f"deleted:{living}?uid={account.unique_id}"


def _check_lengths(account: messages.ServiceAccount) -> None:
    if len(account.display_name.encode()) > DISPLAY_NAME_BYTES:
        raise ApiError(Code.INVALID_ARGUMENT, f"display_name: at most {DISPLAY_NAME_BYTES} bytes.")
    if len(account.description.encode()) > DESCRIPTION_BYTES:
        raise ApiError(Code.INVALID_ARGUMENT, f"description: at most {DESCRIPTION_BYTES} bytes.")


def _offset(token: str) -> int:
    if token and not token.isdigit():
        raise ApiError(Code.INVALID_ARGUMENT, "Invalid page token.")
    return int(token or 0)
