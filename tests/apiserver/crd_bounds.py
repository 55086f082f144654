"""What `crd_constraints.twins` cannot make from a valid value alone: by kind, field and keyword."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crd_constraints import ABSENT, Twins

from nuages.api.contract import CONTRACT

_RENAMED = {name: f"MY_{name}" for name in CONTRACT}
_TIME = Twins(("03:00",), ("",))
_LONG = "1" * 33  # a character more than is read for its form, which is always shorter
_TIER = Twins(("db-a",), ("",))
_ACCOUNT = ("@acme-prod.iam.gserviceaccount.com", 256)
_LONG_ACCOUNT = Twins((_ACCOUNT[0].rjust(_ACCOUNT[1], "a"),), (_ACCOUNT[0].rjust(_ACCOUNT[1] + 1, "a"),))

# Where the form of a field leaves no such value, or another one: the shortest or longest that there is.
VALUES: Mapping[str, Mapping[str, Twins]] = {
    "DjangoApp": {
        "spec.image minLength": Twins(("a/b:c",), ("",)),
        "spec.django.csrfTrustedOrigins[] minLength": Twins(("http://a",), ("",)),
        "spec.django.corsAllowedOrigins[] minLength": Twins(("http://a",), ("",)),
        "spec.django.envNames maxProperties": Twins((_RENAMED,), ({**_RENAMED, "OTHER": "MY_OTHER"},)),
        "spec.web.cpu maxLength": Twins(("0.99",), (_LONG,)),
        "spec.web.memory minLength": Twins(("1Gi",), ("",)),
        "spec.web.memory maxLength": Twins(("4096Mi",), (_LONG,)),
        "spec.jobs.cpu maxLength": Twins(("2",), (_LONG,)),
        "spec.jobs.memory minLength": Twins(("1Gi",), ("",)),
        "spec.jobs.memory maxLength": Twins(("4096Mi",), (_LONG,)),
        "spec.database.instance.create.tier minLength": _TIER,
        "spec.database.instance.create.backups.startTime minLength": _TIME,
        "spec.database.instance.create.backups.startTime maxLength": Twins(("03:00",), (_LONG,)),
        "spec.superuser.email minLength": Twins(("a@b",), ("a@",)),
        "spec.serviceAccount.existing maxLength": _LONG_ACCOUNT,
    },
    "DjangoTenant": {
        "spec.project minLength": Twins(("acme",), ("",)),
        "spec.region minLength": Twins(("a-b1",), ("",)),
        "spec.impersonateServiceAccount maxLength": _LONG_ACCOUNT,
        "spec.database.create.tier minLength": _TIER,
        "spec.database.create.backups.startTime minLength": _TIME,
        "spec.database.create.backups.startTime maxLength": Twins(("03:00",), (_LONG,)),
    },
}

_PLUS = {"tier": "db-perf-optimized-N-2", "edition": "EnterprisePlus"}


def _create(create: str) -> dict[str, dict[str, Any]]:
    return {
        f"{create}.edition enum EnterprisePlus": {f"{create}.tier": _PLUS["tier"]},
        f"{create}.storageGiB maximum": {f"{create}.storageLimitGiB": 65536},
        f"{create}.storageLimitGiB minimum": {f"{create}.storageGiB": 10},
        f"{create}.backups.pointInTimeRecoveryDays maximum": {
            f"{create}.{name}": value for name, value in _PLUS.items()
        },
    }


_STARTUP, _LIVENESS = "spec.web.startupProbe", "spec.web.livenessProbe"

# What other fields must say for the value to be right, because a rule looks at both.
BESIDE: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "DjangoApp": {
        "spec.web.cpu maxLength": {"spec.web.concurrency": 1, "spec.storage.media.mountPath": ""},
        "spec.web.minInstances maximum": {"spec.web.maxInstances": 1000},
        f"{_STARTUP}.periodSeconds minimum": {f"{_STARTUP}.timeoutSeconds": ABSENT},
        f"{_STARTUP}.periodSeconds maximum": {f"{_STARTUP}.failureThreshold": 1},
        f"{_STARTUP}.failureThreshold maximum": {
            f"{_STARTUP}.periodSeconds": 1,
            f"{_STARTUP}.timeoutSeconds": ABSENT,
        },
        f"{_STARTUP}.timeoutSeconds maximum": {
            f"{_STARTUP}.periodSeconds": 240,
            f"{_STARTUP}.failureThreshold": 1,
        },
        f"{_LIVENESS}.periodSeconds minimum": {f"{_LIVENESS}.timeoutSeconds": ABSENT},
        f"{_LIVENESS}.timeoutSeconds maximum": {f"{_LIVENESS}.periodSeconds": 3600},
        "spec.web.access enum Public": {"spec.web.invokers": ABSENT},
        "spec.database.engine enum None": {"spec.superuser": ABSENT},
        **_create("spec.database.instance.create"),
    },
    "DjangoTenant": _create("spec.database.create"),
}
