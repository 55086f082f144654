"""Log entries: what a line becomes, what a filter finds, through Google's own client."""

from __future__ import annotations

import datetime as dt

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient

from localcloud.runtime.logfilter import BadFilter, compiled

SERVICE = {"project_id": "demo", "location": "europe-west1", "service_name": "shop", "revision_name": "shop-1"}
JOB = {"project_id": "demo", "location": "europe-west1", "job_name": "migrate"}
EXECUTION = {"run.googleapis.com/execution_name": "migrate-x7f2k", "run.googleapis.com/task_index": "0"}


@pytest.fixture
def logs(simulated):
    return simulated.runtime.logs


@pytest.fixture
def find(simulated, clients):
    api = clients(LoggingServiceV2AsyncClient)

    async def entries(text="", **options):
        request = {"resource_names": ["projects/demo"], "filter": text, **options}
        return [entry async for entry in await api.list_log_entries(request=request)]

    return entries


def write(logs, text, **options):
    return logs.write("cloud_run_revision", SERVICE, "stdout", text, **options)


async def test_a_plain_line_is_text_with_default_severity(logs, find):
    """In Cloud Run's log of its stream."""
    logs.write("cloud_run_revision", SERVICE, "stderr", "boom", entry_labels={"instanceId": "00"})
    (entry,) = await find()
    assert (entry.text_payload, entry.severity, dict(entry.labels)) == ("boom", 0, {"instanceId": "00"})
    assert entry.log_name == "projects/demo/logs/run.googleapis.com%2Fstderr"
    assert (entry.resource.type, dict(entry.resource.labels)) == ("cloud_run_revision", SERVICE)
    assert entry.insert_id


async def test_a_json_line_is_taken_apart(logs, find):
    """Severity, time, trace and labels go to the entry, the rest stays."""
    write(
        logs,
        '{"severity": "error", "time": "2026-01-02T03:04:05Z", "logging.googleapis.com/trace": "t", "user": "ann", '
        '"message": "m", "logging.googleapis.com/labels": {"a": 1}}',
    )
    (entry,) = await find()
    assert dict(entry.json_payload) == {"user": "ann", "message": "m"}
    assert (entry.severity, entry.trace, dict(entry.labels)) == (500, "t", {"a": "1"})
    assert entry.timestamp == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("line", "text"), [('{"message": "only"}', "only"), ("[1, 2]", "[1, 2]"), ('{"broken": ', '{"broken": ')]
)
async def test_a_message_alone_and_what_is_no_object_are_text(logs, find, line, text):
    """As Google's agent has it."""
    write(logs, line)
    assert [entry.text_payload for entry in await find()] == [text]


async def test_an_apps_own_request_field_does_not_hide_its_line(logs, find):
    """httpRequest of another form than Google's is left out; the entry is not."""
    write(logs, '{"message": "m", "httpRequest": {"status": {"code": "x"}}}')
    assert [entry.text_payload for entry in await find()] == ["m"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "abcd"),
        ("resource.type = cloud_run_job", "d"),
        ('resource.type="cloud_run_revision" AND resource.labels.service_name="shop"', "abc"),
        ('labels."run.googleapis.com/execution_name"="migrate-x7f2k"', "d"),
        ('labels."run.googleapis.com/execution_name":*', "d"),
        ("severity>=ERROR", "bd"),
        ("severity >= warning\nseverity < CRITICAL", "b"),
        ('textPayload:"HELLO"', "a"),
        ("hello", "a"),
        ('jsonPayload.code="7"', "c"),
        ("jsonPayload.code > 6.5", "c"),
        ("jsonPayload.nested.flag=true", "c"),
        ("NOT severity>=ERROR", "ac"),
        ("-severity>=ERROR resource.type=cloud_run_revision", "ac"),
        ('logName:"stderr" OR severity=CRITICAL', "bd"),
        ('log_id("run.googleapis.com/stderr")', "b"),
        ('logName="projects/demo/logs/run.googleapis.com%2Fstderr"', "b"),
        ('severity=(ERROR OR "CRITICAL")', "bd"),
        ('("hello" OR "boom") AND resource.type=cloud_run_revision', "ab"),
        ('textPayload=~"^he.*o"', "a"),
        ('textPayload!~"^he"', "bd"),
        ('timestamp>="2026-01-01T00:00:03Z"', "cd"),
        ("timestamp<2026-01-01T00:00:02.5Z", "ab"),
        ("resource.type=cloud_run_revision -- the service\n(severity=ERROR OR jsonPayload.code=7)", "bc"),
        ('textPayload!="boom"', "ad"),
    ],
)
async def test_filters_find_what_googles_find(logs, find, text, found):
    """Each form in use: operators, precedence, quoted labels, severity and time in their order."""

    def at(second):
        return dt.datetime(2026, 1, 1, 0, 0, second, tzinfo=dt.UTC)

    write(logs, "hello there, o", at=at(1), entry_labels={"id": "a"})
    logs.write("cloud_run_revision", SERVICE, "stderr", "boom", severity="ERROR", at=at(2), entry_labels={"id": "b"})
    write(logs, {"code": 7, "nested": {"flag": True}}, at=at(3), entry_labels={"id": "c"})
    labels = EXECUTION | {"id": "d"}
    logs.write("cloud_run_job", JOB, "varlog/system", "exit(1)", severity="CRITICAL", at=at(4), entry_labels=labels)
    assert "".join(entry.labels["id"] for entry in await find(text)) == found


@pytest.mark.parametrize("text", ["severity>=", "(a", 'a="b', "a =~ '['", "sample(x, 1)", "a OR"])
def test_a_filter_that_cannot_be_read_is_refused(text):
    """With the place, or the name of what is not modelled."""
    with pytest.raises(BadFilter, match=r"syntax error at line|does not model"):
        compiled(text)


async def test_a_bad_filter_is_an_invalid_argument(find):
    """400, not an empty answer."""
    with pytest.raises(exceptions.InvalidArgument, match="Unparseable filter"):
        await find("severity>=")


async def test_entries_come_in_the_order_asked_for_in_pages(logs, find):
    """By time, either way, however many a page holds."""
    for number in range(5):
        write(logs, str(number))
    assert [entry.text_payload for entry in await find(page_size=2)] == list("01234")
    assert [entry.text_payload for entry in await find(page_size=2, order_by="timestamp desc")] == list("43210")


async def test_reading_needs_the_permission(simulated, clients):
    """logging.logEntries.list on the project."""
    account = "187635794409-compute@developer.gserviceaccount.com"
    api = clients(LoggingServiceV2AsyncClient, simulated.core.tokens.issue(account))
    with pytest.raises(exceptions.PermissionDenied, match=r"logging\.logEntries\.list"):
        await api.list_log_entries(request={"resource_names": ["projects/demo"]})


async def test_entries_over_rest_are_googles_json(simulated, logs):
    """Names of severities, times with Z."""
    write(logs, "x", severity="WARNING")
    headers = {"Host": "logging.googleapis.com", "Authorization": "Bearer any"}
    async with aiohttp.ClientSession(headers=headers) as session:
        body = {"resourceNames": ["projects/demo"], "filter": "severity=WARNING"}
        async with session.post(f"{simulated.rest}/v2/entries:list", json=body) as response:
            (entry,) = (await response.json())["entries"]
    assert (entry["severity"], entry["textPayload"]) == ("WARNING", "x")
    assert entry["timestamp"].endswith("Z")


async def test_written_entries_are_read_back(simulated, clients, find):
    """An app may write by the API too."""
    api = clients(LoggingServiceV2AsyncClient)
    entry = {"text_payload": "by hand", "severity": "NOTICE"}
    await api.write_log_entries(log_name="projects/demo/logs/own", resource=None, labels={"a": "b"}, entries=[entry])
    (found,) = await find('logName="projects/demo/logs/own"')
    assert (found.text_payload, found.resource.type, dict(found.labels)) == ("by hand", "global", {"a": "b"})


async def test_logs_survive_a_restart_and_a_line_cut_short(cloud):
    """What was written before a kill is read after it."""
    write(cloud.runtime.logs, "kept")
    path = cloud.core.dir / "logs" / "entries.jsonl"
    with path.open("ab") as file:
        file.write(b'{"cut": ')
    again = type(cloud.runtime.logs)(cloud.core)
    try:
        write(again, "after")
        assert [entry["textPayload"] for entry in again.entries()] == ["kept", "after"]
        assert len(path.read_bytes().splitlines()) == 3
    finally:
        await again.close()
