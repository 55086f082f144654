"""What the apps of a namespace share at Google goes with the last of them: the identity of db-init, and its grants.

The administrator of an existing instance and its secret stay, as the instance does: they are every tenant's, and what
db-init made in a database that is kept (its extensions) belongs to that administrator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nuages.blueprint import names
from nuages.cloud.driver import Observed
from nuages.cloud.errors import ApiDisabled
from nuages.desired.iam import IamMember, ServiceAccount
from nuages.desired.resource import Owner
from nuages.desired.secretmanager import Secret
from nuages.reconcile.execute import Executor, State
from nuages.reconcile.plan import Plan, removal
from nuages.reconcile.report import Report
from nuages.reconcile.surplus import CLIENT
from nuages.reconcile.tenancy import FINALIZER, finalizers

if TYPE_CHECKING:
    from nuages.reconcile.reconciler import Pass

ACCESSOR = "roles/secretmanager.secretAccessor"


async def leave_project(work: Pass, report: Report) -> Report:
    """After a deletion that is through: it is `gone` once this is too. Raises CloudError.

    No two of a namespace at a time, until the finalizer is off: each would take the other for the last.
    """
    if work.app.spec.management == "Observe" or not await _is_last(work):
        return report
    try:
        account = await work.cloud.inventory.fresh(ServiceAccount, names.db_init_account(work.tenant))
    except ApiDisabled:
        return report
    if account is None or account.owner != Owner(work.app.metadata.namespace):
        return report
    secrets = await work.cloud.inventory.list(Secret, names.project(work.tenant), 0.0)
    if any(_is_of_another(work, item.owner) for item in secrets):
        return report
    grants = await _grants(work, account.state.member, secrets)
    executor = Executor(work.cloud.drivers, work.cloud.inventory)
    results = await executor.execute(Plan(removal((*grants, account))))
    gone = all(result.state is State.READY for result in results.values())
    return replace(report, results={**report.results, **results}, gone=gone)


async def _is_last(work: Pass) -> bool:
    """Whoever bears our finalizer has something at Google, and db-init may have to run for it once more."""
    metadata = work.app.metadata
    apps = await work.cluster.apps(metadata.namespace)
    return not any(FINALIZER in finalizers(app) and app["metadata"]["name"] != metadata.name for app in apps)


def _is_of_another(work: Pass, owner: Owner | None) -> bool:
    """Whether it tells of another app of the namespace that lives, in another cluster: each has a SECRET_KEY."""
    metadata = work.app.metadata
    if owner is None or owner.namespace != metadata.namespace or not owner.app:
        return False
    return owner.uid != metadata.uid and not owner.retained


async def _grants(work: Pass, member: str, secrets: Sequence[Observed[Secret]]) -> Sequence[Observed[IamMember]]:
    """On every instance that the tenant ever had: its administrator's secret, and the way to it."""
    inventory, project = work.cloud.inventory, names.project(work.tenant)
    on_secrets = [await inventory.fresh(IamMember, grant.name) for grant in _on_administrators(secrets, member)]
    on_project = await inventory.shown(
        IamMember, project, 0.0, lambda item: item.state.role == CLIENT and item.state.member == member
    )
    return [*(item for item in on_secrets if item is not None), *on_project]


def _on_administrators(secrets: Sequence[Observed[Secret]], member: str) -> Iterator[IamMember]:
    for secret in secrets:
        if secret.owner is not None and not secret.owner.app:
            yield IamMember.of(secret.state.name, ACCESSOR, member)
