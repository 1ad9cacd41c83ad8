"""Finishing what a crash left between the two transactions of a signature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from countersign.audit.entry import Action, decode
from countersign.encoding import base64url
from countersign.keys import keys, signatures
from countersign.keys.service import Failure, Finish, Keys, finish, order
from countersign.keys.signatures import Unfinished
from countersign.keys.signing import Unsupported, to_sign
from countersign.keys.types import CreateSignature
from countersign.keystores import ConsentEvidence, SignerSealed, SignerUnavailable
from countersign.storage import Database, StorageUnavailable, Transaction
from countersign.world import World

log = structlog.get_logger("countersign.recovery")

_BATCH = 100

#: Gives the audit entry (JSON text) and the canonical request body of an action; ``None`` when there is none.
ReadAction = Callable[[str, str], Transaction[tuple[str, bytes] | None]]


class Recovery:
    """Takes up signature requests that stayed ``Executing``, under their own ids and with their own evidence.

    Signing the same twice is harmless: only the first outcome is recorded. So no two processes need to agree.
    """

    def __init__(self, database: Database, service: Keys, read_action: ReadAction, world: World) -> None:
        self._database = database
        self._service = service
        self._read_action = read_action
        self._world = world

    async def sweep(self, older_than_ms: int) -> int:
        """Finish every request that is ``Executing`` for longer than that; how many were finished."""
        done = 0
        before = self._world.now() - older_than_ms
        while self._service.signer.available:
            left = await self._database.read(lambda: signatures.unfinished(before, _BATCH))
            finished = 0
            for request in left:
                finished += await self._take_up(request)
            done += finished
            if len(left) < _BATCH or not finished:
                break
        return done

    async def _take_up(self, left: Unfinished) -> bool:
        key = await self._database.read(lambda: keys.to_sign_with(left.org_id, left.key_id))
        found = await self._database.read(lambda: self._read_action(left.org_id, left.action_id))
        if key is None or found is None:
            log.error("signature request has lost its key or action", signature_id=left.signature_id)
            return False
        entry = decode(found[0])
        if not isinstance(entry, Action):
            log.error("signature request names no action", signature_id=left.signature_id)
            return False
        wanted = to_sign(msgspec.convert(left.body, CreateSignature), key.scheme)
        if isinstance(wanted, Unsupported):
            log.error("signature request cannot be read", signature_id=left.signature_id, reason=wanted.reason)
            return False
        try:
            outcome = await order(self._service.signer, key, wanted, left.signature_id, evidence_of(entry, found[1]))
        except (SignerUnavailable, SignerSealed) as error:
            log.warning("recovery waits for the signer", reason=str(error))
            return False
        done = Finish(
            self._service.installation_id,
            key,
            wanted,
            left.signature_id,
            left.action_id,
            entry.payload_sha256,
            None,
            outcome,
        )
        await self._database.write(lambda: finish(done, self._world))
        log.info("signature request finished", signature_id=left.signature_id, failed=isinstance(outcome, Failure))
        return True

    async def run(self, older_than_ms: int, interval: float) -> None:
        """Sweep now and then until cancelled; at the first sweep whatever is left of a process before this one."""
        while True:
            try:
                await self.sweep(older_than_ms)
            except StorageUnavailable as error:
                log.warning("recovery waits for the database", reason=error.reason)
            await asyncio.sleep(interval)


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
    )
