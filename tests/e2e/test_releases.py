"""From one release to the next: nothing fails meanwhile, and nothing is done twice.

All apps of this file share an instance, as those of a tenant do.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from e2e_release import (
    Deployment,
    columns,
    condition,
    eventually,
    one_after_the_other,
    polling,
    served,
    shared_instance,
)
from e2e_site import Site
from e2e_world import World, is_current, open_world

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("releases")]

GATE = 4711  # while a test holds this advisory lock, the migration below does not end
WAITS = f"""from django.db import migrations

UNTIL_OPEN = '''DO $$ BEGIN
    WHILE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE}) LOOP
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$'''


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0003_product_stock")]
    operations = [migrations.RunSQL(UNTIL_OPEN)]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(site: Site, google_environment: None) -> AsyncIterator[World]:
    """A tenant with a shared instance."""
    async with open_world(site, f"rel-{uuid.uuid4().hex[:4]}") as world:
        await shared_instance(world, f"{world.namespace}-pg")
        yield world


async def deployed(world: World, name: str, **spec: Any) -> Deployment:
    """An app at v1, Ready."""
    app = Deployment(world, name)
    await app.release(image=await app.image("v1"), **spec)
    return app


async def test_a_second_version_has_no_failed_request(place: World, local: Any) -> None:
    """v2 adds a column under 50 requests a second: none fails, one migration runs, traffic is pinned by name."""
    shop = await deployed(place, "shop")
    before = await shop.status()
    image = await shop.image("v2")
    async with polling(shop) as answers:
        await eventually(lambda: answers.count > 50, "a first second of requests")
        app = await shop.release(image=image)
        asked = answers.count
        await eventually(lambda: answers.count > asked + 50, "a last second of requests")
    assert answers.bad == []
    assert answers.sent == answers.count > 100
    answers.assert_steady()
    status = app["status"]
    assert status["revision"] != before["revision"]
    assert served(status) == {status["revision"]: 100}
    assert {t["tag"]: t["revision"] for t in status["traffic"] if t.get("tag")} == {"candidate": status["revision"]}
    service = await shop.service()
    assert [(t.type_.name, t.revision) for t in service.traffic if t.percent] == [
        ("TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", status["revision"])
    ]
    runs = await shop.executions()
    assert [run.succeeded_count for run in runs] == [1, 1]  # one for each image
    assert migration_told(status) == ("Succeeded", runs[1].name, runs[1].log_uri)
    assert await shop.revisions() == {before["revision"], status["revision"]}
    assert [row[0] for row in await columns(shop, local)].count("stock") == 1


def migration_told(status: dict[str, Any]) -> tuple[str, str, str]:
    """State, execution and log link of the release's migration."""
    told = status["release"]["migration"]
    return told["state"], told["execution"], told["logUri"]


async def test_applied_again_nothing_is_written(place: World, local: Any) -> None:
    """The same object once more, and an operator that is asked to look: no write to Google, none to the object."""
    shop = await deployed(place, "again")
    await shop.apply()
    await place.annotate("again", "nuages.dev/reconcile-at", "one")
    await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "one", "again")
    before, asked = await place.app("again"), len(local.requests(place.namespace, "again"))
    await shop.apply()
    after = await place.app("again")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    await place.annotate("again", "nuages.dev/reconcile-at", "two")
    seen = await place.until(lambda app: app["status"]["release"].get("reconcileAt") == "two", "again")
    fresh = local.requests(place.namespace, "again")[asked:]
    assert fresh, "nothing was looked at"
    assert [f"{r.method} {r.resource}" for r in fresh if local.is_write(r)] == []
    changed = {key for key in seen["status"] if seen["status"][key] != before["status"].get(key)}
    assert changed == {"release"}


async def test_settings_make_one_revision_each_and_no_migration(place: World) -> None:
    """A value, a size, a ConfigMap's content and a Secret's: each is a release by itself, none migrates."""
    await place.apply(_object("ConfigMap", "flags", data={"FLAG": "one"}))
    await place.apply(_object("Secret", "stripe", stringData={"key": "sk_one"}))
    shop = await deployed(
        place,
        "settings",
        env=[{"name": "STRIPE_KEY", "kubernetesSecret": {"name": "stripe", "key": "key"}}],
        envFrom=[{"configMap": {"name": "flags"}}],
        release={"keepRevisions": 10},
    )
    runs = [run.name for run in await shop.executions()]
    seen = await shop.revisions()
    assert len(seen) == 1

    async def one_more(what: str) -> None:
        app, now = await place.app("settings"), await shop.revisions()
        assert len(now - seen) == 1, what
        assert served(app["status"]) == {(now - seen).pop(): 100}, what
        assert [run.name for run in await shop.executions()] == runs, what
        seen.update(now)

    await shop.release(env=[*shop.spec["env"], {"name": "LOG_LEVEL", "value": "WARNING"}])
    await one_more("spec.env")
    await shop.release(web={"memory": "2Gi", "cpu": "2"})
    await one_more("spec.web")
    await place.apply(_object("ConfigMap", "flags", data={"FLAG": "two"}))
    await _released_by_itself(shop, seen)
    await one_more("ConfigMap")
    assert (await shop.environment())["FLAG"].value == "two"
    await place.apply(_object("Secret", "stripe", stringData={"key": "sk_two"}))
    await _released_by_itself(shop, seen)
    await one_more("Secret")
    reference = (await shop.environment())["STRIPE_KEY"].value_source.secret_key_ref
    assert reference.version == "2"
    assert await shop.secret("env-STRIPE_KEY", "2") == "sk_two"


async def _released_by_itself(shop: Deployment, before: set[str]) -> None:
    """Long before the interval of ten minutes, though nothing of the app's own object changed."""
    await shop.world.until(
        lambda app: app["status"]["revision"] not in before and condition(app, "Ready")["status"] == "True", shop.name
    )


async def test_a_tag_that_was_moved_waits_to_be_asked_for(place: World, local: Any) -> None:
    """A tag is resolved once: other settings keep its digest, and reconcile-at releases what it stands for now."""
    shop = Deployment(place, "tagged")
    image = await local.shop("moving", {"letter.txt": "one"})
    first = (await shop.release(image=image))["status"]["release"]["imageDigest"]
    assert await local.shop("moving", {"letter.txt": "two"}) == image
    app = await shop.release(env=[{"name": "LETTER", "value": "two"}])
    assert app["status"]["release"]["imageDigest"] == first
    assert len(await shop.executions()) == 1
    await place.annotate("tagged", "nuages.dev/reconcile-at", "now")
    await place.until(lambda app: app["status"]["release"]["imageDigest"] != first, "tagged")
    second = (await place.wait("tagged"))["status"]["release"]["imageDigest"]
    assert (await shop.service()).template.containers[0].image.endswith(f"@{second}")
    runs = [run.template.containers[0].image.rpartition("@")[2] for run in await shop.executions()]
    assert runs == [first, second]


async def test_old_revisions_are_kept_as_many_as_asked(place: World) -> None:
    """keepRevisions counts those besides the serving one."""
    shop = await deployed(place, "kept", release={"keepRevisions": 1})
    names = [(await shop.status())["revision"]]
    for value in ("a", "b", "c"):
        app = await shop.release(env=[{"name": "LETTER", "value": value}])
        names.append(app["status"]["revision"])
    assert len(set(names)) == 4

    async def two_left() -> bool:
        return await shop.revisions() == set(names[-2:])

    await eventually(two_left, "two revisions")


async def test_back_to_an_earlier_spec_is_a_release_of_its_own(place: World) -> None:
    """The kept revision of the same spec is in nobody's way, and nothing is migrated."""
    shop = await deployed(place, "back")
    v1, first = shop.spec["image"], (await shop.status())["revision"]
    second = (await shop.release(image=await shop.image("v2")))["status"]["revision"]
    app = await shop.release(image=v1)
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    assert app["status"]["revision"].startswith(first)
    assert app["status"]["revision"] != second
    assert len(await shop.executions()) == 2


async def test_five_specs_in_quick_succession_end_at_the_last(place: World, local: Any) -> None:
    """At most one migration for each image, one after the other; the last spec serves."""
    shop = await deployed(place, "quick")
    first, v2, v1 = (await shop.status())["revision"], await shop.image("v2"), shop.spec["image"]
    others = [await local.shop(tag, {"letter.txt": tag}) for tag in ("quick-a", "quick-b")]
    await in_succession(shop, [v2, others[0], v1, others[1], v2])
    status = await serves_the_last(shop)
    assert status["revision"] != first
    runs = await one_after_the_other(shop)
    assert 2 <= len(runs) <= 4
    assert [row[0] for row in await columns(shop, local)].count("stock") == 1


async def test_the_last_of_five_specs_comes_during_a_migration(place: World, local: Any) -> None:
    """It ends first, undisturbed; then the last spec's runs, and nothing of those between."""
    shop = await deployed(place, "slow")
    slow = await local.shop("slow", {"catalogue/migrations/0004_waits.py": WAITS})
    v2, v1, between = await shop.image("v2"), shop.spec["image"], await local.shop("between", {"letter.txt": "c"})
    async with shop.database(local) as database:
        await database.execute("SELECT pg_advisory_lock(%s)", [GATE])
        await shop.apply(image=slow)

        await eventually(lambda: migrating(shop), "the slow migration")
        await in_succession(shop, [between, v1, between, v2])
        await place.until(is_current, "slow")
        assert await migrating(shop)
        assert len(await shop.executions()) == 2
        await database.execute("SELECT pg_advisory_unlock(%s)", [GATE])
    await serves_the_last(shop)
    runs = await one_after_the_other(shop)
    assert len(runs) == 3  # v1's, the slow one, and v2's
    async with shop.database(local) as database:
        asked = "SELECT name FROM django_migrations WHERE app = 'catalogue' ORDER BY id"
        applied = [row[0] for row in await (await database.execute(asked)).fetchall()]
    assert applied == ["0001_initial", "0002_first_products", "0003_product_stock", "0004_waits"]


async def migrating(shop: Deployment) -> bool:
    """Whether a migration of the app runs."""
    return any(run.running_count for run in await shop.executions())


async def in_succession(shop: Deployment, images: list[str]) -> None:
    """One spec after the other, without waiting for anything."""
    for number, image in enumerate(images, start=1):
        await shop.apply(image=image, env=[{"name": "SPEC", "value": str(number)}])


async def serves_the_last(shop: Deployment) -> dict[str, Any]:
    """The status, once the app is Ready with what was applied last: its image, its environment, all of the traffic."""
    status = dict((await shop.world.wait(shop.name))["status"])
    assert {name: item.value for name, item in (await shop.environment()).items()}["SPEC"] == shop.spec["env"][0][
        "value"
    ]
    assert served(status) == {status["revision"]: 100}
    assert status["image"] == (await shop.service()).template.containers[0].image
    return status


async def test_a_new_spec_during_a_migration_waits_for_its_end(place: World, local: Any) -> None:
    """It is taken up when the migration has ended, and a second one never runs beside it."""
    shop = await deployed(place, "during")
    v2 = await shop.image("v2")
    async with shop.database(local) as database:
        await database.execute("BEGIN")
        await database.execute("LOCK TABLE catalogue_product IN ACCESS SHARE MODE")
        await shop.apply(image=v2)

        await eventually(lambda: migrating(shop), "the migration of v2")
        await shop.apply(image=await shop.image("v4"), env=[{"name": "PAYMENT_ENDPOINT", "value": "https://pay"}])
        await place.until(is_current, "during")
        runs = await shop.executions()
        assert len(runs) == 2
        await database.execute("ROLLBACK")
    app = await place.wait("during")
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    runs = await shop.executions()
    assert [run.succeeded_count for run in runs] == [1, 1, 1]
    assert runs[1].completion_time.timestamp() <= runs[2].create_time.timestamp()  # type: ignore[attr-defined]


async def test_paused_nothing_is_written(place: World, local: Any) -> None:
    """Neither by a new spec nor by hand; what was asked meanwhile is done once it goes on."""
    shop = await deployed(place, "paused")
    before = (await shop.status())["revision"]
    asked = len(local.requests(place.namespace, "paused"))
    await shop.apply(paused=True, image=await shop.image("v2"))
    app = await place.wait("paused", status="False", reason="Paused")
    assert app["status"]["phase"] == "Paused"
    assert {item["type"] for item in app["status"]["conditions"]}.isdisjoint({"Reconciling", "Stalled"})
    assert [r.method for r in local.requests(place.namespace, "paused")[asked:] if local.is_write(r)] == []
    app = await shop.release(paused=False)
    assert app["status"]["revision"] != before


async def test_manual_migrations_wait_for_their_word(place: World) -> None:
    """Neither migration nor release before the annotation names the image."""
    shop = await deployed(place, "manual")
    before = (await shop.status())["revision"]
    v2 = await shop.image("v2")
    await shop.apply(image=v2, migrations={"policy": "Manual"})
    app = await place.wait("manual", "Reconciling", reason="MigrationPending")
    assert condition(app, "Ready")["message"] == (
        f"spec.migrations.policy: Manual waits for you. Annotate nuages.dev/migrate={v2} to migrate and release."
    )
    assert served(app["status"]) == {before: 100}
    assert app["status"]["phase"] == "Releasing"
    assert "migration" not in app["status"]["release"]  # of this image: nothing runs, and v1's is not its
    assert len(await shop.executions()) == 1
    await place.annotate("manual", "nuages.dev/migrate", v2)
    app = await place.wait("manual")
    assert app["status"]["revision"] != before
    assert len(await shop.executions()) == 2


async def test_policy_never_releases_without_migrating(place: World, local: Any) -> None:
    """The image serves on the schema that is there."""
    shop = await deployed(place, "never")
    runs = len(await shop.executions())
    await shop.release(image=await shop.image("v4"), migrations={"policy": "Never"}, env=_pays())
    assert len(await shop.executions()) == runs
    assert "stock" not in [row[0] for row in await columns(shop, local)]


async def test_what_was_released_without_migrating_migrates_once_it_may(place: World, local: Any) -> None:
    """That an image serves proves nothing: the execution does, and where it is there, no other one is made."""
    shop = await deployed(place, "later")
    before = await shop.release(image=await shop.image("v2"), migrations={"policy": "Never"})
    assert len(await shop.executions()) == 1
    assert condition(before, "MigrationsApplied") == {}
    app = await shop.release(migrations=None)
    runs = await shop.executions()
    assert [run.succeeded_count for run in runs] == [1, 1]
    assert [row[0] for row in await columns(shop, local)].count("stock") == 1
    assert app["status"]["revision"] == before["status"]["revision"]
    assert runs[1].name.endswith(app["status"]["release"]["migration"]["execution"].rpartition("/")[2])
    await shop.release(migrations={"policy": "Never"})
    app = await shop.release(migrations={"policy": "Manual"})  # nobody's word is needed for what has run
    assert len(await shop.executions()) == 2
    assert app["status"]["release"]["migration"]["state"] == "Succeeded"


async def test_a_held_lock_fails_clearly_and_the_retry_succeeds(place: World, local: Any) -> None:
    """The migration gives up instead of having everybody wait behind it; the old revision serves meanwhile."""
    shop = await deployed(place, "locked", migrations={"lockTimeoutSeconds": 1})
    before = (await shop.status())["revision"]
    async with shop.database(local) as database:
        await database.execute("BEGIN")
        await database.execute("LOCK TABLE catalogue_product IN ACCESS SHARE MODE")
        found = await shop.stalled("MigrationLockTimeout", image=await shop.image("v2"))
        assert found["message"].startswith(
            "spec.migrations.lockTimeoutSeconds: migrate gave up: another session kept a table locked for longer than "
            "1 s, five times. End it, then annotate nuages.dev/retry-migration. Log: https://"
        )
        status = await shop.status()
        assert status["release"]["stage"] == "Migrate"
        assert served(status) == {before: 100}
        assert status["release"]["migration"]["state"] == "Failed"
        await database.execute("ROLLBACK")
    await place.annotate("locked", "nuages.dev/retry-migration", "1")
    app = await place.wait("locked")
    assert app["status"]["revision"] != before
    assert [run.succeeded_count for run in await shop.executions()] == [1, 0, 1]


async def test_killed_in_the_middle_it_goes_on_where_it_was(place: World, local: Any) -> None:
    """kill -9 while it migrates, while the candidate starts, and while traffic moves: one execution, one revision."""
    shop = await deployed(place, "killed")
    await shop.apply(image=await shop.image("v2"))
    for stage in ("Migrate", "Candidate", "Traffic"):
        await place.until(partial(_has_come_to, stage=stage), "killed")
        await local.kill_operator()
        await local.start_operator()
    app = await place.wait("killed")
    assert served(app["status"]) == {app["status"]["revision"]: 100}
    runs = await shop.executions()
    assert [run.succeeded_count for run in runs] == [1, 1]
    assert migration_told(app["status"]) == ("Succeeded", runs[1].name, runs[1].log_uri)
    assert len(await shop.revisions()) == 2


STAGES = ("DbInit", "Migrate", "Candidate", "Verify", "Access", "Traffic", "Ingress", "Superuser", "CleanUp", "Done")


def _has_come_to(app: dict[str, Any], stage: str) -> bool:
    now = (app["status"].get("release") or {}).get("stage", "DbInit")
    return is_current(app) and STAGES.index(now) >= STAGES.index(stage)


def _pays() -> list[dict[str, str]]:
    """What v4 wants at its start, and nobody sets by default."""
    return [{"name": "PAYMENT_ENDPOINT", "value": "https://pay.example.com"}]


def _object(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}
