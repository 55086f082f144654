"""verify: the candidate answers its health path through its own URL, as often in a row as asked."""

from __future__ import annotations

import aiohttp

from nuages.cloud.access import CloudAccess
from nuages.reconcile import reasons
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Release
from nuages.reconcile.release.revision_log import last_lines, log_link

PATIENCE = 300.0  # seconds: a fresh grant to invoke works after 2 to 3 minutes (behaviour-runtime.md, section 2)
TIMEOUT = aiohttp.ClientTimeout(total=20)


async def verify(release: Release, cloud: CloudAccess) -> Outcome:
    """Behind an ingress that is not open (yet), the startup probe has to do: the door that is there counts."""
    live = release.live
    if release.is_serving and live is not None and live.state.open_access:
        return DONE
    if live is not None and live.state.ingress != "ALL":
        return Done("Verified by its startup probe alone: the service's ingress keeps the operator out.")
    kept = "the service stays closed to the public" if release.is_serving else f"{release.serving} keeps all traffic"
    return await asked(release, cloud, kept)


async def asked(release: Release, cloud: CloudAccess, kept: str) -> Outcome:
    """A redirect counts as an answer: many sites send `/` elsewhere. `kept`: what a failure leaves, in words."""
    spec = release.app.spec.release.verify
    path = spec.path or release.app.spec.django.health_path
    # The audience of a tag's URL is the untagged one (behaviour-runtime.md, section 2).
    token = await cloud.identity.id_token(release.blueprint.service_url)
    cause = ""
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
        for _ in range(spec.successes):
            cause = await _answer(session, release.blueprint.candidate_url + path, token)
            if cause:
                break
    if not cause:
        return DONE
    if release.seconds < _patience(cause):
        return Waiting(reasons.VERIFYING, f"{path} of {release.revision} does not answer yet: {cause}", after=2.0)
    return Failed(
        reasons.VERIFY_FAILED,
        f"spec.release.verify: {path} of {release.revision} answered {cause}; {kept}. Release a fixed image.",
        log_link=log_link(release),
        lines=await last_lines(release, cloud),
    )


def _patience(cause: str) -> float:
    """Denials heal while a grant propagates; an application that answers wrongly will do so again."""
    return PATIENCE if cause.startswith(("401", "403", "404")) else 30.0


async def _answer(session: aiohttp.ClientSession, url: str, token: str) -> str:
    """What is wrong with the answer, "" where nothing is."""
    # Authorization would reach the app, which may refuse it; the serverless header does not.
    headers = {"X-Serverless-Authorization": f"Bearer {token}"}
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            return "" if response.status < 400 else f"{response.status} {response.reason}"
    except TimeoutError:
        return f"nothing within {TIMEOUT.total:.0f} s"
    except aiohttp.ClientError as error:
        return f"no answer ({type(error).__name__})"
