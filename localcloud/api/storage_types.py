"""The types of what callers send to Cloud Storage, whose messages are JSON only. Pure.

Source: the schemas of Google's discovery document, https://storage.googleapis.com/$discovery/rest?version=v1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud.core.errors import ApiError, Code

# A type, {field: its own} for an object, [type] for a list, {"*": type} for a map. What is not named is not judged.
Type = Any
NUMBER = "unsigned integer"
TEXTS: Type = {"*": str}
ENABLED: Type = {"enabled": bool}
BUCKET_FIELDS: Mapping[str, Type] = {
    "autoclass": {"enabled": bool, "terminalStorageClass": str},
    "billing": {"requesterPays": bool},
    "cors": [{"maxAgeSeconds": NUMBER, "method": [str], "origin": [str], "responseHeader": [str]}],
    "customPlacementConfig": {"dataLocations": [str]},
    "defaultEventBasedHold": bool,
    "encryption": {"defaultKmsKeyName": str},
    "hierarchicalNamespace": ENABLED,
    "iamConfiguration": {
        "bucketPolicyOnly": ENABLED,
        "publicAccessPrevention": str,
        "uniformBucketLevelAccess": ENABLED,
    },
    "ipFilter": {"mode": str},
    "labels": TEXTS,
    "lifecycle": {
        "rule": [
            {
                "action": {"storageClass": str, "type": str},
                "condition": {
                    "age": NUMBER,
                    "createdBefore": str,
                    "customTimeBefore": str,
                    "daysSinceCustomTime": NUMBER,
                    "daysSinceNoncurrentTime": NUMBER,
                    "isLive": bool,
                    "matchesPrefix": [str],
                    "matchesStorageClass": [str],
                    "matchesSuffix": [str],
                    "noncurrentTimeBefore": str,
                    "numNewerVersions": NUMBER,
                },
            }
        ]
    },
    "location": str,
    "logging": {"logBucket": str, "logObjectPrefix": str},
    "name": str,
    "objectRetention": {"mode": str},
    "retentionPolicy": {"isLocked": bool, "retentionPeriod": NUMBER},
    "rpo": str,
    "softDeletePolicy": {"retentionDurationSeconds": NUMBER},
    "storageClass": str,
    "versioning": ENABLED,
    "website": {"mainPageSuffix": str, "notFoundPage": str},
}
OBJECT_FIELDS: Mapping[str, Type] = {
    "cacheControl": str,
    "contentDisposition": str,
    "contentEncoding": str,
    "contentLanguage": str,
    "contentType": str,
    "customTime": str,
    "eventBasedHold": bool,
    "metadata": TEXTS,
    "storageClass": str,
    "temporaryHold": bool,
}
COMPOSE_FIELDS: Mapping[str, Type] = {
    "destination": OBJECT_FIELDS,
    "sourceObjects": [
        {"generation": NUMBER, "name": str, "objectPreconditions": {"ifGenerationMatch": NUMBER}},
    ],
}


def check_types(value: Any, wanted: Type, where: str = "") -> None:
    """Raise Google's 400 for the first value that its field cannot hold; null, which clears, fits every field."""
    if value is None:
        return
    if isinstance(wanted, Mapping):
        if not isinstance(value, dict):
            raise _wrong(where, value)
        for name, inner in value.items():
            expected = wanted.get(name, wanted.get("*"))
            if expected is not None:
                check_types(inner, expected, f"{where}.{name}".lstrip("."))
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            raise _wrong(where, value)
        for number, item in enumerate(value):
            if item is None:
                raise _wrong(f"{where}[{number}]", item)
            check_types(item, wanted[0], f"{where}[{number}]")
    elif wanted is NUMBER:
        whole(value, where)
    elif not isinstance(value, wanted):
        raise _wrong(where, value)


def whole(value: Any, what: str) -> int:
    """A number of at least 0, sent as a number or as text (int64 in JSON). Raises Google's 400."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,19}", str(value)):
        raise invalid(f"Invalid value for {what}: '{value}' is not a valid unsigned integer.")
    return int(value)


def invalid(message: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, message, reason="invalid")


def _wrong(where: str, value: Any) -> ApiError:
    return invalid(f"Invalid value for {where or 'the resource'}: {value!r}.")
