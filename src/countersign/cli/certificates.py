"""A development certificate authority: for clients that refuse plain HTTP."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from countersign.private_files import write_whole

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)


class BadHost(Exception):
    """A name that no certificate can hold; the text says which."""


def make(directory: Path, hosts: Sequence[str]) -> tuple[Path, Path, Path]:
    """Authority (kept if there is one), server certificate and key in ``directory``; gives their paths.

    Raises ``BadHost`` and ``OSError``.
    """
    names = [_alternative(host) for host in hosts]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_path, authority_key_path = directory / "ca.pem", directory / "ca.key"
    if not (authority_path.exists() and authority_key_path.exists()):
        _make_authority(authority_path, authority_key_path)
    authority = x509.load_pem_x509_certificate(authority_path.read_bytes())
    authority_key = load_pem_private_key(authority_key_path.read_bytes(), None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(hosts[0]), authority.subject, key, _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "tls.pem", directory / "tls.key"
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    write_whole(key_path, _pem(key))
    return authority_path, certificate_path, key_path


def _make_authority(path: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Countersign development authority")
    certificate = (
        _builder(name, name, key, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    write_whole(key_path, _pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        # Letters beyond ASCII come as Punycode (RFC 5280, section 7.2).
        if not _HOST.fullmatch(host):
            raise BadHost(f"{host} is neither a host name in ASCII nor an address") from None
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
