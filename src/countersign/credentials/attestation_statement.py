"""Attestation statements with certificates (WebAuthn section 8), judged with the ``webauthn`` library.

A module of its own, because importing the library costs a quarter of a second: only a registration under an
attestation policy needs it. The library leaves some rules of the standard out; those are checked here.
Chains are valid or expired by the clock of the system, which the library asks.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID
from webauthn import base64url_to_bytes, verify_registration_response
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticatorAttestationResponse,
    RegistrationCredential,
)

from countersign.credentials.authenticator_data import AttestedCredential
from countersign.credentials.client_data import WebClientData
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url, cbor

MAX_CERTIFICATES = 8
_OWN_ROOTS = frozenset({"apple", "android-key"})
"""Formats whose vendor publishes roots that the library carries."""
_STATEMENTS = {
    "packed": frozenset({"alg", "sig", "x5c"}),
    "fido-u2f": frozenset({"sig", "x5c"}),
    "tpm": frozenset({"ver", "alg", "x5c", "sig", "certInfo", "pubArea"}),
    "apple": frozenset({"x5c"}),
    "android-key": frozenset({"alg", "sig", "x5c"}),
}
_RS1 = -65535
_AAGUID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")


def refuse(
    attestation_object: bytes,
    format_: str,
    members: dict[int | str, cbor.Value],
    credential: AttestedCredential,
    client_data: WebClientData,
    rp_id: str,
    anchors: tuple[str, ...],
) -> Refused | None:
    """Why the statement does not prove who made the authenticator; ``None`` if it does.

    ``members`` are those of ``attStmt``, ``anchors`` root certificates in PEM. Challenge, origin and
    authenticator data must have been checked. Never raises for bad input.
    """
    if not anchors and format_ not in _OWN_ROOTS:
        # With no roots at all the library would take any chain.
        return Refused(f"the policy names no trust anchors for the format {format_}")
    chain = members.get("x5c")
    if members.keys() != _STATEMENTS[format_] or not isinstance(chain, list) or not 0 < len(chain) <= MAX_CERTIFICATES:
        return Refused(f"attStmt has not the members of the format {format_}, or too many certificates")
    if not all(isinstance(certificate, bytes) for certificate in chain):
        return Refused("attStmt: x5c must be a list of certificates")
    if members.get("alg") == _RS1 and format_ != "tpm":
        # Only TPMs are stuck with SHA-1.
        return Refused("attStmt: signatures with SHA-1 are not accepted")
    try:
        verify_registration_response(
            credential=RegistrationCredential(
                id=base64url.encode(credential.credential_id),
                raw_id=credential.credential_id,
                response=AuthenticatorAttestationResponse(client_data.raw, attestation_object),
            ),
            expected_challenge=base64url_to_bytes(client_data.challenge),
            expected_rp_id=rp_id,
            expected_origin=client_data.origin,
            pem_root_certs_bytes_by_fmt={AttestationFormat(format_): [anchor.encode("ascii") for anchor in anchors]},
        )
        return _refuse_leaf(chain[0], format_, credential)
    except Exception as error:
        # The library's parsers of ASN.1, TPM structures and certificates raise what they like for bad input;
        # whatever it is, the statement was not verified.
        return Refused(f"the attestation statement ({format_}) does not hold: {type(error).__name__}: {error}")


def _refuse_leaf(encoded: cbor.Value, format_: str, credential: AttestedCredential) -> Refused | None:
    """The rules for the attestation certificate itself that the library leaves out (section 8.2.1)."""
    if format_ == "fido-u2f":
        # Its authenticator data names no model (the AAGUID is zero) even where the certificate does.
        return None
    certificate = x509.load_der_x509_certificate(encoded if isinstance(encoded, bytes) else b"")
    for extension in certificate.extensions:
        if extension.oid != _AAGUID:
            continue
        if not isinstance(extension.value, x509.UnrecognizedExtension) or extension.critical:
            return Refused("the certificate's extension with the AAGUID is malformed")
        # An OCTET STRING in the OCTET STRING of the extension.
        if extension.value.value != b"\x04\x10" + credential.aaguid.bytes:
            return Refused("the certificate is for another model of authenticator (AAGUID)")
    if format_ != "packed":
        return None
    units = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if certificate.version != x509.Version.v3 or units != ["Authenticator Attestation"] or constraints.ca:
        return Refused("the certificate is not one of an authenticator")
    named = {attribute.oid for attribute in certificate.subject}
    if not {NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME} <= named:
        return Refused("the certificate's subject is incomplete")
    return None
