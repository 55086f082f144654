"""What a driver is: maps and calls. The plan decides (style of a driver: any file beside this one)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from nuages.cloud.errors import CloudError
from nuages.desired.resource import Owner, Resource

R = TypeVar("R", bound=Resource)
NO_OUTPUTS: Mapping[str, str] = MappingProxyType({})  # one for all: most have none


class Readiness(enum.Enum):
    READY = "Ready"
    BUSY = "Busy"  # still being created or changed, of no use yet: look again
    LOCKED = "Locked"  # of use as it is, but takes no change for now
    FAILED = "Failed"


@dataclass(frozen=True)
class Owned:
    """The fields that we set, by name in the desired type: what drift is, and what only a replacement changes.

    A `floor` may be larger in Google Cloud than desired: a disk that grew by itself, a door that somebody closed.
    What is `lasting` Google never takes away again: where nothing is desired, it may be there.
    """

    mutable: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed(Generic[R]):
    """What is there, mapped onto the desired type.

    `state` carries in `owner` whose marker the resource bears. `outputs` are what others need of it: "version" of a
    secret, "uri" of a service. `message` says why it is busy or failed, in Google's words. `deep` is False where it
    comes from a list that does not show everything.
    """

    state: R
    readiness: Readiness = Readiness.READY
    message: str = ""
    reason: str = ""
    outputs: Mapping[str, str] = field(default_factory=lambda: NO_OUTPUTS)
    etag: str = ""
    deep: bool = True

    @property
    def owner(self) -> Owner | None:
        return self.state.owner


@dataclass(frozen=True)
class Operation:
    """Something under way at Google, by the name that finds it again after a restart."""

    service: str  # "run", "sql", "serviceusage": which API to ask
    name: str
    resource: str  # full name of what it works on
    done: bool = False
    error: CloudError | None = None  # why it failed, where it did


class Driver(Protocol[R]):
    """Writes follow the executor's fresh observation; each returns the operation to wait for, or None when done."""

    owned: Owned

    def scope(self, name: str) -> str:
        """The parent whose list shows it ("projects/P/locations/L"), "" where no list does."""

    async def observe_all(self, scope: str) -> Sequence[Observed[R]]:
        """Everything in a scope that bears any marker of ours, for the inventory. Never writes."""

    async def observe(self, name: str) -> Observed[R] | None:
        """What is there under a full name, or None. Never writes; denials raise."""

    async def create(self, desired: R) -> Operation | None:
        """After an observed absence. Raises Conflict where it is there after all."""

    async def update(self, desired: R, observed: Observed[R], paths: Sequence[str]) -> Operation | None:
        """Only the fields that the plan found; `owner` among them marks it as ours."""

    async def delete(self, name: str, etag: str = "") -> Operation | None:
        """Already gone is done. With the etag of an observation: raises Conflict where it has changed since."""


def differences(desired: R, observed: Observed[R], owned: Owned) -> tuple[str, ...]:
    """The names of the owned fields in which what is there differs from what should be."""
    found = [
        name for name in (*owned.mutable, *owned.immutable) if getattr(desired, name) != getattr(observed.state, name)
    ]
    found += [name for name in owned.floors if getattr(desired, name) > getattr(observed.state, name)]
    found += [name for name in owned.lasting if getattr(desired, name) not in ("", getattr(observed.state, name))]
    return tuple(found)
