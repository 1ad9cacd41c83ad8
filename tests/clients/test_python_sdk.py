"""The official Python SDK performs every operation, unmodified; every answer is held to the contract."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dfns_sdk import DfnsClient
from dfns_sdk.auth import KeySigner
from dfns_sdk.types import DfnsError

from tests.clients.connection import private_key
from tests.clients.parties import audited_entry, connection_of, new_credential
from tests.clients.sdk_python import delegated_python_client, python_client
from tests.clients.signatures import check_ecdsa, check_eddsa, check_schnorr, raw, taproot_output_key
from tests.support.server import Sandbox

DIGEST = hashlib.sha256(b"countersign").hexdigest()
ALWAYS = {"startTime": "2020-01-01T00:00:00Z", "endTime": "2100-01-01T00:00:00Z"}


@pytest.fixture
def dfns(shared_sandbox: Sandbox) -> Iterator[DfnsClient]:
    """The service account's client."""
    with python_client(shared_sandbox.service) as client:
        yield client


@pytest.fixture
def admin(shared_sandbox: Sandbox) -> Iterator[DfnsClient]:
    """The administrator's client."""
    with python_client(shared_sandbox.admin) as client:
        yield client


def refused(call: Callable[[], Any]) -> DfnsError:
    """The error of a call that must not succeed."""
    with pytest.raises(DfnsError) as caught:
        call()
    return caught.value


def full_permission(admin: DfnsClient) -> str:
    """Id of a permission with every operation: the sandbox's service account holds it."""
    for account in admin.auth.list_service_accounts()["items"]:
        for assignment in account["userInfo"]["permissionAssignments"]:
            found: str = assignment["permissionId"]
            return found
    raise AssertionError("no service account holds a permission")


def test_service_account_from_creation_to_deletion(
    admin: DfnsClient, shared_sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path, public = new_credential(tmp_path, "account")
    accounts = admin.auth
    body = {"name": "python robot", "publicKey": public, "permissionId": full_permission(admin), "daysValid": 30}
    made = accounts.create_service_account(body)
    account_id = made["userInfo"]["userId"]
    connection = connection_of(made, shared_sandbox.admin, path)

    shown = accounts.get_service_account(account_id)
    assert "accessToken" not in shown["accessTokens"][0]
    assert [item for item in accounts.list_service_accounts()["items"] if item["userInfo"]["userId"] == account_id] == [
        shown
    ]

    with python_client(connection) as robot:
        key = robot.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})
        assert [item["credentialId"] for item in robot.auth.list_credentials()["items"]] == [connection["credentialId"]]

        renamed = accounts.update_service_account(account_id, {"name": "python robot two", "externalId": "robot-2"})
        assert renamed["userInfo"]["username"] == "python robot two"

        off = accounts.deactivate_service_account(account_id, {})
        assert off["userInfo"]["isActive"] is False
        assert refused(lambda: robot.keys.update_key(key["id"], {"name": "no"})).status_code == 401

        on = accounts.activate_service_account(account_id)
        assert on["userInfo"]["isActive"] is True

    # An action that was cancelled by the deactivation stays so; a new ceremony works.
    with python_client(connection) as robot:
        assert robot.keys.update_key(key["id"], {"name": "yes"})["name"] == "yes"
        accounts.delete_service_account(account_id)
        assert refused(lambda: robot.keys.update_key(key["id"], {"name": "no"})).status_code == 401
    assert refused(lambda: accounts.get_service_account(account_id)).status_code == 404
    assert refused(lambda: accounts.delete_service_account(account_id)).status_code == 404


def test_deletion_with_a_query_that_the_sdk_does_not_sign(admin: DfnsClient, tmp_path: Path) -> None:
    _, public = new_credential(tmp_path, "forced")
    made = admin.auth.create_service_account({"name": "forced", "publicKey": public})
    account_id = made["userInfo"]["userId"]
    assert made["userInfo"]["permissions"] == []
    deleted = admin.auth.delete_service_account(account_id, {"force": True})
    assert deleted["userInfo"]["isActive"] is False


def test_repeated_creation_answers_the_same_account_without_its_token(admin: DfnsClient, tmp_path: Path) -> None:
    _, public = new_credential(tmp_path, "repeated")
    body = {"name": "repeated", "publicKey": public, "externalId": "repeated-1"}
    first = admin.auth.create_service_account(body)
    again = admin.auth.create_service_account(body)
    assert again["userInfo"]["userId"] == first["userInfo"]["userId"]
    assert "accessToken" not in again["accessTokens"][0]
    other = refused(lambda: admin.auth.create_service_account({**body, "daysValid": 3}))
    assert (other.status_code, other.error_code) == (409, "CONFLICT")
    assert other.details["duplicate"] == {"id": first["userInfo"]["userId"], "externalId": "repeated-1"}


def test_keys_from_creation_to_deletion(dfns: DfnsClient) -> None:
    made = dfns.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1", "name": "first"})
    detail = dfns.keys.get_key(made["id"])
    assert {name: detail[name] for name in made} == made
    assert detail["wallets"] == []

    assert dfns.keys.update_key(made["id"], {"name": "Schlüssel “1” ☂"})["name"] == "Schlüssel “1” ☂"
    assert dfns.keys.get_key(made["id"])["name"] == "Schlüssel “1” ☂"
    assert "name" not in dfns.keys.update_key(made["id"], {"name": None})

    archived = dfns.keys.delete_key(made["id"])
    assert archived["status"] == "Archived"
    body = {"kind": "Hash", "hash": DIGEST}
    assert refused(lambda: dfns.keys.generate_signature(made["id"], body)).error_code == "KEY_ARCHIVED"
    assert refused(lambda: dfns.keys.delete_key(made["id"])).status_code == 404
    assert dfns.keys.get_key(made["id"])["status"] == "Archived"


def test_lists_are_paged_to_the_end(dfns: DfnsClient) -> None:
    made = [dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})["id"] for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = dfns.keys.list_keys(query)
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if "nextPageToken" not in page:
            break
        query = {"limit": 2, "paginationToken": page["nextPageToken"]}
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=True)
    assert set(made) <= set(seen)

    signatures = [dfns.keys.generate_signature(made[0], {"kind": "Hash", "hash": DIGEST})["id"] for _ in range(3)]
    first = dfns.keys.list_signatures(made[0], {"limit": 2})
    rest = dfns.keys.list_signatures(made[0], {"limit": 2, "paginationToken": first["nextPageToken"]})
    assert [item["id"] for item in (*first["items"], *rest["items"])] == sorted(signatures, reverse=True)
    assert "nextPageToken" not in rest
    # A page token belongs to its list.
    strange = {"paginationToken": first["nextPageToken"]}
    assert refused(lambda: dfns.keys.list_signatures(made[1], strange)).status_code == 400


def test_signatures_hold_outside(dfns: DfnsClient) -> None:
    ecdsa = dfns.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1"})
    eddsa = dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})
    schnorr = dfns.keys.create_key({"scheme": "Schnorr", "curve": "secp256k1"})
    digest = bytes.fromhex(DIGEST)

    signed = dfns.keys.generate_signature(ecdsa["id"], {"kind": "Hash", "hash": "0x" + DIGEST})
    assert signed["status"] == "Signed"
    check_ecdsa(ecdsa["publicKey"], digest, signed["signature"])

    signed = dfns.keys.generate_signature(eddsa["id"], {"kind": "Hash", "hash": DIGEST})
    check_eddsa(eddsa["publicKey"], digest, signed["signature"])
    signed = dfns.keys.generate_signature(eddsa["id"], {"kind": "Message", "message": "0x" + "c3a9" * 700})
    check_eddsa(eddsa["publicKey"], bytes.fromhex("c3a9" * 700), signed["signature"])
    signed = dfns.keys.generate_signature(eddsa["id"], {"kind": "Message", "message": ""})
    check_eddsa(eddsa["publicKey"], b"", signed["signature"])

    for root in ("", "0x" + "5a" * 32):
        body = {"kind": "Hash", "hash": DIGEST, "taprootMerkleRoot": root}
        signed = dfns.keys.generate_signature(schnorr["id"], body)
        output = taproot_output_key(schnorr["publicKey"], bytes.fromhex(root.removeprefix("0x")))
        check_schnorr(output, digest, raw(signed["signature"]))
        assert signed["requestBody"] == body

    for key, body in (
        (ecdsa, {"kind": "Message", "message": "00"}),
        (ecdsa, {"kind": "Transaction", "transaction": "0x00"}),
        (ecdsa, {"kind": "Hash", "hash": DIGEST[2:]}),
        (schnorr, {"kind": "Hash", "hash": DIGEST}),
    ):
        assert refused(lambda key=key, body=body: dfns.keys.generate_signature(key["id"], body)).status_code == 400

    read = dfns.keys.get_signature(schnorr["id"], signed["id"])
    assert read == signed
    assert refused(lambda: dfns.keys.get_signature(ecdsa["id"], signed["id"])).status_code == 404


def test_t2_50_parallel_requests_with_one_external_id_are_one_signature(dfns: DfnsClient) -> None:
    key = dfns.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1"})["id"]
    body = {"kind": "Hash", "hash": DIGEST, "externalId": f"once-{key[-8:]}"}

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: dfns.keys.generate_signature(key, body), range(50)))

    assert len({answer["id"] for answer in answers}) == 1
    listed = dfns.keys.list_signatures(key)["items"]
    assert [item["id"] for item in listed] == [answers[0]["id"]]
    assert listed[0]["status"] == "Signed"
    done = [answer["signature"] for answer in answers if answer["status"] == "Signed"]
    assert done
    assert all(signature == listed[0]["signature"] for signature in done)

    changed = refused(lambda: dfns.keys.generate_signature(key, {**body, "hash": "00" * 32}))
    assert (changed.status_code, changed.error_code) == (409, "CONFLICT")
    assert changed.details["duplicate"]["id"] == answers[0]["id"]
    assert len(dfns.keys.list_signatures(key)["items"]) == 1


def test_t2_50_parallel_creations_with_one_external_id_are_one_service_account(
    admin: DfnsClient, tmp_path: Path
) -> None:
    _, public = new_credential(tmp_path, "parallel")
    body = {"name": "parallel", "publicKey": public, "externalId": "parallel-1"}

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: admin.auth.create_service_account(body), range(50)))

    assert len({answer["userInfo"]["userId"] for answer in answers}) == 1
    assert sum("accessToken" in answer["accessTokens"][0] for answer in answers) == 1
    named = [a for a in admin.auth.list_service_accounts()["items"] if a["userInfo"]["username"] == "parallel"]
    assert len(named) == 1


def test_audit_log_lists_what_was_done_and_shows_each_entry(dfns: DfnsClient, admin: DfnsClient) -> None:
    key = dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})["id"]
    dfns.keys.update_key(key, {"name": "audited"})

    seen: list[str] = []
    http = admin._http._client
    http.event_hooks["response"].append(lambda response: seen.append(response.json()))
    # The SDK drops the answer of this call, so it is read on the way.
    admin.auth.list_audit_logs(ALWAYS)
    http.event_hooks["response"].pop()
    entry_id = audited_entry(seen[0], f"/keys/{key}")
    entry = admin.auth.get_audit_log(entry_id)
    assert entry["id"] == entry_id
    assert f"/keys/{key}" in entry["action"]
    assert refused(lambda: admin.auth.get_audit_log("uj-00000-00000-0000000000000000")).status_code == 404


def test_delegated_client_hands_the_challenge_out_and_takes_the_signature_back(shared_sandbox: Sandbox) -> None:
    connection = shared_sandbox.service
    signer = KeySigner(connection["credentialId"], private_key(connection))

    def sign(challenge: Any) -> Any:
        return {"challengeIdentifier": challenge["challengeIdentifier"], "firstFactor": signer.sign(challenge)}

    with delegated_python_client(connection) as dfns:
        keys = dfns.keys
        body: Any = {"scheme": "EdDSA", "curve": "ed25519", "name": "ключ"}
        key = keys.create_key_complete(body, sign(keys.create_key_init(body)))
        key_id = key["id"]
        assert key["name"] == "ключ"

        name: Any = {"name": "two words"}
        assert keys.update_key_complete(key_id, name, sign(keys.update_key_init(key_id, name)))["name"] == "two words"

        message: Any = {"kind": "Message", "message": "0xaabb"}
        challenge = sign(keys.generate_signature_init(key_id, message))
        signed = keys.generate_signature_complete(key_id, message, challenge)
        check_eddsa(key["publicKey"], b"\xaa\xbb", signed["signature"])
        assert keys.get_signature(key_id, signed["id"])["id"] == signed["id"]
        assert len(keys.list_signatures(key_id)["items"]) == 1

        # A signature over one body does not carry another.
        other = refused(
            lambda: keys.update_key_complete(key_id, {"name": "x"}, sign(keys.update_key_init(key_id, name)))
        )
        assert (other.status_code, other.error_code) == (403, "USER_ACTION_INVALID")
        assert keys.get_key(key_id)["name"] == "two words"

        assert keys.delete_key_complete(key_id, sign(keys.delete_key_init(key_id)))["status"] == "Archived"
        assert any(item["id"] == key_id for item in keys.list_keys()["items"])


def test_delegated_client_manages_service_accounts(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    connection = shared_sandbox.admin
    signer = KeySigner(connection["credentialId"], private_key(connection))
    _, public = new_credential(tmp_path, "delegated")

    def sign(challenge: Any) -> Any:
        return {"challengeIdentifier": challenge["challengeIdentifier"], "firstFactor": signer.sign(challenge)}

    with delegated_python_client(connection) as dfns:
        auth = dfns.auth
        body: Any = {"name": "python delegated", "publicKey": public}
        made = auth.create_service_account_complete(body, sign(auth.create_service_account_init(body)))
        account = made["userInfo"]["userId"]
        name: Any = {"name": "python delegated again"}
        auth.update_service_account_complete(account, name, sign(auth.update_service_account_init(account, name)))
        nothing: Any = {}
        off = auth.deactivate_service_account_complete(
            account, nothing, sign(auth.deactivate_service_account_init(account, nothing))
        )
        assert off["userInfo"]["isActive"] is False
        on = auth.activate_service_account_complete(account, sign(auth.activate_service_account_init(account)))
        assert on["userInfo"]["isActive"] is True
        assert auth.get_service_account(account)["userInfo"]["username"] == "python delegated again"
        auth.delete_service_account_complete(account, sign(auth.delete_service_account_init(account)))
        assert all(a["userInfo"]["userId"] != account for a in auth.list_service_accounts()["items"])
