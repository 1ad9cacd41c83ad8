"""A grant permits one operation on one key with one payload, once, and soon."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from countersign.keystores import Authoriser
from countersign.keystores.orders import about
from countersign.keystores.protocol import Order, Reply
from tests.keystores.builders import ORG, Bench, evidence


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def refused(reply: Reply, reason: str) -> None:
    assert reply.code == "Denied", reply
    assert reason in reply.data.decode()


def test_a_granted_order_is_signed(bench: Bench) -> None:
    assert len(bench.sign(bench.generate(), b"d" * 32)) == 65


def test_a_grant_works_once(bench: Bench) -> None:
    order = bench.granted(bench.sign_order(bench.generate(), b"d" * 32))
    assert bench.ask(order).code == "ok"
    refused(bench.ask(order), "used before")


def test_a_grant_is_remembered_until_it_expires_and_refused_after_that() -> None:
    bench = Bench()
    order = bench.granted(
        bench.sign_order(bench.generate(), b"d" * 32), not_after=bench.now + 60_000, not_before=bench.now
    )
    assert bench.ask(order).code == "ok"
    for step in (1, 30_000, 29_998):
        bench.now += step
        bench.sign(bench.generate(), b"e" * 32)
        refused(bench.ask(order), "used before")
    bench.now += 1
    refused(bench.ask(order), "expired")
    bench.now += 100_000
    refused(bench.ask(order), "expired")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 2}, "another operation or key"),
        ({"store_id": "ks-other"}, "another operation or key"),
        ({"org_id": "or-other"}, "another operation or key"),
        ({"key_id": "ke-other"}, "another operation or key"),
        ({"op": "generate"}, "another operation or key"),
        ({"op": "export"}, "another operation or key"),
        ({"scheme": "Schnorr"}, "another operation or key"),
        ({"payload_hash": b"h" * 32}, "another payload"),
        ({"boot_id": b"b" * 16}, "earlier start"),
        ({"nonce": b"n" * 15}, "nonce"),
        ({"nonce": b""}, "nonce"),
    ],
    ids=str,
)
def test_a_grant_for_something_else_is_refused(bench: Bench, changed: dict[str, Any], reason: str) -> None:
    refused(bench.ask(bench.granted(bench.sign_order(bench.generate(), b"d" * 32), **changed)), reason)


@pytest.mark.parametrize(
    ("not_before", "not_after", "reason"),
    [
        (-10_000, 0, "expired"),
        (-10_000, -1, "expired"),
        (1, 10_000, "not yet valid"),
        (-1, 60_000, "longer than 60 seconds"),
        (0, 10**12, "longer than 60 seconds"),
    ],
)
def test_a_grant_outside_its_time_is_refused(bench: Bench, not_before: int, not_after: int, reason: str) -> None:
    order = bench.sign_order(bench.generate(), b"d" * 32)
    refused(bench.ask(bench.granted(order, not_before=bench.now + not_before, not_after=bench.now + not_after)), reason)


def test_a_grant_of_sixty_seconds_is_the_longest(bench: Bench) -> None:
    order = bench.sign_order(bench.generate(), b"d" * 32)
    assert bench.ask(bench.granted(order, not_before=bench.now, not_after=bench.now + 60_000)).code == "ok"


def test_a_grant_for_one_digest_does_not_sign_another(bench: Bench) -> None:
    order = bench.granted(bench.sign_order(bench.generate(), b"d" * 32))
    order.payload = memoryview(b"e" * 32)
    refused(bench.ask(order), "another payload")


def test_a_grant_without_tweak_does_not_sign_with_one(bench: Bench) -> None:
    order = bench.granted(bench.sign_order(bench.generate("Schnorr"), b"d" * 32))
    order.tweak = b""
    refused(bench.ask(order), "another payload")


def test_a_grant_for_one_key_does_not_open_another(bench: Bench) -> None:
    order = bench.granted(bench.sign_order(bench.generate(), b"d" * 32))
    order.key_id = "ke-other"
    refused(bench.ask(order), "another operation or key")


def test_only_the_pinned_authoriser_is_obeyed(bench: Bench) -> None:
    order = bench.sign_order(bench.generate(), b"d" * 32)
    order.grant = Authoriser(os.urandom(32)).sign(bench.grant(order))
    refused(bench.ask(order), "not signed by an authoriser")


@pytest.mark.parametrize("grant", [b"", b"x", b"x" * 64, b"x" * 200], ids=len)
def test_what_is_no_grant_is_refused(bench: Bench, grant: bytes) -> None:
    order = bench.sign_order(bench.generate(), b"d" * 32)
    order.grant = grant
    refused(bench.ask(order), "grant missing, malformed")


def test_a_signed_text_that_is_no_grant_is_refused(bench: Bench) -> None:
    order = bench.sign_order(bench.generate(), b"d" * 32)
    order.grant = bench.authoriser.sign(["not", "a", "grant"])
    refused(bench.ask(order), "grant missing, malformed")


def test_generate_needs_a_grant_too(bench: Bench) -> None:
    order = Order(1, "generate", "ke-1", "ECDSA", payload=memoryview(b"secp256k1"), payload_kind="generate")
    order.org_id, order.curve = ORG, "secp256k1"
    refused(bench.ask(order), "grant missing")


def test_an_order_to_sign_needs_evidence_of_consent(bench: Bench) -> None:
    order = bench.granted(bench.sign_order(bench.generate(), b"d" * 32))
    order.evidence = None
    refused(bench.ask(order), "evidence")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"org_id": "or-other"}, "another organisation"),
        ({"user_id": ""}, "lacks an identity"),
        ({"path": "keys"}, "names no request"),
        ({"query": "a=b"}, "names no request"),
        ({"signature": b""}, "holds no signature"),
        ({"payload": b"x" * (512 * 1024 + 1)}, "longer than"),
        ({"client_data": b"x" * (16 * 1024 + 1)}, "longer than"),
        ({"authenticator_data": b"x" * 5000}, "longer than"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_misshapen_evidence_is_refused(bench: Bench, changed: dict[str, Any], reason: str) -> None:
    order = bench.granted(bench.sign_order(bench.generate(), b"d" * 32))
    order.evidence = msgspec.structs.replace(evidence(), **changed)
    refused(bench.ask(order), reason)


def test_at_g0_permission_on_the_socket_is_enough() -> None:
    bench = Bench(level="G0")
    key = bench.generate()
    assert bench.ask(bench.sign_order(key, b"d" * 32)).code == "ok"


def test_a_refused_grant_is_not_spent(bench: Bench) -> None:
    order = bench.sign_order(bench.generate(), b"d" * 32)
    grant = bench.grant(order)
    order.grant = bench.authoriser.sign(msgspec.structs.replace(grant, boot_id=b"b" * 16))
    refused(bench.ask(order), "earlier start")
    order.grant = bench.authoriser.sign(grant)
    assert bench.ask(order).code == "ok"


def test_a_record_of_another_row_is_an_integrity_fault_even_with_a_grant(bench: Bench) -> None:
    one, two = bench.generate(), replace(bench.generate(), key_id="ke-two")
    order = bench.sign_order(two, b"d" * 32)
    order.record, order.public_key = one.record, one.public_key
    assert bench.ask(bench.granted(order)).code == "Integrity"
    assert bench.ask(about("verify", one)).code == "ok"
