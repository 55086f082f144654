"""The last lines of a log, as Cloud Logging gives them."""

from __future__ import annotations

import json
import math

from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2AsyncClient
from google.oauth2.credentials import Credentials

from localcloud.core.errors import Code
from nuages.cloud.call import Call
from nuages.cloud.logs import LATE, Logs, Turns

LABELS = {"project_id": "demo", "location": "europe-west1", "job_name": "shop-migrate"}
FILTER = 'resource.type = "cloud_run_job" resource.labels.job_name = "shop-migrate"'


def write(scene, text: str) -> None:
    scene.cloud.runtime.logs.write("cloud_run_job", LABELS, "stdout", text)


async def test_the_last_lines_oldest_first(real_scene):
    """Plain lines as text, structured ones with their payload, no more than asked for."""
    for number in range(5):
        write(real_scene, f"line {number}")
    write(real_scene, json.dumps({"nuages": "migrate", "severity": "ERROR", "message": "it broke", "code": 3}))
    lines = (await real_scene.access.logs.tail("demo", FILTER, 3)).lines
    assert [line.text for line in lines] == ["line 3", "line 4", "it broke"]
    assert lines[0].payload is None
    assert (lines[2].severity, lines[2].payload["nuages"], lines[2].payload["code"]) == ("ERROR", "migrate", 3)


async def test_a_log_that_may_not_be_read_is_not_waited_for(scene):
    """It is help, never an obstacle."""
    scene.fail("ListLogEntries", Code.PERMISSION_DENIED, "Permission 'logging.logEntries.list' denied.")
    tail = await scene.access.logs.tail("demo", FILTER, 3)
    assert (tail.lines, tail.waited) == ((), math.inf)


async def test_a_log_that_cannot_be_read_now_is_waited_for_as_a_late_one(real_scene):
    """Since the first look, though that found no way to it: what it says may be read by the next."""
    write(real_scene, "line")
    real_scene.fail("ListLogEntries", Code.RESOURCE_EXHAUSTED, "Quota exceeded for quota metric 'Read requests'.")
    tail = await real_scene.access.logs.tail("demo", FILTER, 3)
    assert (tail.lines, tail.waited) == ((), 0.0)
    tail = await real_scene.access.logs.tail("demo", FILTER, 3)
    assert (tail.shown, 0.0 < tail.waited < LATE) == (("line",), True)


async def test_no_more_is_read_than_its_turns_allow(real_scene):
    """What finds no turn soon asks nothing of Google, and has no lines, which are waited for."""
    write(real_scene, "line")
    client = LoggingServiceV2AsyncClient(credentials=Credentials("any"))
    logs = Logs(lambda: client, Call(), Turns(burst=2, apart=3600.0))
    found = [await logs.tail("demo", FILTER, 3) for _ in range(4)]
    await client.transport.close()
    assert [tail.shown for tail in found] == [("line",), ("line",), (), ()]
    assert all(tail.waited < LATE for tail in found)
    assert real_scene.asked("ListLogEntries") == 2
