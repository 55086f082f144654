"""What Secret Manager checks: secrets as they are to be, update masks, etags (gcp/behaviour.md, section 3)."""

from __future__ import annotations

import re

from localcloud.api.messages import secretmanager as pb
from localcloud.core.cloud import Cloud
from localcloud.core.errors import ApiError, Code, not_modelled

LABEL_KEY = re.compile(r"[^\W\dA-Z_](?:[^\WA-Z]|-){0,62}")
MUTABLE = frozenset(
    {
        "labels",
        "annotations",
        "topics",
        "expire_time",
        "ttl",
        "rotation",
        "version_aliases",
        "version_destroy_ttl",
        "etag",
    }
)
ETAG_BASE = 1 << 52


class Etags:
    """Made from time, as Google's are: 2^52 plus microseconds, in hexadecimal.

    Google puts quotes around the digits; here they stand alone, so that scripts which paste an etag into a JSON body
    (the replay of recorded exchanges does) need no escaping.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._clock = cloud.clock
        self._last = 0
        birth = cloud.store.records("secretmanager.since")
        self._since = int((birth.find("etag") or {"microseconds": self._now()})["microseconds"])
        birth.put("etag", {"microseconds": self._since})

    def new(self) -> str:
        """One that was never given before."""
        self._last = max(self._last + 1, self._now())
        return f"{ETAG_BASE + self._last:x}"

    def check(self, given: str, current: str, name: str) -> None:
        """Raises FAILED_PRECONDITION where it does not match.

        An etag from before this cloud began is another's (a recorded exchange) and is not judged.
        """
        bare = given.strip('"')
        if not bare or bare == current or self._is_foreign(bare):
            return
        raise ApiError(
            Code.FAILED_PRECONDITION,
            f"The etag provided in the request [{given}] does not match the current etag [{current}] of [{name}].",
        )

    def _is_foreign(self, etag: str) -> bool:
        return re.fullmatch(r"1[0-9a-f]{13}", etag) is not None and int(etag, 16) - ETAG_BASE < self._since

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def check_secret(secret: pb.Secret, simulated: bool) -> None:
    """What Google refuses in a secret as it is to be. Raises INVALID_ARGUMENT."""
    for field in () if simulated else ("tags", "secret_type", "customer_managed_encryption"):
        if secret.DESCRIPTOR.fields_by_name[field] in {found for found, _ in secret.ListFields()}:
            raise not_modelled(f"the field {field} of a global secret")
    if secret.replication.WhichOneof("replication") is None:
        raise invalid("The replication policy of the secret must be provided.")
    if secret.replication.HasField("user_managed") and not secret.replication.user_managed.replicas:
        raise invalid("A user-managed replication policy must have at least one replica.")
    if secret.HasField("rotation") and not secret.topics:
        raise invalid("At least one topic must be set when a rotation is configured.")
    if len(secret.labels) > 64:
        raise invalid("The number of labels must be at most 64.")
    for key, value in secret.labels.items():
        if not LABEL_KEY.fullmatch(key) or len(value) > 63 or value != value.lower():
            raise invalid(f"The label [{key}={value}] is invalid.")


def invalid(message: str) -> ApiError:
    return ApiError(Code.INVALID_ARGUMENT, message)
