"""Approvals of exports: others countersign the very export that will be asked for, and each counts once.

The contract's policies know no export, so the organisation's operator names who approves (``key_settings``). What an
approver signs is the body of the export itself; so an approval needs no id, and is good for nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from countersign.api import CATALOGUE, ApiError, Call, Caller, Effect, validation
from countersign.encoding import base64url
from countersign.encoding.dates import to_iso
from countersign.keys import key_settings, keys, store
from countersign.keys.ownership import require_visible
from countersign.keys.transfer_types import ExportApproval, ExportApprovals, ExportKey
from countersign.keystores import MAX_APPROVAL
from countersign.storage import Row, Transaction

#: How long an approval waits for its export.
LIFETIME_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Wished:
    """An export that ``user_id`` asks for; ``body_sha256``: of its canonical body, hexadecimal."""

    org_id: str
    key_id: str
    user_id: str
    body_sha256: str

    @classmethod
    def by(cls, call: Call, key_id: str) -> Wished:
        """What the call asks for, or approves."""
        body = hashlib.sha256(call.request.canonical_body).hexdigest()
        return cls(call.org_id, key_id, call.caller.user_id, body)


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval that counts for an export; ``evidence``: the consent to it as the signer reads it."""

    user_id: str
    action_id: str
    evidence: bytes


async def approve(call: Call, key_id: str, body: ExportKey) -> ExportApproval:
    """Keep the caller's approval of an export with this body."""
    try:
        receiver = fingerprint(base64url.decode_tolerant(body.encryption_key))
    except ValueError:
        raise validation("encryptionKey", "expected base64") from None
    evidence = msgspec.msgpack.encode(call.evidence)
    if len(evidence) > MAX_APPROVAL:
        raise validation("supportedSchemes", f"with its signature the approval is longer than {MAX_APPROVAL} bytes")
    return await call.commit(lambda: _approved(call, Wished.by(call, key_id), receiver, evidence))


def _approved(call: Call, wished: Wished, receiver: str, evidence: bytes) -> Transaction[Effect[ExportApproval]]:
    key = require_visible((yield from keys.stored(wished.org_id, wished.key_id)), call.caller)
    if key.status != "Active":
        raise ApiError("KEY_ARCHIVED")
    yield from key_settings.require_export(wished.org_id)
    if wished.user_id not in (yield from key_settings.read(wished.org_id)).export_approvers:
        raise ApiError("NOT_AN_APPROVER", "Not eligible to approve: not one of the organisation's export approvers.")
    now, who = call.world.now(), wished.user_id
    row = (who, wished.body_sha256, receiver, call.action_id, evidence, now, now + LIFETIME_MS)
    yield (
        store.PUT_EXPORT_APPROVAL,
        (wished.org_id, wished.key_id, *row[:4], call.evidence.credential_uuid, *row[4:]),
    )
    return Effect(_shown(row), (wished.key_id,))


def waiting(caller: Caller, key_id: str, now: int) -> Transaction[ExportApprovals]:
    """Approvals of exports of a key that the caller sees; those that count."""
    require_visible((yield from keys.stored(caller.org_id, key_id)), caller)
    settings = yield from key_settings.read(caller.org_id)
    rows = yield store.LIST_EXPORT_APPROVALS, (caller.org_id, key_id, now)
    items = [_shown(row) for row in rows if row[0] in settings.export_approvers]
    return ExportApprovals(quorum=settings.export_quorum, approvers=list(settings.export_approvers), items=items)


def needed(wished: Wished, now: int) -> Transaction[tuple[Approved, ...]]:
    """The approvals that an export is to use up: none where no approvers are named; 403 where they do not suffice."""
    settings = yield from key_settings.read(wished.org_id)
    if not settings.export_quorum:
        return ()
    rows = yield store.LIST_EXPORT_APPROVALS, (wished.org_id, wished.key_id, now)
    counting = _counting(rows, wished, settings.export_approvers)
    if len(counting) < settings.export_quorum:
        raise _lacking(settings.export_quorum, len(counting))
    return counting[: settings.export_quorum]


def take(wished: Wished, approved: tuple[Approved, ...], now: int) -> Transaction[None]:
    """Use up what ``needed`` found, inside the transaction of the export; 403 where it does not suffice any more."""
    settings = yield from key_settings.read(wished.org_id)
    rows = yield store.HOLD_EXPORT_APPROVALS, (wished.org_id, wished.key_id, now)
    counting = _counting(rows, wished, settings.export_approvers)
    if not settings.export_quorum <= len(approved) or not set(approved) <= set(counting):
        raise _lacking(settings.export_quorum, len(set(approved) & set(counting)))
    for one in approved:
        if not (yield store.TAKE_EXPORT_APPROVAL, (wished.org_id, wished.key_id, one.user_id, one.action_id)):
            raise _lacking(settings.export_quorum, 0)


def _counting(rows: Sequence[Row], wished: Wished, approvers: tuple[str, ...]) -> tuple[Approved, ...]:
    """Those of exactly this body by people of the group; never by whoever asks."""
    return tuple(
        Approved(user_id, action_id, bytes(evidence))
        for user_id, body_sha256, _, action_id, evidence, *_ in rows
        if body_sha256 == wished.body_sha256 and user_id in approvers and user_id != wished.user_id
    )


def _lacking(quorum: int, given: int) -> ApiError:
    hint = CATALOGUE["EXPORT_NEEDS_APPROVAL"].remedy
    return ApiError("EXPORT_NEEDS_APPROVAL", details={"needed": quorum, "given": given, "hint": hint})


def _shown(row: Row) -> ExportApproval:
    user_id, body_sha256, receiver, action_id, _, given_at, expires_at = row
    return ExportApproval(
        user_id=user_id,
        request_hash=body_sha256,
        encryption_key=receiver,
        action_id=action_id,
        date_created=to_iso(given_at),
        date_expires=to_iso(expires_at),
    )


def fingerprint(encryption_key: bytes) -> str:
    """``SHA256:`` and the unpadded base64 of SHA-256 over an encryption key as it travels (34 bytes)."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(encryption_key).digest()).decode().rstrip("=")
