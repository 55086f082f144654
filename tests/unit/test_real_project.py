"""The end-to-end scenarios against a real project: collected, and skipped by name where it cannot be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
WITNESS = """
import sys
def pytest_sessionfinish():
    print("PATIENCE", sys.modules["e2e_site"].READY_S, "s")
    print("LOCALCLOUD", sorted(name for name in sys.modules if name.split(".")[0] == "localcloud"))
"""


def test_scenarios_import_nothing_of_localcloud(tmp_path: Path) -> None:
    """With a project and no cluster, each is skipped with the reason; with both, none gives up early."""
    (tmp_path / "witness.py").write_text(WITNESS)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "NUAGES_TEST_PROJECT": "some-project",
        "KUBECONFIG": str(tmp_path / "absent"),
        "PYTHONPATH": str(tmp_path),
    }
    pytest = [sys.executable, "-m", "pytest", "tests/e2e", "-q", "-s", "-p", "witness", "-p", "no:cacheprovider"]
    done = subprocess.run(pytest, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "LOCALCLOUD []" in done.stdout
    assert "PATIENCE 1800.0 s" in done.stdout  # as long as Google takes
    assert "NUAGES_TEST_PROJECT is set, but there is no kubeconfig" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]
