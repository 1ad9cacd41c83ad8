"""What an auditor sees of credentials, offline: who enrolled which key, and that passkeys consented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from countersign.encoding.dates import to_iso
from countersign.world import World
from tests.faults import logs
from tests.identity.conftest import allow_origin
from tests.support.caller import Caller
from tests.support.enrolment import NewKey, NewPasskey, action_with, enrolled, new_body
from tests.support.server import Sandbox
from tests.support.tenants import Tenants

KEY = {"scheme": "EdDSA", "curve": "ed25519"}


def by_code(caller: Caller, new: NewKey) -> dict[str, Any]:
    """Enrol a key from another device."""
    expiration = to_iso(World().now() + 50_000)
    code = caller.signed("POST", "/auth/credentials/code", {"expiration": expiration}).json()["code"]
    asked = {"code": code, "credentialKind": "Key"}
    challenge = caller.http.post("/auth/credentials/code/init", json=asked).json()
    body = new_body(challenge, new.info(challenge["challenge"]))
    made: dict[str, Any] = caller.http.post("/auth/credentials/code/verify", json=body).json()
    return made


def create_key_with(caller: Caller, *factors: NewKey | NewPasskey) -> None:
    token = action_with(caller, "POST", "/keys", KEY, *factors).json()["userAction"]
    assert caller.send("POST", "/keys", KEY, action=token).status_code == 200


def test_a_log_with_passkeys_codes_and_two_factors_is_sound_and_shows_who_enrolled_what(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    # Everybody in this log comes through the API: what a test writes into the database is nobody an auditor accepts.
    tenants = Tenants(database_url, sandbox.directory / "server.secret", sandbox.values["baseUrl"], tmp_path / "keys")
    allow_origin(tenants, sandbox.values["orgId"])
    with Caller(sandbox.admin) as caller:
        user_id = caller.send("POST", "/auth/credentials/init", {"kind": "Key"}).json()["user"]["id"]
        passkey, key, remote = NewPasskey(user_id), NewKey(), NewKey()
        shown = [enrolled(caller, passkey, "Fido2"), enrolled(caller, key)]
        wrapped = enrolled(caller, NewKey(), "PasswordProtectedKey", encryptedPrivateKey="behind a password")
        remote_uuid = by_code(caller, remote)["credentialUuid"]
        for factors in ((passkey,), (key, passkey), (passkey, key), (remote,)):
            create_key_with(caller, *factors)
    log = logs.export(sandbox, tmp_path / "log.jsonl")
    assert "behind a password" not in log.path.read_text()
    trust = logs.fingerprint(sandbox)
    logs.verify(log, trust)
    done = logs.countersign("audit", "verify", str(log.path), "--trust", trust, "--json")
    said = json.loads(done.stdout)
    # Whose key nobody countersigned, or the export does not show, is listed by name.
    assert all(uuid in json.dumps(said) for uuid in (remote_uuid, wrapped["credentialUuid"]))
    assert not any(item["credentialUuid"] in json.dumps(said) for item in shown)
