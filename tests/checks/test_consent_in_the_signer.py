"""Who may write the database and run the API's code signs nothing: the signer knows whose consent counts by itself."""

from __future__ import annotations

from dataclasses import replace

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
