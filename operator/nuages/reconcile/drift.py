"""Drift: what differs although nobody asked for another thing. Pure.

A difference is drift where the app was through with its release and nothing that its resources are made from has
changed since: neither a release nor a first creation. What is ours is set back; what cannot be is refused by the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant
from nuages.blueprint.facts import Facts
from nuages.cloud.driver import Observed
from nuages.desired.resource import Resource
from nuages.desired.run import RunService, Template
from nuages.desired.secretmanager import Random, Secret
from nuages.reconcile import reasons
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import Action, Plan, Verb
from nuages.reconcile.release.release import MIGRATE, RETRY_MIGRATION, Release, fingerprint, made_of, unlike_doors
from nuages.reconcile.release.steps import DONE

ROTATE = "nuages.dev/rotate"
MISSING, ADDED = "deleted", "added"
LEFT = "not the app's, left as it is"
MOST = 50  # fields in the status


@dataclass(frozen=True)
class Drift:
    """One field, or a whole resource, that is not as it was left. `is_corrected`: it is being set back."""

    resource: str  # "Service acme-shop"
    path: str
    is_corrected: bool = True
    is_lost: bool = False  # what it held is gone for good: it begins anew, empty

    def __str__(self) -> str:
        return f"{self.resource}: {self.path}"


def wanted(app: DjangoApp, tenant: DjangoTenant, facts: Facts) -> str:
    """A fingerprint of all that the app's resources are made from, besides what Google says of them."""
    asked = {name: app.metadata.annotations.get(name, "") for name in (ROTATE, RETRY_MIGRATION, MIGRATE)}
    secrets = sorted([*key, value] for key, value in facts.kubernetes_secrets.items())
    maps = {name: dict(content) for name, content in facts.config_maps.items()}
    image = facts.image.digest if facts.image is not None else ""
    specs = [part.spec.model_dump(mode="json", exclude={"paused"}) for part in (app, tenant)]
    return fingerprint([*specs, asked, facts.operator_image, image, secrets, maps])


def is_judged(before: Mapping[str, Any], now_wanted: str) -> bool:
    """Whether what differs now is drift: the status says that the app was through, with the same wishes."""
    release = before.get("release") or {}
    return release.get("stage") == DONE and release.get("wanted") == now_wanted


def of_results(plan: Plan, results: Mapping[str, Result]) -> tuple[Drift, ...]:
    """What the plan found otherwise, and what became of it; what an older snapshot alone had shown is none."""
    found: list[Drift] = []
    for action in (*plan.changes, *plan.refusals):
        result = results.get(action.resource.name)
        if result is None or action.verb in (Verb.ADOPT, Verb.DELETE, Verb.FAILED):
            continue
        acted = result.did is not None or result.operation is not None
        if acted or result.state is State.FAILED:
            found += _of_action(action, is_corrected=acted and result.error is None)
    return tuple(found)


def of_grants(plan: Plan) -> tuple[Drift, ...]:
    """Of the service's invokers, which the release makes, and of those that it removes."""
    return tuple(item for action in plan.changes for item in _of_action(action, is_corrected=True))


def _of_action(action: Action, *, is_corrected: bool) -> list[Drift]:
    resource = action.resource
    if action.verb is Verb.DELETE:
        return [Drift(resource.shown, ADDED, is_corrected)]
    if action.observed is None:
        return [Drift(resource.shown, MISSING, is_corrected, is_corrected and _holds_data(resource))]
    # Of a secret the plan compares what its version was made of: "" where that cannot be used.
    paths = ("version" if path == "source" else path for path in action.paths)
    return [Drift(resource.shown, path, is_corrected) for path in paths]


def _holds_data(resource: Resource) -> bool:
    if isinstance(resource, Secret):
        return isinstance(resource.payload, Random)
    return resource.keeps_data


def of_database(name: str, changed: Sequence[str]) -> tuple[Drift, ...]:
    """What db-init has set right inside of the database, in its own words."""
    return tuple(Drift(f"Database {name}", what) for what in changed)


def of_service(release: Release, live: Observed[RunService] | None, revision: str) -> tuple[Drift, ...]:
    """The service against what the release, which came to serve as `revision`, had made it."""
    shown = release.service.shown
    if live is None:
        return (Drift(shown, MISSING),)
    paths = _revision_paths(release, live)
    if not paths and live.state.revision != revision:
        paths = ["revision"]
    if {(target.revision, target.percent) for target in live.state.traffic if target.percent} != {(revision, 100)}:
        paths.append("traffic")
    paths += unlike_doors(release.service, live.state)
    if live.owner != release.service.owner:
        paths.append("owner")
    return tuple(Drift(shown, path) for path in paths)


def _revision_paths(release: Release, live: Observed[RunService]) -> list[str]:
    host = release.blueprint.hash_host
    mine, theirs = made_of(release.service, host), made_of(live.state, host)
    paths = [name for name in _names(RunService) if name != "template" and _differs(mine, theirs, name)]
    for name in _names(Template):
        if name == "environment":
            ours, found = dict(mine.template.environment), dict(theirs.template.environment)
            changed = sorted(key for key in ours.keys() | found.keys() if ours.get(key) != found.get(key))
            paths += [f"template.environment.{key}" for key in changed]
        elif _differs(mine.template, theirs.template, name):
            paths.append(f"template.{name}")
    return paths


def _names(kind: type[RunService | Template]) -> tuple[str, ...]:
    own = {item.name for item in fields(Resource)}
    return tuple(item.name for item in fields(kind) if item.name not in own)


def _differs(one: Any, other: Any, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def unknown(found: Sequence[Drift], before: Mapping[str, Any]) -> tuple[Drift, ...]:
    """What no status has told yet: all of it where the app was Ready, for then it has come anew."""
    states = {item["type"]: item["status"] for item in before.get("conditions") or []}
    known = () if states.get(reasons.READY) == "True" else (before.get("drift") or {}).get("fields") or ()
    return tuple(item for item in found if str(item) not in known)


def strange(strangers: Sequence[Drift] | None, before: Mapping[str, Any]) -> tuple[Drift, ...]:
    """Of what is left as it is, what no status has told yet; None: nobody has looked."""
    known = (before.get("drift") or {}).get("fields") or ()
    return tuple(item for item in (strangers or ())[:MOST] if str(item) not in known)


def record(
    found: Sequence[Drift], strangers: Sequence[Drift] | None, before: Mapping[str, Any], now: str, *, is_new: bool
) -> dict[str, Any] | None:
    """status.drift: the last drift that was found. It stays when it is corrected, until the app is wanted otherwise.

    What is left as it is stays for as long as it is there, and comes first. `is_new`: other wishes were carried out.
    """
    known: dict[str, Any] = dict(before.get("drift") or {})
    told = known.get("fields", ())
    is_left = [text for text in told if text.endswith(f": {LEFT}")]
    left = is_left if strangers is None else [str(item) for item in strangers[:MOST]]
    kept = [] if is_new else [text for text in told if text not in is_left]
    new = () if is_new else unknown(found, before)
    if new:
        kept = [*(text for text in kept if text in {str(item) for item in found}), *map(str, new)]
    fields = list(dict.fromkeys([*left, *kept]))[:MOST]
    if not fields:
        return None
    return {"lastDetected": now if new or strange(strangers, before) else known["lastDetected"], "fields": fields}
