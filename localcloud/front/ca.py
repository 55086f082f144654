"""The certificate authority of one local cloud: kept in its folder, it signs a certificate for any host on demand."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localcloud.front.private import write_private

CA_DAYS = 3650
LEAF_DAYS = 397  # the longest that clients accept
MARK = b"# Certificates that a local cloud's clients trust: its own authority, then this system's.\n"
# Where the roots of this system are named: by a variable that its owner set, else where OpenSSL looks.
ROOT_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
ROOT_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class CertificateAuthority:
    """Loaded from the folder, or made there; `bundle` is what clients are to trust."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made with mode 0700; key files get 0600."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self.bundle = folder / "ca-bundle.pem"
        self._key = _key(folder / "ca.key")
        self._leaf_key = _key(folder / "leaf.key")
        self._authority = self._load_or_make()
        write_private(self.bundle, MARK + self.certificate.read_bytes() + system_roots(), 0o644)
        self._contexts: dict[str, ssl.SSLContext] = {}

    def context(self, host: str) -> ssl.SSLContext:
        """A server's TLS settings for `host`: HTTP/1.1 where offered, h2 where a client offers nothing else (gRPC)."""
        found = self._contexts.get(host)
        if found is None:
            found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            found.load_cert_chain(self._leaf(host), self._folder / "leaf.key")
            found.set_alpn_protocols(["http/1.1", "h2"])
            self._contexts[host] = found
        return found

    def _load_or_make(self) -> x509.Certificate:
        if self.certificate.exists():
            found = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            if found.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=LEAF_DAYS):
                return found
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "localcloud"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"localcloud {os.urandom(4).hex()}"),
            ]
        )
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = (
            _builder(name, name, self._key.public_key(), self._key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        write_private(self.certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)
        return made

    def _leaf(self, host: str) -> Path:
        """The chain file of a fresh certificate; it is read at once, so that one file serves every host."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        public = self._leaf_key.public_key()
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        made = (
            _builder(name, self._authority.subject, public, self._key.public_key(), LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / "leaf.pem"
        write_private(path, made.public_bytes(serialization.Encoding.PEM) + self.certificate.read_bytes())
        return path


def system_roots() -> bytes:
    """The certificates that this system trusts, so that other hosts work through the proxy as without it."""
    files = [os.environ[name] for name in ROOT_VARIABLES if os.environ.get(name)]
    paths = ssl.get_default_verify_paths()
    for file in (*files, paths.cafile or "", paths.openssl_cafile, *ROOT_FILES):
        if file and Path(file).is_file():
            content = Path(file).read_bytes()
            if not content.startswith(MARK):  # a local cloud's own, from a shell that uses one
                return content
    import certifi  # comes with the HTTP clients; last, since a company's own roots are not in it

    return Path(certifi.where()).read_bytes()


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if path.exists():
        loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        return loaded
    made = ec.generate_private_key(ec.SECP256R1())
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, made.private_bytes(*form))
    return made


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePublicKey,
    days: int,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # clocks of containers and hosts differ
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
