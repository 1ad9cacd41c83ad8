"""Whether an order does exactly what the request asks for that somebody countersigned. Pure.

That the request was countersigned is judged elsewhere (``registrar``); here the canonical request of the evidence is
read, and the order has to be what follows from it: the same key, the same payload, nothing more. Ids of new keys are
chosen by the server, so an order that makes a key is held to the request's parameters only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object
from countersign.keystores.protocol import MALFORMED, ConsentEvidence, Order
from countersign.keystores.requested import ToSign, Unsupported, read_hex, to_sign
from countersign.keystores.share_format import PROTOCOLS

_Body = Mapping[str, Any]

_PATH: Final = re.compile(r"m(?:/(?:0|[1-9][0-9]{0,9}))+", re.ASCII)
_DECISION: Final = re.compile(r"/v2/policy-approvals/([a-z0-9-]{1,64})/decisions", re.ASCII)
_decode_derive = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode
_decode_child = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_import = msgspec.msgpack.Decoder(tuple[str, str, int, list[tuple[bytes, bytes]]]).decode
_decode_export = msgspec.msgpack.Decoder(tuple[bytes, str]).decode

_ANOTHER: Final = "the request asks for another {}"


def mismatch(order: Order, evidence: ConsentEvidence, store_id: str) -> str | None:
    """Why the request of ``evidence`` does not ask for exactly this order; ``None`` when it does.

    ``store_id`` is the key store that carries it out: a request that names another wants no key made in this one. The
    request is given as it was signed: upper-case method, canonical path and query, canonical JSON.
    """
    rule = _RULES.get(order.op)
    if rule is None:
        return f"no request asks for an order {order.op[:32]!r}"
    if evidence.query:
        return "the request has a query, and none for a key takes any"
    try:
        body = parse_object(evidence.payload) if evidence.payload else {}
        return rule(order, evidence, body) if _may_be_in(body, store_id) else _ANOTHER.format("key store")
    except BadJson as defect:
        return f"the payload of the request: {defect.reason}"
    except MALFORMED:
        return "the payload of the order is malformed"


def _may_be_in(body: _Body, store_id: str) -> bool:
    return body.get("storeId") in (None, store_id)


def approval_of(evidence: ConsentEvidence) -> str | None:
    """The id of the approval that the request of ``evidence`` approves; ``None`` when it approves none."""
    named = _DECISION.fullmatch(evidence.path)
    if named is None or evidence.method != "POST" or evidence.query:
        return None
    try:
        return named[1] if parse_object(evidence.payload).get("value") == "Approved" else None
    except BadJson:
        return None


def approves_export(order: Order, decision: ConsentEvidence) -> bool:
    """Whether ``decision`` approves this very export: of this key, with the body that the order's own request has."""
    asked = _asks(decision, "POST", f"/keys/{order.key_id}/export/approvals") and not decision.query
    return asked and order.evidence is not None and decision.payload == order.evidence.payload


def _asks(evidence: ConsentEvidence, method: str, path: str) -> bool:
    return (evidence.method, evidence.path) == (method, path)


def _sign(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    if not _asks(evidence, "POST", f"/keys/{order.key_id}/signatures"):
        return "the request asks for no signature by this key"
    wanted = to_sign(body, order.scheme)
    if isinstance(wanted, Unsupported):
        return wanted.reason
    ordered = (order.payload_kind, bytes(order.payload), order.tweak)
    return None if ordered == _of(wanted) else _ANOTHER.format("payload to sign")


def _of(wanted: ToSign) -> tuple[str, bytes, bytes | None]:
    return wanted.payload_kind, wanted.payload, wanted.tweak


def _derive(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    if not _asks(evidence, "POST", f"/keys/{order.key_id}/derive"):
        return "the request asks for nothing derived from this key"
    if order.payload_kind != "derive" or order.tweak is not None:
        return _ANOTHER.format("kind of order")
    domain, seed = _decode_derive(order.payload)
    asked = (read_hex(body.get("domain")), read_hex(body.get("seed")))
    return None if asked == (domain, seed) else _ANOTHER.format("domain or seed")


def _derive_child(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    origin = body.get("deriveFrom")
    if not _asks(evidence, "POST", "/keys") or not isinstance(origin, dict) or origin.get("keyId") != order.key_id:
        return "the request asks for no key derived from this one"
    if order.payload_kind != "derive_child" or body.get("masterKey"):
        return _ANOTHER.format("kind of order")
    if (body.get("scheme"), body.get("curve")) != (order.scheme, order.curve):
        return _ANOTHER.format("scheme or curve")
    _, path = _decode_child(order.payload)
    if _PATH.fullmatch(path) is None:
        return "the path of the order is not in its canonical form"
    # Without a path the server numbers the child; a given one may be written with leading zeros.
    asked = origin.get("path")
    return None if asked is None or _indices(asked) == _indices(path) else _ANOTHER.format("path")


def _indices(path: object) -> list[int] | None:
    parts = path.split("/") if isinstance(path, str) else [""]
    if parts[0] != "m" or not all(part.isascii() and part.isdecimal() and len(part) <= 10 for part in parts[1:]):
        return None
    return [int(part) for part in parts[1:]]


def _generate(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    if not _asks(evidence, "POST", "/keys") or body.get("deriveFrom") is not None:
        return "the request asks for no new key"
    if order.payload_kind != ("generate_master" if body.get("masterKey") is True else "generate"):
        return _ANOTHER.format("kind of key")
    if (body.get("scheme"), body.get("curve")) != (order.scheme, order.curve):
        return _ANOTHER.format("scheme or curve")
    return None if bytes(order.payload) == order.curve.encode() else _ANOTHER.format("curve")


def _import(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    if not _asks(evidence, "POST", "/keys/import"):
        return "the request asks for no import"
    if order.payload_kind != ("import_master" if body.get("masterKey") is True else "import"):
        return _ANOTHER.format("kind of key")
    protocol, curve, min_signers, shares = _decode_import(order.payload)
    if (body.get("protocol"), body.get("curve"), body.get("minSigners")) != (protocol, curve, min_signers):
        return _ANOTHER.format("protocol, curve or number of signers")
    if (order.scheme, order.curve) != (PROTOCOLS.get((protocol, curve)), curve):
        return "the protocol of the request makes another kind of key"
    asked = _shares(body.get("encryptedKeyShares"))
    return None if asked is not None and sorted(asked) == sorted(shares) else _ANOTHER.format("set of shares")


def _shares(value: object) -> list[tuple[bytes, bytes]] | None:
    if not isinstance(value, list):
        return None
    try:
        return [
            (base64url.decode_tolerant(item["signerId"]), base64url.decode_tolerant(item["encryptedKeyShare"]))
            for item in value
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _export(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    if not _asks(evidence, "POST", f"/keys/{order.key_id}/export"):
        return "the request asks for no export of this key"
    if order.payload_kind != "export":
        return _ANOTHER.format("kind of order")
    encryption_key, protocol = _decode_export(order.payload)
    given = body.get("encryptionKey")
    try:
        asked = base64url.decode_tolerant(given) if isinstance(given, str) else None
    except ValueError:
        asked = None
    if asked != encryption_key:
        return _ANOTHER.format("encryption key")
    supported = body.get("supportedSchemes")
    pair = {"protocol": protocol, "curve": order.curve}
    return None if isinstance(supported, list) and pair in supported else _ANOTHER.format("protocol")


def _end(method: str, suffix: str) -> Callable[[Order, ConsentEvidence, _Body], str | None]:
    def rule(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
        if not _asks(evidence, method, f"/keys/{order.key_id}{suffix}"):
            return f"the request does not ask to {order.op} this key"
        return None if order.payload_kind == order.op and not order.payload else _ANOTHER.format("kind of order")

    return rule


def _destroy(order: Order, evidence: ConsentEvidence, body: _Body) -> str | None:
    if (reason := _end("POST", "/destroy")(order, evidence, body)) is not None:
        return reason
    # The request repeats the public key, and the signer states which one it destroyed.
    return None if read_hex(body.get("publicKey")) == order.public_key else _ANOTHER.format("public key")


_RULES: Final[Mapping[str, Callable[[Order, ConsentEvidence, _Body], str | None]]] = {
    "sign": _sign,
    "derive": _derive,
    "derive_child": _derive_child,
    "generate": _generate,
    "import": _import,
    "export": _export,
    "archive": _end("DELETE", ""),
    "destroy": _destroy,
}

CONSENTED_OPS: Final = frozenset(_RULES)
"""Orders that take somebody's consent."""

FREE_OPS: Final = frozenset({"signers"})
"""Orders that use nobody's key: they make what shares are encrypted to, sealed for the signer alone."""
