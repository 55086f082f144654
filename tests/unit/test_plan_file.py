"""`nuages plan` of a file that it cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from typer.testing import CliRunner

from nuages.cli.main import app as command_line
from nuages.cli.plan import CHANGES, NOTHING, TROUBLE, plan_file

KIND = {"apiVersion": "nuages.dev/v1alpha1", "kind": "DjangoApp"}
SPEC = {"image": "europe-west1-docker.pkg.dev/acme-prod/apps/shop:v4"}
SHOP = {"metadata": {"name": "shop", "namespace": "acme"}, "spec": SPEC}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff", "cannot be read as YAML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte."),
        (b"", "holds no DjangoApp. Name a file that does."),
        (b"- kind: DjangoApp\n", "holds no DjangoApp. Name a file that does."),
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


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"spec": SPEC}, "{file}: metadata: Is missing. Add it."),
        ({"spec": SPEC, "metadata": None}, "{file}: metadata: Is no object. Write its fields below it."),
        ({"spec": SPEC, "metadata": ["shop"]}, "{file}: metadata: Is no object. Write its fields below it."),
        ({"spec": SPEC, "metadata": {}}, "{file}: metadata.name: Is missing. Add it."),
        ({"spec": SPEC, "metadata": {"name": 5}}, "5: metadata.name: Is no string. Put quotes around the value."),
        (SHOP | {"spec": None}, "shop: spec: Is no object. Write its fields below it."),
        (SHOP | {"spec": {}}, "shop: spec.image: Is missing. Add it."),
    ],
)
async def test_what_a_manifest_lacks_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], said: str
) -> None:
    """The field and the remedy, of the app, or of the file where the app has no name."""
    file = tmp_path / "app.yaml"
    file.write_text(yaml.safe_dump(KIND | fields))
    assert await plan_file(file, cast(Any, None), "") == TROUBLE
    assert capsys.readouterr().err == f"{said.format(file=file)}\n"


def test_help_says_what_each_exit_status_means() -> None:
    """Who runs it in a pipeline reads it there."""
    told = " ".join(CliRunner().invoke(command_line, ["plan", "--help"], env={"COLUMNS": "200"}).output.split())
    assert f"Exit status {NOTHING}: nothing, {CHANGES}: something, {TROUBLE}: it cannot be told." in told
