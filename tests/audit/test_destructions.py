"""Destroyed keys in the log: by consent, and with the word of the signer that it uses just this key no more."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from nacl.signing import SigningKey

from countersign.audit.entry import Action, System
from countersign.encoding import base64url
from countersign.keystores.statements import VERSION, Statement
from tests.audit.test_enrolments import code_made, common
from tests.audit.test_recoveries import judged

KEY_ID, PUBLIC_KEY = "key-1", b"\x02" + b"\x11" * 32
SIGNER = SigningKey(b"s" * 32)
STATED = Statement(VERSION, "ks-1", "or-1", KEY_ID, PUBLIC_KEY, "destroy", 1, b"e" * 32, 7, b"h" * 32)


def consented(path: str = f"/keys/{KEY_ID}/destroy", status: int = 200) -> Action:
    return code_made(status, path)


def destroyed(statement: bytes | None = None, **details: str) -> System:
    """The entry of a destruction, with the details that it has unless they are given."""
    stated = msgspec.msgpack.encode(STATED) if statement is None else statement
    usual = {
        "keyId": KEY_ID,
        "publicKey": PUBLIC_KEY.hex(),
        "scheme": "ECDSA",
        "actionId": consented().id,
        "statement": base64url.encode(stated),
        "statementSignature": base64url.encode(SIGNER.sign(stated).signature),
        "statementKey": base64url.encode(bytes(SIGNER.verify_key)),
    }
    return System(**common("au-1"), event="KeyDestroyed", details={**usual, **details})


def contradictions(*entries: Any) -> list[str]:
    """Without those about the credential of the consent, which is enrolled nowhere here."""
    return [reason for reason in judged(*entries)[0] if "was never enrolled" not in reason]


def test_a_destruction_by_consent_with_the_signers_statement_holds() -> None:
    assert contradictions(consented(), destroyed()) == []
    # The log gives no order to what one transaction wrote.
    assert contradictions(destroyed(), consented()) == []


@pytest.mark.parametrize(
    "action",
    [consented("/keys/key-2/destroy"), consented("/keys/key-1/delegate"), consented(status=400), code_made()],
    ids=["another key", "another operation", "refused", "a code"],
)
def test_a_destruction_that_nobody_asked_for(action: Action) -> None:
    (reason,) = contradictions(action, destroyed())
    assert reason.startswith("a key was destroyed without a consent")


def test_one_consent_destroys_one_key() -> None:
    (reason,) = contradictions(consented(), destroyed(), destroyed())
    assert reason.startswith("a key was destroyed without a consent")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (destroyed(statement=b""), "can't be read"),
        (destroyed(statement=msgspec.msgpack.encode(["something else"])), "can't be read"),
        (destroyed(statementSignature=base64url.encode(bytes(64))), "signature"),
        (destroyed(statementSignature=""), "signature"),
        (destroyed(statementKey=base64url.encode(bytes(SigningKey(b"o" * 32).verify_key))), "signature"),
        (destroyed(statement=None, statementKey="é"), "no base64url"),
        (destroyed(publicKey=PUBLIC_KEY.hex().replace("1", "2")), "another key"),
    ],
)
def test_a_statement_that_does_not_hold(entry: System, reason: str) -> None:
    (found,) = contradictions(consented(), entry)
    assert found.startswith("a key was destroyed, and")
    assert reason in found


@pytest.mark.parametrize(
    "change",
    [
        {"version": "countersign.statement.v0"},
        {"op": "archive"},
        {"org_id": "or-2"},
        {"key_id": "key-2"},
        {"public_key": PUBLIC_KEY[:-1]},
    ],
)
def test_a_signer_that_stated_something_else(change: dict[str, Any]) -> None:
    stated = msgspec.msgpack.encode(msgspec.structs.replace(STATED, **change))
    (found,) = contradictions(consented(), destroyed(stated))
    assert "the signer" in found
