"""`nuages plan` of a file that it cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from nuages.cli.plan import TROUBLE, plan_file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff", "cannot be read as YAML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte."),
        (b"a: 1\n", "holds no DjangoApp. Name a file that does."),
    ],
)
async def test_a_file_that_cannot_be_planned_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str
) -> None:
    """What is not there is not called bad YAML."""
    file = tmp_path / "shop.yaml"
    if content is not None:
        file.write_bytes(content)
    assert await plan_file(file, cast(Any, None), "") == TROUBLE
    assert capsys.readouterr().err == f"{file}: {said}\n"
