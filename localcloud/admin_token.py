"""The header that carries the folder's token; apart from the server, so that commands start fast."""

TOKEN_HEADER = "X-Localcloud-Token"  # noqa: S105 - the header's name, not a token
