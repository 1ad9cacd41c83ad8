"""Keys of every kind over HTTP, on both engines: drawn, derived below masters, in stores; once, at once, half-way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from msgspec.structs import astuple, replace

from countersign.api import ApiError, Epochs, Superseded
from countersign.api import Caller as Identified
from countersign.keys import creation
from countersign.keys.rows import NewKey, StoredKey
from countersign.keys.signing import SUPPORTED
from countersign.keystores import GeneratedKey, stark
from countersign.storage import Transaction
from countersign.world import World
from tests.clients.signatures import check_ecdsa, check_eddsa, check_schnorr, raw, taproot_output_key
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.server import Sandbox
from tests.support.tenants import Tenants, beside

DIGEST = bytes([5]) * 32
MASTERS = [("ECDSA", "secp256k1"), ("ECDSA", "stark"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1")]


@pytest.fixture(scope="module")
def tenants(shared_sandbox: Sandbox) -> Tenants:
    return beside(shared_sandbox.directory, shared_sandbox.database, shared_sandbox.values["baseUrl"])


@pytest.fixture
def caller(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.service) as caller:
        yield caller


def post(caller: Caller, scheme: str, curve: str, **members: Any) -> httpx.Response:
    return caller.signed("POST", "/keys", {"scheme": scheme, "curve": curve, **members})


def made(caller: Caller, scheme: str, curve: str, **members: Any) -> dict[str, Any]:
    answer = post(caller, scheme, curve, **members)
    assert answer.status_code == 200, answer.text
    key: dict[str, Any] = answer.json()
    return key


def check_signs(caller: Caller, key: dict[str, Any]) -> None:
    """A signature of the key holds under its public key."""
    scheme, curve, public = key["scheme"], key["curve"], key["publicKey"]
    body = {"kind": "Hash", "hash": DIGEST.hex()}
    if scheme == "Schnorr":
        body["taprootMerkleRoot"] = ""
    signed = caller.signed("POST", f"/keys/{key['id']}/signatures", body).json()
    assert signed["status"] == "Signed", signed
    signature = signed["signature"]
    if scheme == "EdDSA":
        check_eddsa(public, DIGEST, signature)
    elif scheme == "Schnorr":
        check_schnorr(taproot_output_key(public, b""), DIGEST, raw(signature))
    elif curve == "secp256k1":
        check_ecdsa(public, DIGEST, signature)
    else:
        both = bytes.fromhex(signature["r"][2:] + signature["s"][2:])
        assert stark.recovers(bytes.fromhex(public), DIGEST, both + bytes([signature["recid"]]))


@pytest.mark.parametrize(("scheme", "curve"), sorted(SUPPORTED))
def test_every_pair_makes_a_key_that_is_listed_as_it_was_made(caller: Caller, scheme: str, curve: str) -> None:
    key = made(caller, scheme, curve, name=f"{scheme} {curve}")
    assert len(bytes.fromhex(key["publicKey"])) == (32 if curve == "ed25519" else 33)
    assert (key["custodial"], key["status"]) == (True, "Active")
    assert not {"masterKey", "derivedFrom", "imported", "exported", "dateExported", "dateDeleted"} & set(key)
    detail = caller.send("GET", f"/keys/{key['id']}").json()
    assert detail == {**key, "wallets": [], "store": {**detail["store"], "kind": "Mpc", "keyId": key["id"]}}
    assert key in caller.send("GET", "/keys?limit=1").json()["items"]
    if scheme != "DH":
        check_signs(caller, key)


@pytest.mark.parametrize(
    "pair",
    sorted(set(itertools.product(["ECDSA", "EdDSA", "Schnorr", "DH"], ["secp256k1", "ed25519", "stark"])) - SUPPORTED),
)
def test_no_other_pair_makes_one(caller: Caller, pair: tuple[str, str]) -> None:
    assert refusal(post(caller, *pair)) == (400, "KEY_UNSUPPORTED")


@pytest.mark.parametrize(
    ("scheme", "curve", "members", "named"),
    [
        ("DH", "secp256k1", {"masterKey": True}, "masterKey"),
        ("ECDSA", "secp256k1", {"delegateTo": "us-1", "delayDelegation": True}, "delayDelegation"),
        ("ECDSA", "secp256k1", {"masterKey": True, "deriveFrom": {"keyId": "key-1"}}, "masterKey"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "m/0'"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "m"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "m/2147483648"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "m/00"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "m/0/"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "0/1"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": "key-1", "path": "m/\u0661"}}, "deriveFrom.path"),
        ("ECDSA", "secp256k1", {"deriveFrom": {"keyId": ""}}, "deriveFrom.keyId"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(
    caller: Caller, scheme: str, curve: str, members: dict[str, Any], named: str
) -> None:
    answer = post(caller, scheme, curve, **members)
    assert refusal(answer) == (400, "VALIDATION")
    assert named in answer.json()["message"]


@pytest.mark.parametrize(("scheme", "curve"), MASTERS)
def test_children_of_a_master_sign_under_keys_of_their_own(caller: Caller, scheme: str, curve: str) -> None:
    master = made(caller, scheme, curve, masterKey=True)
    assert master["masterKey"] is True
    check_signs(caller, master)
    children = [
        made(caller, scheme, curve, deriveFrom={"keyId": master["id"], **path})
        for path in ({"path": "m/1"}, {}, {}, {"path": "m/3/4/2147483647"})
    ]
    paths = [child["derivedFrom"] for child in children]
    # m/1 was handed out on demand, so the smallest free indices are 0 and 2.
    assert paths == [{"keyId": master["id"], "path": path} for path in ("m/1", "m/0", "m/2", "m/3/4/2147483647")]
    assert len({key["publicKey"] for key in (master, *children)}) == 5
    for child in children[::3]:
        assert "masterKey" not in child
        check_signs(caller, child)


def test_a_path_is_handed_out_once_whatever_became_of_its_key(caller: Caller) -> None:
    master = made(caller, "ECDSA", "secp256k1", masterKey=True)["id"]
    first = made(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": master, "path": "m/0/1"})
    caller.signed("DELETE", f"/keys/{first['id']}")
    again = post(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": master, "path": "m/0/1"})
    assert refusal(again) == (409, "CONFLICT")
    assert again.json()["error"]["details"]["duplicate"]["id"] == first["id"]


def test_one_path_at_once_is_one_key(caller: Caller, shared_sandbox: Sandbox) -> None:
    master = made(caller, "EdDSA", "ed25519", masterKey=True)["id"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: post(caller, "EdDSA", "ed25519", deriveFrom={"keyId": master, "path": "m/7"}), range(12))
        )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    (winner,) = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert {a.json()["error"]["details"]["duplicate"]["id"] for a in answers if a.status_code == 409} == {winner}


def test_indices_that_are_asked_for_at_once_are_the_smallest_and_all_different(caller: Caller) -> None:
    master = made(caller, "ECDSA", "secp256k1", masterKey=True)["id"]
    wanted: list[dict[str, str]] = [{"keyId": master}] * 20 + [{"keyId": master, "path": "m/5"}]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: post(caller, "ECDSA", "secp256k1", deriveFrom=one), wanted))
    # The explicit one may have come too late for its path.
    keys = [answer.json() for answer in answers if answer.status_code == 200]
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    paths = sorted(int(key["derivedFrom"]["path"][2:]) for key in keys)
    assert paths == list(range(len(keys)))


def test_a_child_is_of_its_masters_kind_and_in_its_store(caller: Caller, tenants: Tenants) -> None:
    master, plain = made(caller, "ECDSA", "secp256k1", masterKey=True), made(caller, "ECDSA", "secp256k1")
    store = caller.send("GET", f"/keys/{master['id']}").json()["store"]["id"]
    wanted = {"keyId": master["id"], "path": "m/0"}
    assert "scheme" in post(caller, "Schnorr", "secp256k1", deriveFrom=wanted).json()["message"]
    assert "curve" in post(caller, "ECDSA", "stark", deriveFrom=wanted).json()["message"]
    assert "storeId" in post(caller, "ECDSA", "secp256k1", deriveFrom=wanted, storeId="ks-other").json()["message"]
    assert refusal(post(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": plain["id"]})) == (400, "KEY_NOT_MASTER")
    child = made(caller, "ECDSA", "secp256k1", deriveFrom=wanted, storeId=store)
    assert refusal(post(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": child["id"]})) == (400, "KEY_NOT_MASTER")
    with Caller(tenants.organisation().connection) as elsewhere:
        for key_id in (master["id"], "key-00000-00000-0000000000000000"):
            assert refusal(post(elsewhere, "ECDSA", "secp256k1", deriveFrom={"keyId": key_id})) == (404, "NOT_FOUND")
    caller.signed("DELETE", f"/keys/{master['id']}")
    assert refusal(post(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": master["id"]})) == (400, "KEY_ARCHIVED")
    # What was derived before is a key of its own.
    check_signs(caller, child)


def test_deriving_needs_a_permission_of_its_own(caller: Caller, shared_sandbox: Sandbox, tenants: Tenants) -> None:
    master = made(caller, "ECDSA", "secp256k1", masterKey=True)["id"]
    org_id = shared_sandbox.values["orgId"]
    for granted, status in ((["Keys:Create"], 403), (["Keys:Create", "Keys:ChildKeys:Create"], 200)):
        account = tenants.service_account(org_id, tenants.permission(org_id, granted))
        tenants.introduce(account)
        with Caller(account.connection) as robot:
            answer = post(robot, "ECDSA", "secp256k1", deriveFrom={"keyId": master})
            assert answer.status_code == status, answer.text
            if status == 403:
                assert "(Keys:ChildKeys:Create)" in answer.json()["message"]


def test_an_application_without_the_permission_derives_nothing_for_those_who_hold_it(
    caller: Caller, shared_sandbox: Sandbox, tenants: Tenants
) -> None:
    """What is asked beside the operation's own permission is asked of the application too."""
    master = made(caller, "ECDSA", "secp256k1", masterKey=True)["id"]
    body = {"scheme": "ECDSA", "curve": "secp256k1", "deriveFrom": {"keyId": master}}
    with Caller(shared_sandbox.admin) as admin:
        for granted, status in ((["Keys:Create"], 403), (["Keys:Create", "Keys:ChildKeys:Create"], 200)):
            permission = tenants.permission(shared_sandbox.values["orgId"], granted)
            wanted = {"name": f"{status}", "kind": "ClientSideApplication", "permissionId": permission}
            app_id = admin.signed("POST", "/auth/apps", wanted).json()["appId"]
            caller.http.headers["X-DFNS-APPID"] = app_id
            answer = caller.signed("POST", "/keys", body)
            del caller.http.headers["X-DFNS-APPID"]
            assert answer.status_code == status, answer.text


def test_a_key_goes_into_the_store_that_is_named(caller: Caller) -> None:
    stores = caller.send("GET", "/key-stores").json()["items"]
    assert [(store["kind"], store["primary"]) for store in stores] == [("Mpc", True)]
    key = made(caller, "EdDSA", "ed25519", storeId=stores[0]["id"])
    assert caller.send("GET", f"/keys/{key['id']}").json()["store"]["id"] == stores[0]["id"]
    for unknown in ("ks-00000-00000-0000000000000000", stores[0]["id"].upper(), stores[0]["id"] + " "):
        assert refusal(post(caller, "EdDSA", "ed25519", storeId=unknown)) == (404, "NOT_FOUND")


def test_two_active_keys_of_an_organisation_never_have_one_public_key(caller: Caller, tenants: Tenants) -> None:
    """A derived key that was brought in another way before stands in the way, and is named."""
    master = made(caller, "ECDSA", "secp256k1", masterKey=True)["id"]
    child = made(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": master, "path": "m/0"})
    tenants.execute("UPDATE keys SET derivation_path = 'm/9' WHERE key_id = ?", child["id"])
    again = post(caller, "ECDSA", "secp256k1", deriveFrom={"keyId": master, "path": "m/0"})
    assert (again.status_code, again.json()["error"]["details"]["duplicate"]["id"]) == (409, child["id"])


MASTER = StoredKey(
    "key-1", "ECDSA", "secp256k1", "02ab", None, "Active", 1, "ks-1", 0, None, 1, 0, None, None, 0, None, 0, None, None
)
CHILD = NewKey("or-1", "key-2", "ECDSA", "secp256k1", "ks-1", master_key_id="key-1", derivation_path="m/0")
GENERATED = GeneratedKey(b"\2" * 33, b"record", 1, 1, "secp256k1.scalar")
DERIVING = frozenset({"Keys:Create", "Keys:ChildKeys:Create"})


def identified(operations: frozenset[str]) -> Identified:
    return Identified(
        "or-1", "us-1", "alice", "CustomerEmployee", False, "to-1", "Token", None, Epochs(0, 0, 0), 1, operations, 2**40
    )


def play(transaction: Transaction[Any], rows: list[list[Any]]) -> None:
    """Answer its statements with these rows, and nothing further."""
    next(transaction)
    for each in rows:
        transaction.send([astuple(row) if isinstance(row, StoredKey) else row for row in each])
    pytest.fail("it asked for more")


@pytest.mark.parametrize(
    ("operations", "given", "rows", "refused"),
    [
        (frozenset({"Keys:Create"}), False, [], "FORBIDDEN"),
        (DERIVING, False, [[("key-1",)], []], "NOT_FOUND"),
        (DERIVING, False, [[("key-1",)], [replace(MASTER, status="Archived")]], "KEY_ARCHIVED"),
        (DERIVING, False, [[("key-1",)], [replace(MASTER, delegated_to="us-2")]], "KEY_DELEGATED"),
        (DERIVING, False, [[("key-1",)], [replace(MASTER, delegated_to="us-1")], []], "KEY_DELEGATED"),
        (DERIVING, False, [[]], Superseded),
        (DERIVING, False, [[("key-1",)], [MASTER], [("key-9",)]], Superseded),
        (DERIVING, True, [[], [MASTER], [("key-9",)]], "CONFLICT"),
    ],
    ids=["permission", "gone", "archived", "delegated", "delegated-to-caller", "index", "path", "given-path"],
)
def test_what_was_looked_at_before_deriving_is_looked_at_again_where_the_child_is_stored(
    operations: frozenset[str], given: bool, rows: list[list[Any]], refused: str | type[Exception]
) -> None:
    """Somebody archives or delegates the master, takes the path, or takes a right away while the signer derives."""
    place = creation._Place(MASTER, "m/0", 0, None if given else 0)
    child = creation._insert_child(identified(operations), place, CHILD, GENERATED, World())
    expected = ApiError if isinstance(refused, str) else refused
    with pytest.raises(expected) as raised:
        play(child, rows)
    if isinstance(raised.value, ApiError):
        assert raised.value.code == refused
        assert not given or "at path m/0" in raised.value.message
