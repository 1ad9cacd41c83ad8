"""What goes to a signer's client and comes back from it: keys, orders to sign, and their outcome."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from countersign.keystores.protocol import ConsentEvidence


@dataclass(frozen=True, slots=True)
class SignerStatus:
    """``state`` is sealed | unsealed | ungranted | down; ``notes`` name protections the signer's host could not give.

    ``ungranted``: unsealed, but nobody gives grants that it takes.
    """

    state: str
    reason: str
    notes: tuple[str, ...] = ()
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new key: canonical public key bytes and the sealed record that holds the private one.

    ``recovery_copy``: the same for the store's recovery recipients, empty where it has none.
    """

    public_key: bytes
    record: bytes
    root_version: int
    generation: int
    secret_kind: str
    recovery_copy: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A stored key as the signer needs it: the sealed record and everything it is bound to.

    ``store_id`` says which key store holds it, and so which signer it goes to.
    """

    org_id: str
    key_id: str
    scheme: str
    curve: str
    public_key: bytes
    secret_kind: str
    root_version: int
    generation: int
    record: bytes
    store_id: str = ""


class EndedKey(msgspec.Struct, array_like=True, frozen=True):
    """A key that was archived or destroyed, as the signer is told of it; ``public_key`` as bytes."""

    key_id: str
    scheme: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class SignOrder:
    """What to sign, with which key, for which signature request, and who agreed to it.

    ``kind`` is ``digest32`` (ECDSA and Schnorr: 32 bytes, already hashed) or ``message`` (EdDSA: the whole message).
    ``tweak`` is for Schnorr keys: None = none, empty = default taproot tweak, 32 bytes = merkle root.
    """

    key: KeyRecord
    kind: str
    payload: bytes
    request_id: str
    evidence: ConsentEvidence
    tweak: bytes | None = None
    policy_decision_id: str = ""


@dataclass(frozen=True, slots=True)
class SignatureValue:
    """``r`` and ``s``: 32 bytes each, as the scheme encodes them; ``recid`` 0 to 3 for ECDSA only."""

    r: bytes
    s: bytes
    recid: int | None
