"""Google APIs that speak REST only, written by hand: storage, the image registry, tokens, the Knative aliases."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import unquote

from localcloud.core.errors import ApiError, Code, Family

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

H = TypeVar("H", bound=Callable[..., Any])
VARIABLE = re.compile(r"\{(\w+)(?:=([^}]*))?\}")


@dataclass(frozen=True)
class RestRequest:
    """One HTTP request, decoded as far as every API needs it."""

    method: str
    host: str
    path: str  # undecoded, without query
    variables: Mapping[str, str]  # decoded path variables
    query: Mapping[str, str]
    headers: Mapping[str, str]  # case-insensitive
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; `{}` where there is none. Raises INVALID_ARGUMENT."""
        if not self.body:
            return {}
        try:
            value = json.loads(self.body)
        except ValueError:
            raise ApiError(Code.INVALID_ARGUMENT, "Parse Error", reason="parseError") from None
        if not isinstance(value, dict):
            raise ApiError(Code.INVALID_ARGUMENT, "Parse Error", reason="parseError")
        return value


@dataclass(frozen=True)
class RestResponse:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200, **headers: str) -> RestResponse:
        """A JSON answer."""
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8", **headers})


@dataclass(frozen=True)
class Route:
    """`GET /storage/v1/b/{bucket}`; `{name=**}` takes slashes too."""

    verb: str
    path: str
    permission: str
    resource: str  # template over the path variables, and the query's {project}: "projects/_/buckets/{bucket}"
    open: bool  # served without any credential (token endpoints, metadata)
    handler: Callable[[RestRequest], Awaitable[RestResponse]]

    def match(self, path: str) -> dict[str, str] | None:
        """The decoded path variables, or None where the path is another's."""
        found = re.fullmatch(_pattern(self.path), path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def route(rule: str, *also: str, permission: str = "", resource: str = "", open: bool = False) -> Callable[[H], H]:
    """Declare a handler for one or more rules."""

    def mark(function: H) -> H:
        function.__routes__ = ((rule, *also), permission, resource, open)  # type: ignore[attr-defined]
        return function

    return mark


class RestService:
    """A hand-written API; the gateway finds its routes and renders its errors."""

    host: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]] = ()  # further names; "*.pkg.dev" is a glob
    title: ClassVar[str]
    errors: ClassVar[Family] = Family.LEGACY

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def routes(self) -> list[Route]:
        """Every declared route, bound to this instance, the most specific paths first."""
        found = []
        for _, function in inspect.getmembers(self, inspect.ismethod):
            mark = getattr(function, "__routes__", None)
            if mark is not None:
                rules, permission, resource, open_ = mark
                split = (rule.split(" ", 1) for rule in rules)
                found += [Route(verb, path, permission, resource, open_, function) for verb, path in split]
        return sorted(found, key=lambda r: (r.path.count("**"), -r.path.count("/"), r.path.count("{")))

    def name_of(self, route: Route) -> str:
        """As faults and logs name it: "storage.googleapis.com/GET /storage/v1/b/{bucket}"."""
        return f"{self.host}/{route.verb} {route.path}"

    async def resume(self) -> None:
        """Called once after the state was loaded."""


def _pattern(path: str) -> str:
    position, out = 0, []
    for found in VARIABLE.finditer(path):
        out.append(re.escape(path[position : found.start()]))
        out.append(f"(?P<{found.group(1)}>{'.+' if found.group(2) == '**' else '[^/]+'})")
        position = found.end()
    return "".join(out) + re.escape(path[position:])
