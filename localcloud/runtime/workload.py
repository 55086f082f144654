"""What an instance runs: a container of a revision or of a job's task, with its identity and log labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class StartAborted(Exception):
    """The instance could not be started; the message is Google's, and is in the system log."""


@dataclass(frozen=True)
class Workload:
    """What an instance runs, and how its log entries are labelled."""

    project: str
    number: str
    region: str
    account: str
    image: str  # by digest
    container: Any  # pb Container
    volumes: tuple[Any, ...]  # pb Volume
    environment: Mapping[str, str]  # the platform's own variables
    name: str  # revision or task, for people
    resource_type: str
    resource_labels: Mapping[str, str]
    entry_labels: Mapping[str, str] = field(default_factory=dict)
    port: int = 0  # containerPort; 0 where nothing listens (jobs)
