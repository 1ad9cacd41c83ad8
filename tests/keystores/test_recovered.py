"""A recovery in the signer's roster: the recovery key's signature puts in what it covers, once, and ends all else."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from countersign.credentials.key_assertion import CredentialAssertion
from countersign.encoding import base64url
from countersign.keystores.recovered import RecoveryOrder
from tests.keystores.people import Person, digest
from tests.keystores.test_stolen_api_process import House, house, refused
from tests.support.caller import compact
from tests.support.enrolment import NewKey, NewPasskey


def new_key(person: Person) -> NewKey:
    return NewKey(key=person.key)


def signed(recovery: Person, new: dict[str, Any], **members: Any) -> CredentialAssertion:
    """What the recovery key signs: the new credentials, as a client hands them in."""
    challenge = base64url.encode(compact(new).encode())
    client_data = json.dumps({"type": "key.get", "challenge": challenge, **members}).encode()
    signature = base64url.encode(recovery.key.sign(client_data))
    return CredentialAssertion("cmVjb3Zlcnkx", base64url.encode(client_data), signature)


def submitted(person: Person, kind: str = "Key") -> dict[str, Any]:
    info = new_key(person).info(base64url.encode(digest().encode()))
    return {"credentialKind": kind, "credentialInfo": info}


async def with_recovery_key(it: House, *, endorsed: bool = True) -> Person:
    """The administrator's recovery key, which the roster knows, and counts if somebody vouched for it."""
    recovery = it.administrator.another()
    founder = msgspec.structs.replace(recovery.founder, kind="RecoveryKey")
    assert await it.thief.change_roster("enrol", msgspec.msgpack.encode(founder)) == b"pending"
    if endorsed:
        path = f"/auth/credentials/{recovery.uuid}/endorse"
        asked = it.administrator.consents("POST", path, {"publicKey": recovery.fingerprint})
        assert await it.thief.change_roster("endorse", b"", asked) == b"done"
    return recovery


async def order(it: House, recovery: Person, assertion: CredentialAssertion, *new: Any) -> bytes:
    founders = tuple(each.founder if isinstance(each, Person) else each for each in new)
    asked = RecoveryOrder(recovery.org_id, recovery.uuid, assertion, founders)
    return await it.thief.change_roster("recover", msgspec.msgpack.encode(asked))


async def test_a_recovery_puts_in_what_was_signed_and_ends_all_else() -> None:
    async with house() as it:
        recovery, payload = await with_recovery_key(it), digest()
        first, next_recovery = it.administrator.another(), it.administrator.another()
        bound = it.administrator.another(token_id="to-1")
        program = it.administrator.consents("POST", "/auth/pats", {"name": "p", "publicKey": bound.pem})
        assert await it.enrol(bound, program) == b"done"
        # Told before, as the server does: pending until the recovery covers it.
        assert await it.enrol(first, None) == b"pending"
        new = {"firstFactorCredential": submitted(first), "recoveryCredential": submitted(next_recovery, "RecoveryKey")}
        assertion = signed(recovery, new)
        founder = msgspec.structs.replace(next_recovery.founder, kind="RecoveryKey")
        for _ in range(2):
            assert await order(it, recovery, assertion, first, founder) == b"done"
        await it.sign(it.wants(payload, first), payload)
        for old in (it.administrator, bound):
            assert "is archived in the roster" in await refused(it.sign(it.wants(payload, old), payload))
        # What was signed once does nothing more, and the recovery key neither; the next one recovers.
        another = it.administrator.another()
        again = signed(recovery, {"firstFactorCredential": submitted(another)})
        assert await order(it, recovery, again, another) == b"pending"
        later = signed(next_recovery, {"firstFactorCredential": submitted(another)})
        assert await order(it, next_recovery, later, another) == b"done"
        assert await order(it, recovery, assertion, first, founder) == b"done"
        assert "is archived in the roster" in await refused(it.sign(it.wants(payload, first), payload))
        await it.restart()
        await it.sign(it.wants(payload, another), payload)
        page = await it.thief.roster_page(0)
        assert {each.credential_uuid: each.how for each in page.credentials}[another.uuid] == "recovery"


async def test_threat_38_a_stolen_api_process_gains_nothing_by_recoveries() -> None:
    async with house() as it:
        recovery, payload = await with_recovery_key(it), digest()
        honest, thief = it.administrator.another(), it.administrator.another()
        assertion = signed(recovery, {"firstFactorCredential": submitted(honest)})
        # Its own key in the place of the one that was signed, for another user, of another kind, or beside it.
        assert "another public key" in await refused(order(it, recovery, assertion, thief))
        elsewhere = Person(key=honest.key)
        assert "another user or kind" in await refused(order(it, recovery, assertion, elsewhere))
        relabelled = msgspec.structs.replace(honest.founder, kind="PasswordProtectedKey")
        assert "another user or kind" in await refused(order(it, recovery, assertion, relabelled))
        taken = msgspec.structs.replace(honest.founder, credential_uuid=it.administrator.uuid)
        assert "another credential under this id" in await refused(order(it, recovery, assertion, taken))
        bound = msgspec.structs.replace(honest.founder, token_id="to-1")
        assert "another user or kind" in await refused(order(it, recovery, assertion, bound))
        assert "another number" in await refused(order(it, recovery, assertion, honest, thief))
        of_thief = signed(thief, {"firstFactorCredential": submitted(thief)})
        assert "does not hold" in await refused(order(it, recovery, of_thief, thief))
        # By a credential that is no recovery key, or one that nobody vouched for.
        mine = signed(it.administrator, {"firstFactorCredential": submitted(thief)})
        assert "no recovery key" in await refused(order(it, it.administrator, mine, thief))
        unknown = await with_recovery_key(it, endorsed=False)
        its = signed(unknown, {"firstFactorCredential": submitted(thief)})
        for nobody in (unknown, Person()):
            assert await order(it, nobody, its, thief) == b"pending"
        assert "not in the roster" in await refused(it.sign(it.wants(payload, thief), payload))
        # A recovery key consents to nothing else.
        posing = Person(user_id=recovery.user_id, uuid=recovery.uuid, key=recovery.key)
        assert "another kind" in await refused(it.sign(it.wants(payload, posing), payload))
        # A key that somebody has stays theirs.
        taken = signed(recovery, {"firstFactorCredential": submitted(it.administrator)})
        again = it.administrator.another(key=it.administrator.key)
        assert "is or was that of credential" in await refused(order(it, recovery, taken, again))
        for new in ({}, {"firstFactorCredential": {}}, {"recoveryCredential": submitted(honest, "RecoveryKey")}):
            assert "no new credentials" in await refused(order(it, recovery, signed(recovery, new), honest))
        await it.sign(it.wants(payload), payload)
        assert await order(it, recovery, assertion, honest) == b"done"


async def test_a_new_passkey_is_for_the_relying_party_that_was_signed() -> None:
    async with house(key=False) as it:
        recovery = await with_recovery_key(it)
        passkey = NewPasskey(it.administrator.user_id)
        new = {"firstFactorCredential": {"credentialKind": "Fido2", "credentialInfo": passkey.info("AAAA")}}
        pem = NewKey(key=passkey.key).pem
        founder = msgspec.structs.replace(
            it.administrator.another().founder, kind="Fido2", public_key=pem, relying_party_id="elsewhere.example"
        )
        assertion = signed(recovery, new)
        assert "another relying party" in await refused(order(it, recovery, assertion, founder))
        founder = msgspec.structs.replace(founder, relying_party_id=passkey.rp_id)
        assert await order(it, recovery, assertion, founder) == b"done"
