"""Bucket resources of Cloud Storage: defaults, merges, what a reply shows (gcp/behaviour.md, section 4). Pure."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from localcloud.api.storage_types import BUCKET_FIELDS, check_types, invalid, whole
from localcloud.core.errors import ApiError, Code, not_modelled
from localcloud.runtime.objects import timestamp

Bucket = dict[str, Any]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
MULTI_REGIONS = frozenset({"US", "EU", "ASIA"})
DUAL_REGIONS = frozenset({"NAM4", "EUR4", "EUR5", "EUR7", "EUR8", "ASIA1"})
CLASSES = frozenset({"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL"})
SOFT_DELETE_S = 7 * 24 * 3600
SOFT_DELETE_LEAST_S, SOFT_DELETE_MOST_S = 7 * 24 * 3600, 90 * 24 * 3600
LOCK_DAYS = 90
SET_BY_CALLER = (
    *("autoclass", "billing", "cors", "customPlacementConfig", "defaultEventBasedHold", "iamConfiguration", "labels"),
    *("lifecycle", "location", "logging", "name", "retentionPolicy", "rpo", "softDeletePolicy", "storageClass"),
    *("versioning", "website"),
)
OUTPUT_ONLY = (
    *(
        "acl",
        "defaultObjectAcl",
        "etag",
        "generation",
        "hardDeleteTime",
        "id",
        "kind",
        "locationType",
        "metageneration",
    ),
    *("owner", "projectNumber", "satisfiesPZI", "satisfiesPZS", "selfLink", "softDeleteTime", "timeCreated", "updated"),
)
IMMUTABLE = ("location", "name", "customPlacementConfig")
NOT_MODELLED = {
    "encryption": "customer-managed encryption keys of buckets",
    "hierarchicalNamespace": "hierarchical namespaces",
    "ipFilter": "IP filters of buckets",
    "objectRetention": "object retention",
}
TEAMS = (("owners", "OWNER"), ("editors", "OWNER"), ("viewers", "READER"))


def created(body: Mapping[str, Any], number: str, generation: str, simulated: bool) -> Bucket:
    """The bucket that a valid insert makes. Raises what Google answers to an invalid one.

    `simulated`: keep and show also what no folder of files could do.
    """
    name = body.get("name")
    if (
        not isinstance(name, str)
        or not NAME.fullmatch(name)
        or name.startswith("goog")
        or ".." in name
        or "google" in name
    ):
        raise invalid(f"Invalid bucket name: '{name}'")
    if len(name) > 63 and "." not in name:
        raise invalid(f"Invalid bucket name: '{name}'")
    sent = merged({}, _accepted(body, simulated))  # without the nulls, which mean what is not said
    location = str(sent.get("location", "US")).upper()
    kind = _location_type(location, sent)
    bucket: Bucket = {
        "kind": "storage#bucket",
        "id": name,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": number,
        "generation": generation,
        "metageneration": "1",
        "timeCreated": timestamp(),
        "storageClass": "STANDARD",
        "softDeletePolicy": {"retentionDurationSeconds": str(SOFT_DELETE_S)},
        "iamConfiguration": {},
        **sent,
        "name": name,
        "location": location,
        "locationType": kind,
    }
    if kind == "region":
        bucket["satisfiesPZI"] = True  # isolated in its zones: recorded in regions, and only there
    else:
        bucket.setdefault("rpo", "DEFAULT")
    return completed(bucket, {})


def patched(bucket: Bucket, body: Mapping[str, Any], simulated: bool) -> Bucket:
    """The bucket after a PATCH: objects are merged, lists replaced, null removes."""
    sent = _accepted(body, simulated)
    _refuse_moves(bucket, sent)
    made = {"storageClass": "STANDARD", "iamConfiguration": {}, **merged(bucket, sent)}
    made["metageneration"] = str(int(bucket["metageneration"]) + 1)
    return completed(made, bucket)


def replaced(bucket: Bucket, body: Mapping[str, Any], simulated: bool) -> Bucket:
    """The bucket after a PUT: what the body leaves out goes back to its default."""
    sent = _accepted(body, simulated)
    _refuse_moves(bucket, sent)
    kept = {name: value for name, value in bucket.items() if name not in SET_BY_CALLER or name in IMMUTABLE}
    defaults = {"storageClass": "STANDARD", "softDeletePolicy": bucket["softDeletePolicy"], "iamConfiguration": {}}
    if bucket["locationType"] != "region":
        defaults["rpo"] = "DEFAULT"
    made = {**defaults, **kept, **merged({}, sent)}
    made["location"] = bucket["location"]
    made["metageneration"] = str(int(bucket["metageneration"]) + 1)
    return completed(made, bucket)


def completed(bucket: Bucket, before: Bucket) -> Bucket:
    """Every sub-resource with what the server fills in; `before` is the bucket as it was, `{}` for a new one."""
    made = copy.deepcopy(bucket)
    now = timestamp()
    made["updated"] = now
    made["etag"] = etag(made["metageneration"])
    if made["storageClass"] not in CLASSES:
        raise invalid(f"Invalid storage class: {made['storageClass']}")
    _complete_access(made, before, now)
    _complete_autoclass(made, before, now)
    _complete_soft_delete(made, before, now)
    _complete_retention(made, before, now)
    for name in ("labels", "cors", "website", "logging", "billing", *NOT_MODELLED):
        if name in made and not made[name]:
            del made[name]
    if not made.get("lifecycle", {}).get("rule"):
        made.pop("lifecycle", None)
    for rule in made.get("lifecycle", {}).get("rule", ()):
        if not rule.get("action", {}).get("type") or not isinstance(rule.get("condition"), dict):
            raise invalid("A lifecycle rule must have an action and a condition.")
    for label in made.get("labels", {}):
        if not LABEL.fullmatch(label):
            raise invalid(f"Invalid label key: '{label}'")
    return made


def merged(old: Any, new: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(new, dict) or not isinstance(old, dict):
        return copy.deepcopy(new)
    made = dict(old)
    for name, value in new.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name, {} if isinstance(value, dict) else None), value)
    return made


def uniform(bucket: Bucket) -> bool:
    """Whether IAM alone decides, without access control lists."""
    return bool(bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"])


def prevents_public_access(bucket: Bucket) -> bool:
    return bool(bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced")


def versioned(bucket: Bucket) -> bool:
    return bool(bucket.get("versioning", {}).get("enabled"))


def shown(bucket: Bucket, full: bool) -> Bucket:
    """The reply; `full` adds the access control lists of buckets that have them."""
    made = {name: value for name, value in bucket.items() if not name.startswith("_")}
    if full and not uniform(bucket):
        made["acl"] = _acl(bucket, "bucketAccessControl", with_ids=True)
        made["defaultObjectAcl"] = _acl(bucket, "objectAccessControl", with_ids=False)
        made["owner"] = {"entity": f"project-owners-{bucket['projectNumber']}"}
    return made


def etag(*numbers: str) -> str:
    """As Google's: the numbers as fields 1, 2 of a protobuf message, in base64 (metageneration 1: "CAE=")."""
    out = bytearray()
    for field, number in enumerate(numbers, 1):
        out.append(field << 3)
        value = int(number)
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return base64.b64encode(out).decode()


def _accepted(body: Mapping[str, Any], simulated: bool) -> Bucket:
    """What the caller may set; what is not modelled is refused by name."""
    for name, what in NOT_MODELLED.items():
        if not simulated and body.get(name) and body[name] not in ({"enabled": False}, {"mode": "Disabled"}):
            raise not_modelled(what)
    if not simulated and (body.get("retentionPolicy") or {}).get("isLocked"):
        raise not_modelled("locked retention policies")
    for name in body:
        if name not in (*SET_BY_CALLER, *OUTPUT_ONLY, *NOT_MODELLED):
            raise invalid(f"Unknown field of a bucket: {name}")
    check_types(body, BUCKET_FIELDS)
    wanted = (*SET_BY_CALLER, *NOT_MODELLED) if simulated else SET_BY_CALLER
    return {name: copy.deepcopy(value) for name, value in body.items() if name in wanted}


def _refuse_moves(bucket: Bucket, sent: Bucket) -> None:
    for name in IMMUTABLE:
        same = str(sent.get(name)).upper() == str(bucket.get(name)).upper()
        if name in sent and sent[name] is not None and not same and sent[name] != bucket.get(name):
            raise invalid(f"Invalid argument: the {name} of a bucket cannot be changed.")


def _location_type(location: str, sent: Bucket) -> str:
    if sent.get("customPlacementConfig") or location in DUAL_REGIONS:
        return "dual-region"
    if location in MULTI_REGIONS:
        return "multi-region"
    if not re.fullmatch(r"[A-Z]+-[A-Z]+\d+", location):
        raise invalid(f"The specified location constraint is not valid: {location}")
    return "region"


def _complete_access(bucket: Bucket, before: Bucket, now: str) -> None:
    """`bucketPolicyOnly` is the old name of `uniformBucketLevelAccess` and mirrors it."""
    access = bucket["iamConfiguration"]
    was = before.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {})
    wanted = [access.get(name, {}).get("enabled") for name in ("uniformBucketLevelAccess", "bucketPolicyOnly")]
    differing = [value for value in wanted if value is not None and bool(value) != bool(was.get("enabled"))]
    enabled = bool(differing[0]) if differing else bool(was.get("enabled"))
    if was.get("enabled") and not enabled and was["lockedTime"] < now:
        raise ApiError(
            Code.CONDITION_NOT_MET,
            "Uniform bucket-level access is locked and cannot be disabled on this bucket.",
        )
    state: dict[str, Any] = {"enabled": enabled}
    if enabled:
        state["lockedTime"] = was.get("lockedTime") or _later(LOCK_DAYS)
    access["uniformBucketLevelAccess"], access["bucketPolicyOnly"] = state, dict(state)
    prevention = access.setdefault("publicAccessPrevention", "inherited")
    if prevention == "unspecified":
        access["publicAccessPrevention"] = "inherited"
    elif prevention not in ("inherited", "enforced"):
        raise invalid(f"Invalid argument: publicAccessPrevention '{prevention}'.")


def _complete_autoclass(bucket: Bucket, before: Bucket, now: str) -> None:
    autoclass = bucket.get("autoclass")
    if not autoclass or not autoclass.get("enabled"):
        if before.get("autoclass", {}).get("enabled"):
            bucket["autoclass"] = {"enabled": False, "toggleTime": now}
        elif autoclass is not None and "toggleTime" not in autoclass:
            bucket.pop("autoclass")
        return
    was = before.get("autoclass", {})
    autoclass["toggleTime"] = was["toggleTime"] if was.get("enabled") else now
    autoclass.setdefault("terminalStorageClass", "NEARLINE")
    if autoclass["terminalStorageClass"] not in ("NEARLINE", "ARCHIVE"):
        raise invalid(f"Invalid terminal storage class: {autoclass['terminalStorageClass']}")
    same = was.get("enabled") and was.get("terminalStorageClass") == autoclass["terminalStorageClass"]
    autoclass["terminalStorageClassUpdateTime"] = was["terminalStorageClassUpdateTime"] if same else now


def _complete_soft_delete(bucket: Bucket, before: Bucket, now: str) -> None:
    policy = bucket.setdefault("softDeletePolicy", {"retentionDurationSeconds": "0"})
    seconds = whole(policy.get("retentionDurationSeconds", SOFT_DELETE_S), "retentionDurationSeconds")
    if seconds and not SOFT_DELETE_LEAST_S <= seconds <= SOFT_DELETE_MOST_S:
        raise invalid("Soft delete retention must be 0 or between 7 and 90 days.")
    was = before.get("softDeletePolicy", {})
    made = {"retentionDurationSeconds": str(seconds)}
    if seconds:
        made["effectiveTime"] = was["effectiveTime"] if was.get("retentionDurationSeconds") == str(seconds) else now
    bucket["softDeletePolicy"] = made


def _complete_retention(bucket: Bucket, before: Bucket, now: str) -> None:
    policy = bucket.get("retentionPolicy")
    if not policy or not whole(policy.get("retentionPeriod", 0), "retentionPeriod"):
        bucket.pop("retentionPolicy", None)
        return
    was = before.get("retentionPolicy", {})
    period = str(whole(policy["retentionPeriod"], "retentionPeriod"))
    same = was.get("retentionPeriod") == period
    made = {"retentionPeriod": period, "effectiveTime": was["effectiveTime"] if same else now}
    bucket["retentionPolicy"] = made | ({"isLocked": True} if policy.get("isLocked") else {})


def _acl(bucket: Bucket, kind: str, with_ids: bool) -> list[dict[str, Any]]:
    """What a project's teams may do where lists count; other entries are not modelled."""
    number, entries = bucket["projectNumber"], []
    for team, role in TEAMS:
        entity = f"project-{team}-{number}"
        entry: dict[str, Any] = {"kind": f"storage#{kind}"}
        if with_ids:
            entry |= {
                "id": f"{bucket['name']}/{entity}",
                "selfLink": f"{bucket['selfLink']}/acl/{entity}",
                "bucket": bucket["name"],
            }
        entry |= {
            "entity": entity,
            "role": role,
            "etag": bucket["etag"],
            "projectTeam": {"projectNumber": number, "team": team},
        }
        entries.append(entry)
    return entries


def _later(days: int) -> str:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
