"""References to images: `host/project/repository/name:tag` or `…@sha256:…`. Pure."""

import re
from dataclasses import dataclass

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9.:-]*(/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+")


class BadReference(ValueError):
    """A text that names no image; the message says what is wrong with it."""


@dataclass(frozen=True)
class Reference:
    """`host/project/repository/name:tag` or `…@sha256:…`. `repository` is all before the tag, host included."""

    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Reads a reference. Raises BadReference."""
        rest, at, digest = text.partition("@")
        if at and not DIGEST.fullmatch(digest):
            raise BadReference(f"image {text!r}: {digest!r} is no digest; write @sha256: and 64 hexadecimal digits.")
        head, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            head, tag = rest, ""
        if colon and "/" not in rest.rpartition(":")[2] and not TAG.fullmatch(tag):
            raise BadReference(f"image {text!r}: {tag!r} is no tag; use letters, digits, '_', '.', '-'.")
        if not _is_repository(head):
            if _is_repository(head.lower()):
                raise BadReference(f"image {text!r}: {head!r} holds capitals; write {head.lower()}.")
            raise BadReference(
                f"image {text!r}: {head!r} is no repository; write <location>-docker.pkg.dev/<project>/<repo>/<name>."
            )
        return cls(head, tag or None, digest or None)

    @property
    def host(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def path(self) -> str:
        """What follows the host: the name in the registry's /v2 API."""
        return self.repository.partition("/")[2]


def _is_repository(text: str) -> bool:
    """With a host before the first slash."""
    return bool(_REPOSITORY.fullmatch(text) and re.search(r"[.:]|^localhost", text.partition("/")[0]))
