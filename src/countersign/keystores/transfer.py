"""Keys on their way into the signer and out of it, as shares that only their receivers can open.

The signers that an installation lists are virtual: five decryption keys, made here and sealed under the store root like
any private key, so that a share is opened nowhere else. A key that comes in is put together only after every check has
passed; whatever is wrong with a share is a refusal, never another key. Scalars pass through integers of the
interpreter while a key is split or put together; everything else is in the locked page.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from countersign.keystores import ed25519_scalar, schemes, share_envelope, share_format, share_points, sharing
from countersign.keystores import secret_kinds as kinds
from countersign.keystores.memory import LockedPage, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, Generated, Order
from countersign.keystores.share_format import ImportShare
from countersign.keystores.share_holder import random_below
from countersign.keystores.transfer_messages import (
    SIGNERS_KIND,
    ImportPayload,
    SealedSigner,
    decode_export,
    decode_ids,
    decode_import,
    decode_signers,
    encode,
)

if TYPE_CHECKING:
    from countersign.keystores.service import SignerService

_SCHEME: Final = "transport"
_CURVE: Final = "secp256k1"
_ID_BYTES: Final = 32
_GENERATION: Final = 1
_MAX_SIGNERS: Final = 16

_decode_generated = msgspec.msgpack.Decoder(Generated).decode


def make_signers(service: SignerService, order: Order) -> bytes | Refusal:
    """Make the decryption keys of five signers; data of the reply: msgpack array of :class:`SealedSigner`."""
    if order.payload_kind != SIGNERS_KIND or len(order.payload):
        return Refusal("Unsupported", "an order for signers has no payload")
    if (refusal := service.permit(order)) is not None:
        return refusal
    scheme = schemes.SCHEMES["ECDSA", _CURVE]
    made = []
    for _ in range(sharing.SIGNERS):
        signer_id, public = os.urandom(_ID_BYTES), schemes.generate(scheme, service.page)
        generated = service.seal_new(_about(signer_id, public), kinds.SECP256K1_SCALAR, public)
        sealed = _decode_generated(generated)
        made.append(SealedSigner(signer_id, public, sealed.root_version, sealed.record))
        service.page.wipe_work()
    return encode(tuple(made))


def import_key(service: SignerService, order: Order) -> bytes | Refusal:
    """Open all shares, hold them against each other, put the key together and seal it."""
    try:
        payload, signers = decode_import(order.payload), decode_signers(order.arguments)
    except MALFORMED:
        return Refusal("Unsupported", "the payload of import is protocol, curve, threshold and shares")
    master = order.payload_kind == "import_master"
    scheme = schemes.SCHEMES.get((order.scheme, order.curve))
    if scheme is None or (master and scheme.master_kind is None):
        what = "master keys" if master else "keys"
        return Refusal("Unsupported", f"this store has no {what} of {order.scheme[:32]} on {order.curve[:32]}")
    refusal = _disagreement(order, payload) or _unknown_signers(payload, signers) or service.permit(order)
    if refusal is not None:
        return refusal
    shares: dict[int, ImportShare] = {}
    envelopes = dict(payload.shares)
    for position, signer in enumerate(sorted(signers, key=lambda one: one.signer_id), 1):
        share = _open_share(service, signer, envelopes[signer.signer_id], order.curve, len(signers))
        if isinstance(share, Refusal):
            return Refusal(share.code, f"share {position}: {share.reason}")
        shares[position] = share
    if (refusal := _contradiction(shares, payload.min_signers, order.curve)) is not None:
        return refusal
    scalars = {position: share.scalar for position, share in shares.items()}
    secret = sharing.combine(scalars, sharing.ORDERS[order.curve])
    if secret == 0:
        return Refusal("Unsupported", "the shares make no key: their sum is zero")
    service.page.secret[:] = secret.to_bytes(32, _endianness(order.curve))
    public = schemes.adopt_scalar(scheme, service.page, master=master, chain_code=shares[1].chain_code)
    kind = scheme.master_kind if master and scheme.master_kind is not None else scheme.scalar_kind
    return service.seal_new(order, kind, public)


def export_key(service: SignerService, order: Order) -> bytes | Refusal:
    """Share the key anew and encrypt every share; data of the reply: msgpack ``[[signer id, envelope], ...]``."""
    try:
        payload, signer_ids = decode_export(order.payload), decode_ids(order.arguments)
    except MALFORMED:
        return Refusal("Unsupported", "the payload of export is encryption key and protocol")
    if order.payload_kind != "export":
        return Refusal("Unsupported", "an order to export has a payload of kind export")
    if share_format.PROTOCOLS.get((payload.protocol, order.curve)) != order.scheme:
        return Refusal("Unsupported", f"{payload.protocol[:32]} is no protocol for {order.scheme[:32]} keys")
    places = sharing.positions(signer_ids)
    if places is None or not sharing.MIN_SIGNERS <= len(places) <= _MAX_SIGNERS:
        return Refusal("Unsupported", "the signers are too few, too many, or not distinct")
    recipient = share_envelope.encryption_point(payload.encryption_key)
    refusal = recipient if isinstance(recipient, Refusal) else service.permit(order) or service.open(order)
    if refusal is not None:
        return refusal
    curve, group_order = order.curve, sharing.ORDERS[order.curve]
    secret = _scalar(service.page, order)
    own = share_points.canonical(curve, share_points.public_share(curve, secret))
    if own != order.public_key:
        return Refusal("Integrity", "the secret does not belong to the stored public key")
    coefficients = [random_below(group_order) for _ in range(sharing.MIN_SIGNERS - 1)]
    shares = sharing.split(secret, coefficients, len(places), group_order)
    made = []
    for signer_id, position in places.items():
        content = share_format.encode_export(curve, position, shares[position - 1])
        try:
            envelope = share_envelope.encrypt(payload.encryption_key, content)
        finally:
            wipe(content)
        if isinstance(envelope, Refusal):
            return envelope
        made.append((signer_id, envelope))
    return encode(made)


def _about(signer_id: bytes, public_key: bytes) -> Order:
    """What a signer's sealed decryption key is bound to, in the shape of an order."""
    order = Order(0, "", signer_id.hex(), _SCHEME)
    order.curve, order.secret_kind, order.public_key = _CURVE, kinds.SECP256K1_SCALAR, public_key
    return order


def _disagreement(order: Order, payload: ImportPayload) -> Refusal | None:
    if order.payload_kind not in ("import", "import_master"):
        return Refusal("Unsupported", "an order to import has a payload of kind import or import_master")
    if payload.curve != order.curve or share_format.PROTOCOLS.get((payload.protocol, payload.curve)) != order.scheme:
        return Refusal(
            "Unsupported", f"{payload.protocol[:32]} on {payload.curve[:32]} is no protocol for {order.scheme[:32]}"
        )
    return None


def _unknown_signers(payload: ImportPayload, signers: tuple[SealedSigner, ...]) -> Refusal | None:
    known, named = {signer.signer_id for signer in signers}, [signer_id for signer_id, _ in payload.shares]
    if not 2 <= len(known) == len(signers) <= _MAX_SIGNERS:
        return Refusal("Unsupported", "the signers are too few, too many, or not distinct")
    if not 2 <= payload.min_signers <= len(known):
        return Refusal("Unsupported", f"minSigners is 2 to {len(known)}, not {payload.min_signers}")
    if len(set(named)) != len(named):
        return Refusal("Unsupported", "a signer has more than one share")
    if set(named) - known:
        return Refusal("Unsupported", "a share is for a signer that is not listed")
    if known - set(named):
        return Refusal("Unsupported", f"{len(known - set(named))} of {len(known)} signers have no share")
    return None


def _open_share(
    service: SignerService, signer: SealedSigner, envelope: bytes, curve: str, signers: int
) -> ImportShare | Refusal:
    page = service.page
    about = _about(signer.signer_id, signer.public_key)
    about.record, about.root_version, about.generation = signer.record, signer.root_version, _GENERATION
    if (refusal := service.open(about)) is not None:
        return refusal
    try:
        content = share_envelope.decrypt(page.secret, envelope, page.scratch)
        if isinstance(content, Refusal):
            return content
        return share_format.decode_import(content, curve, signers)
    finally:
        page.wipe_work()


def _contradiction(shares: dict[int, ImportShare], min_signers: int, curve: str) -> Refusal | None:
    """Why the shares are not those of one key."""
    first = shares[1]
    for position, share in shares.items():
        if share.public_shares != first.public_shares:
            return Refusal("Unsupported", f"share {position}: its public shares are not those of share 1")
        if share.chain_code != first.chain_code:
            return Refusal("Unsupported", f"share {position}: its chain code is not that of share 1")
        if share_points.public_share(curve, share.scalar) != share.public_shares[position - 1]:
            return Refusal("Unsupported", f"share {position}: its public share is another point, or none")
    # Each public share is its secret share times the generator, so what holds of the scalars holds of the points.
    scalars = {position: share.scalar for position, share in shares.items()}
    if not sharing.on_one_polynomial(scalars, min_signers, sharing.ORDERS[curve]):
        return Refusal("Unsupported", f"the shares are not those of one key with minSigners {min_signers}")
    return None


def _scalar(page: LockedPage, order: Order) -> int:
    """The scalar of the opened key; a seed is expanded to its scalar in the page first."""
    if order.secret_kind == kinds.ED25519_SEED:
        ed25519_scalar.expand_seed(page.secret_area, page.keypair)
    return int.from_bytes(page.secret, _endianness(order.curve))


def _endianness(curve: str) -> Literal["little", "big"]:
    return "little" if curve == "ed25519" else "big"
