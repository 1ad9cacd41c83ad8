"""Approvals that travel with an order: the signer takes none that nobody in its roster gave."""

from __future__ import annotations

from typing import Any

import msgspec

from countersign.keystores import MAX_APPROVALS, ConsentEvidence
from tests.keystores.people import Person, digest
from tests.keystores.test_stolen_api_process import House, house, make_key, refused

APPROVAL = "ap-00000-00001-0000000000000001"


def path_of(approval_id: str) -> str:
    return f"/v2/policy-approvals/{approval_id}/decisions"


def approves(who: Person, approval_id: str = APPROVAL, **body: Any) -> bytes:
    """Evidence of a decision."""
    return msgspec.msgpack.encode(who.consents("POST", path_of(approval_id), {"value": "Approved", **body}))


def with_approvals(it: House, payload: str, *approvals: bytes) -> ConsentEvidence:
    return msgspec.structs.replace(it.wants(payload), approvals=approvals)


async def test_an_order_is_carried_out_with_the_approvals_that_let_it_go_on() -> None:
    first, second = Person(), Person()
    administrator = Person()
    async with house((administrator.founder, first.founder, second.founder), key=False) as it:
        it.administrator = administrator
        it.key = await _key(it)
        payload = digest()
        evidence = with_approvals(it, payload, approves(first), approves(second, reason="fine"))
        assert len((await it.sign(evidence, payload)).r) == 32
        # Again for the same request, as after a crash; for no other, not even of the same person for the same digest.
        await it.restart()
        assert len((await it.sign(evidence, payload)).r) == 32
        another = with_approvals(it, payload, approves(first), approves(second))
        assert "used for another request" in await refused(it.sign(another, payload))


async def test_an_order_with_an_approval_that_is_none_is_refused() -> None:
    administrator, approver, stranger = Person(), Person(), Person()
    elsewhere = Person(org_id="or-00000-00002-0000000000000002")
    async with house((administrator.founder, approver.founder, elsewhere.founder), key=False) as it:
        it.administrator = administrator
        it.key = await _key(it)
        payload = digest()

        async def reason(*approvals: bytes) -> str:
            return await refused(it.sign(with_approvals(it, payload, *approvals), payload))

        good = approves(approver)
        assert "not in the roster" in await reason(good, approves(stranger))
        assert "approves nothing" in await reason(approves(approver, value="Denied"))
        something = msgspec.msgpack.encode(approver.consents("POST", "/keys", {"value": "Approved"}))
        assert "approves nothing" in await reason(something)
        assert "an approval is none" in await reason(approves(elsewhere))
        assert "twice of one person" in await reason(good, approves(approver))
        of_two = "several requests"
        assert of_two in await reason(good, approves(administrator, "ap-00000-00002-0000000000000002"))
        decided = msgspec.msgpack.decode(good, type=ConsentEvidence)
        asked_more = msgspec.msgpack.encode(msgspec.structs.replace(decided, query="?force=true"))
        assert "approves nothing" in await reason(asked_more)
        denied = approver.consents("POST", path_of(APPROVAL), {"value": "Denied"})
        turned = msgspec.structs.replace(denied, payload=decided.payload)
        assert "does not hold" in await reason(msgspec.msgpack.encode(turned))
        moved = msgspec.structs.replace(decided, path=path_of("ap-00000-00002-0000000000000002"))
        assert "does not hold" in await reason(msgspec.msgpack.encode(moved))
        claimed = msgspec.structs.replace(decided, user_id=administrator.user_id)
        assert "another user's" in await reason(msgspec.msgpack.encode(claimed))
        assert "no evidence" in await reason(b"\xc1")
        assert "more than" in await reason(*[good] * (MAX_APPROVALS + 1))


async def _key(it: House) -> Any:
    return await make_key(it.thief, it.administrator, "key-00000-00001-0000000000000001")
