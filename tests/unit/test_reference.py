"""docs/reference.md and docs/troubleshooting.md: made from the code, or checked against it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from unit_support import API, REGISTRY, TENANT, a_tenant, an_app, some_facts

from nuages.api import InvalidSpec, check_allowed, parse_app, parse_tenant
from nuages.api.app import DjangoAppSpec
from nuages.api.contract import CONTRACT
from nuages.blueprint.compose import compose
from nuages.blueprint.facts import ExistingInstance
from nuages.blueprint.rotation import Pair
from nuages.cli import reference
from nuages.cli.fieldtables import Fields, anchor, shown_default, takes
from nuages.cli.main import app as command_line
from nuages.cloud import errors
from nuages.cloud.driver import Observed
from nuages.dbinit.plan import extension_refused, extensions_missing
from nuages.dbinit.verdict import Reason as Verdict
from nuages.desired.storage import Bucket
from nuages.reconcile import reasons
from nuages.reconcile.plan import Action, Verb
from nuages.reconcile.reasons import CONDITIONS, TABLE, Kind
from nuages.reconcile.release.steps import DONE, STEPS
from nuages.reconcile.trouble import of_error, of_refusal

REPOSITORY = Path(__file__).parents[2]
OPERATOR = REPOSITORY / "operator" / "nuages"
DOCS = REPOSITORY / "docs"
REFERENCE = (DOCS / "reference.md").read_text() if (DOCS / "reference.md").exists() else ""
TROUBLESHOOTING = (DOCS / "troubleshooting.md").read_text()
WORDS = {reason.word for reason in TABLE}
TYPES = {condition.word for condition in CONDITIONS}
# Where a call takes a reason: Trouble(reason, …), Condition(type, status, reason, …), Event(kind, reason, …).
POSITIONS = {"Trouble": (0,), "Waiting": (0,), "Failed": (0,), "Condition": (0, 2), "Event": (1,)}
KEYWORDS = {"reason", "reason_running", "reason_failed", "condition"}
CAMEL_CASE = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)+")


def _trees(*packages: str) -> Iterator[tuple[Path, ast.Module]]:
    for package in packages:
        for path in sorted((OPERATOR / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def _literal_reasons(tree: ast.Module) -> Iterator[str]:
    """Strings that stand where a call takes a reason."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        given = [call.args[index] for index in POSITIONS.get(name, ()) if index < len(call.args)]
        given += [keyword.value for keyword in call.keywords if keyword.arg in KEYWORDS]
        yield from (node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _strings(tree: ast.Module) -> Iterator[str]:
    yield from (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def test_reference_is_up_to_date(tmp_path: Path) -> None:
    """What `nuages reference` writes is what is committed: else run it."""
    written = tmp_path / "reference.md"
    result = CliRunner().invoke(command_line, ["reference", "--output", str(written)])
    assert result.exit_code == 0, result.output
    assert written.read_text() == REFERENCE, "docs/reference.md is stale. Run: nuages reference"


def test_every_field_has_a_row_that_says_what_it_takes() -> None:
    """No field is missing, none without its values, and a default or that it is required."""
    sections = Fields().sections(DjangoAppSpec, "DjangoApp", "spec")
    schema = DjangoAppSpec.model_json_schema(by_alias=True)
    models = [schema, *schema["$defs"].values()]
    wanted = {frozenset(model["properties"]) for model in models if "properties" in model}
    assert {frozenset(row.name for row in section.fields) for section in sections} == wanted
    assert [row.name for section in sections for row in section.fields if not row.values] == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 9}, "number, 0 to 9"),
        ({"type": "string", "minLength": 1, "maxLength": 1}, "string, at most 1 character"),
        ({"type": "string", "minLength": 3, "maxLength": 9}, "string, 3 to 9 characters"),
        ({"type": "string", "enum": ["13", "None", "A"]}, '`"13"`, `None` or `A`'),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 4}, "list of strings, at most 4 entries"),
    ],
)
def test_values_are_told_in_words(value: dict[str, object], shown: str) -> None:
    """A field's schema becomes what a person would say."""
    assert takes(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"default": "1"}, '`"1"`'),
        ({"default": "1Gi"}, "`1Gi`"),
        ({"default": False}, "`false`"),
        ({"default": []}, "empty"),
        ({"default": None, "description": "Path. Default: spec.django.healthPath."}, "spec.django.healthPath"),
        ({"default": None, "description": "Path."}, "none"),
    ],
)
def test_defaults_are_told_as_one_writes_them(value: dict[str, object], shown: str) -> None:
    """In YAML's own spelling, or in the description's words where the models have none."""
    assert shown_default(value) == shown


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    """To a file that is there, and to a heading in it."""
    text = (DOCS / page).read_text()
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, fragment = target.partition("#")
        path = DOCS / (name or page)
        if not path.exists() or (fragment and fragment not in _anchors(path.read_text())):
            lost.append(target)
    assert lost == []


def _anchors(text: str) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)}


def test_no_reason_stands_outside_the_table() -> None:
    """Code that may import the table uses its constants."""
    found = [
        f"{path.relative_to(OPERATOR)}: {text}"
        for path, tree in _trees("reconcile", "kube", "cli")
        if path.name != "reasons.py"
        for text in (
            *_literal_reasons(tree),
            *(t for t in _strings(tree) if t in WORDS | TYPES and CAMEL_CASE.match(t)),
        )
    ]
    assert found == []


def test_reasons_that_arrive_as_data_are_in_the_table() -> None:
    """The blueprint's problems and conditions, db-init's verdicts, and those of the migration's script."""
    told = {verdict.word for verdict in Verdict if verdict is not Verdict.OK}
    for _, tree in _trees("blueprint"):
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name, values = getattr(call.func, "id", ""), [getattr(item, "value", None) for item in call.args]
            if name == "Problem":
                told.add(str(values[1]))
            if name == "tell" and values[2] != 0:
                told.add(str(values[0]))
            for keyword in call.keywords:
                if name == "Capability" and keyword.arg == "condition" and isinstance(keyword.value, ast.Constant):
                    assert keyword.value.value in TYPES
    assert told <= WORDS
    assert {"ConnectionBudgetExceeded", "MountHidesImage", "MigrationLocked", "ExtensionNotAvailable"} <= told


def test_table_has_each_word_once_and_no_idle_constant() -> None:
    """Every constant is in the table and is used by the code."""
    assert len(WORDS) == len(TABLE)
    constants = {name: value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert set(constants.values()) <= WORDS | TYPES
    used = {
        node.attr
        for _, tree in _trees("reconcile", "kube", "cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "reasons"
    }
    assert set(constants) - used == set()


def test_reason_that_stalls_has_a_remedy() -> None:
    """Whoever is stopped is told what to do."""
    assert [reason.word for reason in TABLE if reason.kind is Kind.STALLED and not reason.remedy] == []


def test_troubleshooting_has_a_section_for_each_reason_that_stalls() -> None:
    """No more and no fewer, each with a message as kubectl shows it."""
    sections = re.findall(r"^### (\w+)\n\n```text\n\S", TROUBLESHOOTING, flags=re.MULTILINE)
    assert sorted(sections) == sorted(reason.word for reason in TABLE if reason.kind is Kind.STALLED)


def test_environment_is_the_contract() -> None:
    """Each of its variables has a line, and each but the reserved ones is set in an app that uses everything."""
    assert set(reference.VARIABLES) == set(CONTRACT)
    reserved = {name for name, text in reference.VARIABLES.items() if text.startswith("Reserved")}
    app = an_app({"django": {"settingsModule": "config.settings"}})
    blueprint = compose(app, a_tenant(), some_facts(keys=Pair().rotated("once")))
    assert blueprint.service is not None
    assert {name for name, _ in blueprint.service.template.environment} == set(CONTRACT) - reserved


def test_annotations_are_those_that_the_operator_reads() -> None:
    """What stands in the code, but for the API's version and the finalizer."""
    text = "".join(path.read_text() for path in OPERATOR.rglob("*.py") if path.name != "reference.py")
    found = set(re.findall(r"nuages\.dev/[a-z][a-z-]+[a-z]\b(?![0-9])", text))
    assert found - {"nuages.dev/google-resources"} == set(reference.ANNOTATIONS)


def test_stages_are_the_releases_steps() -> None:
    """In their order."""
    assert list(reference.STAGES) == [*(stage.name for stage in STEPS), DONE]


def _messages() -> Iterator[tuple[str, str]]:
    """What the operator says in situations that troubleshooting.md describes."""
    manifest = {"apiVersion": API, "kind": "DjangoApp", "metadata": {"name": "shop"}, "spec": {}}
    with pytest.raises(InvalidSpec) as invalid:
        parse_app({**manifest, "spec": {"image": f"{REGISTRY}/shop"}})
    yield "InvalidSpec", str(invalid.value)
    metadata = {"name": "default", "namespace": "acme", "uid": "t-1"}
    tenant = {"apiVersion": API, "kind": "DjangoTenant", "metadata": metadata}
    with pytest.raises(InvalidSpec) as invalid:
        parse_tenant({**tenant, "spec": {"project": "acme-prod", "region": "europe-west1-b"}})
    yield "TenantInvalid", f"DjangoTenant {invalid.value}"
    reaching = an_app({"database": {"instance": {"existing": "acme-pg"}}})
    for of in (parse_tenant({**tenant, "spec": TENANT}), a_tenant()):
        yield "NotAllowed", str(check_allowed(reaching, of)[0])
    facts = some_facts(existing_instance=ExistingInstance("europe-west1", "POSTGRES_15", 100))
    for spec in ({"web": {"maxInstances": 15}}, {"storage": {"media": {"mountPath": "/app"}}}):
        (problem,) = compose(an_app(spec), a_tenant({"database": {"existing": "acme-pg"}}), facts).problems
        yield problem.reason, problem.message
    bucket = Bucket(name="projects/p/buckets/acme-prod-acme-shop-media", location="EUROPE-WEST1", versioning=True)
    refused = Action(Verb.IMMUTABLE, bucket, Observed(bucket), ("location",))
    yield reasons.IMMUTABLE_FIELD, of_refusal(refused).message
    yield "ExtensionNotAvailable", extensions_missing(("pg_trigram", "postgis"), ("pg_trgm", "unaccent")).message
    yield "ExtensionNotAvailable", extension_refused("citext", 'type "citext" already exists').message


def _errors() -> Iterator[tuple[str, str]]:
    denied = errors.PermissionDenied("Denied.", permission="run.services.create")
    yield "PermissionDenied", of_error(denied, "Service acme-shop", "nuages@acme-prod.iam.gserviceaccount.com").message
    disabled = errors.ApiDisabled("Disabled.", service="sqladmin.googleapis.com")
    yield "ApiDisabled", of_error(disabled, "Instance acme-shop-1f4b").message
    account = "ServiceAccount acme-shop@acme-prod.iam.gserviceaccount.com"
    yield "QuotaExceeded", of_error(errors.QuotaExceeded("Too many."), account).message
    tier = "Invalid Tier (db-custom-1-100) for (ENTERPRISE) Edition."
    yield "RefusedByGoogle", of_error(errors.Invalid(tier), "Instance acme-shop-1f4b").message
    address = (
        "Invalid request: Organization Policy check failure: the external IP of this instance violates the "
        "constraints/sql.restrictPublicIp enforced at the 123456789 project."
    )
    forbidden = errors.PolicyViolated(address, constraint="sql.restrictPublicIp")
    yield "RefusedByGoogle", of_error(forbidden, "Instance acme-shop-1f4b").message


@pytest.mark.parametrize(("reason", "message"), [*_messages(), *_errors()])
def test_troubleshooting_quotes_the_operator(reason: str, message: str) -> None:
    """The messages there are its own; Google's words behind them may differ."""
    (section,) = re.findall(rf"^### {reason}\n(.*?)(?=^##|\Z)", TROUBLESHOOTING, flags=re.MULTILINE | re.DOTALL)
    own = message if reason == "RefusedByGoogle" else message.split(" Google says:")[0]
    assert own in section
