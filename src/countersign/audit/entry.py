"""What an audit entry says, and the one encoding of it that is stored, hashed and exported.

An entry is encoded once, when it is made. Those exact bytes are the row, the leaf of the Merkle tree
and the line of an export; nothing ever encodes an entry again. So the order and the set of members
matter only to new entries: members are added at the end with a default, none is moved or removed, and
a change of meaning takes a new ``version``.

Ids are those of the API, times are ISO 8601 in UTC with milliseconds, binary values of an assertion
are base64url as the client sent them, other binary values are lower-case hex.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

VERSION = 1


class _Part(msgspec.Struct, rename="camel", frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    pass


class Credential(_Part, frozen=True):
    """The credential that consented, with its whole public key as PEM, at the time of signing.

    ``relying_party_id`` is that of a Fido2 credential, whose signature covers its hash.
    """

    uuid: str
    kind: str
    public_key: str
    relying_party_id: str | None = None


class Evidence(_Part, frozen=True):
    """The assertion as received. ``authenticator_data`` is of Fido2 only; ``algorithm`` as the client named it."""

    client_data: str
    signature: str
    authenticator_data: str | None = None
    algorithm: str | None = None


class SecondFactor(_Part, frozen=True):
    """Another credential of the same user that consented to the same challenge."""

    credential: Credential
    evidence: Evidence


class Outcome(_Part, frozen=True):
    """HTTP status of the answer, and the stable error code when it is an error."""

    status: int
    code: str | None = None


class Enrolled(_Part, frozen=True):
    """A credential that came into being with this entry. ``fingerprint``: ``SHA256:`` and the unpadded
    standard base64 of SHA-256 over the DER SubjectPublicKeyInfo."""

    credential_uuid: str
    user_id: str
    kind: str
    fingerprint: str


class _Entry(
    msgspec.Struct, tag_field="kind", rename="camel", frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False
):
    version: int = VERSION
    installation_id: str
    org_id: str
    id: str
    date_performed: str
    entity_ids: tuple[str, ...] = ()
    enrolled: tuple[Enrolled, ...] = ()
    request_id: str | None = None


class Action(_Entry, tag="Action", frozen=True):
    """A mutation that somebody countersigned, with the evidence. Its id is that of the user action.

    ``path`` and ``query`` are the canonical forms that the digest commits to (``query`` is empty or starts
    with ``?``); ``actual_query`` is what the request carried, which differs only where ``query_signed`` is
    false. ``payload_sha256``: of the canonical payload. ``digest``: the action digest, unpadded base64url.
    """

    user_id: str
    username: str
    token_id: str
    token_kind: str
    app_id: str | None
    delegated_by: str | None
    method: str
    path: str
    query: str
    actual_query: str
    query_signed: bool
    payload_sha256: str
    digest: str
    credential: Credential
    evidence: Evidence
    date_signed: str
    response: Outcome
    client_address: str | None
    second_factor: SecondFactor | None = None


class Signature(_Entry, tag="Signature", frozen=True):
    """What a key signed, or why it did not: written with the outcome of a signature request.

    ``action_id`` names the Action that asked for it and ``payload_sha256`` repeats that entry's. ``signature``
    is what the key made (hex), ``None`` with a ``failure``. ``taproot_tweak``: the tweak's hex, if one was used.
    ``approval_id``: the approval that it waited for, if any, and ``approvals`` the Actions by which people approved.
    """

    action_id: str
    signature_id: str
    key_id: str
    public_key: str
    scheme: str
    curve: str
    payload_kind: str
    payload_sha256: str
    taproot_tweak: str | None
    signature: str | None
    failure: str | None
    approval_id: str | None = None
    approvals: tuple[str, ...] = ()


class System(_Entry, tag="System", frozen=True):
    """What the server or its operator did without anybody's assertion; ``event`` names it.

    Events: ``Initialised``, ``Bootstrapped``, ``KeyRotated``, ``KeyRetired``, ``CheckpointKeyHandedOver``,
    ``BreakGlass``, ``ApplicationTokenRotated``, ``ApplicationDemandsSet``, ``OriginAdded``, ``OriginRemoved``,
    ``CredentialEnrolledWithCode``, ``Registered``, ``Recovered``, ``SecurityEvent``, ``IdentityActivated``,
    ``IdentityDeactivated``, ``RegistrationCodeReissued``, ``PermissionGranted``, ``PermissionRevoked``,
    ``KeySettingsChanged``, ``KeyExported`` (whose details name the action, by its fingerprint the key that the shares
    were encrypted to, and as ``approval`` the actions by which others approved), ``KeyDestroyed`` (whose details name
    the action, the public key, and the signer's statement), ``JobRetried``, ``JobDropped``, ``WebhookFailing``,
    ``WebhookDisabled``, ``WebhookEventsResent``,
    ``PolicyUnlock``, ``SignatureGivenUp``, ``IdentityProviderAdded``, ``IdentityProviderChanged``,
    ``IdentityProviderRemoved``, ``IdentityLinked``, ``IdentityUnlinked``.
    ``details`` are for people and hold no secret; that of a credential enrolled with a code names, as ``actionId``,
    the action that made the code; those of ``Recovered`` hold the recovery key (``recoveryKey`` by id, ``publicKey`` as
    PEM) with its assertion over the new credentials (``clientData``, ``signature``); those of ``BreakGlass`` and
    ``PolicyUnlock`` their ``step``: ``requested``, ``cancelled`` or ``completed``.
    """

    event: str
    user_id: str | None = None
    username: str | None = None
    details: dict[str, str] = {}


Entry: TypeAlias = Action | Signature | System

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Action | Signature | System)


class EntryError(ValueError):
    """A text that is not an audit entry of a version known here."""


def encode(entry: Entry) -> bytes:
    """The entry's bytes, for good: called once, when the entry is made."""
    return _ENCODER.encode(entry)


def decode(data: bytes | str) -> Entry:
    """Read an entry's bytes; raises :class:`EntryError` for anything else, newer versions included."""
    try:
        entry = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise EntryError(f"not an audit entry: {error}") from None
    if entry.version != VERSION:
        raise EntryError(f"audit entry of version {entry.version}; this program reads version {VERSION}")
    return entry


class Payload(msgspec.Struct, array_like=True, frozen=True):
    """What is kept sealed beside an entry: the canonical payload, and the user action token as received."""

    canonical: bytes
    action_token: str


def pack_payload(canonical: bytes, action_token: str) -> bytes:
    """The bytes to seal."""
    return msgspec.msgpack.encode(Payload(canonical, action_token))


def unpack_payload(data: bytes) -> Payload:
    """Inverse of :func:`pack_payload`; ``ValueError`` for other bytes."""
    try:
        return msgspec.msgpack.decode(data, type=Payload)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a packed payload: {error}") from None
