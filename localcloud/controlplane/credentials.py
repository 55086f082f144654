"""Keys, certificates, tokens and kubeconfigs of one control plane; each made once and kept in its folder."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ADMIN = "localcloud-admin"
CONTROLLERS = "system:kube-controller-manager"
LIFETIME = datetime.timedelta(days=3650)
CLOCK_SKEW = datetime.timedelta(hours=1)


@dataclass(frozen=True, repr=False)
class Credentials:
    """What the API server trusts and what its first users show; no repr, for it holds tokens."""

    folder: Path
    admin_token: str
    controllers_token: str

    @property
    def certificate_authority(self) -> Path:
        """The PEM certificate that clients trust."""
        return self.folder / "ca.crt"

    @property
    def server_certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.folder / "server.key"

    @property
    def service_account_key(self) -> Path:
        """Signs the tokens of ServiceAccounts, and verifies them."""
        return self.folder / "service-account.key"

    @property
    def token_file(self) -> Path:
        """For --token-auth-file."""
        return self.folder / "tokens.csv"

    @classmethod
    def load(cls, folder: Path) -> Credentials:
        """Those of the folder; what is missing is made. Blocking."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        admin, controllers = _token(folder / "admin.token"), _token(folder / "controllers.token")
        credentials = cls(folder, admin, controllers)
        users = ((admin, ADMIN), (controllers, CONTROLLERS))
        rows = [f'{token},{user},{user},"system:masters"\n' for token, user in users]
        write_private(credentials.token_file, "".join(rows).encode())
        if not credentials.service_account_key.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            write_private(credentials.service_account_key, _pem(key))
        if not credentials.server_certificate.exists():
            _make_certificates(credentials)
        return credentials

    def write_kubeconfig(self, path: Path, url: str, user: str, token: str, namespace: str = "default") -> None:
        """A kubeconfig, readable by its owner alone, that needs no other file. Blocking."""
        authority = base64.b64encode(self.certificate_authority.read_bytes()).decode()
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "localcloud",
            "clusters": [
                {"name": "localcloud", "cluster": {"server": url, "certificate-authority-data": authority}},
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [
                {"name": "localcloud", "context": {"cluster": "localcloud", "user": user, "namespace": namespace}},
            ],
        }
        write_private(path, yaml.safe_dump(content, sort_keys=False).encode())


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read, in one step."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)


def _token(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text()


def _make_certificates(credentials: Credentials) -> None:
    """The authority signs once, then its key is forgotten; the server's certificate is written last."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = _name("localcloud control plane")
    authority = (
        _certificate(name, name, authority_key.public_key(), authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("10.0.0.1")]
    hosts = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    names = [*map(x509.DNSName, hosts), *map(x509.IPAddress, addresses)]
    server = (
        _certificate(_name("kube-apiserver"), name, server_key.public_key(), authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    write_private(credentials.certificate_authority, authority.public_bytes(serialization.Encoding.PEM))
    write_private(credentials.server_key, _pem(server_key))
    write_private(credentials.server_certificate, server.public_bytes(serialization.Encoding.PEM))


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    """With the key identifiers that Python 3.13 insists on (VERIFY_X509_STRICT)."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
