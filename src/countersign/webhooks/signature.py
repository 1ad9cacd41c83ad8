"""The body of a delivery and its signature."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from countersign.encoding.dates import to_iso
from countersign.webhooks.javascript_json import string

HEADER = "X-DFNS-WEBHOOK-SIGNATURE"
#: A receiver refuses a delivery that was sent longer ago than that, or so far in the future (seconds).
TOLERANCE = 300


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one attempt tells. ``data``: JSON text as JavaScript writes it. ``date`` in ms, ``sent_at`` in seconds."""

    event_id: str
    kind: str
    date: int
    data: str
    attempt: int
    retry_of: str | None
    sent_at: int


def body_of(delivery: Delivery) -> bytes:
    """The exact bytes: members in this order, nothing between them."""
    retry = "" if delivery.retry_of is None else f',"retryOf":{string(delivery.retry_of)}'
    return (
        f'{{"id":{string(delivery.event_id)},"kind":{string(delivery.kind)},"date":"{to_iso(delivery.date)}",'
        f'"data":{delivery.data},"deliveryAttempt":{delivery.attempt}{retry},"timestampSent":{delivery.sent_at}}}'
    ).encode()


def sign(secret: str, body: bytes) -> str:
    """``sha256=`` and the lower-case hex HMAC-SHA-256 of the body under the whole secret, ``whs-`` included."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(secret: str, body: bytes, signature: str) -> bool:
    """Whether this signature is of this body, compared in constant time."""
    return hmac.compare_digest(sign(secret, body).encode(), signature.encode())
