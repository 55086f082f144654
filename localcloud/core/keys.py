"""Signing keys: Google's own (ID tokens) and each service account's (signBlob, signJwt, signed URLs), and RS256 JWTs.

Keys are made when first needed (a 2048-bit pair takes some 50 ms, in a thread) and kept, so that a URL signed before a
restart still verifies after it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import hashlib
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from localcloud.core.accounts import ServiceAccounts
from localcloud.core.identity import Caller
from localcloud.core.state import Store

GOOGLE = "accounts.google.com"  # the owner of the key that signs ID tokens
ISSUER = "https://accounts.google.com"
ID_TOKEN_SECONDS = 3600
SKEW_SECONDS = 10  # of clocks, as google-auth allows
KEY_YEARS = 10


class InvalidToken(ValueError):
    """A JWT that is malformed, wrongly signed, expired or for somebody else; the message says which."""


@dataclass(frozen=True)
class SigningKey:
    """An RSA pair with its id; `owner` is GOOGLE or a service account's e-mail."""

    owner: str
    id: str
    private: rsa.RSAPrivateKey

    def sign(self, data: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 over SHA-256."""
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def verifies(self, signature: bytes, data: bytes) -> bool:
        try:
            self.private.public_key().verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def jwk(self) -> dict[str, str]:
        """The public half, as /oauth2/v3/certs lists it."""
        numbers = self.private.public_key().public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        exponent = numbers.e.to_bytes(3, "big")
        return {
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.id,
            "n": encode_segment(modulus),
            "e": encode_segment(exponent),
        }

    def certificate(self) -> str:
        """The public half in a self-signed certificate (PEM), as /oauth2/v1/certs lists it."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.owner[:64])])
        begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(int(self.id[:16], 16) + 1)
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(days=365 * KEY_YEARS))
            .sign(self.private, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()


class Keys:
    """The signing keys of this cloud, one per owner."""

    def __init__(self, store: Store) -> None:
        self._records = store.records("keys")
        self._loaded: dict[str, SigningKey] = {}
        self._owners = {record["id"]: owner for owner, record in self._records.items()}
        self._making: dict[str, asyncio.Task[SigningKey]] = {}

    async def key(self, owner: str) -> SigningKey:
        """The owner's key, made now where there is none."""
        found = self.find(owner)
        if found is not None:
            return found
        if owner not in self._making:
            self._making[owner] = asyncio.create_task(self._make(owner), name=f"signing key of {owner}")
        return await asyncio.shield(self._making[owner])

    def find(self, owner: str) -> SigningKey | None:
        """The owner's key, or None where it never signed anything."""
        if owner not in self._loaded:
            record = self._records.find(owner)
            if record is None:
                return None
            private = serialization.load_pem_private_key(record["pem"].encode(), password=None)
            if not isinstance(private, rsa.RSAPrivateKey):
                raise TypeError(f"the key of {owner} is no RSA key")
            self._loaded[owner] = SigningKey(owner, record["id"], private)
        return self._loaded[owner]

    def forget(self, owner: str) -> None:
        """An account is deleted, its keys with it: what they signed is no longer valid."""
        record = self._records.find(owner)
        if record is not None:
            self._owners.pop(record["id"], None)
            self._loaded.pop(owner, None)
            self._records.remove(owner)

    async def jwt(self, owner: str, payload: str) -> tuple[str, str]:
        """The key's id, and `payload` (JSON text, taken as it is) signed as a JWT."""
        key = await self.key(owner)
        header = json.dumps({"alg": "RS256", "kid": key.id, "typ": "JWT"}, separators=(",", ":"))
        signed = f"{encode_segment(header.encode())}.{encode_segment(payload.encode())}"
        return key.id, f"{signed}.{encode_segment(key.sign(signed.encode()))}"

    def knows(self, token: str) -> bool:
        """Whether a key of this cloud claims to have signed this; raises nothing."""
        try:
            return _segments(token)[0].get("kid") in self._owners
        except InvalidToken:
            return False

    def verify(self, token: str) -> tuple[str, dict[str, Any]]:
        """Who signed, and the claims. Raises InvalidToken: malformed, unknown key, bad signature, expired."""
        header, claims, signature, signed = _segments(token)
        owner = self._owners.get(str(header.get("kid")))
        key = None if owner is None else self.find(owner)
        if owner is None or key is None or not key.verifies(signature, signed):
            raise InvalidToken("Invalid JWT Signature.")
        check_times(claims)
        return owner, claims

    async def _make(self, owner: str) -> SigningKey:
        try:
            private = await asyncio.to_thread(rsa.generate_private_key, public_exponent=65537, key_size=2048)
            public = private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            made = SigningKey(owner, hashlib.sha256(public).hexdigest()[:40], private)
            pem = private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._records.put(owner, {"id": made.id, "pem": pem.decode()})
            self._owners[made.id] = owner
            self._loaded[owner] = made
            return made
        finally:
            self._making.pop(owner, None)


class IdTokens:
    """OIDC tokens of service accounts, as Google issues them (behaviour-runtime.md, section 2)."""

    def __init__(self, keys: Keys, accounts: ServiceAccounts) -> None:
        self._keys, self._accounts = keys, accounts

    async def issue(self, email: str, audience: str, include_email: bool = True, email_azp: bool = False) -> str:
        """A token that says: this is `email`, for `audience` only, during the next hour."""
        account = self._accounts.find(email)
        subject = account.unique_id if account is not None else numeric_subject(email)
        now = int(time.time())
        claims: dict[str, Any] = {"aud": audience, "azp": email if email_azp else subject}
        if include_email:
            claims |= {"email": email, "email_verified": True}
        claims |= {"exp": now + ID_TOKEN_SECONDS, "iat": now, "iss": ISSUER, "sub": subject}
        return (await self._keys.jwt(GOOGLE, json.dumps(claims, separators=(",", ":"))))[1]

    def verify(self, token: str, audiences: Collection[str]) -> Caller:
        """Whose token it is. Raises InvalidToken: not Google's, expired, for another audience, account gone."""
        claims = self.claims(token)
        if claims.get("aud") not in audiences:
            raise InvalidToken(f"The token is for {claims.get('aud')!r}.")
        account = self._accounts.by_unique_id(str(claims.get("sub")))
        email = account.email if account is not None else str(claims.get("email", ""))
        if not email or not self._accounts.usable(email):
            raise InvalidToken("The token's account does not exist or is disabled.")
        return Caller(email)

    def claims(self, token: str) -> dict[str, Any]:
        """What a token of Google's says. Raises InvalidToken where it is none or has expired."""
        owner, claims = self._keys.verify(token)
        if owner != GOOGLE:
            raise InvalidToken("The token was not issued by Google.")
        return claims


def numeric_subject(email: str) -> str:
    """The number of a principal that IAM does not list (people, Google's own agents): 21 digits, always the same."""
    return "1" + str(int.from_bytes(hashlib.sha256(email.encode()).digest()[:9], "big")).zfill(22)[:20]


def check_times(claims: Mapping[str, Any]) -> None:
    """Raises InvalidToken where `exp` has passed or `iat` lies ahead."""
    now = time.time()
    if not isinstance(claims.get("exp"), int | float) or claims["exp"] < now - SKEW_SECONDS:
        raise InvalidToken("The token has expired.")
    if isinstance(claims.get("iat"), int | float) and claims["iat"] > now + SKEW_SECONDS:
        raise InvalidToken("The token is from the future.")


def verify_with_jwks(token: str, jwks: Mapping[str, Any]) -> dict[str, Any]:
    """The claims of a foreign issuer's RS256 token, judged by its key set. Raises InvalidToken."""
    header, claims, signature, signed = _segments(token)
    for jwk in jwks.get("keys", ()):
        if jwk.get("kty") == "RSA" and jwk.get("kid") in (header.get("kid"), None):
            numbers = rsa.RSAPublicNumbers(*(int.from_bytes(decode_segment(jwk[part]), "big") for part in ("e", "n")))
            try:
                numbers.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                continue
            check_times(claims)
            return claims
    raise InvalidToken("Invalid JWT Signature.")


def encode_segment(data: bytes) -> str:
    """Base64url without padding, as in JWTs."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_segment(text: str) -> bytes:
    """Raises ValueError."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _segments(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("The token is no JWT.")
    try:
        header, claims = (json.loads(decode_segment(part)) for part in parts[:2])
        signature = decode_segment(parts[2])
    except (ValueError, binascii.Error):
        raise InvalidToken("The token is no JWT.") from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or header.get("alg") != "RS256":
        raise InvalidToken("The token is no RS256 JWT.")
    return header, claims, signature, ".".join(parts[:2]).encode()
