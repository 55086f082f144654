"""One pass over one app: look, decide, act, report. Level-triggered: what woke it does not matter."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

import structlog

from nuages.api.app import DjangoApp
from nuages.api.tenant import DjangoTenant
from nuages.api.validate import InvalidSpec, parse_app
from nuages.cloud import errors
from nuages.cloud.access import CloudAccess, Clouds
from nuages.cloud.call import request_reason
from nuages.cloud.driver import Operation
from nuages.reconcile import reasons
from nuages.reconcile.cluster import Body, Cluster, ClusterDenied, ClusterUnavailable, Gone, Stale
from nuages.reconcile.conditions import trouble_of
from nuages.reconcile.forecast import forecast, only_looks
from nuages.reconcile.intervals import Intervals, intervals
from nuages.reconcile.leaving import leave_project
from nuages.reconcile.news import news
from nuages.reconcile.provision import provision
from nuages.reconcile.queue import Next
from nuages.reconcile.release.outcome import Waiting
from nuages.reconcile.report import Report
from nuages.reconcile.rollout import rollout
from nuages.reconcile.settings import Settings
from nuages.reconcile.status import being_changed, status, waiting
from nuages.reconcile.teardown import tear_down
from nuages.reconcile.tenancy import (
    FINALIZER,
    Held,
    access,
    check_reach,
    finalizers,
    hold,
    let_go,
    look_at_tenant,
    tell_usage,
    tenant_of,
)
from nuages.reconcile.trouble import ABANDON, Trouble, of_denial, of_error
from nuages.reconcile.wait import Wait, poll

STALE = 0.2  # seconds
POLL_FIRST, POLL_LAST, POLL_SHARE = 0.5, 10.0, 0.02  # seconds, seconds, of the time that it has taken so far

log = structlog.get_logger()


@dataclass
class Pass:
    """What every part of a pass gets; `body` is the object as it was read, or as the pass last wrote it."""

    body: Body
    app: DjangoApp
    tenant: DjangoTenant
    cluster: Cluster
    cloud: CloudAccess
    settings: Settings
    underway: tuple[Operation, ...]
    interrupted: Callable[[], bool]
    untouched: bool = True  # nothing was changed so far
    began: float = field(default_factory=time.monotonic)
    failed: Mapping[str, errors.CloudError] = field(default_factory=dict)  # operations of earlier passes, by resource

    @property
    def before(self) -> Mapping[str, Any]:
        return self.body.get("status") or {}

    @property
    def max_age(self) -> float:
        """How old a snapshot may be: nothing older than the user's interval; none when asked to look now."""
        if self.app.reconcile_at != (self.before.get("release") or {}).get("reconcileAt", ""):
            return 0.0
        return self.intervals.list_age

    @property
    def intervals(self) -> Intervals:
        return intervals(self.app.spec.reconcile_interval_seconds, self.app.spec.deep_check_interval_seconds)

    def unsettled(self, told: BaseException | None = None) -> frozenset[str]:
        """The recorded operations, by name, that are under way, or that failed otherwise than with the error `told`."""
        failed = {resource for resource, error in self.failed.items() if error is not told}
        under_way = {operation.name for operation in self.underway}
        rows = self.before.get("operations") or []
        return frozenset(under_way | {row["name"] for row in rows if row["resource"] in failed})

    async def hold(self) -> None:
        """Before the first thing is made. Raises Stale, Gone."""
        self.body = await hold(self.body, self.tenant, self.cluster)

    async def touch(self) -> None:
        """Before the first thing of an app at rest is changed. Raises Stale, Gone."""
        self.untouched = False
        told = being_changed(self.before, self.app.metadata.generation, _now())
        if told is not None:
            self.body = await self.cluster.write_status(self.body, told)


class Reconciler:
    """`reconcile` is the queue's work."""

    def __init__(self, cluster: Cluster, clouds: Clouds, settings: Settings) -> None:
        self._cluster, self._clouds, self._settings = cluster, clouds, settings
        self._waits: dict[str, Wait] = {}
        self._ends: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by namespace

    async def reconcile(self, key: str, interrupted: Callable[[], bool] = lambda: False) -> Next:
        """One pass over `namespace/name`, or over the tenant of `namespace/`.

        Never raises: a bug is logged, counted and tried again.
        """
        namespace, name = key.split("/", 1)
        generation = -1
        try:
            if not name:
                return await look_at_tenant(namespace, self._cluster, self._clouds, self._settings)
            body = await self._cluster.app(namespace, name)
            if body is None:
                self._waits.pop(key, None)
                await let_go(namespace, self._cluster)  # the answer to its last write may have been lost
                return Next()
            generation, _ = _place_in_life(body)
            request_reason.set(f"nuages/{key}@{generation}")
            wait = self._waits.pop(key, None)
            if wait is not None and await wait.goes_on(body["metadata"]):
                self._waits[key] = wait
                return Next(after=self._poll_after(body["status"]), under_way=True)
            return await self._pass(body, interrupted)
        except Gone:
            return Next()
        except Stale:  # somebody wrote during the pass: what it did is found again
            return Next(after=STALE, under_way=True)
        except ClusterUnavailable as error:  # it says nothing of the app, whose status stays
            log.warning("no answer from the API server", app=key, error=str(error))
            return Next(failed=True)
        except ClusterDenied as error:
            log.error("denied by the API server", app=key, error=str(error))
            return await self._tell_of(key, generation, of_denial(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the queue must outlive any bug in a pass, and people must hear of it
            log.exception("pass failed", app=key)
            # The type alone: a message of a library's may hold anything.
            message = f"The operator failed with {type(error).__name__}: a bug, tried again. Its log has the details."
            return await self._tell_of(key, generation, Trouble(reasons.INTERNAL_ERROR, message, stalled=False))

    async def _tell_of(self, key: str, generation: int, trouble: Trouble) -> Next:
        """What ended the pass over this generation, if it is still the app's; of a tenant's the log tells alone."""
        namespace, name = key.split("/", 1)
        try:
            body = await self._cluster.app(namespace, name) if name else None
            if body is not None and _place_in_life(body)[0] == generation:
                _, deleting = _place_in_life(body)
                await self._tell(body, Report(generation, trouble=trouble, deleting=deleting), None)
        except Exception as second:  # the API server, most likely
            log.warning("trouble was not told", app=key, reason=trouble.reason, error=type(second).__name__)
        return Next(failed=True)

    async def _pass(self, body: Body, interrupted: Callable[[], bool]) -> Next:
        metadata = body["metadata"]
        generation, deleting = _place_in_life(body)
        if deleting and FINALIZER not in finalizers(body):  # nothing was made, or all is done: others hold it
            return Next()
        if deleting and (metadata.get("annotations") or {}).get(ABANDON) == "true":
            return await self._abandon(body)
        try:
            app, held, cloud = await self._parse(body)
        except Trouble as trouble:
            return await self._tell(body, Report(generation, trouble=trouble, deleting=deleting, untouched=True), None)
        underway, failed = await self._operations(body, cloud)
        work = Pass(body, app, held.tenant, self._cluster, cloud, self._settings, underway, interrupted, failed=failed)
        report = await self._work(work)
        coming = await (self._end(work, report) if report.gone else self._tell(work.body, report, app, cloud))
        await tell_usage(held, cloud, self._cluster)
        return coming

    async def _work(self, work: Pass) -> Report:
        app = work.app
        generation = app.metadata.generation
        common: dict[str, Any] = {"generation": generation, "reconcile_at": app.reconcile_at, "image": app.spec.image}
        common["unsettled"] = work.unsettled()
        try:
            if app.is_deleting and app.spec.management == "Observe":
                return Report(**common, deleting=True, kept=("everything",), gone=True)
            if app.spec.paused:
                return Report(**common, paused=True, deleting=app.is_deleting)
            if app.is_deleting:
                if work.failed:  # told, and tried again in a later pass
                    raise next(iter(work.failed.values()))
                return await tear_down(work, Report(**common, deleting=True))
            if only_looks(app):
                return await forecast(work, Report(**common))
            report = await provision(work, Report(**common))  # whose Trouble comes before its first write
            return await rollout(work, report) if report.is_provisioned else report
        except Trouble as trouble:
            common["unsettled"] = work.unsettled(trouble.__cause__)
            return Report(**common, trouble=trouble, deleting=app.is_deleting, untouched=work.untouched)
        except errors.CloudError as error:
            common["unsettled"] = work.unsettled(error)
            unforeseen = of_error(error, "Google Cloud", work.cloud.identity.principal)
            return Report(**common, trouble=unforeseen, deleting=app.is_deleting, untouched=work.untouched)

    async def _end(self, work: Pass, report: Report) -> Next:
        """After a deletion that is through: one app of a namespace at a time, so that the last one knows that it is."""
        async with self._ends.setdefault(work.app.metadata.namespace, asyncio.Lock()):
            try:
                report = await leave_project(work, report)
            except errors.CloudError as error:
                trouble = of_error(error, "What the namespace's apps share", work.cloud.identity.principal)
                report = replace(report, gone=False, trouble=trouble)
            return await self._tell(work.body, report, work.app, work.cloud)

    async def _parse(self, body: Body) -> tuple[DjangoApp, Held, CloudAccess]:
        """The app, its tenant and the tenant's credentials. Raises Trouble."""
        try:
            app = parse_app(body)
        except InvalidSpec as error:
            raise Trouble(reasons.INVALID_SPEC, str(error)) from error
        known = (body.get("status") or {}).get("resources") or ()
        held = await tenant_of(app, known, self._cluster, self._settings)
        if not app.is_deleting:
            check_reach(app, held.tenant)
        return app, held, await access(held.tenant, self._clouds)

    async def _operations(
        self, body: Body, cloud: CloudAccess
    ) -> tuple[tuple[Operation, ...], dict[str, errors.CloudError]]:
        """The recorded operations that are still under way, and why others have failed, by resource."""
        rows = (body.get("status") or {}).get("operations") or []
        polled = await poll(tuple(Operation(row["service"], row["name"], row["resource"]) for row in rows), cloud)
        for operation in polled:
            if operation.done:
                cloud.inventory.forget(operation.resource)
        failed = {operation.resource: operation.error for operation in polled if operation.error is not None}
        return tuple(operation for operation in polled if not operation.done), failed

    async def _tell(self, body: Body, report: Report, app: DjangoApp | None, cloud: CloudAccess | None = None) -> Next:
        """Status, events, and when to come again."""
        if report.gone:
            for event in news(report, body.get("status") or {}, {}):
                await self._cluster.event(body, event.kind, event.reason, event.message)
            await self._release_finalizer(body)
            return Next()
        before = body.get("status") or {}
        now = _now()
        clock = waiting(report, before, now)
        if clock is not None and _seconds_since(clock["since"]) >= self._settings.patience.seconds:
            report = replace(report, is_waited_for=True)
        after = status(report, before, now)
        is_edited = False
        if after != before:
            body, is_edited = await self._write_status(body, after)
        for event in news(report, before, after):
            await self._cluster.event(body, event.kind, event.reason, event.message)
        if is_edited:
            return Next(after=STALE, under_way=True)
        wait = Wait.of(report, body, cloud) if cloud is not None else None
        if wait is not None:
            self._waits[_key(body)] = wait
        return self._next(report, after, app)

    async def _write_status(self, body: Body, after: Mapping[str, Any]) -> tuple[Body, bool]:
        """What a pass did is told, though somebody edits the object meanwhile: the object as it is now, and whether it
        is another one than the pass was about. Another status than the pass began with is another operator's, and
        stays. Raises Stale, Gone.
        """
        try:
            return await self._cluster.write_status(body, after), False
        except Stale:
            metadata = body["metadata"]
            edited = await self._cluster.app(metadata["namespace"], metadata["name"])
            is_same = edited is not None and edited["metadata"]["uid"] == metadata["uid"]
            if edited is None or not is_same or edited.get("status") != body.get("status"):
                raise
            return await self._cluster.write_status(edited, after), True

    def _next(self, report: Report, after: Mapping[str, Any], app: DjangoApp | None) -> Next:
        trouble = trouble_of(report)
        if trouble is not None:
            # What stalled is looked at again too, for people mend things outside of the spec: slower and slower.
            return Next(failed=True, at_least=trouble.retry_after)
        if report.operations:
            return Next(after=self._poll_after(after), under_way=True)
        if isinstance(report.outcome, Waiting):
            pause = self._poll_after(after) if report.outcome.awaited else report.outcome.after
            return Next(after=pause, under_way=True)
        if report.failure is not None:
            return Next(failed=True, at_least=30.0)
        if not report.is_provisioned and not report.paused:
            return Next(after=1.0, under_way=True)
        if app is None:  # what cannot be read is trouble, told above
            return Next(failed=True)
        rest = intervals(app.spec.reconcile_interval_seconds, app.spec.deep_check_interval_seconds).pause
        return Next(after=min((item for item in (rest, report.again) if item is not None), default=None))

    def _poll_after(self, now: Mapping[str, Any]) -> float:
        """By the newest operation, or else by the release's step."""
        began = [row["startedAt"] for row in now.get("operations") or []]
        step = (now.get("release") or {}).get("stageStartedAt")
        since = max(began) if began else step
        return _share(_seconds_since(since) if since else 0.0)

    async def _abandon(self, body: Body) -> Next:
        """Whatever state it is in: without a look at Google, which may be out of reach for good."""
        metadata = body["metadata"]
        labels = f"nuages-namespace={metadata['namespace']}, nuages-app={metadata['name']}"
        known = len((body.get("status") or {}).get("resources") or [])
        message = (
            f"Nothing more is deleted at Google, as {ABANDON} asks. Left, with the labels {labels}: {known} or more."
        )
        await self._cluster.event(body, "Warning", reasons.ABANDONED, message)
        await self._release_finalizer(body)
        return Next()

    async def _release_finalizer(self, body: Body) -> None:
        await self._cluster.write_finalizers(body, [item for item in finalizers(body) if item != FINALIZER])
        await let_go(body["metadata"]["namespace"], self._cluster)


def _key(body: Body) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def _place_in_life(body: Body) -> tuple[int, bool]:
    """Its generation, and whether it is being deleted."""
    metadata = body["metadata"]
    return int(metadata.get("generation", 0)), bool(metadata.get("deletionTimestamp"))


def _share(seconds: float) -> float:
    """Polling costs a fiftieth of the wait at most, and calls by the same measure."""
    return min(POLL_LAST, max(POLL_FIRST, POLL_SHARE * seconds))


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds_since(stamp: str) -> float:
    return max(0.0, (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(stamp)).total_seconds())
