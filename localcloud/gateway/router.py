"""Which method serves a path: by Google's host name where there is one, else by the path alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from localcloud.core.rest import RestService, Route
from localcloud.core.service import Method, Rule, Service
from localcloud.gateway.hosts import api_host


@dataclass(frozen=True)
class Declared:
    """A path of a protobuf service."""

    service: Service
    method: Method
    rule: Rule
    pattern: re.Pattern[str]

    verb: str

    def match(self, path: str) -> tuple[str, ...] | None:
        found = self.pattern.match(path)
        return None if found is None else found.groups()


@dataclass(frozen=True)
class Written:
    """A path of a hand-written API."""

    service: RestService
    route: Route


@dataclass(frozen=True)
class DeclaredMatch:
    entry: Declared
    values: tuple[str, ...]


@dataclass(frozen=True)
class WrittenMatch:
    entry: Written
    variables: dict[str, str]


Match = DeclaredMatch | WrittenMatch


class Router:
    """All paths of all services, the more specific ones first."""

    def __init__(self, services: Sequence[Service | RestService]) -> None:
        self._services = services
        self._declared = [entry for service in services if isinstance(service, Service) for entry in _declared(service)]
        self._declared.sort(key=lambda entry: entry.rule.path.count("**"))  # stable: else as the services are listed
        self._written = [
            Written(service, route)
            for service in services
            if isinstance(service, RestService)
            for route in service.routes()
        ]
        self._by_host: dict[str, tuple[list[Declared], list[Written]]] = {}

    def find(self, host: str | None, verb: str, path: str) -> Match | None:
        """`host` None: any service's path; those that begin with a variable need a host to be told apart."""
        declared, written = self._paths(host)
        for entry in declared:
            if entry.verb == verb and (values := entry.match(path)) is not None:
                return DeclaredMatch(entry, values)
        for other in written:
            if other.route.verb == verb and (variables := other.route.match(path)) is not None:
                return WrittenMatch(other, variables)
        return None

    def service_of(self, host: str | None, path: str) -> Service | RestService | None:
        """The API that a path without a method belongs to: that of the host, if its version is one of the API's."""
        for service in self._services:
            if host is not None and _answers(service, host):
                paths = [entry.rule.path for entry in self._declared if entry.service is service]
                paths += [entry.route.path for entry in self._written if entry.service is service]
                if any(_root(path) == _root(other) for other in paths):
                    return service
        return None

    def knows(self, host: str) -> bool:
        """Whether any API answers under this name."""
        return any(_answers(service, host) for service in self._services)

    def _paths(self, host: str | None) -> tuple[list[Declared], list[Written]]:
        if host is None:
            return self._declared, [entry for entry in self._written if not entry.route.path.startswith("/{")]
        if host not in self._by_host:
            if host == "www.googleapis.com":  # the old common name of storage, oauth2 and others
                self._by_host[host] = self._declared, [w for w in self._written if not w.route.path.startswith("/{")]
            else:
                self._by_host[host] = (
                    [entry for entry in self._declared if _answers(entry.service, host)],
                    [entry for entry in self._written if _answers(entry.service, host)],
                )
        return self._by_host[host]


def _declared(service: Service) -> list[Declared]:
    return [
        Declared(service, method, rule, rule.pattern, rule.verb)
        for method in service.methods()
        for rule in method.rules
    ]


def _answers(service: Service | RestService, host: str) -> bool:
    names = (service.host, *(service.hosts if isinstance(service, RestService) else ()))
    return any(fnmatch.fnmatchcase(candidate, name) for name in names for candidate in (host, api_host(host)))


def _root(path: str) -> str:
    """`/v2/projects/…` -> `v2`."""
    return path.lstrip("/").partition("/")[0]
