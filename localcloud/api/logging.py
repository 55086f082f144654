"""Cloud Logging v2: entries.list and entries.write (gcp/behaviour-runtime.md, section 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format

from localcloud.api.listing import page
from localcloud.api.messages import logging as messages
from localcloud.core.errors import ApiError, Code, not_modelled, permission_denied
from localcloud.core.identity import current_caller
from localcloud.core.service import Service, rpc
from localcloud.runtime.logfilter import BadFilter, compiled, moment
from localcloud.runtime.logs import Entry

PAGE, LARGEST_PAGE = 50, 1000
LONGEST_FILTER = 20_000
BY_APPS = ("httpRequest", "operation", "sourceLocation", "labels")
LOG_NAME = re.compile(r"projects/([^/]+)/logs/[^/]+")


class Logging(Service):
    """Over runtime.logs, where instances, jobs and databases write."""

    host = "logging.googleapis.com"
    grpc = "google.logging.v2.LoggingServiceV2"
    title = "Cloud Logging API"

    @rpc("POST /v2/entries:list", body="*")
    async def list_log_entries(self, request: messages.ListLogEntriesRequest) -> messages.ListLogEntriesResponse:
        projects = self._projects(request.resource_names, "logging.logEntries.list")
        if len(request.filter) > LONGEST_FILTER:
            raise ApiError(Code.INVALID_ARGUMENT, f"The filter is longer than {LONGEST_FILTER} characters.")
        try:
            fits = compiled(request.filter)
        except BadFilter as error:
            raise ApiError(Code.INVALID_ARGUMENT, str(error)) from None
        order = request.order_by or "timestamp asc"
        if order not in ("timestamp", "timestamp asc", "timestamp desc"):
            raise ApiError(Code.INVALID_ARGUMENT, f"Invalid order_by '{order}'.")
        found = [e for e in self.cloud.runtime.logs.entries() if _project(e) in projects and fits(e)]
        found.sort(key=_when, reverse=order.endswith("desc"))
        chosen, token = page(found, request.page_size, request.page_token, PAGE, LARGEST_PAGE)
        return messages.ListLogEntriesResponse(entries=[_message(entry) for entry in chosen], next_page_token=token)

    @rpc("POST /v2/entries:write", body="*")
    async def write_log_entries(self, request: messages.WriteLogEntriesRequest) -> messages.WriteLogEntriesResponse:
        made = []
        for sent in request.entries:
            entry = messages.LogEntry()
            entry.CopyFrom(sent)
            entry.log_name = entry.log_name or request.log_name
            if not entry.HasField("resource"):
                entry.resource.CopyFrom(request.resource)
            for name, value in request.labels.items():
                if name not in entry.labels:
                    entry.labels[name] = value
            made.append(self._accepted(entry))
        if not request.dry_run:
            for item in made:
                self.cloud.runtime.logs.add(item)
        return messages.WriteLogEntriesResponse()

    @rpc("GET /v2/{parent=projects/*}/logs")
    async def list_logs(self, request: messages.ListLogsRequest) -> messages.ListLogsResponse:
        projects = self._projects([request.parent, *request.resource_names], "logging.logs.list")
        names = sorted({str(e["logName"]) for e in self.cloud.runtime.logs.entries() if _project(e) in projects})
        chosen, token = page(names, request.page_size, request.page_token, PAGE, LARGEST_PAGE)
        return messages.ListLogsResponse(log_names=chosen, next_page_token=token)

    def _accepted(self, entry: Any) -> Entry:
        """The entry as it is kept. Raises for who may not write it, or a log name that is none."""
        found = LOG_NAME.fullmatch(entry.log_name)
        if found is None:
            raise ApiError(Code.INVALID_ARGUMENT, f"Log name '{entry.log_name}' must be projects/P/logs/LOG_ID.")
        project = self._projects([f"projects/{found.group(1)}"], "logging.logEntries.create").pop()
        if entry.WhichOneof("payload") == "proto_payload":
            raise not_modelled("log entries with protoPayload")
        entry.resource.type = entry.resource.type or "global"
        entry.resource.labels["project_id"] = entry.resource.labels["project_id"] or project
        kept: Entry = json_format.MessageToDict(entry)
        return kept

    def _projects(self, names: Sequence[str], permission: str) -> set[str]:
        """The ids of the projects named, where the caller may."""
        found = set()
        for name in names:
            kind, _, rest = name.partition("/")
            if kind != "projects" or not rest:
                raise not_modelled(f"logs of {name or 'no resource'}: only of projects")
            project = self.cloud.projects.get(rest.partition("/")[0]).id
            if not self.cloud.policies.allows(current_caller.get(), permission, f"projects/{project}"):
                raise permission_denied(permission, f"projects/{project}")
            found.add(project)
        if not found:
            raise ApiError(Code.INVALID_ARGUMENT, "resource_names must name at least one resource.")
        return found


def _project(entry: Entry) -> str:
    return str(entry.get("logName", "")).split("/")[1]


def _when(entry: Entry) -> tuple[Any, str]:
    return moment(str(entry["timestamp"])), str(entry["insertId"])


def _message(entry: Entry) -> Any:
    try:
        return json_format.ParseDict(entry, messages.LogEntry(), ignore_unknown_fields=True)
    except json_format.ParseError:  # an app's own `httpRequest` (or the like) in a form that is none of Google's
        plain = {name: value for name, value in entry.items() if name not in BY_APPS}
        return json_format.ParseDict(plain, messages.LogEntry(), ignore_unknown_fields=True)
