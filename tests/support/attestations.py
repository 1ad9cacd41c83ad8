"""Attestation statements of each format, as an authenticator with our own roots would make them."""

import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from countersign.credentials.strict_der import der
from tests.support.authenticator import ES256, RP_ID, Authenticator, PrivateKey, sign

_YEAR = datetime.timedelta(days=365)
_AAGUID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_AIK_OID = x509.ObjectIdentifier("2.23.133.8.3")
_VENDOR = [
    (NameOID.COUNTRY_NAME, "CH"),
    (NameOID.ORGANIZATION_NAME, "Vendor"),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
    (NameOID.COMMON_NAME, "Model 1"),
]
Extension = tuple[x509.ExtensionType, bool]


class Vendor:
    """A root certificate, and the certificates that it issues."""

    def __init__(self, name: str = "Vendor Root") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = (x509.BasicConstraints(ca=True, path_length=None), True)
        self.certificate = self.issue(self.key.public_key(), self.name, [constraints])

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def issue(
        self, key: Any, subject: x509.Name, extensions: Sequence[Extension], expired: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(self.name)
            .subject_name(subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _YEAR)
            .not_valid_after(now - _YEAR if expired else now + _YEAR)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())


def _name(attributes: Sequence[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _leaf(ca: bool = False) -> Extension:
    return x509.BasicConstraints(ca=ca, path_length=None), True


def _hash(client: bytes) -> bytes:
    return hashlib.sha256(client).digest()


def packed(
    vendor: Vendor,
    client: bytes,
    data: bytes,
    *,
    unit: str = "Authenticator Attestation",
    aaguid: bytes | None = None,
    ca: bool = False,
    expired: bool = False,
    key: PrivateKey | None = None,
) -> dict[str, Any]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = _name([(oid, unit if value == "Authenticator Attestation" else value) for oid, value in _VENDOR])
    extensions = [_leaf(ca)]
    if aaguid is not None:
        extensions.append((x509.UnrecognizedExtension(_AAGUID_OID, der(0x04, aaguid)), False))
    certificate = vendor.issue(key.public_key(), subject, extensions, expired)
    return {"alg": ES256, "sig": sign(key, data + _hash(client)), "x5c": [certificate.public_bytes(Encoding.DER)]}


def fido_u2f(vendor: Vendor, client: bytes, passkey: Authenticator) -> dict[str, Any]:
    """As newer keys do, the certificate names a model and the authenticator data does not."""
    key = ec.generate_private_key(ec.SECP256R1())
    model = x509.UnrecognizedExtension(_AAGUID_OID, der(0x04, bytes(range(16))))
    certificate = vendor.issue(key.public_key(), _name(_VENDOR), [_leaf(), (model, False)])
    cose = passkey.cose_key
    point = b"\x04" + cose[-2] + cose[-3]
    rp_id_hash = hashlib.sha256(RP_ID.encode()).digest()
    message = b"\x00" + rp_id_hash + _hash(client) + passkey.credential_id + point
    return {"sig": sign(key, message), "x5c": [certificate.public_bytes(Encoding.DER)]}


def apple(vendor: Vendor, client: bytes, data: bytes, passkey: Authenticator) -> dict[str, Any]:
    nonce = hashlib.sha256(data + _hash(client)).digest()
    value = der(0x30, der(0xA1, der(0x04, nonce)))
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.840.113635.100.8.2"), value)
    certificate = vendor.issue(passkey.key.public_key(), _name(_VENDOR), [_leaf(), (extension, False)])
    return {"x5c": [certificate.public_bytes(Encoding.DER)]}


def android_key(vendor: Vendor, client: bytes, data: bytes, passkey: Authenticator) -> dict[str, Any]:
    # KeyDescription of Android's key attestation: versions, levels, challenge, unique id and two authorization
    # lists, of which the one of the trusted environment says: purpose SIGN, origin GENERATED.
    enforced = der(0xA1, der(0x31, der(0x02, b"\x02"))) + _tagged(702, der(0x02, b"\x00"))
    level, number = der(0x0A, b"\x01"), der(0x02, b"\x03")
    challenge = der(0x04, _hash(client))
    body = number + level + number + level + challenge + der(0x04, b"") + der(0x30, b"") + der(0x30, enforced)
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.1.17"), der(0x30, body))
    certificate = vendor.issue(passkey.key.public_key(), _name(_VENDOR), [(extension, False)])
    chain = [certificate.public_bytes(Encoding.DER), vendor.certificate.public_bytes(Encoding.DER)]
    return {"alg": ES256, "sig": sign(passkey.key, data + _hash(client)), "x5c": chain}


def _tagged(number: int, content: bytes) -> bytes:
    """A context tag above 30: constructed, number in two base-128 digits."""
    return bytes([0xBF, 0x80 | number >> 7, number & 0x7F, len(content)]) + content


def tpm(vendor: Vendor, client: bytes, data: bytes, passkey: Authenticator) -> dict[str, Any]:
    key: PrivateKey = ec.generate_private_key(ec.SECP256R1())
    cose = passkey.cose_key
    sized = [len(part).to_bytes(2, "big") + part for part in (cose[-2], cose[-3])]
    # TPMT_PUBLIC: ECC, name by SHA-256, no policy, no symmetric cipher, ECDSA, P-256, no key derivation.
    area = bytes.fromhex("0023 000b 00050072 0000 0010 0010 0003 0010") + sized[0] + sized[1]
    name = bytes.fromhex("000b") + hashlib.sha256(area).digest()
    extra = hashlib.sha256(data + _hash(client)).digest()
    # TPMS_ATTEST: magic, ATTEST_CERTIFY, no signer, extra data, clock and firmware, names.
    info = bytes.fromhex("ff544347 8017 0000") + len(extra).to_bytes(2, "big") + extra + bytes(17 + 8)
    info += len(name).to_bytes(2, "big") + name + bytes(2)
    identity = x509.DirectoryName(
        _name(
            [
                (x509.ObjectIdentifier("2.23.133.2.1"), "id:494E5443"),
                (x509.ObjectIdentifier("2.23.133.2.2"), "Model"),
                (x509.ObjectIdentifier("2.23.133.2.3"), "id:13"),
            ]
        )
    )
    extensions: list[Extension] = [
        _leaf(),
        (x509.SubjectAlternativeName([identity]), True),
        (x509.ExtendedKeyUsage([_AIK_OID]), False),
    ]
    certificate = vendor.issue(key.public_key(), x509.Name([]), extensions)
    chain = [certificate.public_bytes(Encoding.DER)]
    return {"ver": "2.0", "alg": ES256, "x5c": chain, "sig": sign(key, info), "certInfo": info, "pubArea": area}
