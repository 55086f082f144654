"""What Cloud SQL offers: versions, tiers, flags (gcp/behaviour.md, section 2; behaviour-runtime.md, section 8)."""

from __future__ import annotations

import re
from dataclasses import dataclass

INSTALLED = {  # the minor release that a fresh instance gets, with its maintenance version
    "POSTGRES_9_6": ("POSTGRES_9_6_24", "R20250302.00_31"),
    "POSTGRES_10": ("POSTGRES_10_23", "R20250302.00_31"),
    "POSTGRES_11": ("POSTGRES_11_22", "R20250302.00_31"),
    "POSTGRES_12": ("POSTGRES_12_22", "R20250302.00_31"),
    "POSTGRES_13": ("POSTGRES_13_21", "R20250302.00_31"),
    "POSTGRES_14": ("POSTGRES_14_18", "R20250302.00_31"),
    "POSTGRES_15": ("POSTGRES_15_13", "R20250302.00_31"),
    "POSTGRES_16": ("POSTGRES_16_9", "R20250302.00_31"),
    "POSTGRES_17": ("POSTGRES_17_5", "R20250302.00_31"),
    "POSTGRES_18": ("POSTGRES_18_1", "R20251004.01_18"),
    "MYSQL_5_6": ("MYSQL_5_6_51", "R20250304.00_03"),
    "MYSQL_5_7": ("MYSQL_5_7_44", "R20250304.00_03"),
    "MYSQL_8_0": ("MYSQL_8_0_40", "R20250304.00_03"),
    "MYSQL_8_4": ("MYSQL_8_4_4", "R20250304.00_03"),
    **{
        f"SQLSERVER_{year}_{kind}": (f"SQLSERVER_{year}_{kind}_{update}", "R20250304.00_03")
        for year, update in ((2017, "CU31_GDR"), (2019, "CU32"), (2022, "CU19"))
        for kind in ("STANDARD", "ENTERPRISE", "EXPRESS", "WEB")
    },
}
MYSQL_8_0_MINORS = (18, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 39, 40, 41, 42)  # 38 never was offered
MYSQL_8_0_ROLLING = 35  # MYSQL_8_0 without a minor moves to these and later ones (recorded 2025)
MAINTENANCE = re.compile(
    r"((?:POSTGRES|MYSQL|SQLSERVER)_\w+)\.R(\d{8})\.(\d\d)_(\d\d)"
)  # POSTGRES_16_9.R20250302.00_31
GENERIC = re.compile(r"(POSTGRES|MYSQL)_(\d+)(?:_(\d+))?(?:_(\d+))?|(SQLSERVER)_(\d+)_[A-Z]+")
SHARED_MB = {"db-f1-micro": 614, "db-g1-small": 1740}
# Memory of a machine in MB -> max_connections of PostgreSQL (behaviour-runtime.md, section 8)
CONNECTIONS = ((122_880, 1000), (61_440, 800), (30_720, 600), (15_360, 500), (7_680, 400), (6_144, 200), (3_840, 100))


@dataclass(frozen=True)
class Tier:
    name: str
    cpus: int
    memory_mb: int
    plus: bool = False  # of the ENTERPRISE_PLUS edition


TIERS = (
    Tier("db-f1-micro", 1, 614),
    Tier("db-g1-small", 1, 1740),
    *(Tier(f"db-n1-standard-{cpus}", cpus, cpus * 3840) for cpus in (1, 2, 4, 8, 16, 32, 64)),
    *(Tier(f"db-n1-highmem-{cpus}", cpus, cpus * 6656) for cpus in (2, 4, 8, 16, 32, 64)),
    *(Tier(f"db-perf-optimized-N-{c}", c, c * 8192, plus=True) for c in (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)),
    *(Tier(f"db-c4a-highmem-{cpus}", cpus, cpus * 8192, plus=True) for cpus in (1, 4, 8, 16, 32, 48, 64, 72)),
)


@dataclass(frozen=True)
class Flag:
    """A database flag: its type, and the range of an integer."""

    name: str
    kind: str  # INTEGER, STRING, BOOLEAN, FLOAT, NONE
    low: int | None = None
    high: int | None = None
    restart: bool = False
    values: tuple[str, ...] = ()


POSTGRES_FLAGS = (
    Flag("autovacuum", "BOOLEAN"),
    Flag("autovacuum_max_workers", "INTEGER", 1, 262143, restart=True),
    Flag("autovacuum_naptime", "INTEGER", 1, 2147483),
    Flag("autovacuum_vacuum_cost_limit", "INTEGER", -1, 10000),
    Flag("checkpoint_timeout", "INTEGER", 30, 86400),
    Flag("cloudsql.enable_pg_cron", "BOOLEAN", restart=True),
    Flag("cloudsql.enable_pgaudit", "BOOLEAN", restart=True),
    Flag("cloudsql.enable_pglogical", "BOOLEAN", restart=True),
    Flag("cloudsql.iam_authentication", "BOOLEAN", restart=False),
    Flag("cloudsql.logical_decoding", "BOOLEAN", restart=True),
    Flag("deadlock_timeout", "INTEGER", 1, 2147483647),
    Flag("default_statistics_target", "INTEGER", 1, 10000),
    Flag("default_transaction_isolation", "STRING", values=("read committed", "repeatable read", "serializable")),
    Flag("effective_cache_size", "INTEGER", 1, 2147483647),
    Flag("idle_in_transaction_session_timeout", "INTEGER", 0, 2147483647),
    Flag("idle_session_timeout", "INTEGER", 0, 2147483647),
    Flag("lock_timeout", "INTEGER", 0, 2147483647),
    Flag("log_checkpoints", "BOOLEAN"),
    Flag("log_connections", "BOOLEAN"),
    Flag("log_disconnections", "BOOLEAN"),
    Flag("log_duration", "BOOLEAN"),
    Flag("log_lock_waits", "BOOLEAN"),
    Flag("log_min_duration_statement", "INTEGER", -1, 2147483647),
    Flag("log_min_messages", "STRING"),
    Flag("log_statement", "STRING", values=("none", "ddl", "mod", "all")),
    Flag("log_temp_files", "INTEGER", -1, 2147483647),
    Flag("maintenance_work_mem", "INTEGER", 1024, 2147483647),
    Flag("max_connections", "INTEGER", 14, 262143, restart=True),
    Flag("max_locks_per_transaction", "INTEGER", 10, 2147483647, restart=True),
    Flag("max_parallel_workers", "INTEGER", 0, 1024),
    Flag("max_prepared_transactions", "INTEGER", 0, 262143, restart=True),
    Flag("max_replication_slots", "INTEGER", 10, 262143, restart=True),
    Flag("max_wal_senders", "INTEGER", 10, 262143, restart=True),
    Flag("max_wal_size", "INTEGER", 2, 2147483647),
    Flag("max_worker_processes", "INTEGER", 8, 262143, restart=True),
    Flag("random_page_cost", "FLOAT"),
    Flag("shared_buffers", "INTEGER", 16, 1073741823, restart=True),
    Flag("statement_timeout", "INTEGER", 0, 2147483647),
    Flag("temp_file_limit", "INTEGER", 0, 2147483647),
    Flag("timezone", "STRING"),
    Flag("track_io_timing", "BOOLEAN"),
    Flag("wal_buffers", "INTEGER", -1, 262143, restart=True),
    Flag("work_mem", "INTEGER", 64, 2147483647),
    *(Flag(name, "BOOLEAN") for name in ("auto_explain.log_analyze", "enable_hashagg", "enable_seqscan", "jit")),
    *(Flag(name, "BOOLEAN") for name in ("log_hostname", "track_activities")),
    *(Flag(name, "INTEGER") for name in ("effective_io_concurrency", "min_wal_size", "pg_stat_statements.max")),
    *(Flag(name, "INTEGER") for name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")),
    *(Flag(name, "INTEGER") for name in ("track_activity_query_size", "log_autovacuum_min_duration")),
    *(Flag(name, "FLOAT") for name in ("autovacuum_analyze_scale_factor", "autovacuum_vacuum_scale_factor")),
    *(Flag(name, "STRING") for name in ("log_error_verbosity", "log_line_prefix", "pgaudit.log", "search_path")),
    *(Flag(name, "STRING") for name in ("pg_stat_statements.track", "log_min_error_statement")),
    Flag("autovacuum_analyze_threshold", "INTEGER", 0, 2147483647),
    Flag("autovacuum_freeze_max_age", "INTEGER", 100000, 2000000000, restart=True),
    Flag("autovacuum_multixact_freeze_max_age", "INTEGER", 10000, 2000000000, restart=True),
    Flag("autovacuum_vacuum_cost_delay", "FLOAT"),
    Flag("autovacuum_vacuum_threshold", "INTEGER", 0, 2147483647),
    Flag("cron.database_name", "STRING", restart=True),
    Flag("cron.log_statement", "BOOLEAN", restart=True),
    Flag("geqo", "BOOLEAN"),
    Flag("password_encryption", "STRING", values=("md5", "scram-sha-256")),
    *(Flag(f"pgaudit.{name}", "BOOLEAN") for name in ("log_catalog", "log_client", "log_parameter", "log_relation")),
)
# The beginnings of further parameters that PostgreSQL and Cloud SQL's extensions have, of no known type or range.
POSTGRES_FAMILIES = (
    *("anon.", "auto_explain.", "cloudsql.", "cron.", "google_", "pg_hint_plan.", "pg_stat_statements.", "pgaudit."),
    *("pglogical.", "plpgsql.", "rdkit.", "autovacuum_", "bgwriter_", "checkpoint_", "commit_", "constraint_", "cpu_"),
    *("cursor_", "default_", "effective_", "enable_", "from_collapse_", "geqo_", "gin_", "hash_mem_", "idle_", "jit_"),
    *("join_collapse_", "lo_compat_", "lock_", "log_", "logical_decoding_", "maintenance_", "max_", "min_", "old_"),
    *("parallel_", "plan_cache_", "recovery_", "session_", "ssl_", "synchronize_", "tcp_", "track_", "vacuum_", "wal_"),
)
MYSQL_FLAGS = (
    Flag("character_set_server", "STRING", values=("utf8", "utf8mb4", "latin1")),
    Flag("general_log", "BOOLEAN"),
    Flag("innodb_buffer_pool_size", "INTEGER", 5242880, None, restart=True),
    Flag("log_output", "STRING", values=("FILE", "TABLE", "NONE")),
    Flag("long_query_time", "FLOAT"),
    Flag("max_allowed_packet", "INTEGER", 16384, 1073741824),
    Flag("max_connections", "INTEGER", 10, 100000),
    Flag("slow_query_log", "BOOLEAN"),
    Flag("sql_mode", "STRING"),
    Flag("wait_timeout", "INTEGER", 1, 31536000),
    *(Flag(name, "BOOLEAN") for name in ("event_scheduler", "innodb_file_per_table", "local_infile")),
    *(Flag(name, "BOOLEAN") for name in ("innodb_print_all_deadlocks", "log_queries_not_using_indexes")),
    *(Flag(name, "BOOLEAN") for name in ("cloudsql_iam_authentication", "performance_schema", "skip_show_database")),
    *(Flag(name, "INTEGER") for name in ("group_concat_max_len", "innodb_lock_wait_timeout", "interactive_timeout")),
    *(Flag(name, "INTEGER") for name in ("join_buffer_size", "lower_case_table_names", "max_heap_table_size")),
    *(Flag(name, "INTEGER") for name in ("net_read_timeout", "net_write_timeout", "sort_buffer_size")),
    *(Flag(name, "INTEGER") for name in ("table_open_cache", "thread_cache_size", "tmp_table_size")),
    *(Flag(name, "INTEGER") for name in ("innodb_log_buffer_size", "innodb_open_files", "max_execution_time")),
    *(Flag(name, "STRING") for name in ("collation_server", "default_time_zone", "innodb_monitor_enable")),
    *(Flag(name, "STRING") for name in ("default_authentication_plugin", "transaction_isolation", "tx_isolation")),
)


def engine(version: str) -> str:
    """POSTGRES, MYSQL or SQLSERVER; "" for any other."""
    found = GENERIC.fullmatch(version)
    return (found.group(1) or found.group(5)) if found else ""


def major(version: str) -> int:
    """16 of POSTGRES_16, 8 of MYSQL_8_0, 2019 of SQLSERVER_2019_STANDARD."""
    found = GENERIC.fullmatch(version)
    return int(found.group(2) or found.group(6)) if found else 0


def default_edition(version: str) -> str:
    """Newer versions are ENTERPRISE_PLUS unless told otherwise."""
    newer = {"POSTGRES": major(version) >= 16, "MYSQL": version >= "MYSQL_8_4"}
    return "ENTERPRISE_PLUS" if newer.get(engine(version)) else "ENTERPRISE"


def flags_of(version: str) -> tuple[Flag, ...]:
    return {"POSTGRES": POSTGRES_FLAGS, "MYSQL": MYSQL_FLAGS}.get(engine(version), ())


def is_plausible_flag(name: str, version: str) -> bool:
    """Whether a flag outside of the table above may yet be one of Cloud SQL's."""
    if engine(version) == "POSTGRES":
        return name.startswith(POSTGRES_FAMILIES) and re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", name) is not None
    return re.fullmatch(r"[a-z0-9][a-z0-9_ ()-]*", name) is not None  # the other engines' tables are the shorter ones


def find_tier(name: str, version: str) -> Tier | None:
    """A predefined machine, or a custom one of a shape that Cloud SQL makes; None for any other name."""
    found = next((tier for tier in TIERS if tier.name == name), None)
    if found is not None:
        return None if name.startswith("db-n1-") and engine(version) != "MYSQL" else found
    custom = re.fullmatch(r"db-custom-(\d+)-(\d+)", name)
    if custom is None:
        return None
    if engine(version) == "SQLSERVER":
        return Tier(name, int(custom.group(1)), int(custom.group(2)))
    cpus, memory = int(custom.group(1)), int(custom.group(2))
    fits = memory % 256 == 0 and memory >= 3840 and 0.9 * 1024 * cpus <= memory <= 6.5 * 1024 * cpus
    return Tier(name, cpus, memory) if fits and (cpus == 1 or cpus % 2 == 0) and cpus <= 96 else None


def max_connections(tier: Tier) -> int:
    """PostgreSQL's default by the machine's memory."""
    if tier.name == "db-f1-micro":
        return 25
    return next((count for memory, count in CONNECTIONS if tier.memory_mb >= memory), 50)


def installed(version: str) -> tuple[str, str]:
    """`databaseInstalledVersion` and `maintenanceVersion` of a fresh instance."""
    release, maintenance = INSTALLED.get(version, (version, "R20250304.00_03"))
    return release, f"{release}.{maintenance}"


def is_later_maintenance(new: str, old: str, version: str) -> bool:
    """Whether `new` is formed like a maintenance version of `version`, and later than `old`.

    Which ones Google offers on a day is nowhere published, so the form and the order are all that is judged.
    """
    asked, current = MAINTENANCE.fullmatch(new), MAINTENANCE.fullmatch(old)
    if asked is None or not f"{asked.group(1)}_".startswith(f"{version}_"):
        return False
    return current is None or asked.groups()[1:] > current.groups()[1:]


def upgradable(version: str) -> list[tuple[str, str, str]]:
    """(majorVersion, name, displayName) of every version that an instance can move to."""
    if engine(version) == "POSTGRES":
        majors = range(max(major(version) + 1, 10), 19)
        return [(f"POSTGRES_{m}", f"POSTGRES_{m}", f"PostgreSQL {m}") for m in majors]
    if engine(version) != "MYSQL":
        return []
    offers: list[tuple[str, str, str]] = []
    if version < "MYSQL_8_0":
        offers.append(("MYSQL_8_0", "MYSQL_8_0", "MySQL 8.0"))
    if version < "MYSQL_8_4":
        own = GENERIC.fullmatch(version)
        least = int(own.group(4) or MYSQL_8_0_ROLLING) if own and version >= "MYSQL_8_0" else 0
        names = [(f"MYSQL_8_0_{minor}", f"MySQL 8.0.{minor}") for minor in MYSQL_8_0_MINORS if minor >= least]
        offers += [("MYSQL_8_0", name, shown) for name, shown in names if name != installed(version)[0]]
    if "MYSQL_8_0" <= version < "MYSQL_8_4":  # 5.7 takes two steps
        offers.append(("MYSQL_8_4", "MYSQL_8_4", "MySQL 8.4"))
    return offers
