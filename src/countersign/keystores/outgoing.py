"""What the signers have to be told for their rosters: written with the change it is about, sent in order, never lost.

Each key store's signer keeps a roster of its own and is told by itself, so that one that is away holds up no other. The
end of a key goes to the signer of its store alone. A credential may exist before a roster knows it; until then its
signatures move no key there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from countersign.credentials.key_assertion import CredentialAssertion
from countersign.keystores import store
from countersign.keystores.client import SignerClient
from countersign.keystores.orders import EndedKey
from countersign.keystores.outcome import SignerError, SignerRefused
from countersign.keystores.protocol import ConsentEvidence
from countersign.keystores.recovered import RecoveryOrder
from countersign.keystores.roots import Founder
from countersign.keystores.roster_changes import concerns_roster, key_ended
from countersign.keystores.roster_line import RosterLine
from countersign.storage import Database, Transaction
from countersign.world import World

log = logging.getLogger("countersign.keystores")

_BATCH: Final = 100
_INTERVAL_S: Final = 1.0
_AGAIN_S: Final = 30.0
_PATIENCE_S: Final = 3.0


class Outgoing(msgspec.Struct, array_like=True, frozen=True):
    """What an order about the roster carries: what was enrolled, who consented, the key that ended, or a recovery."""

    credential: Founder | None
    evidence: ConsentEvidence | None
    key: EndedKey | None = None
    recovery: RecoveryOrder | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Outgoing).decode


def enrol(org_id: str, credential_uuid: str, evidence: ConsentEvidence | None, world: World) -> Transaction[None]:
    """Tell the signers of a credential that this transaction has just stored; ``evidence`` of who consented to it."""
    new = yield from _stored(org_id, credential_uuid)
    yield from _add(org_id, "enrol", credential_uuid, Outgoing(new, evidence), world)


def _stored(org_id: str, credential_uuid: str) -> Transaction[Founder]:
    rows = yield store.READ_ENROLLED, (org_id, credential_uuid)
    user_id, token_id, kind, public_key, rp_id = rows[0]
    return Founder(org_id, user_id, credential_uuid, kind, public_key, rp_id or None, token_id)


def recover(
    org_id: str, recovery_uuid: str, assertion: CredentialAssertion, new: Iterable[str], world: World
) -> Transaction[None]:
    """Tell the signers that a recovery key put ``new`` credentials, stored by this transaction, in place of all others.

    Where the recovery key does not count in a roster, the new ones wait there for somebody to endorse them.
    """
    founders: list[Founder] = []
    for credential_uuid in new:
        founders.append((yield from _stored(org_id, credential_uuid)))
        yield from _add(org_id, "enrol", credential_uuid, Outgoing(founders[-1], None), world)
    order = RecoveryOrder(org_id, recovery_uuid, assertion, tuple(founders))
    yield from _add(org_id, "recover", recovery_uuid, Outgoing(None, None, recovery=order), world)


def concerned(method: str, path: str) -> bool:
    """Whether the signer has to be told of countersigned requests with this method and canonical path."""
    return concerns_roster(method, path) or key_ended(method, path) is not None


def follow(evidence: ConsentEvidence, enrolled: Iterable[str], world: World) -> Transaction[bool]:
    """Tell the signer what a countersigned request did: enrolled credentials, changed the roster, or ended a key.

    False where that is nothing the signer keeps. Belongs at the end of the request's own transaction.
    """
    org_id, method, path = evidence.org_id, evidence.method, evidence.path
    told = False
    for credential_uuid in enrolled:
        yield from enrol(org_id, credential_uuid, evidence, world)
        told = True
    ending = key_ended(method, path)
    if told:
        return True
    if ending is not None:
        op, key_id = ending
        rows = yield store.READ_ENDED_KEY, (org_id, key_id)
        store_id, scheme, public_key = rows[0]
        body = _encode(Outgoing(None, evidence, EndedKey(key_id, scheme, bytes.fromhex(public_key))))
        order = (org_id, world.new_id("ro"), store_id, op, key_id, body, world.now())
        yield store.INSERT_ROSTER_ORDER_OF_STORE, order
        return True
    if not concerns_roster(method, path):
        return False
    op = "endorse" if path.endswith("/endorse") else "retire"
    yield from _add(org_id, op, path, Outgoing(None, evidence), world)
    return True


def _add(org_id: str, op: str, subject: str, what: Outgoing, world: World) -> Transaction[None]:
    yield store.INSERT_ROSTER_ORDER, (org_id, world.new_id("ro"), op, subject, _encode(what), world.now())


def begin_anew(store_id: str) -> Transaction[int]:
    """Have everything sent again, to a store's signer whose roster was lost; how many orders that are."""
    return len((yield store.REPEAT_ROSTER_ORDERS, (store_id,)))


class RosterKeeper:
    """Keeps all rosters up to date: those of signers by id of their key store, and that of an authoriser by its own."""

    def __init__(self, database: Database, keepers: Mapping[str, RosterLine], world: World) -> None:
        self._keepers = [_Keeper(database, keeper, keeper_id, world) for keeper_id, keeper in keepers.items()]

    async def deliver(self) -> None:
        """Send what waits now to those signers that are there; never fails, and takes a few seconds at most."""
        await asyncio.gather(*(keeper.deliver() for keeper in self._keepers))

    async def settle(self) -> None:
        """Note what became of the orders sent so far."""
        for keeper in self._keepers:
            await keeper.settle()

    async def run(self) -> None:
        """Send now and then what could not be sent, and keep the marks, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers:
                group.create_task(keeper.run())


class _Keeper:
    """Sends what waits for one signer, and notes how far its roster is. Several processes may do so at once.

    What became of an order is noted a moment later, with others, so that a request does not wait for one more commit.
    A crash between costs nothing: the signer takes a repeat for what it is.
    """

    def __init__(self, database: Database, signer: RosterLine, store_id: str, world: World) -> None:
        self._database = database
        self._signer = signer
        self._store_id = store_id
        self._world = world
        self._sending = asyncio.Lock()
        self._settled: dict[str, store.Settled] = {}
        self._seen: tuple[int, str] = (-1, "")

    async def deliver(self) -> None:
        """Send what waits now, if the signer is there; never fails, and takes a few seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._send(), _PATIENCE_S)

    async def _send(self, *, refused: bool = False) -> None:
        """``refused``: those too that the signer did not take so far."""
        async with self._sending:
            after = ""
            while self._signer.open:
                rows = await self._database.read(self._waiting(after, refused=refused))
                for org_id, order_id, op, body in rows:
                    if order_id not in self._settled and not await self._send_one(org_id, order_id, op, bytes(body)):
                        return
                    after = order_id
                if len(rows) < _BATCH:
                    return

    def _waiting(self, after: str, *, refused: bool) -> Callable[[], Transaction[list[tuple[str, str, str, bytes]]]]:
        return lambda: store.waiting_roster_orders(self._store_id, after, _BATCH, refused=refused)

    async def _send_one(self, org_id: str, order_id: str, op: str, body: bytes) -> bool:
        """False when nothing more can be sent for now."""
        what = _decode(body)
        try:
            outcome = await self._order(org_id, order_id, op, what)
        except SignerRefused as refused:
            if refused.code == "Unsupported":
                return False  # it keeps no roster yet
            log.warning("the roster of key store %s refused %s of %s: %s", self._store_id, op, order_id, refused.reason)
            # It waits on: what it rests on may come in later.
            self._settled[order_id] = store.Settled(org_id, order_id, None, refused.reason)
            return True
        except SignerError:
            return False
        self._settled[order_id] = store.Settled(org_id, order_id, self._world.now(), outcome)
        return True

    async def settle(self) -> None:
        """Note what became of the orders sent so far."""
        settled = tuple(self._settled.values())
        if not settled:
            return
        await self._database.write(lambda: store.settle_roster_orders(self._store_id, settled))
        for each in settled:
            # One that was sent again meanwhile is noted again.
            if self._settled.get(each.order_id) is each:
                del self._settled[each.order_id]

    async def _order(self, org_id: str, order_id: str, op: str, what: Outgoing) -> str:
        if what.key is not None and what.evidence is not None and isinstance(self._signer, SignerClient):
            await self._signer.end_key(op, org_id, what.key, order_id, what.evidence)
            return "done"
        carried = what.credential or what.recovery
        arguments = b"" if carried is None else _encode(carried)
        return (await self._signer.change_roster(op, arguments, what.evidence)).decode()

    async def run(self) -> None:
        """Send now and then what could not be sent, and keep the mark, until cancelled."""
        loop = asyncio.get_running_loop()
        next_try = 0.0
        while True:
            again = loop.time() >= next_try
            await self.settle()
            await self._send(refused=again)
            await self.settle()
            if again:
                next_try = loop.time() + _AGAIN_S
            await self._note()
            await asyncio.sleep(_INTERVAL_S)

    async def _note(self) -> None:
        mark = self._signer.roster_mark
        if mark is None or mark == self._seen or self._signer.roster_trouble is not None:
            return
        records, head = mark
        known = await self._database.read(lambda: store.read_roster_mark(self._store_id))
        if known is None or known[0] < records:
            now = self._world.now()
            await self._database.write(lambda: store.put_roster_mark(self._store_id, records, head, now))
        self._seen = mark
