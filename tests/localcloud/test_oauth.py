"""Token endpoints and public keys."""

from __future__ import annotations

import json
import time

import aiohttp
import pytest
from google.cloud import iam_admin_v1

from localcloud.core.keys import encode_segment

EMAIL = "web-app@demo.iam.gserviceaccount.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"
AUDIENCE = "//iam.googleapis.com/projects/187635794409/locations/global/workloadIdentityPools/pool/providers/k8s"


@pytest.fixture
async def http(simulated, clients):
    """Form posts and reads by Google's host names on the plain port."""
    api = clients(iam_admin_v1.IAMAsyncClient)
    await api.create_service_account(request={"name": "projects/demo", "account_id": "web-app"})
    async with aiohttp.ClientSession() as session:

        async def call(host, path, form=None, **query):
            url = f"{simulated.rest}{path}"
            method = "GET" if form is None else "POST"
            async with session.request(method, url, data=form, params=query, headers={"Host": host}) as response:
                return response.status, await response.json()

        yield call


async def assertion(core, **changes):
    now = int(time.time())
    claims = {"iss": EMAIL, "scope": "a b", "aud": TOKEN_URI, "iat": now, "exp": now + 3600} | changes
    return (await core.keys.jwt(EMAIL, json.dumps(claims)))[1]


def bearer(value):
    return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": value}


async def test_an_assertion_signed_by_the_account_becomes_a_token(simulated, http):
    """Access token with the scopes asked for, which tokeninfo tells."""
    status, answer = await http("oauth2.googleapis.com", "/token", bearer(await assertion(simulated.core)))
    assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 3599)
    status, info = await http("oauth2.googleapis.com", "/tokeninfo", access_token=answer["access_token"])
    assert (status, info["email"], info["scope"]) == (200, EMAIL, "a b")
    assert info["expires_in"].isdigit()


async def test_an_assertion_with_a_target_audience_becomes_an_id_token(simulated, http):
    """What Cloud Run is called with."""
    form = bearer(await assertion(simulated.core, target_audience="https://x"))
    _, answer = await http("oauth2.googleapis.com", "/token", form)
    assert simulated.core.id_tokens.verify(answer["id_token"], ["https://x"]).email == EMAIL
    _, info = await http("oauth2.googleapis.com", "/tokeninfo", id_token=answer["id_token"])
    assert info["email_verified"] == "true"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"iss": "ghost@demo.iam.gserviceaccount.com"}, "account not found"),
        ({"exp": 1}, "expired"),
        ({"aud": "https://elsewhere"}, "short-lived"),
    ],
)
async def test_a_bad_assertion_is_an_invalid_grant(simulated, http, changes, error):
    """400 in OAuth's own form."""
    status, answer = await http("oauth2.googleapis.com", "/token", bearer(await assertion(simulated.core, **changes)))
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert error in answer["error_description"]


async def test_an_unknown_signature_is_an_invalid_grant(http):
    """Keys that localcloud did not make sign nothing here."""
    parts = [encode_segment(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "x"}, {"iss": EMAIL})]
    status, answer = await http("oauth2.googleapis.com", "/token", bearer(".".join([*parts, "AAAA"])))
    assert (status, answer) == (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})


async def test_an_unknown_token_has_no_information(http):
    """400 invalid_token."""
    status, answer = await http("oauth2.googleapis.com", "/tokeninfo", access_token="foreign")
    assert (status, answer) == (400, {"error": "invalid_token", "error_description": "Invalid Value"})


async def test_a_federated_token_becomes_its_pools_principal(simulated, http):
    """STS trusts the issuer that it was told of, and nobody else."""
    core = simulated.core
    sts = next(service for service in simulated.services if service.host == "sts.googleapis.com")
    key = await core.keys.key("issuer")
    now = int(time.time())
    claims = {"iss": "https://kubernetes", "sub": "system:serviceaccount:a:b", "iat": now, "exp": now + 600}
    claims["aud"] = [f"https:{AUDIENCE}"]
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": (await core.keys.jwt("issuer", json.dumps(claims)))[1],
    }
    status, answer = await http("sts.googleapis.com", "/v1/token", form)
    assert (status, answer["error"]) == (400, "invalid_target")
    sts.trust(AUDIENCE, "https://kubernetes", {"keys": [key.jwk()]})
    status, answer = await http("sts.googleapis.com", "/v1/token", form)
    assert status == 200
    pool = AUDIENCE.removeprefix("//").partition("/providers/")[0]
    assert core.tokens.email(answer["access_token"]) == f"principal://{pool}/subject/system:serviceaccount:a:b"
    form["subject_token"] += "x"
    assert (await http("sts.googleapis.com", "/v1/token", form))[1]["error"] == "invalid_grant"
    claims["aud"] = ["https://kubernetes"]
    form["subject_token"] = (await core.keys.jwt("issuer", json.dumps(claims)))[1]
    status, answer = await http("sts.googleapis.com", "/v1/token", form)
    assert (status, answer["error"]) == (400, "invalid_grant")
    assert "does not match the expected audience" in answer["error_description"]


async def test_public_keys_come_as_jwk_and_as_certificates(simulated, http):
    """Both under one key id."""
    _, jwks = await http("www.googleapis.com", "/oauth2/v3/certs")
    _, certificates = await http("www.googleapis.com", "/oauth2/v1/certs")
    assert [key["kid"] for key in jwks["keys"]] == list(certificates)
    assert next(iter(certificates.values())).startswith("-----BEGIN CERTIFICATE-----")
