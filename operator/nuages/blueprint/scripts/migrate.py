"""Django's migrations, one at a time, under a lock. Runs after prelude.py, in one program with it."""

import time

NAME = "migrate"
ATTEMPTS = 5
LOCK = 7_305_808_869_229_538_926  # "nuages m": any number that nobody else uses


def locked(connection):
    """An advisory lock on a connection of its own; other databases than PostgreSQL have none to offer."""
    if connection.vendor != "postgresql":
        return None
    holder = connection.copy()
    with holder.cursor() as cursor:
        deadline = time.monotonic() + 600
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if cursor.fetchone()[0]:
                return holder
            if time.monotonic() > deadline:
                tell("MigrationLocked", "migrate: another migration has held the lock for 10 minutes.", 15)
            time.sleep(1)


def limit(connection):
    """A migration that waits for a table's lock makes everybody wait behind it: give up soon, and try again."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for name in ("lock_timeout", "statement_timeout"):
                seconds = int(os.environ.get("NUAGES_" + name.upper(), "0"))
                cursor.execute("SELECT set_config(%s, %s, false)", [name, f"{seconds}s"])


def give_up():
    """Nobody but people can tell whose session it is, and whether it may be ended."""
    seconds = os.environ.get("NUAGES_LOCK_TIMEOUT", "0")
    print(flush=True)  # Django leaves the line of the migration that it is at open
    tell(
        "MigrationLockTimeout",
        "spec.migrations.lockTimeoutSeconds: migrate gave up: another session kept a table locked for longer than "
        f"{seconds} s, five times. End it, then annotate nuages.dev/retry-migration.",
        16,
    )


def main():
    settings_module()
    import django
    from django.core.management import call_command
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.migrations.executor import MigrationExecutor
    from django.db.utils import OperationalError

    django.setup()
    connection = connections[DEFAULT_DB_ALIAS]
    holder = locked(connection)
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    names = [migration.app_label + "." + migration.name for migration, _ in plan]
    # Without a plan too: what Django does after its migrations, such as permissions, may be what a run before this one
    # failed at, or was ended in.
    for attempt in range(ATTEMPTS):
        try:
            limit(connection)
            call_command("migrate", interactive=False, verbosity=1)
            break
        except OperationalError as error:
            if "lock timeout" not in str(error):
                raise
            if attempt == ATTEMPTS - 1:
                give_up()
            time.sleep(2**attempt)
    if holder is not None:
        holder.close()
    if not names:
        tell("NothingToMigrate", "migrate: the database is up to date.", 0, applied=[])
    tell("Migrated", f"migrate: {len(names)} applied.", 0, applied=names)


main()
