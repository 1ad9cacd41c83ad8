"""Every operation on credentials with both official SDKs, and passkeys signing for both, on both engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dfns_sdk import DfnsClient, DfnsClientConfig
from dfns_sdk.types import DfnsError

from countersign.encoding.dates import to_iso
from tests.clients.connection import Connection
from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.identity.conftest import allow_origin
from tests.support.contract import attach
from tests.support.enrolment import NewKey, NewPasskey, new_body
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside

KEY = {"scheme": "EdDSA", "curve": "ed25519"}


class Sdk:
    """One of the SDKs under names of their own: ``call("create_credential", body)``."""

    def __init__(self, call: Callable[..., Any], error: type[Exception]) -> None:
        self.call = call
        self.error = error


@pytest.fixture(scope="module")
def tenants(shared_sandbox: Sandbox) -> Tenants:
    tenants = beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])
    allow_origin(tenants, shared_sandbox.values["orgId"])
    return tenants


@pytest.fixture
def person(shared_sandbox: Sandbox, tenants: Tenants) -> Identity:
    made = tenants.session(shared_sandbox.values["orgId"], everything=True)
    tenants.introduce(made)
    return made


@pytest.fixture(params=["python", "typescript"])
def dfns(request: pytest.FixtureRequest, person: Identity) -> Iterator[Sdk]:
    if request.param == "python":
        with python_client(person.connection) as client:
            yield Sdk(lambda name, *body: getattr(client.auth, name)(*body), DfnsError)
        return
    with NodeClient(person.connection) as node:

        def call(name: str, *body: Any) -> Any:
            head, *rest = name.split("_")
            method = head + "".join(word.capitalize() for word in rest)
            return node.call(f"auth.{method}", **({"body": body[0]} if body else {}))

        yield Sdk(call, NodeSdkError)


def enrol(dfns: Sdk, new: NewKey | NewPasskey, kind: str, **members: Any) -> Any:
    challenge = dfns.call("create_credential_challenge", {"kind": kind})
    return dfns.call("create_credential", new_body(challenge, new.info(challenge["challenge"]), **members))


def test_credentials_of_every_kind_are_added_listed_deactivated_and_activated(dfns: Sdk, person: Identity) -> None:
    made = [
        enrol(dfns, NewKey(), "Key"),
        enrol(dfns, NewKey(), "PasswordProtectedKey", encryptedPrivateKey="opaque"),
        enrol(dfns, NewKey(), "RecoveryKey"),
        enrol(dfns, NewPasskey(person.user_id), "Fido2"),
    ]
    listed = dfns.call("list_credentials")["items"]
    assert all(item in listed for item in made)
    for item in made:
        reference = {"credentialUuid": item["credentialUuid"]}
        assert dfns.call("deactivate_credential", reference) == {"message": "success"}
        assert dfns.call("activate_credential", reference) == {"message": "success"}
    for item in made:
        dfns.call("deactivate_credential", {"credentialUuid": item["credentialUuid"]})
    with pytest.raises(dfns.error, match="last active credential"):
        dfns.call("deactivate_credential", {"credentialUuid": person.credential_uuid})


def test_a_credential_is_added_with_a_code(dfns: Sdk, person: Identity) -> None:
    for new, kind in ((NewKey(), "Key"), (NewPasskey(person.user_id), "Fido2")):
        code = dfns.call("create_credential_code", {"expiration": to_iso(int(time.time() * 1000) + 50_000)})["code"]
        asked = {"credentialKind": kind, "code": code}
        challenge = dfns.call("create_credential_challenge_with_code", asked)
        body = new_body(challenge, new.info(challenge["challenge"]))
        assert dfns.call("create_credential_with_code", body)["credentialId"] == new.credential_id
        with pytest.raises(dfns.error, match="Invalid code"):
            dfns.call("create_credential_challenge_with_code", asked)


def test_a_credential_is_deleted_by_the_sdk_that_can(person: Identity) -> None:
    with python_client(person.connection) as client:
        auth = client.auth
        challenge = auth.create_credential_challenge({"kind": "Key"})
        new = NewKey()
        uuid = auth.create_credential(new_body(challenge, new.info(challenge["challenge"])))["credentialUuid"]
        assert auth.delete_credential(uuid) == {}
        assert uuid not in [item["credentialUuid"] for item in auth.list_credentials()["items"]]
        with pytest.raises(DfnsError) as unknown:
            auth.delete_credential(uuid)
        assert unknown.value.status_code == 404


class PasskeySigner:
    """A signer for the Python SDK: a passkey."""

    def __init__(self, passkey: NewPasskey) -> None:
        self.passkey = passkey

    def sign(self, challenge: Any) -> Any:
        """The factor that answers the challenge."""
        return self.passkey.factor(challenge["challenge"])


def enrolled_passkey(person: Identity) -> NewPasskey:
    passkey = NewPasskey(person.user_id)
    with python_client(person.connection) as client:
        challenge = client.auth.create_credential_challenge({"kind": "Fido2"})
        client.auth.create_credential(new_body(challenge, passkey.info(challenge["challenge"])))
    return passkey


def test_the_python_sdk_signs_with_a_passkey(person: Identity) -> None:
    passkey, connection = enrolled_passkey(person), person.connection
    config = DfnsClientConfig(
        auth_token=connection["authToken"], base_url=connection["baseUrl"], signer=PasskeySigner(passkey)
    )
    with DfnsClient(config) as client:
        attach(client._http._client)
        for counter in (1, 2):
            passkey.counter = counter
            assert client.keys.create_key(KEY)["status"] == "Active"


def test_the_typescript_sdk_carries_what_a_passkey_signed(person: Identity) -> None:
    passkey = enrolled_passkey(person)
    with delegate(person.connection) as client:
        asked = {"body": KEY}
        challenge = client.call_with("keys.createKeyInit", asked)
        proof = {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": passkey.factor(challenge["challenge"]),
        }
        assert client.call_with("keys.createKeyComplete", asked, proof)["status"] == "Active"


def delegate(connection: Connection) -> NodeClient:
    """A TypeScript client that leaves signing to others."""
    return NodeClient(connection, delegated=True)
