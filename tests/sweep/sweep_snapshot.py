"""The state of everything at the end of a life, as it has to be each time: without times, etags and chance."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from google.cloud import iam_admin_v1, secretmanager_v1
from google.iam.v1 import policy_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from sweep_database import contents, running_servers

from localcloud.api.messages import run, sql

if TYPE_CHECKING:
    from sweep_site import Site

# Every kind of the store is in one of these four, or `snapshot` raises: what is left out is left out for a reason.
MESSAGES: Mapping[str, Any] = {
    "run.services": run.Service,
    "run.revisions": run.Revision,
    "run.jobs": run.Job,
    "run.executions": run.Execution,
    "run.workerpools": run.WorkerPool,
    "sql.instances": sql.DatabaseInstance,
    "sql.users": sql.User,
    "sql.backups": sql.BackupRun,
    "sql.finals": sql.Backup,
    "secretmanager.secrets": secretmanager_v1.Secret.pb(),
    "secretmanager.versions": secretmanager_v1.SecretVersion.pb(),
    "iam.accounts": iam_admin_v1.ServiceAccount.pb(),
    "policies": policy_pb2.Policy,
}
RECORDS = ("storage.buckets", "storage.objects")
SIMULATED = "sql.simulated."  # databases inside of instances
IGNORED: Mapping[str, str] = {
    "iam.accounts.deleted": "of the past, by an id that is made by chance",
    "iam.accounts.visible": "times from which a new account is seen",
    "iam.settings": "of the cloud under test, not of the app",
    "keys": "the cloud's own, made by chance",
    "operations": "of the past: a call that is repeated has another",
    "operations.apis": "of the past, as operations",
    "operations.pending": "on its way: what comes of it is waited for and compared",
    "policies.fresh": "times from which a new grant holds",
    "policies.settings": "of the cloud under test, not of the app",
    "projects": "the one of all lives, with a number that is made by chance",
    "registry.simulated": "images, which the sweep pushes and no life changes",
    "resourcemanager.projects": "the one of all lives",
    "run.internal": "counters and pinned images, which Google does not show",
    "run.jobs.deleted": "of the past",
    "run.services.deleted": "of the past",
    "run.tasks": "each is part of an execution, which is compared with its counts",
    "run.workerpools.deleted": "of the past",
    "secretmanager.counters": "the last version's number, which the versions have",
    "secretmanager.payloads": "made by chance; `payloads` tells those that are made anew",
    "secretmanager.since": "times",
    "sql.deleted": "of the past, times",
    "sql.operations": "of the past: a call that is repeated has another",
    "sql.operations.pending": "on its way: what comes of it is waited for and compared",
    "sql.passwords": "made by chance",
    "storage.noncurrent": "of the past, by generations, which are times",
    "storage.uploads": "of the past: an upload that was cut off, by an id that is made by chance",
    "sts.providers": "of the cloud under test, not of the app",
    "tokens": "made by chance",
}
CHANCE = re.compile(
    r"(.*_)?time|etag|uid|unique_id|oauth2_client_id|generation|observed_generation|metageneration|last_modifier|"
    r"settings_version|log_uri|time_created|updated|timeCreated|.*Time|id|projectNumber|ip_addresses|server_ca_cert|"
    r"sequence|conditions|password|self_link|start_execution_token|gce_zone|secondary_gce_zone|service_account_email_address"
)
# Of the status: clocks, and links with a time in them.
CLOCKS = re.compile(r"status\..*\.(finishedAt|lastDetected|lastTransitionTime|logUri|since|stageStartedAt|startedAt)")
# Hashes of the time at which the instance was made. All else of the status is compared.
BY_CHANCE = re.compile(r"status\.release\.(inputs|migration\.database|superuser\.id)")

CSRF_TOKEN = re.compile(r"""(csrfmiddlewaretoken["'] value=["'])[^"']*""")


class UnknownKindError(Exception):
    """The store has a kind of which nobody has said whether it is compared."""


@dataclass(frozen=True)
class Snapshot:
    """`google`: by kind and name, executions of jobs among it; `kubernetes`: what the app says."""

    google: Mapping[str, Any]
    kubernetes: Mapping[str, Any]

    def differences(self, now: Snapshot) -> list[str]:
        """In words, of what is there now; empty where it is the same."""
        found = []
        for mine, other in ((self.google, now.google), (self.kubernetes, now.kubernetes)):
            for name in sorted(mine.keys() | other.keys()):
                if name not in other:
                    found.append(f"missing: {name}")
                elif name not in mine:
                    found.append(f"too much: {name}")
                elif mine[name] != other[name]:
                    found.append(f"differs: {name}: {_first_difference(mine[name], other[name])}")
        return found

    def without_history(self) -> Snapshot:
        """As where the status was wiped: the releases before, which Google does not keep, are forgotten."""
        shown = dict(self.kubernetes)
        if "status.release" in shown:
            shown["status.release"] = {k: v for k, v in shown["status.release"].items() if k != "history"}
        return replace(self, kubernetes=shown)


async def snapshot(site: Site) -> Snapshot:
    """Of the cloud and of the app, now. Raises UnknownKindError."""
    store = site.cloud.core.store
    google: dict[str, Any] = {}
    for kind in store.kinds():
        if kind not in IGNORED:
            google |= {f"{kind} {name}": _shown(kind, body) for name, body in store.load(kind)}
    if site.real:
        google |= await _inside(site)
    return _numbered(Snapshot(google, _of_app(await site.app())), store.load("run.executions"))


def _numbered(found: Snapshot, executions: Any) -> Snapshot:
    """Executions by their number in their job: the token in their name depends on when the instance was made."""
    made = sorted((run.Execution.FromString(body).create_time.ToNanoseconds(), name) for name, body in executions)
    text, seen = json.dumps([found.google, found.kubernetes]), dict[str, int]()
    for _, name in made:
        job, _, short = name.rpartition("/executions/")
        seen[job] = seen.get(job, 0) + 1
        text = text.replace(short, f"{job.rpartition('/')[2]}-run-{seen[job]}")
    return Snapshot(*json.loads(text))


def payloads(site: Site) -> dict[str, str]:
    """Of each version of a secret that has one, what stands for it."""
    found = site.cloud.core.store.load("secretmanager.payloads")
    return {
        name: hashlib.sha256(secretmanager_v1.SecretPayload.pb().FromString(body).data).hexdigest()
        for name, body in found
    }


async def _inside(site: Site) -> dict[str, Any]:
    """Of the running databases: roles, memberships, and who owns what. Of the app: the page, with its rows."""
    google: dict[str, Any] = {}
    for name, server in running_servers(site):
        google |= {f"{what} of {name}": shown for what, shown in (await contents(server)).items()}
    url = ((await site.app() or {}).get("status") or {}).get("url")
    if url:
        headers = {"Host": f"{urlsplit(url).netloc.partition('.')[0]}.localhost:{site.cloud.front_port}"}
        page = f"http://127.0.0.1:{site.cloud.front_port}/"
        async with aiohttp.ClientSession(headers=headers) as session, session.get(page) as answer:
            google["the page"] = {"status": answer.status, "text": page_text(await answer.text())}
    return google


def page_text(html: str) -> str:
    """What a page says, without the token against forged requests, of which each answer has another."""
    return CSRF_TOKEN.sub(r"\1", html)


def _shown(kind: str, body: bytes) -> Any:
    if kind in MESSAGES:
        message: Message = MESSAGES[kind].FromString(body)
        return _settled(MessageToDict(message, preserving_proto_field_name=True))
    if kind in RECORDS or kind.startswith(SIMULATED):
        return _settled(json.loads(body))
    raise UnknownKindError(f"{kind}: compare it (MESSAGES, RECORDS), or say in IGNORED why not")


def _of_app(app: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if app is None:
        return {"app": None}
    status = app.get("status") or {}
    return {
        "finalizers": app["metadata"].get("finalizers"),
        **{f"status.{key}": _lasting(value, f"status.{key}") for key, value in status.items()},
    }


def _lasting(value: Any, path: str) -> Any:
    """Of a status what is the same each time."""
    if isinstance(value, dict):
        paths = {key: f"{path}.{key}" for key in value}
        chance = {key for key, inner in paths.items() if CLOCKS.fullmatch(inner) or BY_CHANCE.fullmatch(inner)}
        return {key: _lasting(inner, paths[key]) for key, inner in value.items() if key not in chance}
    if isinstance(value, list):
        return sorted((_lasting(item, path) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _settled(inner) for key, inner in value.items() if not CHANCE.fullmatch(key)}
    if isinstance(value, list):
        return sorted((_settled(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _first_difference(mine: Any, other: Any, path: str = "") -> str:
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted(mine.keys() | other.keys()):
            if mine.get(key) != other.get(key):
                return _first_difference(mine.get(key), other.get(key), f"{path}.{key}")
    return f"{path} was to be {json.dumps(mine)[:300]}, is {json.dumps(other)[:300]}"
