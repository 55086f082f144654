"""Cloud Storage buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nuages.desired.resource import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Resource):
    """`projects/P/buckets/B` (Google's own `projects/_/buckets/B`, with the project that pays).

    The defaults keep it closed: IAM alone decides, and lets in nobody without an identity.
    """

    kind: ClassVar[str] = "storage.googleapis.com/Bucket"
    location: str  # upper case, as Google answers it
    versioning: bool
    uniform_bucket_level_access: bool = True
    public_access_prevention: str = "enforced"  # | "inherited"
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def keeps_data(self) -> bool:
        return True
