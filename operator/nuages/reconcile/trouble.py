"""What stands in an app's way, in words for people: field, cause, remedy. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nuages.cloud import errors
from nuages.reconcile import reasons
from nuages.reconcile.cluster import ClusterDenied
from nuages.reconcile.plan import Action, Verb
from nuages.reconcile.roles import role_for

ADOPT = "nuages.dev/adopt"
ABANDON = "nuages.dev/abandon"
QUOTED = 300  # characters of somebody else's message
# By a driver's immutable field: the field of the spec that it follows, and how its value is written there.
FIXED_BY: dict[str, tuple[str, Callable[[str], str]]] = {
    "database_version": ("spec.database.version", lambda value: value.removeprefix("POSTGRES_")),
    "region": ("DjangoTenant spec.region", str),
    "location": ("DjangoTenant spec.region", str.lower),
}
# By the reason of a failed resource.
REPAIRS = {
    "Disabled": "Enable it: gcloud iam service-accounts enable {id}",
    "Stopped": "Start it: gcloud sql instances patch {id} --activation-policy ALWAYS",
}


@dataclass
class Trouble(Exception):
    """`stalled`: only a change by somebody helps; else it is tried again, `retry_after` seconds at the earliest.

    `heals`: it may go by itself within Patience, and is Stalled only after that.
    """

    reason: str
    message: str
    stalled: bool = True
    retry_after: float = 0.0
    heals: bool = False

    def __str__(self) -> str:
        return self.message


def of_error(error: errors.CloudError, what: str, principal: str = "") -> Trouble:
    """`what` names the resource or field that the call was about."""
    quoted = f'Google says: "{shortened(error.cause)}".'
    match error:
        case errors.Unidentified():
            return Trouble(reasons.PERMISSION_DENIED, f"{what}: {error.cause}", heals=True)
        case errors.PermissionDenied():
            who, lacks = principal or "the operator's identity", error.permission or "a permission"
            role = role_for(error.permission) or "a role with this permission"
            return Trouble(
                reasons.PERMISSION_DENIED,
                f"{what}: {who} lacks {lacks}. Grant it {role}. {quoted}",
                heals=True,
            )
        case errors.ApiDisabled():
            named = error.service or "that it needs"
            how = f"run: gcloud services enable {error.service}" if error.service else "turn it on"
            return Trouble(
                reasons.API_DISABLED,
                f"{what}: the API {named} is disabled. Set enableServices in DjangoTenant, or {how}. {quoted}",
            )
        case errors.QuotaExceeded():
            return Trouble(reasons.QUOTA_EXCEEDED, f"{what}: a limit of the project is reached. Raise it. {quoted}")
        case errors.VersionDisabled():
            return Trouble(
                reasons.SECRET_VERSION_DISABLED,
                f"{what}: {error.cause} What runs goes on, and no new instance can start. Enable it again, then "
                "annotate nuages.dev/rotate, and once more when the app is Ready again: the second rotation ends it.",
            )
        case errors.NameReserved():
            return Trouble(
                reasons.NAME_RESERVED,
                f"{what}: it was deleted less than a week ago, and Google keeps its name. Wait for the end of that "
                f"week, or delete this app and apply it again: its instance is called otherwise then. Either way its "
                f"database begins empty: restore a backup into it. {quoted}",
            )
        case errors.PolicyViolated():
            return Trouble(
                reasons.REFUSED_BY_GOOGLE,
                f"{what}: the organisation policy {error.constraint} forbids it. Have the project excepted from it, or "
                f"change the spec so that it is kept. {quoted}",
            )
        case errors.Invalid():
            return Trouble(reasons.REFUSED_BY_GOOGLE, f"{what}: the request was refused. Correct the spec. {quoted}")
        case errors.Unfinished():
            return Trouble(reasons.EMPTYING_BUCKET, f"{what}: is being emptied. Nothing to do.", stalled=False)
        case errors.Propagating():
            return Trouble(
                reasons.WAITING,
                f"{what}: a new identity or grant is not known everywhere yet. Where this stays, see that it is there. "
                f"{quoted}",
                heals=True,
            )
        case _:
            retry = error.retry_after or 0.0
            return Trouble(reasons.GOOGLE_UNAVAILABLE, f"{what}: tried again soon. {quoted}", False, retry)


def of_denial(error: ClusterDenied) -> Trouble:
    """What the API server denies the operator."""
    return Trouble(
        reasons.PERMISSION_DENIED,
        "The operator may not do in the cluster what it has to. Apply the ClusterRole nuages of this version and bind "
        "it; where a policy or webhook is named, keep to it or except the operator from it. The API server says: "
        f'"{shortened(str(error))}".',
        heals=True,
    )


def of_refusal(action: Action) -> Trouble:
    """Why the plan refuses to touch a resource."""
    resource = action.resource
    shown = resource.shown
    match action.verb:
        case Verb.CONFLICT:
            field = resource.named_by or "metadata.name"
            return Trouble(reasons.NAME_CONFLICT, f"{field}: {shown} is not ours: {action.message}. {_way(action)}")
        case Verb.IMMUTABLE if action.observed is not None:
            field, written = FIXED_BY[action.paths[0]]
            old = written(getattr(action.observed.state, action.paths[0]))
            return Trouble(
                reasons.IMMUTABLE_FIELD,
                f'{field}: {shown} was made with "{old}", which cannot be changed once it is there. Set "{old}" again.',
            )
        case Verb.MISSING:
            return Trouble(
                reasons.INSTANCE_NOT_FOUND,
                f"{resource.named_by}: {shown} is not in project {resource.project}. Create it or correct the name.",
            )
        case _ if resource.named_by:
            return Trouble(
                reasons.RESOURCE_FAILED,
                f"{resource.named_by}: {shown} is of no use. {shortened(action.message)}. {_repair(action)}, or name "
                "another.",
            )
        case _:
            return Trouble(
                reasons.RESOURCE_FAILED,
                f'{shown} failed. {_repair(action)}. Google says: "{shortened(action.message)}".',
            )


def _way(action: Action) -> str:
    """What its marker lets the user do about a resource."""
    resource, found = action.resource, action.observed
    if resource.owner is not None and found is not None and resource.owner.may_adopt(found.owner):
        other = "name another" if resource.named_by else "rename"
        return f'Read "nuages plan", then annotate {ADOPT}: "true", or {other}.'
    if resource.named_by:  # its administrator is another app's, and opens all that is on it
        return "Name an instance that no app made for itself."
    if found is not None and found.owner is not None and found.owner.retained:
        return "Rename this app, or delete at Google what was kept."
    return "Rename this app, or delete the other one."


def _repair(action: Action) -> str:
    """What makes a failed resource of use again."""
    reason = "" if action.observed is None else action.observed.reason
    return REPAIRS.get(reason, "Start or repair it").format(id=action.resource.id)


def shortened(text: str) -> str:
    """Google's messages run on into links; the status keeps the sentences that say what is wrong, on one line."""
    line = " ".join(text.split())
    if len(line) <= QUOTED:
        return line.rstrip(".")
    head = line[: QUOTED + 1]
    cut = next((end for end in (head.rfind(". ") + 1, head.rfind(" ")) if end > QUOTED // 2), QUOTED)
    return f"{head[:cut]} …"
