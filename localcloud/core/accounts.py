"""Service accounts as the rest of the cloud sees them: who exists, who may be used, who may stand in a policy."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from typing import Any

from google.cloud import iam_admin_v1

from localcloud.core.clock import Clock
from localcloud.core.errors import ApiError, Code
from localcloud.core.projects import Projects
from localcloud.core.state import Store

PbAccount: Any = iam_admin_v1.ServiceAccount.pb()

DEFAULT_QUOTA = 100  # accounts per project (DESIGN.md, Google's own limits)
# Google's agents: service-NUM@gcp-sa-x..., pNUM-hash@gcp-sa-cloud-sql..., NUM@cloudservices..., *-robot-prod...
AGENT = re.compile(
    r"(service-\d+|p\d+-\w+|\d+)@((gcp-sa-[-a-z]+|[-a-z]+-robot(-prod)?|cloud-redis|compute-system|"
    r"gcf-admin-robot|containerregistry|gs-project-accounts)\.iam|cloudservices|cloudbuild|developer)"
    r"\.gserviceaccount\.com"
)
DEFAULT_COMPUTE = re.compile(r"(\d+)-compute@developer\.gserviceaccount\.com")
MEMBER_KIND = re.compile(
    "user|serviceAccount|group|domain|principal|principalSet|deleted|projectOwner|projectEditor|projectViewer"
)


def _missing(name: str) -> ApiError:
    return ApiError(Code.NOT_FOUND, "Unknown service account")


class ServiceAccounts:
    """The accounts of all projects, by resource name, e-mail and unique id.

    Where `configure` said so, a fresh account is unknown to policies and reads for a while, as with Google
    (gcp/behaviour.md, section 5).
    """

    def __init__(self, store: Store, projects: Projects, clock: Clock) -> None:
        self._items = store.collection("iam.accounts", PbAccount, _missing)
        self._visible_at = store.records("iam.accounts.visible")
        self._settings = store.records("iam.settings")
        self._projects, self._clock = projects, clock
        self._by_id = {self._items.get(name).unique_id: name for name in self._items}

    def configure(self, *, quota: int = DEFAULT_QUOTA, propagation_s: float = 0.0) -> None:
        """Accounts that a project may have; seconds of Google's time until a fresh one is known everywhere."""
        self._settings.put("iam", {"accountQuota": quota, "propagationSeconds": propagation_s})

    @property
    def quota(self) -> int:
        return int(self._setting("accountQuota", DEFAULT_QUOTA))

    @property
    def propagation_s(self) -> float:
        return self._setting("propagationSeconds", 0.0)

    def find(self, email: str) -> Any | None:
        """The account (pb ServiceAccount) with this e-mail, or None; settled or not."""
        default = DEFAULT_COMPUTE.fullmatch(email)
        if default:
            return self._default(default.group(1))
        return self._items.find(self._name(email))

    def by_unique_id(self, unique_id: str) -> Any | None:
        name = self._by_id.get(unique_id)
        return None if name is None else self._items.find(name)

    def resolve(self, name: str) -> Any:
        """The account that `projects/{P|NUM|-}/serviceAccounts/{email|uniqueId}` names. Raises NOT_FOUND."""
        parts = name.split("/")
        if len(parts) != 4 or parts[0] != "projects" or parts[2] != "serviceAccounts":
            raise ApiError(Code.INVALID_ARGUMENT, f"Invalid service account name '{name}'.")
        found = self.by_unique_id(parts[3]) if parts[3].isdigit() else self.find(parts[3])
        if found is None or not self._settled(found.name):
            raise _missing(name)
        project = self._projects.find(parts[1])
        if parts[1] != "-" and (project is None or project.id != found.project_id):
            raise _missing(name)
        return found

    def resource(self, name: str) -> str:
        """The same with project id and e-mail: where its policy stands. Names of no account come back as they are."""
        try:
            return str(self.resolve(name).name)
        except ApiError:
            return name

    def under(self, project: str) -> list[Any]:
        """The accounts of a project (its id), oldest first."""
        self._default(self._projects.get(project).number)
        return [a for a in self._items.under(f"projects/{project}") if self._settled(a.name)]

    def add(self, account: Any, seconds: float | None = None) -> Any:
        """A new one (its unique id given or made); known to others after `seconds` or the setting's."""
        account.unique_id = account.unique_id or unique_id()
        wait = self.propagation_s if seconds is None else seconds
        if wait:
            self._visible_at.put(account.name, {"at": time.time() + wait / self._clock.speed})
        self._by_id[account.unique_id] = account.name
        return self._items.put(account.name, account)

    def put(self, account: Any) -> Any:
        return self._items.put(account.name, account)

    def remove(self, account: Any) -> None:
        self._items.remove(account.name)
        self._visible_at.remove(account.name)
        self._by_id.pop(account.unique_id, None)

    def require_room(self, project: str) -> None:
        """Raises RESOURCE_EXHAUSTED where the project has as many accounts as it may."""
        accounts = self._items.under(f"projects/{project}")
        made = [a for a in accounts if a.email.endswith(".iam.gserviceaccount.com")]  # Google's own do not count
        if len(made) >= self.quota:
            raise ApiError(Code.RESOURCE_EXHAUSTED, "Maximum number of service accounts on project reached.")

    def exists(self, email: str) -> bool:
        """Whether a policy may name it: an account of ours that has settled, or one of Google's agents."""
        found = self.find(email)
        return self._settled(found.name) if found is not None else bool(AGENT.fullmatch(email))

    def usable(self, email: str) -> bool:
        """Whether it may act: people and agents always, accounts of ours while they exist and are not disabled."""
        found = self.find(email)
        if found is not None:
            return not found.disabled
        return not email.endswith(".gserviceaccount.com") or bool(AGENT.fullmatch(email))

    def validate_member(self, member: str) -> None:
        """Raise Google's 400 for a member that no policy may name."""
        if member in ("allUsers", "allAuthenticatedUsers"):
            return
        kind, _, value = member.partition(":")
        if not MEMBER_KIND.fullmatch(kind) or not value:
            raise ApiError(
                Code.INVALID_ARGUMENT,
                f"The member {member} is of an unknown type. Please set a valid type prefix for the member.",
            )
        if kind == "serviceAccount" and not (".svc.id.goog[" in value or self.exists(value.lower())):
            raise ApiError(Code.INVALID_ARGUMENT, f"Service account {value} does not exist.")

    def _name(self, email: str) -> str:
        """projects/P/serviceAccounts/E; the project is in the e-mail (`name.domain` projects: reversed)."""
        host = email.partition("@")[2].removesuffix(".iam.gserviceaccount.com")
        first, _, domain = host.partition(".")
        return f"projects/{domain + ':' if domain else ''}{first}/serviceAccounts/{email}"

    def _settled(self, name: str) -> bool:
        record = self._visible_at.find(name)
        return record is None or record["at"] <= time.time()

    def _setting(self, key: str, default: float) -> float:
        return float((self._settings.find("iam") or {}).get(key, default))

    def _default(self, number: str) -> Any | None:
        """The Compute Engine default account: there with the project, until somebody deletes it."""
        project = self._projects.find(number)
        if project is None:
            return None
        email = f"{project.number}-compute@developer.gserviceaccount.com"
        name = f"projects/{project.id}/serviceAccounts/{email}"
        found = self._items.find(name)
        seen = self._settings.find(f"iam.default.{project.id}")
        if found is None and seen is None:
            self._settings.put(f"iam.default.{project.id}", {"made": True})
            found = self.add(
                PbAccount(
                    name=name,
                    project_id=project.id,
                    email=email,
                    display_name="Compute Engine default service account",
                    etag=account_etag(),
                    oauth2_client_id=unique_id(),
                ),
                seconds=0,
            )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)


def account_etag() -> bytes:
    """Eight digits in ASCII, as Google's ("MDEwMjE5MjA=")."""
    return "".join(secrets.choice("0123456789") for _ in range(8)).encode()


def unique_id() -> str:
    """21 digits, as Google's."""
    return "1" + "".join(secrets.choice("0123456789") for _ in range(20))
