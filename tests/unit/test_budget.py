"""The connection budget: two revisions, the jobs and PostgreSQL's own reserve against max_connections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_support import a_tenant, an_app, some_facts

from nuages.blueprint.blueprint import Problem
from nuages.blueprint.budget import budget, connections_of_tier
from nuages.blueprint.facts import ExistingInstance
from nuages.blueprint.scope import Scope

LARGE = {"web": {"maxInstances": 15}}


def _problems(spec: dict[str, Any], tenant: dict[str, Any] | None = None, **facts: Any) -> tuple[Problem, ...]:
    return budget(Scope(an_app(spec), a_tenant(tenant or {}), some_facts(**facts)))


def _created(**fields: Any) -> dict[str, Any]:
    return {"database": {"instance": {"create": fields}}}


def test_the_default_app_is_within_its_budget() -> None:
    """Three instances with eight connections each, on an instance that takes a hundred."""
    assert _problems({}) == ()


def test_too_many_instances_say_how_many_would_do() -> None:
    """Field, cause, remedy."""
    (problem,) = _problems(LARGE)
    assert problem == Problem(
        "spec.web.maxInstances",
        "ConnectionBudgetExceeded",
        "spec.web.maxInstances: 2 revisions of 15 instances with 8 connections each exceed acme-shop-a24a7f's 100. "
        "Use at most 5, or raise max_connections in spec.database.instance.create.flags.",
    )


def test_where_not_even_one_instance_fits_fewer_connections_are_the_remedy() -> None:
    """No number of instances would do."""
    (problem,) = _problems({"web": {"maxInstances": 1}, **_created(flags={"max_connections": "20"})})
    assert problem.message == (
        "spec.web.maxInstances: 2 revisions of 1 instances with 8 connections each exceed acme-shop-a24a7f's 20. "
        "Lower connectionsPerInstance, or raise max_connections in spec.database.instance.create.flags."
    )


def test_a_tiny_limit_asks_for_no_negative_number() -> None:
    """Fewer connections than PostgreSQL reserves."""
    (problem,) = _problems({"web": {"maxInstances": 1}, **_created(flags={"max_connections": "4"})})
    assert "Lower connectionsPerInstance" in problem.message


def test_the_user_may_decide_otherwise() -> None:
    """allowOverBudget: releases all the same."""
    assert _problems({**LARGE, "database": {"allowOverBudget": True}}) == ()


@pytest.mark.parametrize(
    ("instance", "limit"),
    [
        (ExistingInstance("europe-west1", "POSTGRES_15", 250, "db-f1-micro"), 250),
        (ExistingInstance("europe-west1", "POSTGRES_15", 0, "db-f1-micro"), 25),
        (ExistingInstance("europe-west1", "POSTGRES_15", 0, "db-custom-4-15360"), 500),
    ],
)
def test_an_existing_instance_counts_by_its_flag_else_by_its_tier(instance: ExistingInstance, limit: int) -> None:
    """As Google reports them."""
    (problem,) = _problems(
        {"web": {"maxInstances": 500}}, {"database": {"existing": "acme-pg"}}, existing_instance=instance
    )
    assert f"exceed acme-pg's {limit}." in problem.message
    assert problem.message.endswith(", or raise its flag max_connections.")


def test_the_flag_is_named_where_it_is_written() -> None:
    """In the tenant, where it says how the instance is created, and the app does not."""
    tenant = {"database": {"create": {}}}
    (problem,) = _problems(LARGE, tenant)
    assert problem.message.endswith(", or raise max_connections in DjangoTenant spec.database.create.flags.")
    (problem,) = _problems({**LARGE, **_created()}, tenant)
    assert problem.message.endswith(", or raise max_connections in spec.database.instance.create.flags.")


@pytest.mark.parametrize(
    ("tier", "connections"),
    [
        ("db-f1-micro", 25),
        ("db-g1-small", 50),
        ("db-custom-1-3840", 100),
        ("db-custom-2-6144", 200),
        ("db-custom-2-7680", 400),
        ("db-custom-16-61440", 800),
        ("db-custom-1-1024", 50),
        ("db-perf-optimized-N-2", 100),
    ],
)
def test_a_tier_without_flag_has_googles_default(tier: str, connections: int) -> None:
    """By memory; a tier that does not tell its own counts as the smallest dedicated one."""
    assert connections_of_tier(tier) == connections


@given(limit=st.integers(1, 1000), each=st.integers(1, 100), instances=st.integers(1, 100))
def test_the_remedy_is_one(limit: int, each: int, instances: int) -> None:
    """With as many instances as the sentence names, or fewer, there is no problem any more."""
    database = {**_created(flags={"max_connections": str(limit)})["database"], "connectionsPerInstance": each}
    found = _problems({"web": {"maxInstances": instances}, "database": database})
    if not found or "Use at most" not in found[0].message:
        return
    most = int(found[0].message.split("Use at most ")[1].split(",")[0])
    assert 1 <= most < instances
    assert _problems({"web": {"maxInstances": most}, "database": database}) == ()
