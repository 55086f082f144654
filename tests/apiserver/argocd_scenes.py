"""An app's life in scenes: what the operator's passes found, for the test data of the Argo CD health check.

Each scene is a status made by the operator's own function from a report; names, messages and digests are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nuages.api.validate import parse_app, parse_tenant
from nuages.blueprint.blueprint import Blueprint
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import Facts, ImageFacts
from nuages.cloud import errors, executions
from nuages.cloud.driver import Observed, Operation
from nuages.desired.iam import ServiceAccount
from nuages.desired.run import RunService, TrafficTarget
from nuages.desired.secretmanager import Secret
from nuages.desired.sql import SqlInstance, SqlUser
from nuages.desired.storage import Bucket
from nuages.reconcile import reasons
from nuages.reconcile.execute import Result, State
from nuages.reconcile.plan import Action, Plan, Verb
from nuages.reconcile.release.jobs import Run, failure, running
from nuages.reconcile.release.migrate import wanted_run
from nuages.reconcile.release.outcome import DONE, Done
from nuages.reconcile.release.release import Release, bind
from nuages.reconcile.report import Report
from nuages.reconcile.status import status
from nuages.reconcile.trouble import Trouble

Body = Mapping[str, Any]
DIGESTS = {1: "sha256:" + "1f" * 32, 2: "sha256:" + "2e" * 32}  # of v1, v2
RELEASES = {1: "e11fd0b84e", 2: "9662f70343"}
HASH_URL = "https://acme-shop-x5tqjw2fvq-ew.a.run.app"
OPERATION = "projects/acme-prod/operations/8f6a4d0c-0000-4000-8000-"
LOG = "https://console.cloud.google.com/run/jobs/executions/details/europe-west1/{}/logs?project=acme-prod"


@dataclass(frozen=True)
class Scenes:
    """The reports about one app and its tenant, as they are in the cluster."""

    app: Body
    tenant: Body

    @property
    def generation(self) -> int:
        return int(self.app["metadata"]["generation"])

    def provisioning(self) -> Report:
        """The first pass: Cloud SQL makes the instance, and what needs it waits."""
        blueprint = self._blueprint(1)
        instance = next(item for item in blueprint.resources if isinstance(item, SqlInstance))
        under_way = Operation(
            "sql", "projects/acme-prod/operations/8f6a4d0c-0000-4000-8000-000000000001", instance.name
        )
        results = self._results(blueprint)
        for name, result in results.items():
            if instance.name in result.resource.needs:
                results[name] = replace(result, state=State.WAITING, blocked_by=instance.name)
        results[instance.name] = Result(instance, State.WAITING, did=Verb.CREATE, operation=under_way)
        return Report(self.generation, blueprint=blueprint, results=results)

    def migrating(self) -> Report:
        """The first release's migration runs."""
        release = self._release(1)
        run, execution = _migration(release, "Running")
        return self._through(release, stage="Migrate", outcome=running(run, execution))

    def healthy(self) -> Report:
        """The release is through."""
        release = self._release(1)
        _, execution = _migration(release, "Succeeded")
        done = {"Migrate": Done(execution=execution.name, log_link=execution.log_uri)}
        return self._through(release, live=_live(release), stage="CleanUp", outcome=DONE, done=done)

    def migration_failed(self) -> Report:
        """v2's migration failed; v1 serves on."""
        live = _live(self._release(1))
        release = replace(self._release(2), live=live)
        run, execution = _migration(release, "Failed", exit_code=1)
        return self._through(release, live=live, stage="Migrate", outcome=failure(run, execution, ()))

    def permission_denied(self) -> Report:
        """The operator's identity may not make service accounts."""
        cause = "Permission 'iam.serviceAccounts.create' denied on resource (or it may not exist)."
        return self._failing(errors.PermissionDenied(cause, permission="iam.serviceAccounts.create"))

    def google_unavailable(self) -> Report:
        """Google answered 503; the operator tries again by itself."""
        return self._failing(errors.Transient("The service is currently unavailable."))

    def tenant_missing(self) -> Report:
        """Nobody said which Google project the namespace uses."""
        message = (
            "namespace acme has no DjangoTenant named default, and the operator no default project. Create one, or "
            "start the operator with --project."
        )
        return Report(self.generation, trouble=Trouble(reasons.TENANT_MISSING, message))

    def paused(self) -> Report:
        return Report(self.generation, paused=True)

    def observed(self) -> Report:
        """Nothing is there yet."""
        blueprint = self._blueprint(1)
        actions = tuple(Action(Verb.CREATE, item) for item in blueprint.resources)
        return Report(self.generation, blueprint=blueprint, forecast=Plan(actions))

    def deleting(self) -> Report:
        """The service is gone, Cloud SQL is being deleted."""
        blueprint = self._blueprint(1)
        instance = next(item for item in blueprint.resources if isinstance(item, SqlInstance))
        under_way = Operation(
            "sql", "projects/acme-prod/operations/8f6a4d0c-0000-4000-8000-000000000002", instance.name
        )
        results = {instance.name: Result(instance, State.WAITING, did=Verb.DELETE, operation=under_way)}
        return Report(self.generation, blueprint=blueprint, results=results, deleting=True)

    def deletion_paused(self) -> Report:
        """Deleted while paused, before anything went."""
        return Report(self.generation, paused=True, deleting=True)

    def deletion_denied(self) -> Report:
        """Somebody took the operator's role away before the app was deleted."""
        cause = "Permission 'iam.serviceAccounts.delete' denied on resource (or it may not exist)."
        report = self._failing(errors.PermissionDenied(cause, permission="iam.serviceAccounts.delete"))
        return replace(report, deleting=True)

    def _failing(self, error: errors.CloudError) -> Report:
        blueprint = self._blueprint(1)
        results = self._results(blueprint)
        failed = next(item for item in blueprint.resources if isinstance(item, ServiceAccount))
        for name, result in results.items():
            if failed.name in result.resource.needs:
                results[name] = replace(result, state=State.WAITING, blocked_by=failed.name)
        results[failed.name] = Result(failed, State.FAILED, error=error)
        return Report(self.generation, blueprint=blueprint, results=results, is_waited_for=True)

    def _through(self, release: Release, **more: Any) -> Report:
        results = self._results(release.blueprint)
        image = release.app.spec.image
        return Report(
            self.generation, blueprint=release.blueprint, results=results, release=release, image=image, **more
        )

    def _results(self, blueprint: Blueprint) -> dict[str, Result]:
        """One resource of each kind that has a condition: files of a readable length, which grants do not change."""
        kinds = (ServiceAccount, SqlInstance, SqlUser, Bucket, Secret)
        first = {kind: next(item for item in blueprint.resources if isinstance(item, kind)) for kind in kinds}
        return {item.name: Result(item, State.READY) for item in blueprint.resources if item in first.values()}

    def _blueprint(self, version: int) -> Blueprint:
        repository, digest = "europe-west1-docker.pkg.dev/acme-prod/apps/shop", DIGESTS[version]
        facts = Facts(
            project_number="187635794409",
            operator_image="europe-west1-docker.pkg.dev/acme-prod/nuages/nuages:v0.1.0",
            image=ImageFacts(f"{repository}@{digest}", digest),
        )
        return compose(parse_app(self.app), parse_tenant(self.tenant), facts)

    def _release(self, version: int) -> Release:
        blueprint = self._blueprint(version)
        parts = bind(blueprint, {item.name: "1" for item in blueprint.resources})
        assert parts is not None
        return Release(
            app=parse_app(self.app),
            blueprint=blueprint,
            id=RELEASES[version],
            digest=DIGESTS[version],
            service=parts.service,
            db_init=parts.db_init,
            migrate=parts.migrate,
            superuser=parts.superuser,
            live=None,
            began=0.0,
            now=0.0,
        )


def _migration(release: Release, state: executions.State, **more: Any) -> tuple[Run, executions.Execution]:
    """The release's own execution."""
    run = wanted_run(release)
    assert run is not None
    name = f"{run.job.id}-{run.token}"
    return run, executions.Execution(f"{run.job.name}/executions/{name}", state, log_uri=LOG.format(name), **more)


def _live(release: Release) -> Observed[RunService]:
    """The service as Cloud Run shows it once all traffic is on the release's revision."""
    name = release.revision
    state = replace(release.service, revision=name, traffic=(TrafficTarget(name, 100, "candidate"),))
    urls = f"{release.blueprint.service_url}\n{HASH_URL}"
    return Observed(state, outputs={"urls": urls, "uri": HASH_URL, "latest_ready_revision": name})


def written(scene: Callable[[Scenes], Report], app: Body, tenant: Body, now: str) -> dict[str, Any]:
    """The status that the operator writes after a pass that found this."""
    return status(scene(Scenes(app, tenant)), app.get("status") or {}, now)
