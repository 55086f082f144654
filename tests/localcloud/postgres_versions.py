"""The versions of PostgreSQL that tests run on: Google's newest, and 15, which Debian has."""

from pathlib import Path

import pytest

HAS_15 = Path("/usr/lib/postgresql/15/bin/postgres").exists()
VERSIONS = [
    18,
    pytest.param(15, marks=pytest.mark.skipif(not HAS_15, reason="PostgreSQL 15 is not installed")),
]
