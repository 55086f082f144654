"""The executor against a cloud in memory: order, what is lost, what is in the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_cloud import OWNED, MemoryCloud

from nuages.cloud.driver import Observed, Operation, Owned, Readiness
from nuages.cloud.errors import CloudError, Conflict, Invalid, NotFound, PermissionDenied, QuotaExceeded, Transient
from nuages.desired.iam import IamMember
from nuages.desired.resource import Owner, Resource
from nuages.desired.secretmanager import Composed, Random, Secret
from nuages.desired.sql import ExistingSqlInstance
from nuages.desired.storage import Bucket
from nuages.reconcile.execute import Executor, Result, State
from nuages.reconcile.plan import Verb, make_plan

OURS = Owner("acme", "shop", "u-1")


def bucket(name: str, *needs: str) -> Bucket:
    wanted = frozenset(f"projects/p/buckets/{need}" for need in needs)
    return Bucket(name=f"projects/p/buckets/{name}", owner=OURS, location="EU", versioning=True, needs=wanted)


PASSWORD = Secret(name="projects/p/secrets/password", owner=OURS, payload=Random())
URL = Secret(
    name="projects/p/secrets/url",
    owner=OURS,
    payload=Composed("x://{password}", (("password", PASSWORD.name),)),
    source="",
    needs=frozenset({PASSWORD.name}),
)
ONE, TWO, THREE = bucket("one"), bucket("two", "one"), bucket("three", "two")


def _owned(kind: type[Resource]) -> Owned:
    return OWNED.get(kind, Owned())


async def once(
    cloud: MemoryCloud,
    *desired: Resource,
    underway: tuple[Operation, ...] = (),
    adopt: bool = False,
    failed: dict[str, CloudError] | None = None,
) -> dict[str, Result]:
    """One pass: what is seen is planned, then carried out. Results by the last part of the name."""
    seen = {item.name: cloud.there.get(item.name) for item in desired}
    return await act(cloud, seen, *desired, underway=underway, adopt=adopt, failed=failed)


async def act(
    cloud: MemoryCloud,
    seen: dict[str, Observed[Any] | None],
    *desired: Resource,
    underway: tuple[Operation, ...] = (),
    adopt: bool = False,
    failed: dict[str, CloudError] | None = None,
) -> dict[str, Result]:
    plan = make_plan(desired, seen, _owned, adopt=adopt)
    async with asyncio.timeout(10):
        results = await Executor(cloud.drivers, cloud.inventory, adopt).execute(plan, underway, failed or {})
    return {name.rsplit("/", 1)[-1]: result for name, result in results.items()}


def states(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.state.value for name, result in results.items()}


async def test_each_is_made_after_what_it_needs() -> None:
    """And looked at before and after."""
    cloud = MemoryCloud()
    results = await once(cloud, ONE, TWO, THREE)
    assert states(results) == {"one": "Ready", "two": "Ready", "three": "Ready"}
    assert cloud.calls == [(verb, item.name) for item in (ONE, TWO, THREE) for verb in ("observe", "create", "observe")]
    assert all(result.did is Verb.CREATE for result in results.values())


async def test_what_does_not_depend_is_made_in_parallel() -> None:
    """Ten at once; what needs them all begins when the last is there."""
    cloud = MemoryCloud()
    many = [bucket(f"b{number}") for number in range(10)]
    last = bucket("last", *(f"b{number}" for number in range(10)))
    await once(cloud, *many, last)
    assert cloud.most_at_once == 10
    assert cloud.writes[-1] == ("create", last.name)


async def test_a_slow_one_holds_up_nobody_but_its_dependents() -> None:
    """Each action as soon as what it depends on is ready."""
    cloud = MemoryCloud(held={("create", ONE.name): asyncio.Event()})
    other = bucket("other")
    pass_ = asyncio.create_task(once(cloud, ONE, TWO, other, bucket("after", "other")))
    async with asyncio.timeout(10):
        await cloud.called("create", "projects/p/buckets/after")
    assert ("create", TWO.name) not in cloud.calls
    cloud.held["create", ONE.name].set()
    assert set(states(await pass_).values()) == {"Ready"}


async def test_a_second_pass_writes_nothing() -> None:
    """Nor looks: the plan was made from what was seen."""
    cloud = MemoryCloud()
    await once(cloud, ONE, TWO, PASSWORD, URL)
    cloud.calls.clear()
    results = await once(cloud, ONE, TWO, PASSWORD, URL)
    assert cloud.calls == []
    assert {result.did for result in results.values()} == {None}


async def test_a_composed_secret_is_bound_to_the_version_made_in_the_same_pass() -> None:
    """Its fingerprint follows from the part that was made just before."""
    cloud = MemoryCloud()
    await once(cloud, PASSWORD, URL)
    bound = URL.bind({PASSWORD.name: "1"})
    assert bound is not None
    assert cloud.there[URL.name].state.source == bound.source
    rotated = replace(PASSWORD, source="again")
    await once(cloud, rotated, URL)
    assert cloud.writes[2:] == [("update source", PASSWORD.name), ("update source", URL.name)]
    assert cloud.there[URL.name].outputs == {"version": "2"}


async def test_a_lost_answer_is_found_by_the_next_pass() -> None:
    """The create is not repeated; its dependents wait meanwhile."""
    cloud = MemoryCloud(loses={("create", ONE.name): [Transient("connection lost")]})
    first = await once(cloud, ONE, TWO)
    assert states(first) == {"one": "Failed", "two": "Waiting"}
    assert isinstance(first["one"].error, Transient)
    assert first["two"].blocked_by == ONE.name
    second = await once(cloud, ONE, TWO)
    assert states(second) == {"one": "Ready", "two": "Ready"}
    assert cloud.count("create") == {ONE.name: 1, TWO.name: 1}


async def test_a_lost_answer_of_a_snapshot_that_is_older_is_found_too() -> None:
    """The write follows a fresh look, whatever the plan believed."""
    cloud = MemoryCloud()
    await once(cloud, ONE)
    results = await act(cloud, {ONE.name: None}, ONE)
    assert results["one"].state is State.READY
    assert cloud.count("create") == {ONE.name: 1}


async def test_a_conflict_is_looked_at_again() -> None:
    """Somebody was faster: what is there now decides."""
    cloud = MemoryCloud(fails={("create", ONE.name): [Conflict("already exists")]})
    results = await once(cloud, ONE)
    assert results["one"].state is State.READY
    assert cloud.calls == [(verb, ONE.name) for verb in ("observe", "create", "observe", "create", "observe")]


async def test_somebody_elses_of_the_same_name_is_refused_when_it_comes_in_between() -> None:
    """It was not there when the plan was made."""
    cloud = MemoryCloud()
    theirs = Observed(replace(ONE, owner=Owner("acme", "blog", "u-2")))
    cloud.there[ONE.name] = theirs
    results = await act(cloud, {ONE.name: None}, ONE)
    assert results["one"].state is State.FAILED
    assert results["one"].refused is not None
    assert results["one"].refused.verb is Verb.CONFLICT
    assert cloud.writes == []


async def test_endless_conflicts_end_the_pass() -> None:
    """Three tries, then it is the queue's turn."""
    cloud = MemoryCloud(fails={("create", ONE.name): [Conflict("etag")] * 9})
    results = await once(cloud, ONE)
    assert isinstance(results["one"].error, Conflict)
    assert cloud.count("create") == {ONE.name: 3}


async def test_what_vanishes_before_its_update_is_made_again() -> None:
    """Looked at again, it is not there."""
    cloud = MemoryCloud({ONE.name: Observed(replace(ONE, versioning=False))})
    cloud.fails["update versioning", ONE.name] = [NotFound("gone")]
    await once(cloud, ONE)
    assert cloud.there[ONE.name].state == ONE


async def test_only_what_differs_is_written() -> None:
    """By the paths that the fresh look shows, not by the plan's."""
    cloud = MemoryCloud({ONE.name: Observed(replace(ONE, labels=(("a", "b"),)))})
    older = Observed(replace(ONE, versioning=False))
    await act(cloud, {ONE.name: older}, ONE)
    assert cloud.writes == [("update labels", ONE.name)]


async def test_drift_that_has_healed_is_not_written() -> None:
    """A snapshot may be old."""
    cloud = MemoryCloud({ONE.name: Observed(ONE)})
    results = await act(cloud, {ONE.name: Observed(replace(ONE, versioning=False))}, ONE)
    assert results["one"].state is State.READY
    assert results["one"].did is None
    assert cloud.writes == []


async def test_an_operation_is_handed_on_not_awaited() -> None:
    """What needs the result waits; the rest goes on."""
    cloud = MemoryCloud(slow={ONE.name})
    results = await once(cloud, ONE, TWO, bucket("other"))
    assert states(results) == {"one": "Waiting", "two": "Waiting", "other": "Ready"}
    assert results["one"].operation == Operation("sql", "operations/one", ONE.name)
    assert results["two"].blocked_by == ONE.name


async def test_an_operation_that_failed_is_told_and_not_begun_again_at_once() -> None:
    """The next pass does; what needs no write is not spoken ill of."""
    cloud = MemoryCloud({TWO.name: Observed(TWO)})
    why = QuotaExceeded("Quota 'BUCKETS' exceeded.")
    results = await once(cloud, ONE, TWO, failed={ONE.name: why, TWO.name: why})
    assert (results["one"].state, results["one"].error) == (State.FAILED, why)
    assert results["two"].state is State.READY
    assert cloud.writes == []
    assert states(await once(cloud, ONE, TWO)) == {"one": "Ready", "two": "Ready"}


async def test_a_broken_resource_is_told_in_the_words_of_the_operation_that_failed() -> None:
    """Its own state says FAILED, and no more."""
    cloud = MemoryCloud({ONE.name: Observed(ONE, Readiness.FAILED, "FAILED")})
    why = Invalid("The network has no private services connection.")
    assert (await once(cloud, ONE, failed={ONE.name: why}))["one"].error is why


async def test_an_operation_that_ends_at_once_and_failed_is_a_failure() -> None:
    """Some are done when the call that began them answers."""
    why = Invalid("no")
    cloud = MemoryCloud(slow={ONE.name}, ends={ONE.name: why})
    assert (await once(cloud, ONE))["one"].error is why


async def test_what_is_under_way_is_not_touched() -> None:
    """Not even looked at: its operation is polled by name."""
    cloud = MemoryCloud(slow={ONE.name})
    operation = (await once(cloud, ONE, TWO))["one"].operation
    assert operation is not None
    cloud.calls.clear()
    results = await once(cloud, ONE, TWO, underway=(operation,))
    assert states(results) == {"one": "Waiting", "two": "Waiting"}
    assert results["one"].operation == operation
    assert cloud.calls == []


async def test_once_it_is_done_its_dependents_follow() -> None:
    """Without another create."""
    cloud = MemoryCloud(slow={ONE.name})
    await once(cloud, ONE, TWO)
    cloud.finish(ONE.name)
    assert set(states(await once(cloud, ONE, TWO)).values()) == {"Ready"}
    assert cloud.count("create") == {ONE.name: 1, TWO.name: 1}


async def test_what_is_busy_without_a_known_operation_is_waited_for() -> None:
    """Where even the operation's name was lost, the resource tells."""
    cloud = MemoryCloud({ONE.name: Observed(ONE, Readiness.BUSY)})
    results = await once(cloud, ONE, TWO)
    assert states(results) == {"one": "Waiting", "two": "Waiting"}
    assert cloud.writes == []


async def test_what_was_made_and_is_not_to_be_seen_yet_is_waited_for() -> None:
    """Never made twice in a pass."""
    cloud = MemoryCloud(unseen={ONE.name})
    results = await once(cloud, ONE, TWO)
    assert states(results) == {"one": "Waiting", "two": "Waiting"}
    assert cloud.count("create") == {ONE.name: 1}


@pytest.mark.parametrize("error", [Transient("503"), PermissionDenied("no"), Invalid("bad")])
async def test_a_failure_stops_its_dependents_alone(error: Exception) -> None:
    """Siblings are carried out to their end."""
    other = bucket("other")
    cloud = MemoryCloud(fails={("create", ONE.name): [error]})
    results = await once(cloud, ONE, TWO, THREE, other, bucket("after", "other"))
    expected = {"one": "Failed", "two": "Waiting", "three": "Waiting", "other": "Ready", "after": "Ready"}
    assert states(results) == expected
    assert results["one"].error is error
    assert (results["two"].blocked_by, results["three"].blocked_by) == (ONE.name, TWO.name)


async def test_a_look_that_is_denied_is_a_failure_too() -> None:
    """Not an absence: nothing is made on top of what cannot be seen."""
    cloud = MemoryCloud(fails={("observe", ONE.name): [PermissionDenied("no")]})
    results = await once(cloud, ONE)
    assert isinstance(results["one"].error, PermissionDenied)
    assert cloud.writes == []


async def test_a_bug_in_a_driver_is_no_result() -> None:
    """It is raised, and what else is under way is cancelled."""
    cloud = MemoryCloud(fails={("create", ONE.name): [ZeroDivisionError()]})
    cloud.held["create", "projects/p/buckets/other"] = asyncio.Event()
    with pytest.raises(ZeroDivisionError):
        await once(cloud, ONE, bucket("other"))
    await asyncio.sleep(0)
    assert cloud.at_once == 0


async def test_a_missing_instance_of_somebody_elses_is_refused() -> None:
    """It is not ours to make."""
    existing = ExistingSqlInstance(name="projects/p/instances/pg", named_by="spec.database.instance.existing")
    cloud = MemoryCloud()
    results = await once(cloud, existing)
    assert results["pg"].refused is not None
    assert results["pg"].refused.verb is Verb.MISSING
    assert cloud.writes == []


@pytest.mark.parametrize("owner", [None, Owner("acme", "shop", "u-0")])
async def test_what_is_adopted_gets_our_marker(owner: Owner | None) -> None:
    """Only when the user asked for it."""
    cloud = MemoryCloud({ONE.name: Observed(replace(ONE, owner=owner, versioning=False))})
    assert (await once(cloud, ONE))["one"].refused is not None
    results = await once(cloud, ONE, adopt=True)
    assert results["one"].did is Verb.ADOPT
    assert cloud.there[ONE.name].state == ONE


async def test_what_was_retained_is_taken_back_and_says_so() -> None:
    """Also when the marker is written at once."""
    cloud = MemoryCloud({ONE.name: Observed(replace(ONE, owner=replace(OURS, uid="u-0", retained=True)))})
    results = await once(cloud, ONE)
    assert (results["one"].did, results["one"].taken_back) == (Verb.UPDATE, True)
    assert cloud.there[ONE.name].owner == OURS
    assert not (await once(cloud, ONE))["one"].taken_back


async def test_surplus_is_deleted() -> None:
    """What is wanted no more and holds no data."""
    grant = IamMember.of("projects/p", "roles/x", "user:a@b.example")
    cloud = MemoryCloud({grant.name: Observed(grant)})
    plan = make_plan([], {}, _owned, surplus=[cloud.there[grant.name]])
    results = await Executor(cloud.drivers, cloud.inventory).execute(plan)
    assert results[grant.name].did is Verb.DELETE
    assert cloud.there == {}


@given(
    edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12),
    failing=st.sets(st.integers(0, 7)),
    lost=st.sets(st.integers(0, 7)),
)
def test_passes_reach_the_end_without_making_anything_twice(
    edges: list[tuple[int, int]], failing: set[int], lost: set[int]
) -> None:
    """Whatever the graph, whichever calls fail before or after they did their work."""
    needs = {number: [f"b{low}" for low, high in edges if high == number and low < number] for number in range(8)}
    desired = [bucket(f"b{number}", *needs[number]) for number in range(8)]
    cloud = MemoryCloud(
        fails={("create", desired[number].name): [Transient("503")] for number in failing - lost},
        loses={("create", desired[number].name): [Transient("lost")] for number in lost},
    )
    for _ in range(9):
        asyncio.run(once(cloud, *desired))
    order = [name for verb, name in cloud.writes if verb == "create"]
    for item in desired:
        assert cloud.there[item.name].state == item
        first = order.index(item.name)
        assert all(need in order[:first] for need in item.needs)
        expected = 2 if item.id in {f"b{number}" for number in failing - lost} else 1
        assert order.count(item.name) == expected
