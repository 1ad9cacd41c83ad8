"""Bodies and signatures of deliveries, against published vectors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from countersign.encoding.dates import from_iso
from countersign.webhooks.javascript_json import dumps
from countersign.webhooks.signature import HEADER, Delivery, body_of, sign, verify
from tests.webhooks.data import VECTORS

SECRET = VECTORS["secret"]
NUMBERED = list(enumerate(VECTORS["vectors"]))


@pytest.mark.parametrize(("number", "vector"), NUMBERED)
def test_published_signatures(number: int, vector: dict[str, Any]) -> None:
    valid = vector.get("valid", True)
    assert verify(SECRET, vector["body"].encode(), vector["signature"]) is valid
    assert (sign(SECRET, vector["body"].encode()) == vector["signature"]) is valid


@pytest.mark.parametrize(("number", "vector"), NUMBERED)
def test_published_bodies_are_written_byte_for_byte(number: int, vector: dict[str, Any]) -> None:
    body = json.loads(vector["body"])
    delivery = Delivery(
        event_id=body["id"],
        kind=body["kind"],
        date=from_iso(body["date"]),
        data=dumps(body["data"]),
        attempt=body["deliveryAttempt"],
        retry_of=body.get("retryOf"),
        sent_at=body["timestampSent"],
    )
    assert body_of(delivery) == vector["body"].encode()


def test_the_header_is_the_documented_one_and_another_secret_or_text_does_not_verify() -> None:
    assert VECTORS["header"] == HEADER
    body = VECTORS["vectors"][0]["body"].encode()
    good = sign(SECRET, body)
    assert not verify(SECRET + "x", body, good)
    assert not verify(SECRET, body + b" ", good)
    assert not verify(SECRET, body, good.upper())
    assert not verify(SECRET, body, "\u00fc")
