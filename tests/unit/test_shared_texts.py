"""Of a text that thousands of Google's answers repeat there is one copy in memory."""

from __future__ import annotations

from google.cloud import run_v2 as run
from google.protobuf.json_format import ParseDict

from nuages.cloud import runtemplate
from nuages.cloud.labels import FoundLabels
from nuages.desired.iam import IamMember
from nuages.desired.resource import Owner

SCRIPT = "import django\n" * 200
TASK = {
    "containers": [
        {
            "image": "europe-west1-docker.pkg.dev/acme/apps/shop@sha256:" + "a" * 64,
            "command": ["python", "-c"],
            "args": [SCRIPT],
            "env": [{"name": "DJANGO_SETTINGS_MODULE", "value": "shop.settings"}],
        }
    ]
}


def parsed() -> run.TaskTemplate:
    """As each answer brings it: with strings of its own."""
    return run.TaskTemplate(ParseDict(TASK, run.TaskTemplate.pb()()))


def apart(text: str) -> str:
    """The same text, at a place of its own."""
    return "".join((text[:1], text[1:]))


def apart_each(texts: dict[str, str]) -> dict[str, str]:
    return {apart(key): apart(value) for key, value in texts.items()}


def test_scripts_and_environments_are_shared() -> None:
    """Two jobs that run one script hold it once, and so their images and variables."""
    first, second = (runtemplate.from_pb(parsed(), "acme", {"team": "web"}) for _ in range(2))
    assert first == second
    assert first.args[0] is second.args[0]
    assert first.image is second.image
    assert first.command[1] is second.command[1]
    (name, value), (other_name, other_value) = first.environment[0], second.environment[0]
    assert name is other_name
    assert value is other_value


def test_labels_and_owners_are_shared() -> None:
    """All of an app's resources bear one marker."""
    owner = Owner("team-web", "shop", "1-2-3")
    found = [Owner.of_text(apart(owner.text())), *(Owner.of_labels(apart_each(owner.labels())) for _ in range(2))]
    assert found == [owner] * 3
    for field in ("namespace", "app", "uid"):
        assert len({id(getattr(item, field)) for item in found}) == 1, field
    first, second = (FoundLabels(apart_each({"cost-centre": "web-7"}).items()) for _ in range(2))
    assert first[0][0] is second[0][0]
    assert first[0][1] is second[0][1]


def test_members_are_shared() -> None:
    """A policy is read as a list and as single members: one name each."""
    texts = "projects/acme", "roles/run.invoker", "user:jo@acme.example"
    first, second = (IamMember.of(*map(apart, texts)) for _ in range(2))
    for field in ("name", "target", "role", "member"):
        assert getattr(first, field) is getattr(second, field), field
