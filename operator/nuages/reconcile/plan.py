"""The plan: what is wanted against what is there. Pure; `nuages plan`, status.plan and the executor read this one."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from nuages.cloud.driver import Observed, Owned, Readiness, differences
from nuages.desired.resource import Resource
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import ExistingSqlInstance

Sight = Mapping[str, Observed[Any] | None]  # by full name; None: looked, and it is not there


class Verb(enum.Enum):
    CREATE = "create"
    UPDATE = "update"
    KEEP = "keep"
    ADOPT = "adopt"  # bears no marker, or one of another life of the app, and the user asked to take it over
    WAIT = "wait"  # busy at Google
    CONFLICT = "conflict"  # somebody else's
    IMMUTABLE = "immutable"  # differs in what only a replacement could change
    MISSING = "missing"  # must be there, is not, and is not ours to make
    FAILED = "failed"  # there, and broken
    DELETE = "delete"
    RUN = "run"  # of a job, by a release


WRITES = frozenset({Verb.CREATE, Verb.UPDATE, Verb.ADOPT, Verb.DELETE, Verb.RUN})
REFUSED = frozenset({Verb.CONFLICT, Verb.IMMUTABLE, Verb.MISSING, Verb.FAILED})


@dataclass(frozen=True)
class Action:
    """What to do about one resource; `paths` are the fields that differ, `message` why, for people.

    Those of a conflict are what an adoption would change.
    """

    verb: Verb
    resource: Resource
    observed: Observed[Any] | None = None
    paths: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True)
class Plan:
    """One action a resource, in the order of the blueprint, deletions last."""

    actions: tuple[Action, ...]

    @property
    def changes(self) -> tuple[Action, ...]:
        """What would be written."""
        return tuple(action for action in self.actions if action.verb in WRITES)

    @property
    def deletions(self) -> tuple[Action, ...]:
        """What is wanted no more, dependents first."""
        return tuple(action for action in self.actions if action.verb is Verb.DELETE)

    @property
    def before_release(self) -> Plan:
        """All but the deletions, which the release carries out at its end."""
        return Plan(tuple(action for action in self.actions if action.verb is not Verb.DELETE))

    @property
    def refusals(self) -> tuple[Action, ...]:
        """What stands in the way, and does not go away by itself."""
        return tuple(action for action in self.actions if action.verb in REFUSED)


def make_plan(
    desired: Sequence[Resource],
    seen: Sight,
    owned: Callable[[type[Resource]], Owned],
    *,
    adopt: bool = False,
    surplus: Iterable[Observed[Any]] = (),
) -> Plan:
    """Compare everything. `surplus`: what is wanted no more and can go, dependents first."""
    versions = versions_of(seen)
    actions = [
        decide(resource, seen.get(resource.name), versions, owned(type(resource)), adopt) for resource in desired
    ]
    return Plan((*actions, *removal(surplus)))


def removal(surplus: Iterable[Observed[Any]]) -> tuple[Action, ...]:
    """Each kind once the one before it is gone. Whatever it is called, an instance or a bucket is never deleted so."""
    surplus = [item for item in surplus if isinstance(item.state, Secret) or not item.state.keeps_data]
    groups = [tuple(items) for _, items in groupby(surplus, key=lambda item: type(item.state))]
    made: list[Action] = []
    for before, items in zip(((), *groups), groups, strict=False):
        needs = frozenset(item.state.name for item in before)
        made += [Action(Verb.DELETE, replace(item.state, needs=needs), item) for item in items]
    return tuple(made)


def decide(
    resource: Resource, found: Observed[Any] | None, versions: Mapping[str, str], owned: Owned, adopt: bool = False
) -> Action:
    """What to do about one resource, given the current versions of secrets."""
    if found is None:
        is_ours = not isinstance(resource, ExistingSqlInstance)
        return Action(Verb.CREATE, resource.bind(versions) or resource) if is_ours else Action(Verb.MISSING, resource)
    if found.readiness is Readiness.BUSY:
        return Action(Verb.WAIT, resource, found, message=found.message)
    action = _compare(resource, found, versions, owned, adopt)
    if found.readiness is Readiness.LOCKED and action.verb in WRITES:
        return Action(Verb.WAIT, resource, found, message=found.message)
    return action


def _compare(
    resource: Resource, found: Observed[Any], versions: Mapping[str, str], owned: Owned, adopt: bool
) -> Action:
    """With what is there, and can be told to be ours or not."""
    bound = resource.bind(versions)
    taken_over: tuple[str, ...] = ()
    verb = Verb.UPDATE
    if resource.owner is not None and found.owner != resource.owner:
        if not resource.owner.may_have(found.owner):
            may_adopt = resource.owner.may_adopt(found.owner)
            if not adopt or not may_adopt:
                changed = differences(bound, found, owned) if bound is not None and may_adopt else ()
                return Action(Verb.CONFLICT, resource, found, changed, message=whose(found))
            verb = Verb.ADOPT
        taken_over = ("owner",)
    if bound is None:  # what it is made of is still on its way
        return Action(Verb.UPDATE, resource, found, taken_over)
    paths = differences(bound, found, owned)
    fixed = tuple(path for path in paths if path in owned.immutable)
    if fixed:
        return Action(Verb.IMMUTABLE, bound, found, fixed)
    if not paths and not taken_over:
        if found.readiness is Readiness.FAILED:
            return Action(Verb.FAILED, bound, found, message=found.message)
        return Action(Verb.KEEP, bound, found)
    return Action(verb, bound, found, (*taken_over, *paths))


def versions_of(seen: Sight) -> dict[str, str]:
    """The current version of every secret that has one."""
    return {name: item.outputs["version"] for name, item in seen.items() if item and item.outputs.get("version")}


def whose(found: Observed[Any]) -> str:
    """Whose marker it bears, in words."""
    owner = found.owner
    if owner is None:
        return "it bears no marker of ours"
    if owner.instance:
        return f"all apps on instance {owner.instance} share it"
    if owner.app and owner.retained:
        return f"it was kept when {owner.namespace}/{owner.app} was deleted"
    return f"it belongs to {owner.namespace}/{owner.app}" if owner.app else f"the apps of {owner.namespace} share it"
