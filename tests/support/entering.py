"""Coming in over HTTP: the mail that a server wrote, registration and login step by step."""

from __future__ import annotations

import json
from typing import Any

import httpx

from countersign.access.identify import read_caller
from countersign.access.keyring import token_hash
from countersign.api import Caller as Identified
from countersign.encoding import base64url
from countersign.identity import mail
from countersign.identity.entrance import Entrance
from tests.support.caller import Caller, compact
from tests.support.enrolment import NewKey, NewPasskey, encoded
from tests.support.inprocess import InProcess


def all_letters(server: InProcess) -> list[mail.Mail]:
    """What was written to anybody, oldest first, once everything behind the answers is done."""
    services = server.runtime.services
    server.runner.run(services.get(Entrance).errands.done())
    return server.runner.run(services.database.read(lambda: mail.newest(services.ring)))


def letters(server: InProcess, recipient: str) -> list[mail.Mail]:
    """The same to somebody."""
    return [letter for letter in all_letters(server) if letter.recipient == recipient]


def code_for(server: InProcess, recipient: str) -> str:
    """The code in the newest letter to somebody."""
    code = letters(server, recipient)[-1].code
    assert code is not None
    return code


def public(caller: Caller, method: str, path: str, body: dict[str, Any], token: str | None = None) -> httpx.Response:
    """A call without a session; ``token`` is a temporary one."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return caller.http.request(method, path, json=body, headers=headers)


def invited(admin: Caller, username: str, **members: Any) -> dict[str, Any]:
    """A new employee."""
    made = admin.signed("POST", "/auth/users", {"email": username, "kind": "CustomerEmployee", **members})
    assert made.status_code == 200, made.text
    value: dict[str, Any] = made.json()
    return value


def begin(caller: Caller, username: str, code: str, **members: Any) -> httpx.Response:
    """``POST /auth/registration/init``."""
    org_id = caller.connection["orgId"]
    body = {"username": username, "registrationCode": code, "orgId": org_id, **members}
    return public(caller, "POST", "/auth/registration/init", body)


def factor(challenge: dict[str, Any], new: NewKey | NewPasskey, kind: str = "Key", **members: Any) -> dict[str, Any]:
    """One credential of a registration."""
    return {"credentialKind": kind, "credentialInfo": new.info(challenge["challenge"]), **members}


def finish(caller: Caller, challenge: dict[str, Any], new: NewKey | NewPasskey, kind: str = "Key") -> httpx.Response:
    """``POST /auth/registration`` with one credential."""
    body = {"firstFactorCredential": factor(challenge, new, kind)}
    return public(caller, "POST", "/auth/registration", body, challenge["temporaryAuthenticationToken"])


def recovering(recovery: NewKey, new: dict[str, Any], **members: Any) -> dict[str, Any]:
    """The body of a recovery: the recovery key signs which credentials are to be new."""
    proof = recovery.factor(encoded(compact(new).encode()), "RecoveryKey")
    return {"recovery": proof, "newCredentials": new, **members}


def registered(
    server: InProcess, admin: Caller, username: str, new: NewKey, recovery: NewKey | None = None
) -> dict[str, Any]:
    """An employee who has registered with a key, and perhaps a recovery key; what the registration answered."""
    invited(admin, username)
    challenge = begin(admin, username, code_for(server, username)).json()
    body = {"firstFactorCredential": factor(challenge, new)}
    if recovery is not None:
        body["recoveryCredential"] = factor(challenge, recovery, "RecoveryKey", encryptedPrivateKey="sealed")
    done = public(admin, "POST", "/auth/registration", body, challenge["temporaryAuthenticationToken"])
    assert done.status_code == 200, done.text
    value: dict[str, Any] = done.json()
    return value


def identified(server: InProcess, token: str) -> Identified:
    """Who holds a session, as the server knows them."""
    services, claims = server.runtime.services, json.loads(base64url.decode(token.split(".")[1]))
    who = claims["sub"], claims["jti"], token_hash(token)
    known = server.runner.run(services.database.read(lambda: read_caller(*who, services.world.now())))
    assert isinstance(known, Identified)
    return known
