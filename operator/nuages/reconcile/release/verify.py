"""verify: the candidate answers its health path through its own URL, as often in a row as asked."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from nuages.cloud.access import CloudAccess
from nuages.reconcile import reasons
from nuages.reconcile.release.outcome import DONE, Done, Failed, Outcome, Waiting
from nuages.reconcile.release.release import Release
from nuages.reconcile.release.revision_log import last_lines, log_link

# Seconds. A fresh grant to invoke works after 2 to 3 minutes (behaviour-runtime.md, section 2); an app that answers
# wrongly will do so again.
PATIENCE, OF_THE_APP = 300.0, 30.0
DOORS = (401, 403, 404)  # what Google's front end answers itself, while it does not know the grant or the tag
GOOGLES = b"<h1>Error: "  # in its pages (section 2)
PAGE = 4096  # bytes of an answer that are looked at
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
    cause: Cause | None = None
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
        for _ in range(spec.successes):
            cause = await _answer(session, release.blueprint.candidate_url + path, token)
            if cause is not None:
                break
    if cause is None:
        return DONE
    if release.seconds < cause.patience:
        return Waiting(reasons.VERIFYING, f"{path} of {release.revision} {cause.words}; it is asked again.", after=2.0)
    return Failed(
        reasons.VERIFY_FAILED,
        f"spec.release.verify: {path} of {release.revision} {cause.words}; {kept}. "
        "Release a fixed image, or correct its path.",
        log_link=log_link(release),
        lines=(await last_lines(release, cloud)).shown,
    )


@dataclass(frozen=True)
class Cause:
    """What is wrong with an answer, after the path's name in a sentence, and for how many seconds that may heal."""

    words: str
    patience: float = OF_THE_APP


async def _answer(session: aiohttp.ClientSession, url: str, token: str) -> Cause | None:
    """None where nothing is wrong."""
    # Authorization would reach the app, which may refuse it; the serverless header does not.
    headers = {"X-Serverless-Authorization": f"Bearer {token}"}
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status < 400:
                return None
            answer = f"{response.status} {response.reason}"
            if response.status in DOORS and GOOGLES in await _beginning(response):
                return Cause(f"was answered by Google's front end, not by the app: {answer}", PATIENCE)
            return Cause(f"answered {answer}")
    except TimeoutError:
        return Cause(f"gave no answer within {TIMEOUT.total:.0f} s")
    except aiohttp.ClientError as error:
        return Cause(f"gave no answer ({type(error).__name__})")


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Of a body that may have any length."""
    page = b""
    async for chunk in response.content.iter_chunked(PAGE):
        page += chunk
        if len(page) >= PAGE:
            break
    return page
