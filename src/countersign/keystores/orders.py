"""What goes to a signer's client and comes back from it: keys, orders to sign, and their outcome."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from countersign.keystores.protocol import ConsentEvidence, Order


@dataclass(frozen=True, slots=True)
class SignerStatus:
    """``state`` is sealed | unsealed | behind | ungranted | down.

    ``behind``: its roster is older than it was. ``ungranted``: nobody gives grants that it takes. ``notes`` name
    protections that the host could not give.
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


def about(op: str, key: KeyRecord) -> Order:
    """An order that concerns a stored key: its record, and all that this is bound to."""
    order = Order(0, op, key.key_id, key.scheme, record=key.record)
    order.org_id, order.curve, order.secret_kind = key.org_id, key.curve, key.secret_kind
    order.public_key, order.root_version, order.generation = key.public_key, key.root_version, key.generation
    return order
