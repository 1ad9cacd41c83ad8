"""Keys with the official SDKs, unmodified, both at the same flows: masters and children, owners, outputs, ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest
from dfns_sdk import DfnsClient
from dfns_sdk.types import DfnsError

from tests.clients.connection import Connection
from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa, check_eddsa
from tests.support.server import Sandbox
from tests.support.tenants import Identity, Tenants, beside

DIGEST = hashlib.sha256(b"countersign").hexdigest()
USES = ("Keys:Create", "Keys:Read", "Keys:Signatures:Create", "Keys:Signatures:Read")


class Client(Protocol):
    """An SDK by the names of its API."""

    def create(self, **body: Any) -> dict[str, Any]: ...
    def get(self, key_id: str) -> dict[str, Any]: ...
    def list(self, **query: Any) -> list[dict[str, Any]]: ...
    def delete(self, key_id: str) -> dict[str, Any]: ...
    def delegate(self, key_id: str, user_id: str) -> dict[str, Any]: ...
    def derive(self, key_id: str, domain: str, seed: str) -> dict[str, Any]: ...
    def sign(self, key_id: str, **body: Any) -> dict[str, Any]: ...
    def stores(self) -> list[dict[str, Any]]: ...


class Python:
    """The Python SDK 1.0.4."""

    def __init__(self, dfns: DfnsClient) -> None:
        self._dfns: Any = dfns

    def create(self, **body: Any) -> dict[str, Any]:
        return self._dfns.keys.create_key(body)

    def get(self, key_id: str) -> dict[str, Any]:
        return self._dfns.keys.get_key(key_id)

    def list(self, **query: Any) -> list[dict[str, Any]]:
        return self._dfns.keys.list_keys(query)["items"]

    def delete(self, key_id: str) -> dict[str, Any]:
        return self._dfns.keys.delete_key(key_id)

    def delegate(self, key_id: str, user_id: str) -> dict[str, Any]:
        return self._dfns.keys.delegate_key(key_id, {"delegateTo": user_id})

    def derive(self, key_id: str, domain: str, seed: str) -> dict[str, Any]:
        return self._dfns.keys.derive_key(key_id, {"domain": domain, "seed": seed})

    def sign(self, key_id: str, **body: Any) -> dict[str, Any]:
        return self._dfns.keys.generate_signature(key_id, body)

    def stores(self) -> list[dict[str, Any]]:
        return self._dfns.signers.list_key_stores()["items"]


class TypeScript:
    """The TypeScript SDK 0.8.21."""

    def __init__(self, dfns: NodeClient) -> None:
        self._dfns = dfns

    def create(self, **body: Any) -> dict[str, Any]:
        return self._dfns.call("keys.createKey", body=body)

    def get(self, key_id: str) -> dict[str, Any]:
        return self._dfns.call("keys.getKey", keyId=key_id)

    def list(self, **query: Any) -> list[dict[str, Any]]:
        return self._dfns.call("keys.listKeys", query=query)["items"]

    def delete(self, key_id: str) -> dict[str, Any]:
        return self._dfns.call("keys.deleteKey", keyId=key_id)

    def delegate(self, key_id: str, user_id: str) -> dict[str, Any]:
        return self._dfns.call("keys.delegateKey", keyId=key_id, body={"delegateTo": user_id})

    def derive(self, key_id: str, domain: str, seed: str) -> dict[str, Any]:
        return self._dfns.call("keys.deriveKey", keyId=key_id, body={"domain": domain, "seed": seed})

    def sign(self, key_id: str, **body: Any) -> dict[str, Any]:
        return self._dfns.call("keys.generateSignature", keyId=key_id, body=body)

    def stores(self) -> list[dict[str, Any]]:
        return self._dfns.call("signers.listKeyStores")["items"]


@contextmanager
def connected(sdk: str, connection: Connection) -> Iterator[Client]:
    if sdk == "python":
        with python_client(connection) as dfns:
            yield Python(dfns)
    else:
        with NodeClient(connection) as typescript:
            yield TypeScript(typescript)


@pytest.fixture(params=["python", "typescript"])
def sdk(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def client(sdk: str, shared_sandbox: Sandbox) -> Iterator[Client]:
    with connected(sdk, shared_sandbox.service) as client:
        yield client


@pytest.fixture(scope="module")
def tenants(shared_sandbox: Sandbox) -> Tenants:
    return beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])


@pytest.fixture
def end_user(shared_sandbox: Sandbox, tenants: Tenants) -> Identity:
    org_id = shared_sandbox.values["orgId"]
    made = tenants.end_user(org_id, tenants.permission(org_id, USES))
    tenants.introduce(made)
    return made


REFUSALS = (DfnsError, NodeSdkError)


def status_of(error: pytest.ExceptionInfo[BaseException]) -> int | None:
    value = error.value
    return value.status_code if isinstance(value, DfnsError) else getattr(value, "status", None)


def refused(call: Any, *arguments: Any, **members: Any) -> int | None:
    with pytest.raises(REFUSALS) as error:
        call(*arguments, **members)
    return status_of(error)


def test_masters_and_their_children(client: Client) -> None:
    master = client.create(scheme="ECDSA", curve="secp256k1", name="root", masterKey=True)
    assert master["masterKey"] is True
    first = client.create(scheme="ECDSA", curve="secp256k1", deriveFrom={"keyId": master["id"]})
    at = client.create(scheme="ECDSA", curve="secp256k1", deriveFrom={"keyId": master["id"], "path": "m/44/0/1"})
    assert first["derivedFrom"] == {"keyId": master["id"], "path": "m/0"}
    assert at["derivedFrom"] == {"keyId": master["id"], "path": "m/44/0/1"}
    signed = client.sign(at["id"], kind="Hash", hash=DIGEST)
    check_ecdsa(at["publicKey"], bytes.fromhex(DIGEST), signed["signature"])
    again = {"scheme": "ECDSA", "curve": "secp256k1", "deriveFrom": {"keyId": master["id"], "path": "m/44/0/1"}}
    assert refused(client.create, **again) == 409
    hardened = {"scheme": "ECDSA", "curve": "secp256k1", "deriveFrom": {"keyId": master["id"], "path": "m/44'"}}
    assert refused(client.create, **hardened) == 400
    assert client.get(at["id"])["derivedFrom"] == at["derivedFrom"]


def test_key_stores_and_the_one_a_key_is_in(client: Client) -> None:
    (store,) = client.stores()
    assert (store["kind"], store["primary"]) == ("Mpc", True)
    key = client.create(scheme="EdDSA", curve="ed25519", storeId=store["id"])
    assert client.get(key["id"])["store"] == {"id": store["id"], "kind": "Mpc", "keyId": key["id"]}
    assert refused(client.create, scheme="EdDSA", curve="ed25519", storeId="ks-unknown") == 404


def test_what_a_dh_key_derives(client: Client) -> None:
    key = client.create(scheme="DH", curve="secp256k1")
    first = client.derive(key["id"], "0x6162", "0x01")
    assert first == client.derive(key["id"], "6162", "01")
    assert first != client.derive(key["id"], "6162", "02")
    assert refused(client.derive, key["id"], "", "01") == 400
    other = client.create(scheme="ECDSA", curve="secp256k1")
    assert refused(client.derive, other["id"], "6162", "01") == 400


def test_a_key_that_is_delegated_is_its_end_users(sdk: str, client: Client, end_user: Identity) -> None:
    key = client.create(scheme="EdDSA", curve="ed25519", delayDelegation=True)
    assert key["custodial"] is True
    assert client.delegate(key["id"], end_user.user_id) == {"keyId": key["id"], "status": "Delegated"}
    assert client.get(key["id"])["custodial"] is False
    assert [item["id"] for item in client.list(owner=end_user.user_id)] == [key["id"]]
    assert refused(client.sign, key["id"], kind="Message", message="0x00") == 403
    assert refused(client.delegate, key["id"], end_user.user_id) == 403
    with connected(sdk, end_user.connection) as owner:
        assert [item["id"] for item in owner.list()] == [key["id"]]
        signed = owner.sign(key["id"], kind="Message", message="0x00")
        check_eddsa(key["publicKey"], b"\0", signed["signature"])
        own = owner.create(scheme="EdDSA", curve="ed25519")
        assert own["custodial"] is False
    assert client.delete(own["id"])["status"] == "Archived"


def test_an_archived_key_stays_listed_and_signs_nothing(client: Client) -> None:
    key = client.create(scheme="ECDSA", curve="stark")
    signed = client.sign(key["id"], kind="Hash", hash="00" + DIGEST[2:])
    assert signed["status"] == "Signed"
    archived = client.delete(key["id"])
    assert archived["status"] == "Archived"
    assert archived["dateDeleted"]
    assert refused(client.sign, key["id"], kind="Hash", hash="00" + DIGEST[2:]) == 400
    assert refused(client.delete, key["id"]) == 404
    assert archived in client.list(limit=5)
