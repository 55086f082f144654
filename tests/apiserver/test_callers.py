"""Who may call, as spec.web.invokers says: whatever case a person writes an address in."""

from __future__ import annotations

from machine_world import FIRST, PROJECT, Site
from test_lives import ready

RUNNER = f"serviceAccount:shared-runner@{PROJECT}.iam.gserviceaccount.com"
JANE = "user:jane@acme.example"
WRITTEN = ["user:Jane@Acme.Example", JANE, RUNNER.replace("shared-runner", "Shared-Runner")]


def test_callers_written_with_capitals_are_granted_once(site: Site) -> None:
    """Google keeps addresses in lower case: what it shows is what the spec means, and rest writes nothing."""
    world, life = site.world, site.run(site.world.begin())
    web = {"ingress": "Internal", "access": "Authenticated", "invokers": WRITTEN}
    site.run(world.apply(life, {**FIRST, "web": web}))
    ready(site, life)
    for member in (JANE, RUNNER):
        grant = f"{life.service}#roles/run.invoker#{member}"
        assert site.run(world.google.wrong("iam.googleapis.com/PolicyMember", grant)) == ""
    told = [text for reason, text in site.run(world.told(life)) if reason in ("Access", "CleanUp", "DriftCorrected")]
    assert told == ["Granted run.invoker to 2 member(s)."]
    assert site.run(world.plan(life)).changes == ()
    operator, writes = world.operator(), world.writes()
    site.run(world.one_pass(operator, life))
    site.run(operator.close())
    assert world.writes() == writes
