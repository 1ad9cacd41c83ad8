"""What was asked of the signer, asked again: read back from the consent, with the approvals that let it go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from countersign.audit.entry import Action, decode
from countersign.audit.evidence import check_action
from countersign.encoding import base64url, strictjson
from countersign.keys import keys
from countersign.keys.service import Failure, Finish, Keys, order
from countersign.keys.signatures import Unfinished
from countersign.keys.signing import ToSign, Unsupported, to_sign
from countersign.keys.types import CreateSignature
from countersign.keystores import ConsentEvidence, KeyRecord, SignatureValue, SignerUnavailable
from countersign.policies import approved_by
from countersign.storage import Database, Transaction

#: Gives the audit entry (JSON text) and the canonical request body of an action; ``None`` when there is none.
ReadAction = Callable[[str, str], Transaction[tuple[str, bytes] | None]]


@dataclass(frozen=True, slots=True)
class _Again:
    """An order to the signer as it was given before."""

    key: KeyRecord
    wanted: ToSign
    payload_sha256: str
    evidence: ConsentEvidence
    approvals: tuple[str, ...] = ()


class ContradictedByConsent(Exception):
    """What is stored of a request is not what was consented to, or the consent is gone; the text says which."""


@dataclass(frozen=True, slots=True)
class Finishing:
    """Finishes signature requests that no call waits for any more.

    Signing the same twice is harmless: only the first outcome is recorded. So no two processes need to agree.
    """

    database: Database
    service: Keys
    read_action: ReadAction

    async def ask(self, left: Unfinished) -> Finish:
        """Ask the signer; what to record then.

        Raises ``ContradictedByConsent``, and where the same may be asked again later ``SignerUnavailable`` and
        ``SignerSealed``.
        """
        try:
            again = await self._read_back(left)
        except (ValueError, msgspec.MsgspecError) as error:
            raise ContradictedByConsent(str(error)) from None
        return Finish(
            self.service.installation_id,
            again.key,
            again.wanted,
            left.signature_id,
            left.action_id,
            again.payload_sha256,
            None,
            await self._outcome(again, left.signature_id),
            left.approval_id,
            again.approvals,
        )

    async def _outcome(self, again: _Again, signature_id: str) -> SignatureValue | Failure:
        """What the signer makes of it. A key that was archived meanwhile signs nothing, so it is not asked."""
        key = again.key
        stored = await self.database.read(lambda: keys.stored(key.org_id, key.key_id))
        if stored is None or stored.status != "Active":
            return Failure(keys.ARCHIVED)
        signer = self.service.signers.get(key.store_id)
        if signer is None:
            raise SignerUnavailable(f"key store {key.store_id} is not configured")
        return await order(signer, key, again.wanted, signature_id, again.evidence)

    async def _read_back(self, left: Unfinished) -> _Again:
        """What the signer was asked. ``ValueError`` when key or action are gone, or were changed.

        What to sign is read from the consent, never from the request's row alone: whoever could write that row would
        choose what an old consent signs.
        """
        key = await self.database.read(lambda: keys.to_sign_with(left.org_id, left.key_id))
        found = await self.database.read(lambda: self.read_action(left.org_id, left.action_id))
        if key is None or found is None:
            raise ValueError("it has lost its key or its action")
        entry = decode(found[0])
        if not isinstance(entry, Action):
            raise ValueError("what it names is no action")  # noqa: TRY004 - a defect of the data, not of a caller
        body = strictjson.parse_object(found[1])
        reason = _contradiction(left, entry, body) or check_action(entry, found[1].decode())
        if reason is not None:
            raise ValueError(reason)
        wanted = to_sign(msgspec.convert(body, CreateSignature), key.scheme, key.curve)
        if isinstance(wanted, Unsupported):
            raise ValueError(wanted.reason)  # noqa: TRY004 - as above
        evidence = evidence_of(entry, found[1])
        approvals = await self._approvals(left)
        if approvals:
            encoded = tuple(msgspec.msgpack.encode(approval) for approval in approvals.values())
            evidence = msgspec.structs.replace(evidence, approvals=encoded)
        return _Again(key, wanted, entry.payload_sha256, evidence, tuple(approvals))

    async def _approvals(self, left: Unfinished) -> dict[str, ConsentEvidence]:
        """The decisions that let the request go on, by the ids of their actions: as those who made them signed them."""
        approval_id = left.approval_id
        if approval_id is None:
            return {}
        found: dict[str, ConsentEvidence] = {}
        for action_id in await self.database.read(partial(approved_by, left.org_id, approval_id)):
            action = await self.database.read(partial(self.read_action, left.org_id, action_id))
            entry = None if action is None else decode(action[0])
            if action is None or not isinstance(entry, Action):
                raise ValueError("it has lost the action of an approval")
            reason = _no_approval(entry, approval_id, action_id) or check_action(entry, action[1].decode())
            if reason is not None:
                raise ValueError(f"an approval: {reason}")
            found[action_id] = evidence_of(entry, action[1])
        return found


def _no_approval(entry: Action, approval_id: str, action_id: str) -> str | None:
    """Why an action is no decision about this approval."""
    asked = (entry.id, entry.method, entry.path, entry.response.status)
    wanted = (action_id, "POST", f"/v2/policy-approvals/{approval_id}/decisions", 200)
    return None if asked == wanted else "its action asks for something else"


def _contradiction(left: Unfinished, entry: Action, body: dict[str, Any]) -> str | None:
    """Why the action does not ask for this very signature request; ``None`` when it does."""
    asked = (entry.org_id, entry.id, entry.method, entry.path, entry.response.status)
    if asked != (left.org_id, left.action_id, "POST", f"/keys/{left.key_id}/signatures", 200):
        return "its action asks for something else"
    if left.signature_id not in entry.entity_ids:
        return "its action asks for another signature request"
    return None if body == left.body else "its body is not the one that was consented to"


def evidence_of(entry: Action, payload: bytes) -> ConsentEvidence:
    """The consent of an audit entry, as an order to the signer carries it."""
    evidence = entry.evidence
    data = evidence.authenticator_data
    return ConsentEvidence(
        installation_id=entry.installation_id,
        org_id=entry.org_id,
        user_id=entry.user_id,
        method=entry.method,
        path=entry.path,
        query=entry.query,
        payload=payload,
        credential_uuid=entry.credential.uuid,
        credential_public_key=entry.credential.public_key,
        kind=entry.credential.kind,
        client_data=base64url.decode_tolerant(evidence.client_data),
        signature=base64url.decode_tolerant(evidence.signature),
        authenticator_data=None if data is None else base64url.decode_tolerant(data),
        algorithm=evidence.algorithm,
        relying_party_id=entry.credential.relying_party_id,
    )
