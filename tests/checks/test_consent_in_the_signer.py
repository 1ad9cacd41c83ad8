"""Who may write the database and run the API's code signs nothing: the signer knows whose consent counts by itself."""

from __future__ import annotations

from dataclasses import replace

from tests.checks.requests_of_operations import new_account
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import Tenants

MESSAGE = {"kind": "Message", "message": "0x00"}


def test_a_public_key_put_into_the_place_of_another_signs_nothing(
    shared_sandbox: Sandbox, shared_tenants: Tenants
) -> None:
    org_id = shared_sandbox.values["orgId"]
    victim = shared_tenants.session(org_id, everything=True)
    shared_tenants.introduce(victim)
    before = Caller(victim.connection)
    key = before.create_key("EdDSA", "ed25519")
    path = f"/keys/{key}/signatures"
    assert before.signed("POST", path, MESSAGE).json()["status"] == "Signed"
    stolen, theirs = shared_tenants._new_key()
    shared_tenants.execute(
        "UPDATE credentials SET public_key = ?, fingerprint = ? WHERE credential_uuid = ?",
        theirs.pem,
        theirs.fingerprint,
        victim.credential_uuid,
    )
    thief = Caller(replace(victim, connection={**victim.connection, "privateKeyPath": str(stolen)}).connection)
    answer = thief.signed("POST", path, MESSAGE)
    # The server believes the row and takes the action; the signer does not.
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["reason"]) == ("Failed", "the signer refused: Denied")


def test_a_new_account_signs_right_after_it_was_made(shared_sandbox: Sandbox, shared_tenants: Tenants) -> None:
    """What the signer has to know of it is there before the answer is."""
    person = shared_tenants.session(shared_sandbox.values["orgId"], everything=True)
    shared_tenants.introduce(person)
    admin = Caller(person.connection)
    for _ in range(3):
        made = admin.signed("POST", "/auth/service-accounts", new_account())
        assert made.status_code == 200
    waiting = shared_tenants.execute("SELECT COUNT(*) FROM roster_orders WHERE done_at IS NULL")
    assert [tuple(row) for row in waiting] == [(0,)]
