"""REST requests into messages and messages into JSON, as Google's front end does it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud import run_v2, sqladmin_v1
from google.iam.v1 import policy_pb2
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from localcloud.core.errors import ApiError, Code, Family, error_info
from localcloud.core.service import Method, Rule
from localcloud.gateway import selection
from localcloud.gateway.json_render import Style, render
from localcloud.gateway.rest_errors import envelope
from localcloud.gateway.transcode import build

UPDATE = run_v2.UpdateServiceRequest.pb()
CREATE = run_v2.CreateServiceRequest.pb()
RULE = "/v2/{service.name=projects/*/locations/*/services/*}"
NAME = "projects/demo/locations/europe-west1/services/shop"


async def _nothing(request: Message) -> Message:
    return request


def _method(request: type[Message]) -> Method:
    return Method("X", (), request, request, "", _nothing)


def _update(body: Any, query: list[tuple[str, str]] | None = None) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return build(_method(UPDATE), Rule("PATCH", RULE, "service"), [NAME], query or [], raw)


def _refusal(body: Any, query: list[tuple[str, str]] | None = None) -> str:
    with pytest.raises(ApiError) as caught:
        _update(body, query)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_body_path_and_query_make_one_message() -> None:
    """The body fills its field, the path wins over it, the query sets what is left."""
    query = [("updateMask", "template.maxInstanceRequestConcurrency,labels"), ("allowMissing", "true"), ("alt", "json")]
    made = _update({"name": "other", "template": {"timeout": "30s", "max_instance_request_concurrency": 7}}, query)
    assert made.service.name == NAME
    assert made.service.template.timeout.seconds == 30
    assert made.service.template.max_instance_request_concurrency == 7
    assert list(made.update_mask.paths) == ["template.max_instance_request_concurrency", "labels"]
    assert made.allow_missing


def test_snake_case_names_are_accepted_in_queries() -> None:
    """`update_mask=display_name` means the same as `updateMask=displayName`."""
    assert _update({}, [("update_mask", "launch_stage")]) == _update({}, [("updateMask", "launchStage")])


@pytest.mark.parametrize("value", ["INGRESS_TRAFFIC_ALL", 1, "1"])
def test_enums_come_as_names_or_numbers(value: Any) -> None:
    """The same value in every spelling."""
    assert _update({"ingress": value}).service.ingress == 1


def test_unknown_fields_are_all_named() -> None:
    """One line for each, with the place, as Google writes it."""
    text = _refusal({"foo": 1, "template": {"containers": [{"imagee": "x"}]}})
    assert text.splitlines() == [
        "Invalid JSON payload received. Unknown name \"foo\" at 'service': Cannot find field.",
        "Invalid JSON payload received. Unknown name \"imagee\" at 'service.template.containers[0]': "
        "Cannot find field.",
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"ingress": "ALL"},
            "Invalid value at 'service.ingress' (type.googleapis.com/google.cloud.run.v2.IngressTraffic), \"ALL\"",
        ),
        ({"labels": {"a": 1}}, "Invalid value at 'service.labels[\"a\"]' (TYPE_STRING), 1"),
        (
            {"template": {"maxInstanceRequestConcurrency": "many"}},
            "Invalid value at 'service.template.max_instance_request_concurrency' (TYPE_INT32), \"many\"",
        ),
        (
            {"template": "x"},
            "Invalid value at 'service.template' (type.googleapis.com/google.cloud.run.v2.RevisionTemplate), \"x\"",
        ),
        (
            {"uri": ["x"]},
            "Invalid JSON payload received. Unknown name \"uri\" at 'service': Proto field is not repeating, "
            "cannot start list.",
        ),
    ],
)
def test_values_of_the_wrong_type_are_refused(body: Any, message: str) -> None:
    """Field, type and value are in the sentence."""
    assert _refusal(body) == message


def test_a_number_too_large_for_its_field_is_refused() -> None:
    """An int32 has 32 bits."""
    assert "(TYPE_INT32), 4294967296" in _refusal({"template": {"maxInstanceRequestConcurrency": 2**32}})


def test_two_members_of_a_oneof_are_refused() -> None:
    """An environment variable has a value or a source."""
    env = {"name": "A", "value": "b", "valueSource": {"secretKeyRef": {"secret": "s"}}}
    assert "(oneof)" in _refusal({"template": {"containers": [{"env": [env]}]}})


def test_a_body_that_is_no_json_is_refused() -> None:
    """With the place where reading stopped."""
    assert _refusal(b'{"name": oops}').startswith("Invalid JSON payload received. Unexpected token.\noops}")


def test_an_unknown_query_parameter_is_refused() -> None:
    """It cannot be bound to the request."""
    assert _refusal({}, [("nonsense", "1")]) == (
        'Invalid JSON payload received. Unknown name "nonsense": Cannot bind query parameter. '
        "Field 'nonsense' could not be found in request message."
    )


@pytest.mark.parametrize("name", ["alt", "$alt", "prettyPrint", "key", "quotaUser", "fields", "$.xgafv"])
def test_system_parameters_are_not_the_methods(name: str) -> None:
    """Google's front end takes them away."""
    assert _update({}, [(name, "x")]) == _update({})


def test_answers_are_camel_case_with_long_numbers_as_text() -> None:
    """int64 as strings, zero values left out, bytes in base64."""
    service = run_v2.Service.pb()(name=NAME, generation=3, invoker_iam_disabled=False)
    service.template.timeout.seconds = 300
    assert render(service, Style()) == {"name": NAME, "generation": "3", "template": {"timeout": "300s"}}
    assert render(policy_pb2.Policy(etag=b"\x00 \x01"), Style()) == {"etag": "ACAB"}


def test_enums_are_numbers_where_asked_for_also_inside_operations() -> None:
    """`$alt=json;enum-encoding=int` holds for the packed response too."""
    operation = operations_pb2.Operation(name="o", done=True)
    operation.response.Pack(run_v2.Service.pb()(launch_stage=4))
    assert render(operation, Style(enums_as_numbers=True))["response"] == {
        "@type": "type.googleapis.com/google.cloud.run.v2.Service",
        "launchStage": 4,
    }
    assert render(operation, Style())["response"]["launchStage"] == "GA"


def test_fields_that_a_service_always_sends_are_there_when_zero() -> None:
    """By the name of their message, full or short."""
    always = {"Database": ("charset",), "google.cloud.sql.v1.Settings": ("deletionProtectionEnabled",)}
    instance = sqladmin_v1.DatabaseInstance.pb()()
    instance.settings.SetInParent()
    assert render(sqladmin_v1.Database.pb()(), Style(always=always)) == {"charset": ""}
    assert "settings" in render(instance, Style(always=always))


def test_partial_responses_keep_what_was_selected() -> None:
    """`fields` selects through lists, groups and paths."""
    value = {"items": [{"name": "a", "size": 1, "labels": {"x": "1", "y": "2"}}], "kind": "k", "next": "n"}
    chosen = selection.select(value, selection.parse("items(name,labels/x),next"))
    assert chosen == {"items": [{"name": "a", "labels": {"x": "1"}}], "next": "n"}


def test_each_family_has_its_envelope() -> None:
    """A: status and details; B: errors[] without status; C: both."""
    error = ApiError(Code.NOT_FOUND, "Gone.", details=(error_info("R", "d", {}),))
    assert sorted(envelope(error, Family.ONE_PLATFORM, {})["error"]) == ["code", "details", "message", "status"]
    legacy = envelope(error, Family.LEGACY, {})["error"]
    assert legacy == {
        "code": 404,
        "message": "Gone.",
        "errors": [{"message": "Gone.", "domain": "global", "reason": "notFound"}],
    }
    assert sorted(envelope(error, Family.MIXED, {})["error"]) == ["code", "details", "errors", "message", "status"]
