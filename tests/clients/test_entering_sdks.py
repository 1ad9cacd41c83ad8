"""Registration, login, logout, recovery with both official SDKs, and with the older TypeScript what it alone has."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dfns_sdk.types import DfnsError

from tests.clients.connection import Connection
from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.identity.conftest import allow_origin
from tests.support.commands import countersign
from tests.support.enrolment import NewKey, NewPasskey
from tests.support.entering import recovering
from tests.support.server import Sandbox
from tests.support.tenants import beside

_NUMBER = itertools.count(1)
_PATIENCE = 20.0


class Sdk:
    """One of the SDKs under names of their own: ``sdk(connection).call("create_user", body)``."""

    def __init__(self, kind: str, connection: Connection) -> None:
        self.error: type[Exception] = DfnsError if kind == "python" else NodeSdkError
        self._client: Any = python_client(connection) if kind == "python" else NodeClient(connection)
        self.kind = kind

    def call(self, name: str, body: Any = None) -> Any:
        """Call an operation of the area ``auth``."""
        if self.kind == "python":
            return getattr(self._client.auth, name)(*(() if body is None else (body,)))
        head, *rest = name.split("_")
        method = head + "".join(word.capitalize() for word in rest)
        return self._client.call(f"auth.{method}", **({} if body is None else {"body": body}))

    def close(self) -> None:
        """End it."""
        self._client.close()


Connect = Callable[[Connection], Sdk]


@pytest.fixture(scope="module", autouse=True)
def _origin(shared_sandbox: Sandbox) -> None:
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
    allow_origin(tenants, shared_sandbox.values["orgId"])


@pytest.fixture(params=["python", "typescript"])
def sdk(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens clients of one of the SDKs."""
    opened: list[Sdk] = []

    def connect(connection: Connection) -> Sdk:
        opened.append(Sdk(request.param, connection))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def mailed_code(sandbox: Sandbox, recipient: str, kind: str) -> str:
    """The code in the newest letter of this kind to somebody, as the sandbox's command prints it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        printed = countersign("sandbox", "mail", "--data", str(sandbox.directory), "--json").output
        found = [item["code"] for item in json.loads(printed) if (item["recipient"], item["kind"]) == (recipient, kind)]
        if found:
            return str(found[-1])
    raise AssertionError(f"no {kind} was written to {recipient}")


def with_token(connection: Connection, token: str) -> Connection:
    """The same server with another bearer."""
    return {**connection, "authToken": token}


def lookup(sandbox: Sandbox, username: str, **members: Any) -> dict[str, Any]:
    """A body about somebody."""
    return {"username": username, "orgId": sandbox.values["orgId"], **members}


def answered(challenge: Any, key: NewKey | NewPasskey, **members: Any) -> dict[str, Any]:
    """The signed challenge."""
    first = key.factor(challenge["challenge"], **members)
    return {"challengeIdentifier": challenge["challengeIdentifier"], "firstFactor": first}


def credential(challenge: Any, new: NewKey | NewPasskey, kind: str, **members: Any) -> dict[str, Any]:
    """One credential of a registration."""
    return {"credentialKind": kind, "credentialInfo": new.info(challenge["challenge"]), **members}


def test_an_employee_registers_logs_in_and_logs_out(shared_sandbox: Sandbox, sdk: Connect) -> None:
    admin, name = sdk(shared_sandbox.admin), f"employee{next(_NUMBER)}@example.com"
    made = admin.call("create_user", {"email": name, "kind": "CustomerEmployee"})
    assert mailed_code(shared_sandbox, name, "Invitation")
    assert admin.call("resend_registration_code", lookup(shared_sandbox, name)) == {"message": "success"}
    code = mailed_code(shared_sandbox, name, "RegistrationCode")
    asked = lookup(shared_sandbox, name, registrationCode=code)
    challenge = admin.call("create_registration_challenge", asked)
    assert challenge["user"]["id"] == made["userId"]
    passkey, protected, recovery = NewPasskey(made["userId"]), NewKey(), NewKey()
    new = {
        "firstFactorCredential": credential(challenge, passkey, "Fido2"),
        "secondFactorCredential": credential(challenge, protected, "PasswordProtectedKey", encryptedPrivateKey="x"),
        "recoveryCredential": credential(challenge, recovery, "RecoveryKey", encryptedPrivateKey="y"),
    }
    registering = sdk(with_token(shared_sandbox.admin, challenge["temporaryAuthenticationToken"]))
    done = registering.call("register", new)
    assert done["user"] == {"id": made["userId"], "username": name, "orgId": shared_sandbox.values["orgId"]}
    with pytest.raises(registering.error, match="already exists"):
        registering.call("register", new)
    for asking in (lookup(shared_sandbox, name), {"orgId": shared_sandbox.values["orgId"]}):
        asked_login = admin.call("create_login_challenge", asking)
        passkey.counter += 1
        session = admin.call("login", answered(asked_login, passkey))["token"]
        person = sdk(with_token(shared_sandbox.admin, session))
        assert len(person.call("list_credentials")["items"]) == 3
    assert admin.call("send_login_code", lookup(shared_sandbox, name)) == {"message": "success"}
    code = mailed_code(shared_sandbox, name, "LoginCode")
    challenge = admin.call("create_login_challenge", lookup(shared_sandbox, name, loginCode=code))
    assert challenge["allowCredentials"]["passwordProtectedKey"][0]["encryptedPrivateKey"] == "x"
    proof = answered(challenge, protected, kind="PasswordProtectedKey")
    session = admin.call("login", proof)["token"]
    person = sdk(with_token(shared_sandbox.admin, session))
    if person.kind == "python":  # the other has no call for it
        session = person.call("exchange_access_token", {"target": shared_sandbox.values["orgId"]})["token"]
        person = sdk(with_token(shared_sandbox.admin, session))
    assert person.call("logout", {"allSessions": True}) == {"message": "success"}


def test_refusals_of_a_login_reach_the_client(shared_sandbox: Sandbox, sdk: Connect) -> None:
    client = sdk(shared_sandbox.admin)
    with pytest.raises(client.error, match="User not found"):
        client.call("create_login_challenge", lookup(shared_sandbox, "nobody@example.com"))
    body = lookup(shared_sandbox, "nobody@example.com", registrationCode="2222-2222-2222-2222")
    with pytest.raises(client.error, match="Invalid code"):
        client.call("create_registration_challenge", body)


def test_a_service_account_registers_an_end_user_and_logs_them_in(shared_sandbox: Sandbox, sdk: Connect) -> None:
    program, name = sdk(shared_sandbox.service), f"end user {next(_NUMBER)}"
    challenge = program.call("create_delegated_registration_challenge", {"email": name, "kind": "EndUser"})
    key = NewKey()
    bearer = with_token(shared_sandbox.service, challenge["temporaryAuthenticationToken"])
    registering = sdk(bearer)
    first = credential(challenge, key, "Key")
    with pytest.raises(registering.error, match="Wallets are not offered yet"):
        registering.call("register_end_user", {"firstFactorCredential": first, "wallets": [{"network": "Bitcoin"}]})
    done = registering.call("register_end_user", {"firstFactorCredential": first, "wallets": []})
    for token in (done["authentication"]["token"], program.call("delegated_login", {"username": name})["token"]):
        person = sdk(with_token(shared_sandbox.service, token))
        assert [item["credentialId"] for item in person.call("list_credentials")["items"]] == [key.credential_id]


def recovered(sdk: Connect, connection: Connection, challenge: Any, recovery: NewKey, new: NewKey) -> Any:
    """Recover with a new key; what the SDK answers, and the same sent again."""
    body = recovering(recovery, {"firstFactorCredential": credential(challenge, new, "Key")})
    client = sdk(with_token(connection, challenge["temporaryAuthenticationToken"]))
    done = client.call("recover", body)
    assert client.call("recover", body) == done
    with pytest.raises(client.error, match="Challenge token is not valid"):
        client.call("recover", recovering(recovery, {"firstFactorCredential": credential(challenge, NewKey(), "Key")}))
    return done


def test_an_employee_recovers_with_a_mailed_code(shared_sandbox: Sandbox, sdk: Connect) -> None:
    admin, name = sdk(shared_sandbox.admin), f"recovering{next(_NUMBER)}@example.com"
    made = admin.call("create_user", {"email": name, "kind": "CustomerEmployee"})
    code = mailed_code(shared_sandbox, name, "Invitation")
    challenge = admin.call("create_registration_challenge", lookup(shared_sandbox, name, registrationCode=code))
    old, recovery, new = NewKey(), NewKey(), NewKey()
    body = {
        "firstFactorCredential": credential(challenge, old, "Key"),
        "recoveryCredential": credential(challenge, recovery, "RecoveryKey", encryptedPrivateKey="sealed"),
    }
    sdk(with_token(shared_sandbox.admin, challenge["temporaryAuthenticationToken"])).call("register", body)
    session = admin.call("login", answered(admin.call("create_login_challenge", lookup(shared_sandbox, name)), old))
    assert admin.call("send_recovery_code", lookup(shared_sandbox, name)) == {"message": "success"}
    code = mailed_code(shared_sandbox, name, "RecoveryCode")
    asked = lookup(shared_sandbox, name, verificationCode=code, credentialId=recovery.credential_id)
    challenge = admin.call("create_recovery_challenge", asked)
    assert challenge["allowedRecoveryCredentials"] == [{"id": recovery.credential_id, "encryptedRecoveryKey": "sealed"}]
    with pytest.raises(admin.error, match="Invalid code"):
        admin.call("create_recovery_challenge", asked)
    done = recovered(sdk, shared_sandbox.admin, challenge, recovery, new)
    assert done["user"] == {"id": made["userId"], "username": name, "orgId": shared_sandbox.values["orgId"]}
    ended = sdk(with_token(shared_sandbox.admin, session["token"]))
    _until_refused(lambda: ended.call("list_credentials"), ended.error)
    proof = answered(admin.call("create_login_challenge", lookup(shared_sandbox, name)), new)
    person = sdk(with_token(shared_sandbox.admin, admin.call("login", proof)["token"]))
    assert [item["credentialId"] for item in person.call("list_credentials")["items"]] == [new.credential_id]


def _until_refused(call: Callable[[], Any], error: type[Exception]) -> None:
    """Reads may pass for a second more."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            call()
        except error:
            return
    raise AssertionError("it is still answered")


def test_a_service_account_begins_the_recovery_of_an_end_user(shared_sandbox: Sandbox, sdk: Connect) -> None:
    program, name = sdk(shared_sandbox.service), f"end user {next(_NUMBER)}"
    challenge = program.call("create_delegated_registration_challenge", {"email": name, "kind": "EndUser"})
    recovery, new = NewKey(), NewKey()
    body = {
        "firstFactorCredential": credential(challenge, NewKey(), "Key"),
        "recoveryCredential": credential(challenge, recovery, "RecoveryKey"),
        "wallets": [],
    }
    bearer = with_token(shared_sandbox.service, challenge["temporaryAuthenticationToken"])
    sdk(bearer).call("register_end_user", body)
    unknown = {"username": name, "credentialId": new.credential_id}
    with pytest.raises(program.error, match="credential not found"):
        program.call("create_delegated_recovery_challenge", unknown)
    asked = {"username": name, "credentialId": recovery.credential_id}
    challenge = program.call("create_delegated_recovery_challenge", asked)
    recovered(sdk, shared_sandbox.service, challenge, recovery, new)
    person = sdk(with_token(shared_sandbox.service, program.call("delegated_login", {"username": name})["token"]))
    assert [item["credentialId"] for item in person.call("list_credentials")["items"]] == [new.credential_id]


def test_the_older_typescript_sdk_begins_a_delegated_registration_anew(shared_sandbox: Sandbox) -> None:
    body = {"email": f"end user {next(_NUMBER)}", "kind": "EndUser"}
    with NodeClient(shared_sandbox.service, app_id=shared_sandbox.values["appId"]) as old:
        with pytest.raises(NodeSdkError) as unknown:
            old.call("auth.restartDelegatedUserRegistration", body=body)
        assert unknown.value.status == 404
        first = old.call("auth.createDelegatedUserRegistration", body=body)
        again = old.call("auth.restartDelegatedUserRegistration", body=body)
        assert again["user"] == first["user"]
        assert again["challenge"] != first["challenge"]
