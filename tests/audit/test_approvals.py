"""What an auditor finds of signatures and exports that others let go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from countersign.audit.report import Broken, Sound
from countersign.audit.verify import verify_file
from tests.audit.logs import KEY_ID, Log, Person, write

APPROVAL = "ap-00000-00000-0000000000000001"
HASH = f'{{"hash":"{"ab" * 32}","kind":"Hash"}}'


def decisions(approval_id: str = APPROVAL) -> str:
    return f"/v2/policy-approvals/{approval_id}/decisions"


@pytest.fixture
def log() -> Log:
    return Log()


def joined(log: Log) -> Person:
    """Somebody else who can consent."""
    person = Person(log.world, b"bob", "bob")
    payload = json.dumps({"name": "bob", "publicKey": person.pem}, sort_keys=True, separators=(",", ":"))
    log.action("POST", "/auth/service-accounts", payload, enrolled=(person.enrolled(),))
    return person


def finding(log: Log, directory: Path) -> Any:
    return verify_file(write(directory / "export.jsonl", log.export()), trusted_fingerprint=log.fingerprint)


def signed(log: Log, *approvals: str) -> None:
    action = log.action("POST", f"/keys/{KEY_ID}/signatures", HASH)
    log.signature(action, approval_id=APPROVAL, approvals=approvals)


def test_a_signature_with_the_decisions_that_let_it_go_on_is_sound(log: Log, tmp_path: Path) -> None:
    bob = joined(log)
    first = log.action("POST", decisions(), '{"value":"Approved"}', by=bob)
    second = log.action("POST", decisions(), '{"reason":"r","value":"Approved"}')
    signed(log, first.id, second.id)
    assert isinstance(finding(log, tmp_path), Sound)


@pytest.mark.parametrize(
    ("decide", "reason"),
    [
        pytest.param(lambda log: ["uj-00000-00000-0000000000000009"], "nobody gave", id="no decision"),
        pytest.param(
            lambda log: [log.action("POST", decisions(), '{"value":"Denied"}').id], "nobody gave", id="a denial"
        ),
        pytest.param(
            lambda log: [log.action("POST", decisions("ap-2"), '{"value":"Approved"}').id],
            "nobody gave",
            id="of another approval",
        ),
        pytest.param(
            lambda log: [log.action("POST", "/keys", '{"value":"Approved"}').id], "nobody gave", id="another action"
        ),
        pytest.param(
            lambda log: [log.action("POST", decisions(), '{"value":"Approved"}').id for _ in range(2)],
            "same person",
            id="twice of one person",
        ),
    ],
)
def test_a_signature_that_names_approvals_nobody_gave_is_broken(
    log: Log, tmp_path: Path, decide: Callable[[Log], list[str]], reason: str
) -> None:
    signed(log, *decide(log))
    found = finding(log, tmp_path)
    assert isinstance(found, Broken)
    assert reason in found.reason


EXPORT = f"/keys/{KEY_ID}/export"
TO_OWNER, TO_THIEF = '{"encryptionKey":"AQ=="}', '{"encryptionKey":"AR=="}'


def exported(log: Log, *approvals: str) -> None:
    action = log.action("POST", EXPORT, TO_OWNER)
    log.system("KeyExported", keyId=KEY_ID, approval=" ".join(approvals), actionId=action.id)


def test_exports_with_approvals_of_their_bodies_are_sound_and_each_is_good_for_one(log: Log, tmp_path: Path) -> None:
    bob = joined(log)
    first, second = (log.action("POST", f"{EXPORT}/approvals", TO_OWNER, by=bob) for _ in range(2))
    exported(log, first.id)
    exported(log, second.id)
    exported(log, "none: the organisation names no approver group")
    assert isinstance(finding(log, tmp_path), Sound)
    exported(log, first.id)
    found = finding(log, tmp_path)
    assert isinstance(found, Broken)
    assert "another export used" in found.reason


@pytest.mark.parametrize(
    ("path", "body", "by_another", "count", "reason"),
    [
        (f"{EXPORT}/approvals", TO_THIEF, True, 1, "nobody gave"),
        ("/keys/key-1/export/approvals", TO_OWNER, True, 1, "nobody gave"),
        (EXPORT, TO_OWNER, True, 1, "nobody gave"),
        (f"{EXPORT}/approvals", TO_OWNER, False, 1, "of whoever asked"),
        (f"{EXPORT}/approvals", TO_OWNER, True, 2, "two approvals of the same person"),
    ],
)
def test_an_export_that_names_approvals_nobody_gave_is_broken(
    log: Log, tmp_path: Path, path: str, body: str, by_another: bool, count: int, reason: str
) -> None:
    by = joined(log) if by_another else None
    exported(log, *(log.action("POST", path, body, by=by).id for _ in range(count)))
    found = finding(log, tmp_path)
    assert isinstance(found, Broken)
    assert reason in found.reason
