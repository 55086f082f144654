"""How a Google service is declared: a class of async methods on the client's own protobuf messages.

Each method names its REST rule; the gateway serves it over gRPC and over REST/JSON. The wheels of Google's clients hold
messages only, no services or HTTP rules, so the rule stands here (https://google.aip.dev/127 is its grammar).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, get_type_hints

from google.protobuf.message import Message

from localcloud.core.errors import Family

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

Handler = Callable[[Any], Awaitable[Message]]
H = TypeVar("H", bound=Callable[..., Any])
VARIABLE = re.compile(r"\{([\w.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True)
class Rule:
    """One REST binding: `GET /v1/{name=projects/*/secrets/*}:access`."""

    verb: str
    path: str
    body: str  # field that the body fills, "*" for the whole request, "" for none
    merges: bool = False  # whether the body is a merge patch: null deletes, also an entry of a map

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches an undecoded path; group k is the k-th variable of `variables`."""
        position, out = 0, []
        for found in VARIABLE.finditer(self.path):
            out.append(re.escape(self.path[position : found.start()]))
            out.append("(" + _segments(found.group(2) or "*") + ")")
            position = found.end()
        return re.compile("".join(out) + re.escape(self.path[position:]) + "$")

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(found.group(1) for found in VARIABLE.finditer(self.path))

    def resource(self, request: Message) -> str:
        """What the call is about: the path without version and verb, filled from the request."""
        filled = VARIABLE.sub(lambda found: str(field_of(request, found.group(1))), self.path)
        return re.sub(r":\w+$", "", re.sub(r"^/(?:sql/|storage/)?v[^/]*/", "", filled))


@dataclass(frozen=True)
class Method:
    """One RPC: its name, its REST rules, its types, and the permission that it needs."""

    name: str
    rules: tuple[Rule, ...]
    request: type[Message]
    response: type[Message]
    permission: str  # "" where Google asks for none
    handler: Handler

    def resource(self, request: Message) -> str:
        return self.rules[0].resource(request)


def rpc(
    rule: str, *also: str, body: str = "", merges: bool = False, permission: str = "", name: str = ""
) -> Callable[[H], H]:
    """Declare a method. `also`: further rules (aliases); `name`: where CamelCase of the function is not it."""

    def mark(function: H) -> H:
        rules = tuple(Rule(*_split(text), body, merges) for text in (rule, *also))
        function.__rpc__ = (name or _camel(function.__name__), rules, permission)  # type: ignore[attr-defined]
        return function

    return mark


class Service:
    """A gRPC service of Google's, with the REST surface of the same API.

    `always` lists, by message name, fields that Google sends even when zero, which protobuf's JSON drops.
    """

    host: ClassVar[str]  # "run.googleapis.com": also its name in Service Usage
    grpc: ClassVar[str]  # "google.cloud.run.v2.Services"
    title: ClassVar[str]  # "Cloud Run Admin API", as in the error for a disabled API
    by_project_id: ClassVar[bool] = False  # whether its names hold the project's id, also where a number was sent
    errors: ClassVar[Family] = Family.ONE_PLATFORM
    always: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def methods(self) -> list[Method]:
        """Every declared method, bound to this instance."""
        marked = _marked(type(self))  # type: ignore[arg-type] # a class has a hash, whatever its metaclass
        return [
            Method(name, rules, request, response, permission, getattr(self, function))
            for function, (name, rules, permission), request, response in marked
        ]

    def name_of(self, method: Method) -> str:
        """As faults and logs name it: "run.googleapis.com/Services.GetService"."""
        return f"{self.host}/{self.grpc.rsplit('.', 1)[-1]}.{method.name}"

    async def resume(self) -> None:
        """Called once after the state was loaded: pick up what a stop interrupted."""


@functools.cache
def _marked(service: type[Service]) -> tuple[tuple[str, Any, Any, Any], ...]:
    """Of each declared method the function's name, what `rpc` noted, the types of request and answer."""
    found = []
    for name, function in inspect.getmembers(service, inspect.isfunction):
        mark = getattr(function, "__rpc__", None)
        if mark is not None:
            hints = get_type_hints(function)
            found.append((name, mark, hints["request"], hints["return"]))
    return tuple(found)


def field_of(message: Message, path: str) -> Any:
    """The value at a dotted field path."""
    value: Any = message
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _split(rule: str) -> tuple[str, str]:
    verb, path = rule.split(" ", 1)
    return verb, path


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


def _segments(template: str) -> str:
    """`projects/*/secrets/**` as a regular expression; REST clients may percent-encode inside a segment."""
    return "/".join(
        ".+" if part == "**" else "[^/:]+" if part == "*" else re.escape(part) for part in template.split("/")
    )
