"""The official TypeScript SDK performs every operation, unmodified; every answer is held to the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dfns_sdk.auth import KeySigner

from tests.clients.connection import Connection, private_key
from tests.clients.parties import audited_entry, connection_of, new_credential
from tests.clients.sdk_node import NodeClient, NodeSdkError
from tests.clients.signatures import check_ecdsa, check_eddsa, check_schnorr, raw, taproot_output_key
from tests.support.server import Sandbox

DIGEST = hashlib.sha256(b"countersign").hexdigest()
ALWAYS = {"startTime": "2020-01-01T00:00:00Z", "endTime": "2100-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def dfns(shared_sandbox: Sandbox) -> Iterator[NodeClient]:
    """The service account's client."""
    with NodeClient(shared_sandbox.service) as client:
        yield client


@pytest.fixture(scope="module")
def admin(shared_sandbox: Sandbox) -> Iterator[NodeClient]:
    """The administrator's client."""
    with NodeClient(shared_sandbox.admin) as client:
        yield client


def refused(call: Callable[[], Any]) -> NodeSdkError:
    """The error of a call that must not succeed."""
    with pytest.raises(NodeSdkError) as caught:
        call()
    return caught.value


def test_service_account_from_creation_to_deletion(admin: NodeClient, shared_sandbox: Sandbox, tmp_path: Path) -> None:
    path, public = new_credential(tmp_path, "account")
    held = admin.call("auth.listServiceAccounts")["items"]
    permission = next(item["permissionId"] for a in held for item in a["userInfo"]["permissionAssignments"])
    made = admin.call(
        "auth.createServiceAccount",
        body={"name": "typescript robot", "publicKey": public, "permissionId": permission, "daysValid": 30},
    )
    account = made["userInfo"]["userId"]
    connection = connection_of(made, shared_sandbox.admin, path)

    shown = admin.call("auth.getServiceAccount", serviceAccountId=account)
    assert "accessToken" not in shown["accessTokens"][0]
    assert shown in admin.call("auth.listServiceAccounts")["items"]

    with NodeClient(connection) as robot:
        key = robot.call("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519"})["id"]
        credentials = robot.call("auth.listCredentials")["items"]
        assert [item["credentialId"] for item in credentials] == [connection["credentialId"]]

        body = {"name": "typescript robot two", "externalId": "robot-3"}
        renamed = admin.call("auth.updateServiceAccount", serviceAccountId=account, body=body)
        assert renamed["userInfo"]["username"] == "typescript robot two"

        off = admin.call("auth.deactivateServiceAccount", serviceAccountId=account, body={"force": False})
        assert off["userInfo"]["isActive"] is False
        assert refused(lambda: robot.call("keys.updateKey", keyId=key, body={"name": "no"})).status == 401

        on = admin.call("auth.activateServiceAccount", serviceAccountId=account)
        assert on["userInfo"]["isActive"] is True
        # Signed anew, the account acts at once.
        assert robot.call("keys.updateKey", keyId=key, body={"name": "yes"})["name"] == "yes"

        # The regular client signs the path without the query that it sends.
        deleted = admin.call("auth.archiveServiceAccount", serviceAccountId=account, query={"force": True})
        assert deleted["userInfo"]["isActive"] is False
        # For a moment it may still read that it has no credential left; the SDK refuses by itself then.
        assert refused(lambda: robot.call("keys.updateKey", keyId=key, body={"name": "no"})).status in (401, -1)
    assert refused(lambda: admin.call("auth.getServiceAccount", serviceAccountId=account)).status == 404


def test_keys_from_creation_to_deletion(dfns: NodeClient) -> None:
    made = dfns.call("keys.createKey", body={"scheme": "ECDSA", "curve": "secp256k1", "name": "Schlüssel “1” ☂ 𝔘"})
    assert made["name"] == "Schlüssel “1” ☂ 𝔘"
    detail = dfns.call("keys.getKey", keyId=made["id"])
    assert {name: detail[name] for name in made} == made
    assert "name" not in dfns.call("keys.updateKey", keyId=made["id"], body={"name": None})
    assert dfns.call("keys.deleteKey", keyId=made["id"])["status"] == "Archived"
    body = {"kind": "Hash", "hash": DIGEST}
    archived = refused(lambda: dfns.call("keys.generateSignature", keyId=made["id"], body=body))
    assert (archived.status, archived.body["error"]["code"]) == (400, "KEY_ARCHIVED")


def test_an_id_with_strange_characters_is_no_key_and_no_fault(dfns: NodeClient) -> None:
    for key in ("key 1", "ключ", "key+1", "key:1"):
        assert refused(lambda key=key: dfns.call("keys.updateKey", keyId=key, body={"name": "x"})).status == 404


def test_lists_are_paged_to_the_end(dfns: NodeClient) -> None:
    made = [dfns.call("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519"})["id"] for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = dfns.call("keys.listKeys", query=query)
        seen += [item["id"] for item in page["items"]]
        if "nextPageToken" not in page:
            break
        query = {"limit": 2, "paginationToken": page["nextPageToken"]}
    assert seen == sorted(set(seen), reverse=True)
    assert set(made) <= set(seen)


def test_signatures_hold_outside(dfns: NodeClient) -> None:
    def key(scheme: str, curve: str) -> dict[str, Any]:
        made: dict[str, Any] = dfns.call("keys.createKey", body={"scheme": scheme, "curve": curve})
        return made

    def sign(key: dict[str, Any], **body: Any) -> dict[str, Any]:
        signed = dfns.call("keys.generateSignature", keyId=key["id"], body=body)
        assert signed["status"] == "Signed"
        assert signed["requestBody"] == body
        assert dfns.call("keys.getSignature", keyId=key["id"], signatureId=signed["id"]) == signed
        result: dict[str, Any] = signed["signature"]
        return result

    ecdsa, eddsa, schnorr = key("ECDSA", "secp256k1"), key("EdDSA", "ed25519"), key("Schnorr", "secp256k1")
    digest = bytes.fromhex(DIGEST)
    check_ecdsa(ecdsa["publicKey"], digest, sign(ecdsa, kind="Hash", hash=DIGEST))
    check_eddsa(eddsa["publicKey"], digest, sign(eddsa, kind="Hash", hash=DIGEST))
    check_eddsa(eddsa["publicKey"], b"\x00\x01", sign(eddsa, kind="Message", message="0001"))
    for root in ("", "0x" + "a5" * 32):
        output = taproot_output_key(schnorr["publicKey"], bytes.fromhex(root[2:]))
        signature = sign(schnorr, kind="Hash", hash=DIGEST, taprootMerkleRoot=root)
        check_schnorr(output, digest, raw(signature))
    assert len(dfns.call("keys.listSignatures", keyId=eddsa["id"], query={"limit": 1})["items"]) == 1


def test_repeated_external_id_is_one_signature(dfns: NodeClient) -> None:
    key = dfns.call("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519"})["id"]
    body = {"kind": "Hash", "hash": DIGEST, "externalId": f"ts-{key[-8:]}"}
    first = dfns.call("keys.generateSignature", keyId=key, body=body)
    assert dfns.call("keys.generateSignature", keyId=key, body=body) == first
    other = refused(lambda: dfns.call("keys.generateSignature", keyId=key, body={**body, "hash": "00" * 32}))
    assert other.status == 409
    assert other.body["error"]["details"]["duplicate"]["id"] == first["id"]


def test_audit_log_lists_what_was_done_and_shows_each_entry(dfns: NodeClient, admin: NodeClient) -> None:
    key = dfns.call("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519"})["id"]
    dfns.call("keys.updateKey", keyId=key, body={"name": "audited"})
    listing = admin.call("auth.listAuditLogs", query=ALWAYS)
    entry_id = audited_entry(listing, f"/keys/{key}")
    entry = admin.call("auth.getAuditLog", id=entry_id)
    assert entry["id"] == entry_id
    assert f"/keys/{key}" in entry["action"]


class Delegate:
    """The delegated client with somebody who signs for it: ``signed`` makes an operation's two calls."""

    def __init__(self, connection: Connection) -> None:
        self.client = NodeClient(connection, delegated=True)
        self._signer = KeySigner(connection["credentialId"], private_key(connection))

    def prove(self, challenge: Any) -> dict[str, Any]:
        return {
            "challengeIdentifier": challenge["challengeIdentifier"],
            "firstFactor": self._signer.sign(challenge),
        }

    def signed(self, name: str, **args: Any) -> Any:
        challenge = self.client.call_with(f"{name}Init", args)
        return self.client.call_with(f"{name}Complete", args, self.prove(challenge))

    def __enter__(self) -> Delegate:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()


def test_delegated_client_hands_the_challenge_out_and_takes_the_signature_back(shared_sandbox: Sandbox) -> None:
    with Delegate(shared_sandbox.service) as dfns:
        key = dfns.signed("keys.createKey", body={"scheme": "EdDSA", "curve": "ed25519", "name": "two words"})
        key_id = key["id"]
        assert dfns.signed("keys.updateKey", keyId=key_id, body={"name": "ключ"})["name"] == "ключ"
        signed = dfns.signed("keys.generateSignature", keyId=key_id, body={"kind": "Message", "message": "0xaabb"})
        check_eddsa(key["publicKey"], b"\xaa\xbb", signed["signature"])
        assert dfns.client.call("keys.getSignature", keyId=key_id, signatureId=signed["id"]) == signed

        challenge = dfns.client.call("keys.updateKeyInit", keyId=key_id, body={"name": "one"})
        other = {"keyId": key_id, "body": {"name": "other"}}
        cheat = refused(lambda: dfns.client.call_with("keys.updateKeyComplete", other, dfns.prove(challenge)))
        assert (cheat.status, cheat.body["error"]["code"]) == (403, "USER_ACTION_INVALID")
        assert dfns.client.call("keys.getKey", keyId=key_id)["name"] == "ключ"

        assert dfns.signed("keys.deleteKey", keyId=key_id)["status"] == "Archived"


def test_delegated_client_signs_the_query_too(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    _, public = new_credential(tmp_path, "delegated")
    with Delegate(shared_sandbox.admin) as dfns:
        made = dfns.signed("auth.createServiceAccount", body={"name": "typescript delegated", "publicKey": public})
        account = made["userInfo"]["userId"]
        body = {"name": "typescript delegated again"}
        assert dfns.signed("auth.updateServiceAccount", serviceAccountId=account, body=body)["userInfo"]["isActive"]
        off = dfns.signed("auth.deactivateServiceAccount", serviceAccountId=account, body={})
        assert off["userInfo"]["isActive"] is False
        assert dfns.signed("auth.activateServiceAccount", serviceAccountId=account)["userInfo"]["isActive"] is True

        # What is signed with a query goes with that query only.
        signed_with = {"serviceAccountId": account, "query": {"force": True}}
        challenge = dfns.client.call_with("auth.archiveServiceAccountInit", signed_with)
        without = {"serviceAccountId": account}
        cheat = refused(
            lambda: dfns.client.call_with("auth.archiveServiceAccountComplete", without, dfns.prove(challenge))
        )
        assert cheat.status == 403
        assert dfns.signed("auth.archiveServiceAccount", **signed_with)["userInfo"]["isActive"] is False
