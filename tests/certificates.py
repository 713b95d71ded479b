"""Certificates made on the spot: an authority of the test's own, and servers it vouches for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ADDRESS: Final = "127.0.0.1"
YEAR: Final = timedelta(days=365)
LOOPBACK: Final = x509.SubjectAlternativeName(
    [x509.IPAddress(ip_address(ADDRESS)), x509.DNSName("localhost")]
)
ELSEWHERE: Final = x509.SubjectAlternativeName([x509.DNSName("elsewhere.example.org")])


@dataclass(frozen=True, slots=True)
class Files:
    """A server's certificate and key, and the authority that clients have to know."""

    cert: Path
    key: Path
    authority: Path

    @property
    def environ(self) -> dict[str, str]:
        return {"DEVFLOW_TLS_CERT": str(self.cert), "DEVFLOW_TLS_KEY": str(self.key)}

    def trusting(self) -> ssl.SSLContext:
        """A client that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.authority)


def make(
    folder: Path,
    *,
    begins: datetime | None = None,
    passphrase: str = "",
    names: x509.SubjectAlternativeName = LOOPBACK,
) -> Files:
    """A certificate for loopback, valid for a year from ``begins`` (yesterday), in three new files."""
    folder.mkdir(parents=True, exist_ok=True)
    begins = begins or datetime.now(UTC) - timedelta(days=1)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _authority(authority_key, begins)
    files = Files(folder / "cert.pem", folder / "key.pem", folder / "authority.pem")
    files.cert.write_bytes(_server(key, authority, authority_key, begins, names).public_bytes(Encoding.PEM))
    lock: KeySerializationEncryption = NoEncryption()
    if passphrase:
        lock = BestAvailableEncryption(passphrase.encode())
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    files.authority.write_bytes(authority.public_bytes(Encoding.PEM))
    return files


def self_signed(folder: Path) -> Files:
    """A certificate for loopback that nobody vouches for but itself."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("itself")
    made = (
        _begun(name, key, datetime.now(UTC) - timedelta(days=1))
        .issuer_name(name)
        .add_extension(LOOPBACK, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = Files(folder / "cert.pem", folder / "key.pem", folder / "cert.pem")
    files.cert.write_bytes(made.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _authority(key: ec.EllipticCurvePrivateKey, begins: datetime) -> x509.Certificate:
    name = _name("a test's authority")
    return (
        _begun(name, key, begins)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    begins: datetime,
    names: x509.SubjectAlternativeName,
) -> x509.Certificate:
    return (
        _begun(_name("a test's server"), key, begins)
        .issuer_name(authority.subject)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )


def _begun(name: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + YEAR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
