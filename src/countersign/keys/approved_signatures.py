"""Signing what was approved: a job, written in the transaction of the decision that approved it."""

from __future__ import annotations

from functools import partial

import msgspec

from countersign.audit.entry import System
from countersign.audit.log import append
from countersign.encoding.dates import to_iso
from countersign.jobs import Done, Failed, Job, Kind, Later, Outcome, enqueue
from countersign.jobs.plan import OVER_A_DAY
from countersign.keys import signatures
from countersign.keys.finishing import ContradictedByConsent, Finishing
from countersign.keys.service import Finish, finish
from countersign.keystores import SignerSealed, SignerUnavailable
from countersign.storage import Transaction
from countersign.world import World

SIGN_APPROVED = "keys.sign_approved"
#: How long a job leaves a signer alone that is away or sealed.
_PAUSE_MS = 2_000


class _Approved(msgspec.Struct, frozen=True, rename="camel"):
    signature_id: str


def sign_later(org_id: str, signature_id: str, world: World) -> Transaction[None]:
    """Have an approved request signed, once the transaction that this is part of is committed."""
    yield from enqueue(SIGN_APPROVED, org_id, _Approved(signature_id), None, signature_id, world)


class ApprovedSignatures:
    """The kind of job that signs what was approved, whichever process is there to do it."""

    def __init__(self, finishing: Finishing, world: World) -> None:
        self._finishing = finishing
        self._world = world

    def kind(self) -> Kind:
        """As the workers know it."""
        return Kind(SIGN_APPROVED, self.run, OVER_A_DAY)

    async def run(self, job: Job) -> Outcome:
        """Ask the signer; the outcome is recorded together with the end of the job. Nothing if it was before."""
        signature_id = job.read(_Approved).signature_id
        left = await self._finishing.database.read(partial(signatures.approved, job.org_id, signature_id))
        if left is None:
            return Done()
        try:
            if not self._finishing.service.available:
                raise SignerUnavailable("no key store is connected")
            done = await self._finishing.ask(left)
        except (SignerUnavailable, SignerSealed) as error:
            return Later(f"waits for the signer: {error}", self._world.now() + _PAUSE_MS)
        except ContradictedByConsent as error:
            reason = f"the request cannot be read back: {error}"
            return Failed(reason, partial(self._given_up, job.org_id, signature_id, reason))
        return Done(partial(self._record, done))

    def _record(self, done: Finish) -> Transaction[None]:
        yield from finish(done, self._world)

    def _given_up(self, org_id: str, signature_id: str, reason: str, next_at: int | None) -> Transaction[None]:
        """The last attempt ends the request as well; before, it waits to be mended."""
        if next_at is None:
            yield from _give_up(org_id, signature_id, reason, self._finishing.service.installation_id, self._world)


def dropped(org_id: str, payload: str, installation_id: str, world: World) -> Transaction[None]:
    """The job with this payload will never run again: the request that was approved ends with it."""
    signature_id = msgspec.json.decode(payload, type=_Approved).signature_id
    yield from _give_up(org_id, signature_id, "its job was dropped by the operator", installation_id, world)


def _give_up(org_id: str, signature_id: str, reason: str, installation_id: str, world: World) -> Transaction[None]:
    """End a request that is not signed yet, with an entry in the audit log."""
    request = yield from signatures.fail(org_id, signature_id, reason)
    if request is None:
        return
    entry = System(
        installation_id=installation_id,
        org_id=org_id,
        id=world.new_id("uj"),
        date_performed=to_iso(world.now()),
        entity_ids=(signature_id,),
        event="SignatureGivenUp",
        details={"reason": reason},
    )
    yield from append(entry, None)
    yield from signatures.tell(org_id, "wallet.signature.failed", request, world)
