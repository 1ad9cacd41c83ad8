"""Orders that make something of a key other than a signature: a child key of a master key, an output of a DH key.

Their payloads are msgpack arrays: the child's id and its path as ``parse_path`` takes it; domain and seed, as bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from countersign.keystores import hd, schemes
from countersign.keystores import secret_kinds as kinds
from countersign.keystores.derivation_path import parse_path
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import MALFORMED, MAX_MESSAGE, Order

if TYPE_CHECKING:
    from countersign.keystores.service import SignerService

_MAX_DOMAIN: Final = 4096
_MAX_NAME: Final = 256

_decode_child = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_inputs = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode


def derive_child(service: SignerService, order: Order) -> bytes | Refusal:
    """Derive a key of the master key that the order names, sealed as a key of its own; data of the reply.

    The child is of the master's scheme and curve, has no chain code, and is of the same organisation.
    """
    scheme = schemes.SCHEMES.get((order.scheme, order.curve))
    if scheme is None or order.payload_kind != "derive_child":
        return Refusal("Unsupported", "derive_child is for master keys")
    if order.secret_kind not in kinds.MASTER_KINDS or order.secret_kind != scheme.master_kind:
        return Refusal("Unsupported", "only a master key has child keys")
    try:
        child_key_id, path = _decode_child(order.payload)
    except MALFORMED:
        return Refusal("Unsupported", "the payload of derive_child is a key id and a path")
    if not 0 < len(child_key_id) <= _MAX_NAME or child_key_id == order.key_id:
        return Refusal("Unsupported", "a child key needs an id of its own")
    indices = parse_path(path)
    if isinstance(indices, Refusal):
        return indices
    if (refusal := service.permit(order) or service.open(order)) is not None:
        return refusal
    page = service.page
    if schemes.public_key(scheme, page, order.secret_kind) != order.public_key:
        return Refusal("Integrity", "the secret does not belong to the stored public key")
    end = kinds.SECRET_BYTES[order.secret_kind]
    chain_code = page.secret_area[end - kinds.CHAIN_CODE_BYTES : end]
    expected = hd.derive_scalar(scheme.curve, page.secret, order.public_key, chain_code, indices).public_key
    public = schemes.adopt_scalar(scheme, page)
    # A Schnorr child is kept with an even y; the first byte is all that may differ from the derived point.
    if public[1:] != expected[1:] or (scheme.name != "Schnorr" and public != expected):
        return Refusal("Integrity", "the derived secret does not belong to the derived public key")
    order.key_id = child_key_id
    return service.seal_new(order, scheme.scalar_kind, public)


def derive_output(service: SignerService, order: Order) -> bytes | Refusal:
    """The output of a DH key for a domain and a seed; data of the reply (32 bytes)."""
    if (order.scheme, order.curve, order.payload_kind) != ("DH", "secp256k1", "derive"):
        return Refusal("Unsupported", "outputs are derived with DH keys only")
    try:
        domain, seed = _decode_inputs(order.payload)
    except MALFORMED:
        return Refusal("Unsupported", "the payload of derive is a domain and a seed")
    if not 0 < len(domain) <= _MAX_DOMAIN:
        return Refusal("Unsupported", f"a domain has 1 to {_MAX_DOMAIN} bytes")
    if len(seed) > MAX_MESSAGE:
        return Refusal("Unsupported", f"a seed has at most {MAX_MESSAGE} bytes")
    if (refusal := service.permit(order) or service.open(order)) is not None:
        return refusal
    # No signature will show a wrong key here, so it is compared before.
    if schemes.public_key(schemes.SCHEMES["DH", "secp256k1"], service.page, order.secret_kind) != order.public_key:
        return Refusal("Integrity", "the secret does not belong to the stored public key")
    return schemes.derive_output(service.page, domain, seed)
