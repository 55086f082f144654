"""The log entries of this cloud: the last ones in memory, all of the running file and the one before on disk.

An entry is kept as the JSON of google.logging.v2.LogEntry. How a container's line becomes an entry:
gcp/behaviour-runtime.md, section 4.
"""

from __future__ import annotations

import collections
import datetime as dt
import itertools
import json
import logging
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

if TYPE_CHECKING:
    from localcloud.core.cloud import Cloud

Entry = dict[str, Any]

KEPT = 50_000
FILE_BYTES = 32 * 2**20
SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL", "TRACE": "DEBUG"}
RUN = "run.googleapis.com/"
FULL_NAMES = ("stdout", "stderr", "requests", "varlog/system")
SPECIAL = {
    "logging.googleapis.com/trace": "trace",
    "logging.googleapis.com/spanId": "spanId",
    "logging.googleapis.com/trace_sampled": "traceSampled",
    "logging.googleapis.com/labels": "labels",
    "logging.googleapis.com/insertId": "insertId",
    "logging.googleapis.com/operation": "operation",
    "logging.googleapis.com/sourceLocation": "sourceLocation",
    "httpRequest": "httpRequest",
}
TYPES: dict[str, type] = {
    "labels": dict,
    "operation": dict,
    "sourceLocation": dict,
    "httpRequest": dict,
    "traceSampled": bool,
    "trace": str,
    "spanId": str,
    "insertId": str,
}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")

logger = logging.getLogger(__name__)


class LogStore:
    """Written by what runs, read by the Logging API and by `localcloud logs`."""

    def __init__(self, cloud: Cloud) -> None:
        """A simulated cloud keeps its logs in memory only."""
        directory = None if cloud.simulate else cloud.dir / "logs"
        self._entries: collections.deque[Entry] = collections.deque(maxlen=KEPT)
        self._listeners: list[Callable[[Entry], None]] = []
        self._directory = directory
        self._file: BinaryIO | None = None
        self._size = 0
        self._serial = itertools.count()
        self._run = secrets.token_hex(4)
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._load(directory)

    def write(
        self,
        resource_type: str,
        labels: Mapping[str, str],
        log_id: str,
        payload: str | Mapping[str, Any],
        severity: str = "DEFAULT",
        entry_labels: Mapping[str, str] | None = None,
        at: dt.datetime | None = None,
        **fields: Any,
    ) -> Entry:
        """Add an entry of a monitored resource; `labels` are the resource's and hold its `project_id`.

        `log_id`: one of Cloud Run's ("stdout", "stderr", "requests", "varlog/system") or a full one
        ("cloudsql.googleapis.com/postgres.log"). A text payload that is one JSON object is taken apart as Google does.
        `fields`: further fields of LogEntry, in camelCase (httpRequest, trace). Returns the entry.
        """
        now = _stamp(at)
        full = f"{RUN}{log_id}" if log_id in FULL_NAMES else log_id
        entry: Entry = {
            "logName": f"projects/{labels.get('project_id', '')}/logs/{quote(full, safe='')}",
            "resource": {"type": resource_type, "labels": dict(labels)},
            "timestamp": now,
            "severity": severity,
            "insertId": f"{self._run}{next(self._serial):012x}",
        }
        if entry_labels:
            entry["labels"] = dict(entry_labels)
        entry |= fields
        _put_payload(entry, payload)
        return self.add(entry)

    def add(self, entry: Entry) -> Entry:
        """An entry as it is; what every entry has and this one lacks is filled in."""
        entry.setdefault("timestamp", _stamp(None))
        entry.setdefault("insertId", f"{self._run}{next(self._serial):012x}")
        entry.setdefault("severity", "DEFAULT")
        entry["receiveTimestamp"] = _stamp(None)
        self._entries.append(entry)
        self._save(entry)
        for listener in self._listeners:
            listener(entry)
        return entry

    def entries(self) -> list[Entry]:
        """All that are kept, in order of arrival. Not copies: read only."""
        return list(self._entries)

    def listen(self, listener: Callable[[Entry], None]) -> Callable[[], None]:
        """Call `listener` with every new entry until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        """What was written is on disk already."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _load(self, directory: Path) -> None:
        for path in (directory / "entries.1.jsonl", directory / "entries.jsonl"):
            if path.exists():
                self._entries.extend(_lines(path))
        current = directory / "entries.jsonl"
        self._file = current.open("ab", buffering=0)  # each line reaches the system at once: kept after kill -9
        self._size = current.stat().st_size
        if self._size and not _ends_well(current):
            self._file.write(b"\n")

    def _save(self, entry: Entry) -> None:
        if self._file is None or self._directory is None:
            return
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if self._size + len(line) > FILE_BYTES:
            self._file.close()
            current = self._directory / "entries.jsonl"
            current.replace(self._directory / "entries.1.jsonl")
            self._file, self._size = current.open("ab", buffering=0), 0
        self._file.write(line)
        self._size += len(line)


def _put_payload(entry: Entry, payload: str | Mapping[str, Any]) -> None:
    """Text, or a JSON object with the fields that belong to the entry moved there."""
    parsed = _object(payload) if isinstance(payload, str) else dict(payload)
    if parsed is None:
        entry["textPayload"] = payload
        return
    severity = _severity(parsed.get("severity"))
    if severity is not None:
        entry["severity"] = severity
        del parsed["severity"]
    for key in ("time", "timestamp"):
        moment = _time(parsed.get(key))
        if moment is not None:
            entry["timestamp"] = moment
            del parsed[key]
            break
    for key, name in SPECIAL.items():
        if key in parsed and isinstance(parsed[key], TYPES[name]):
            value = parsed.pop(key)
            entry[name] = {**entry.get("labels", {}), **_texts(value)} if name == "labels" else value
    if set(parsed) == {"message"} and isinstance(parsed["message"], str):
        entry["textPayload"] = parsed["message"]
    else:
        entry["jsonPayload"] = parsed


def _object(line: str) -> dict[str, Any] | None:
    text = line.strip()
    if not text.startswith("{") or not text.endswith("}"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _severity(value: Any) -> str | None:
    name = str(value).upper()
    name = ALIASES.get(name, name)
    return name if value is not None and name in SEVERITIES else None


def _time(value: Any) -> str | None:
    if isinstance(value, str) and RFC3339.fullmatch(value):
        return _stamp(dt.datetime.fromisoformat(value))
    if isinstance(value, dict) and isinstance(value.get("seconds"), int):
        return _stamp(dt.datetime.fromtimestamp(value["seconds"] + int(value.get("nanos", 0)) / 1e9, dt.UTC))
    return None


def _stamp(at: dt.datetime | None) -> str:
    moment = (at or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _texts(value: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()}


def _lines(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError:  # the last line of a run that was killed
                logger.warning("%s: line %d is incomplete and was left out", path, number)


def _ends_well(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
