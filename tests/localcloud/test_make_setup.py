"""`make setup` where something is missing: one line, with the command that helps on that machine."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
# Real Pythons but for what they lack.
OLD = f"#!/bin/sh\nexec {sys.executable} -c \"import sys; sys.version_info = (3, 9, 2, 'final', 0)\n$2\"\n"
WITHOUT_VENV = f'#!/bin/sh\nPYTHONPATH="$LACKING" exec {sys.executable} "$@"\n'


async def setup(tmp_path: Path, python: str, text: str, installer: str) -> str:
    """What it says, on a machine with that Python and, of all programs, one that installs others."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, content in ((python, text), (installer, "#!/bin/sh\n")):
        if name and content:
            (programs / name).write_text(content)
            (programs / name).chmod(0o755)
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "ensurepip.py").write_text("raise ImportError('Debian has it in another package')\n")
    make = shutil.which("make")
    assert make is not None
    process = await asyncio.create_subprocess_exec(
        *(make, "--no-print-directory", "demo", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"),
        cwd=ROOT,
        env={"PATH": str(programs), "LACKING": str(tmp_path / "lacking"), "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 2  # make's own
    assert not (tmp_path / "venv").exists()
    return said.decode()


AGAIN = "then 'make demo PYTHON=python3.11'.\n"


@pytest.mark.parametrize("text", ["", OLD], ids=["none", "too-old"])
@pytest.mark.parametrize(
    ("installer", "remedy"),
    [
        ("apt-get", "run 'sudo apt-get install python3.11 python3.11-venv'"),
        ("dnf", "run 'sudo dnf install python3.11'"),
        ("brew", "run 'brew install python@3.11'"),
        ("", "install it from https://www.python.org/downloads/"),
    ],
)
async def test_a_missing_python_is_said_with_its_remedy(tmp_path: Path, text: str, installer: str, remedy: str) -> None:
    """None at all, or one that is too old."""
    said = await setup(tmp_path, "python3", text, installer)
    assert said == f"Python 3.11 or later is needed, and python3 is none: {remedy}, {AGAIN}"


@pytest.mark.parametrize(
    ("installer", "remedy"),
    [
        ("apt-get", "run 'sudo apt-get install python3.12-venv'.\n"),
        ("dnf", f"run 'sudo dnf install python3.11', {AGAIN}"),
    ],
)
async def test_a_missing_venv_is_said_with_its_remedy(tmp_path: Path, installer: str, remedy: str) -> None:
    """Debian's Python has it in a package of its own, named after its version."""
    said = await setup(tmp_path, "python3.12", WITHOUT_VENV, installer)
    assert said == f"python3.12 has no venv module: {remedy}"
