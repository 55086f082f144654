"""The blueprint: every Google resource of an app, as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Resource
from nuages.desired.run import Environment, RunJob, RunService
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlUser


@dataclass(frozen=True)
class Problem:
    """Why this spec cannot be carried out; the message is field, cause and remedy in one sentence."""

    field: str
    reason: str
    message: str


@dataclass(frozen=True)
class Capability:
    """One part of an app: its resources, the variables that lead to them, and the condition that speaks of them."""

    resources: tuple[Resource, ...] = ()
    environment: Environment = ()
    condition: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Belonging:
    """Something of the app's, with the grants that go with it: they bear no marker, so that theirs is asked for."""

    resource: Resource
    grants: tuple[IamMember, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """`resources` come in an order in which each stands after what it needs.

    What the release steps make stands apart: `service`, the jobs, and `access`, the grants that need the service. They
    are None or empty until the image is known. Secret versions are still open (`Resource.bind`).
    """

    resources: tuple[Resource, ...]
    conditions: tuple[tuple[str, str], ...]  # full name of a resource -> condition type
    service_name: str  # full names, known before the image is
    service_url: str  # the number-based URL, known before the first deploy
    candidate_url: str
    job_names: tuple[str, ...] = ()  # full names of the app's own jobs (not db-init's), whatever the image
    hash_host: str = ""  # facts.hash_url's host: in the allowed hosts, but no reason for a release
    service: RunService | None = None
    db_init: RunJob | None = None
    db_leave: RunJob | None = None  # the same job for a deletion on an instance that stays: drop, or mark as retained
    migrate: RunJob | None = None
    superuser: RunJob | None = None
    superuser_password: Secret | None = None  # made when its job is about to run, and never again
    superuser_grant: IamMember | None = None  # on its password, for as long as its job runs
    access: tuple[IamMember, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    rotates: bool = False  # another release follows this one: a rotation's next phase

    @property
    def made_by_steps(self) -> tuple[RunJob | Secret, ...]:
        """What the release's steps make besides the service and the grants."""
        every = (self.db_init, self.migrate, self.superuser, self.superuser_password)
        return tuple(item for item in every if item is not None)

    @property
    def administrator(self) -> SqlUser | None:
        """Of the database's instance."""
        return next((item for item in self.resources if isinstance(item, SqlUser)), None)

    @property
    def own(self) -> tuple[Belonging, ...]:
        """What goes when the app does, in that order: neither what others share, nor what its instance takes along.

        A grant goes with its target, else with the instance in its condition, else with its member, where that is the
        app's: another app of the tenant may need any other one too. Accounts go after all that they may reach.
        """
        every = [item for item in (*self.resources, self.superuser_password) if item is not None]
        mine = [item for item in reversed(every) if item.owner is not None and item.owner.app]
        grants: dict[str, list[IamMember]] = {item.name: [] for item in mine}
        for item in (*self.resources, self.superuser_grant):
            if isinstance(item, IamMember) and (name := _goes_with(item, mine)):
                grants[name].append(item)
        order = sorted(mine, key=lambda item: isinstance(item, ServiceAccount))
        return tuple(Belonging(item, tuple(grants[item.name])) for item in order)


def _goes_with(grant: IamMember, mine: Sequence[Resource]) -> str:
    """Full name of what of the app's a grant is of; "" for none."""
    condition = grant.condition.expression if grant.condition is not None else ""
    of_target = (item.name for item in mine if item.name == grant.target)
    of_instance = (item.name for item in mine if f'"{item.name}"' in condition)
    of_member = (item.name for item in mine if isinstance(item, ServiceAccount) and item.member == grant.member)
    return next(chain(of_target, of_instance, of_member), "")
