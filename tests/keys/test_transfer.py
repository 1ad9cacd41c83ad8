"""Import and export over HTTP, on both engines: what is off at first, what moves, what is refused, what is audited."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from countersign.api import ApiError
from countersign.keys.export_approvals import fingerprint
from countersign.keys.rows import NewKey
from countersign.keys.transfer import _imported
from countersign.keystores import GeneratedKey, SignerClient, share_points, sharing
from countersign.storage import Statement, Transaction
from countersign.world import World
from tests.clients.signatures import check_ecdsa, check_eddsa
from tests.faults import logs
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.commands import countersign
from tests.support.inprocess import InProcess
from tests.support.moving_keys import SUPPORTED, Receiver, import_body, text
from tests.support.server import Sandbox

HASH = {"kind": "Hash", "hash": "5a" * 32}
MESSAGE = {"kind": "Message", "message": "0x00"}
KINDS = (
    ("CGGMP21", "secp256k1", "ECDSA", HASH),
    ("FROST", "ed25519", "EdDSA", MESSAGE),
    ("FROST_BITCOIN", "secp256k1", "Schnorr", {**HASH, "taprootMerkleRoot": ""}),
    ("CGGMP21", "stark", "ECDSA", {**HASH, "hash": "05" * 32}),
)


def allow(sandbox: Sandbox, *options: str) -> dict[str, Any]:
    done = countersign("admin", "keys", "--data", sandbox.directory, "--json", *options)
    assert done.status == 0, done.errors
    settings: dict[str, Any] = json.loads(done.output)
    return settings


@pytest.fixture(scope="module")
def moving(shared_sandbox: Sandbox) -> Sandbox:
    """The shared sandbox with everything allowed but the use of exported keys, from the first test that asks for it."""
    allow(shared_sandbox, "--enable-import", "--enable-export")
    return shared_sandbox


@pytest.fixture
def caller(shared_sandbox: Sandbox) -> Iterator[Caller]:
    with Caller(shared_sandbox.service) as caller:
        yield caller


def listed(caller: Caller) -> Any:
    return caller.send("GET", "/signers").json()


def imported(caller: Caller, body: dict[str, Any]) -> Any:
    answer = caller.signed("POST", "/keys/import", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_both_are_off_until_the_operator_enables_them(shared_sandbox: Sandbox, caller: Caller) -> None:
    assert allow(shared_sandbox) == {
        "orgId": shared_sandbox.values["orgId"],
        "keyImport": False,
        "keyExport": False,
        "signAfterExport": False,
        "exportApprovers": [],
        "exportQuorum": 0,
    }
    answer = caller.signed("POST", "/keys/import", import_body(listed(caller)))
    assert refused(answer)[:2] == (403, "KEY_IMPORT_DISABLED")
    assert "countersign admin keys --enable-import" in answer.json()["error"]["details"]["hint"]
    key = caller.create_key()
    answer = caller.signed("POST", f"/keys/{key}/export", Receiver().body())
    assert refused(answer)[:2] == (403, "KEY_EXPORT_DISABLED")
    assert "countersign admin keys --enable-export" in answer.json()["error"]["details"]["hint"]
    assert "exported" not in caller.send("GET", f"/keys/{key}").json()


def test_five_signers_are_listed_and_stay(caller: Caller) -> None:
    first = listed(caller)
    assert len(first["clusters"]) == 1
    assert len({signer["signerId"] for signer in first["clusters"][0]["signers"]}) == 5
    assert {len(signer["encryptionKey"]) for signer in first["clusters"][0]["signers"]} == {48}
    assert listed(caller) == first


@pytest.mark.parametrize(("protocol", "curve", "scheme", "body"), KINDS)
def test_k2_an_imported_key_signs_for_the_public_key_that_was_shared(
    moving: Sandbox, caller: Caller, protocol: str, curve: str, scheme: str, body: dict[str, Any]
) -> None:
    secret = secrets.randbelow(sharing.ORDERS[curve] - 1) + 1
    key = imported(caller, import_body(listed(caller), secret, protocol, curve, name="moved in"))
    point = share_points.canonical(curve, share_points.public_share(curve, secret)).hex()
    assert key["publicKey"] == ("02" + point[2:] if scheme == "Schnorr" else point)
    assert (key["scheme"], key["curve"], key["imported"], key["name"]) == (scheme, curve, True, "moved in")
    assert "exported" not in key
    detail = caller.send("GET", f"/keys/{key['id']}").json()
    assert detail["imported"] is True
    signature = caller.signed("POST", f"/keys/{key['id']}/signatures", body).json()
    assert signature["status"] == "Signed"
    if (scheme, curve) == ("ECDSA", "secp256k1"):
        check_ecdsa(key["publicKey"], bytes.fromhex(HASH["hash"]), signature["signature"])
    if scheme == "EdDSA":
        check_eddsa(key["publicKey"], b"\0", signature["signature"])


@pytest.mark.parametrize(("protocol", "curve", "scheme", "body"), KINDS)
def test_k3_an_exported_key_is_the_key_and_no_longer_signs(
    moving: Sandbox, caller: Caller, protocol: str, curve: str, scheme: str, body: dict[str, Any]
) -> None:
    key = caller.create_key(scheme, curve)
    receiver = Receiver()
    exported = caller.signed("POST", f"/keys/{key}/export", receiver.body())
    assert exported.status_code == 200, exported.text
    answer = exported.json()
    assert (answer["protocol"], answer["curve"], answer["minSigners"]) == (protocol, curve, 3)
    assert len(answer["encryptedKeyShares"]) == 5
    secret = receiver.open(answer)
    point = share_points.canonical(curve, share_points.public_share(curve, secret))
    assert point.hex() == answer["publicKey"] == caller.send("GET", f"/keys/{key}").json()["publicKey"]
    after = caller.send("GET", f"/keys/{key}").json()
    assert after["exported"] is True
    signed = caller.signed("POST", f"/keys/{key}/signatures", body)
    assert refused(signed)[:2] == (403, "KEY_EXPORTED")
    assert caller.send("GET", f"/keys/{key}/signatures").json()["items"] == []
    again = caller.signed("POST", f"/keys/{key}/export", receiver.body()).json()
    assert receiver.open(again) == secret
    assert again["encryptedKeyShares"] != answer["encryptedKeyShares"]
    assert caller.send("GET", f"/keys/{key}").json()["dateExported"] == after["dateExported"]


def test_exported_keys_sign_where_the_operator_allows_it(moving: Sandbox, caller: Caller) -> None:
    key = caller.create_key("ECDSA", "secp256k1")
    assert caller.signed("POST", f"/keys/{key}/export", Receiver().body()).status_code == 200
    allow(moving, "--sign-after-export")
    try:
        assert caller.signed("POST", f"/keys/{key}/signatures", HASH).json()["status"] == "Signed"
    finally:
        allow(moving, "--no-sign-after-export")
    assert refused(caller.signed("POST", f"/keys/{key}/signatures", HASH))[:2] == (403, "KEY_EXPORTED")


def test_an_exported_dh_key_derives_no_longer(moving: Sandbox, caller: Caller) -> None:
    key = caller.create_key("DH", "secp256k1")
    wish = {"domain": "00", "seed": "01"}
    assert caller.signed("POST", f"/keys/{key}/derive", wish).status_code == 200
    exported = caller.signed(
        "POST", f"/keys/{key}/export", Receiver().body([{"protocol": "GLOW20_DH", "curve": "secp256k1"}])
    )
    assert exported.status_code == 200, exported.text
    assert refused(caller.signed("POST", f"/keys/{key}/derive", wish))[:2] == (403, "KEY_EXPORTED")


def test_k3_an_export_leaves_an_entry_that_names_the_encryption_key(
    moving: Sandbox, caller: Caller, tmp_path: Path
) -> None:
    key, receiver = caller.create_key("ECDSA", "secp256k1"), Receiver()
    assert caller.signed("POST", f"/keys/{key}/export", receiver.body()).status_code == 200
    log = logs.export(moving, tmp_path / "audit.jsonl")
    (entry,) = [one for one in log.entries.values() if one.get("event") == "KeyExported" and key in one["entityIds"]]
    details = entry["details"]
    assert details["encryptionKey"] == fingerprint(receiver.encryption_key)
    assert details["approval"].startswith("none")
    assert log.entries[details["actionId"]]["path"] == f"/keys/{key}/export"
    assert "key exported without an approval" in moving.log()
    logs.verify(log, logs.fingerprint(moving))


def test_a_public_key_that_is_active_already_is_a_conflict(moving: Sandbox, caller: Caller) -> None:
    secret = secrets.randbelow(2**250) + 1
    first = imported(caller, import_body(listed(caller), secret))
    again = caller.signed("POST", "/keys/import", import_body(listed(caller), secret))
    assert refused(again)[:2] == (409, "CONFLICT")
    assert again.json()["error"]["details"]["duplicate"] == {"id": first["id"]}
    assert caller.signed("DELETE", f"/keys/{first['id']}").status_code == 200
    assert imported(caller, import_body(listed(caller), secret))["publicKey"] == first["publicKey"]


def test_an_imported_master_key_has_children(moving: Sandbox, caller: Caller) -> None:
    body = import_body(listed(caller), protocol="FROST", curve="ed25519", masterKey=True, chain_code=b"c" * 32)
    key = imported(caller, body)
    assert key["masterKey"] is True
    made = caller.signed(
        "POST", "/keys", {"scheme": "EdDSA", "curve": "ed25519", "deriveFrom": {"keyId": key["id"], "path": "m/3"}}
    )
    assert made.status_code == 200, made.text
    assert made.json()["derivedFrom"] == {"keyId": key["id"], "path": "m/3"}


def spoilt() -> list[tuple[str, Any, str]]:
    def members(**changed: Any) -> Any:
        return lambda body: {**body, **changed}

    def without(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "encryptedKeyShares": body["encryptedKeyShares"][:4]}

    def twice(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "encryptedKeyShares": [*body["encryptedKeyShares"], body["encryptedKeyShares"][0]]}

    def changed(body: dict[str, Any]) -> dict[str, Any]:
        share = body["encryptedKeyShares"][2]
        spoilt_share = {**share, "encryptedKeyShare": "AAAA" + share["encryptedKeyShare"][4:]}
        return {
            **body,
            "encryptedKeyShares": [*body["encryptedKeyShares"][:2], spoilt_share, *body["encryptedKeyShares"][3:]],
        }

    def strangers(body: dict[str, Any]) -> dict[str, Any]:
        shares = [{**share, "signerId": text(bytes([n]) * 32)} for n, share in enumerate(body["encryptedKeyShares"])]
        return {**body, "encryptedKeyShares": shares}

    return [
        ("a share is missing", without, "KEY_SHARES_REFUSED"),
        ("a share comes twice", twice, "KEY_SHARES_REFUSED"),
        ("a byte is changed", changed, "KEY_SHARES_REFUSED"),
        ("signers nobody listed", strangers, "KEY_SHARES_REFUSED"),
        ("minSigners 1", members(minSigners=1), "KEY_SHARES_REFUSED"),
        ("minSigners 2", members(minSigners=2), "KEY_SHARES_REFUSED"),
        ("minSigners 6", members(minSigners=6), "KEY_SHARES_REFUSED"),
        ("minSigners 0", members(minSigners=0), "VALIDATION"),
        ("protocol of another curve", members(protocol="FROST"), "VALIDATION"),
        ("unknown protocol", members(protocol="GG18"), "VALIDATION"),
        ("another curve", members(protocol="FROST", curve="ed25519"), "KEY_SHARES_REFUSED"),
        ("no base64", members(encryptedKeyShares=[{"signerId": "*", "encryptedKeyShare": "*"}]), "VALIDATION"),
        ("no shares", members(encryptedKeyShares=[]), "VALIDATION"),
        ("master DH", members(protocol="GLOW20_DH", masterKey=True), "VALIDATION"),
    ]


@pytest.mark.parametrize(("spoil", "code"), [case[1:] for case in spoilt()], ids=[case[0] for case in spoilt()])
def test_k5_what_is_not_one_whole_key_is_refused_and_makes_none(
    moving: Sandbox, caller: Caller, spoil: Any, code: str
) -> None:
    before = caller.send("GET", "/keys").json()["items"][:1]
    answer = caller.signed("POST", "/keys/import", spoil(import_body(listed(caller))))
    assert refused(answer)[:2] == (400, code), answer.text
    assert caller.send("GET", "/keys").json()["items"][:1] == before


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"supportedSchemes": []}, "VALIDATION"),
        ({"supportedSchemes": [{"protocol": "FROST", "curve": "ed25519"}]}, "VALIDATION"),
        ({"supportedSchemes": [{"protocol": "FROST", "curve": "p256"}]}, "VALIDATION"),
        ({"encryptionKey": "AQ=="}, "KEY_SHARES_REFUSED"),
        ({"encryptionKey": text(b"\2" + bytes(33))}, "KEY_SHARES_REFUSED"),
        ({"encryptionKey": "*"}, "VALIDATION"),
    ],
)
def test_an_export_that_nobody_could_read_marks_nothing(
    moving: Sandbox, caller: Caller, members: dict[str, Any], code: str
) -> None:
    key = caller.create_key("ECDSA", "secp256k1")
    answer = caller.signed("POST", f"/keys/{key}/export", {**Receiver().body(), **members})
    assert refused(answer)[:2] == (400, code), answer.text
    assert "exported" not in caller.send("GET", f"/keys/{key}").json()
    assert caller.signed("POST", f"/keys/{key}/signatures", HASH).json()["status"] == "Signed"


def test_an_archived_key_is_not_exported(moving: Sandbox, caller: Caller) -> None:
    key = caller.create_key()
    assert caller.signed("DELETE", f"/keys/{key}").status_code == 200
    answer = caller.signed("POST", f"/keys/{key}/export", Receiver().body())
    assert refused(answer)[:2] == (400, "KEY_ARCHIVED")


def test_the_protocol_is_the_callers_first_that_fits(moving: Sandbox, caller: Caller) -> None:
    key = caller.create_key("ECDSA", "secp256k1")
    wished = [SUPPORTED[2], {"protocol": "KU23", "curve": "secp256k1"}, SUPPORTED[0]]
    answer = caller.signed("POST", f"/keys/{key}/export", Receiver().body(wished)).json()
    assert answer["protocol"] == "KU23"


def test_what_the_operator_allows_is_audited_once(shared_sandbox: Sandbox, tmp_path: Path) -> None:
    for option in ("--disable-import", "--enable-import", "--enable-import", "--disable-import"):
        allow(shared_sandbox, option)
    entries = logs.export(shared_sandbox, tmp_path / "audit.jsonl").entries.values()
    told = [entry["details"] for entry in entries if entry.get("event") == "KeySettingsChanged"]
    assert told[-2:] == [{"import": "on"}, {"import": "off"}]


def test_k4_a_new_store_root_brings_new_signers(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "data") as sandbox, Caller(sandbox.service) as caller:
        allow(sandbox, "--enable-import", "--enable-export")
        before = listed(caller)
        key = imported(caller, import_body(before))
        old_shares = import_body(before)
        rotated = countersign("keystore", "rotate-root", "--data", sandbox.directory, "--settle", "0")
        assert rotated.status == 0, rotated.errors
        after = listed(caller)
        assert after["clusters"][0]["clusterId"] != before["clusters"][0]["clusterId"]
        # The old root is gone, and with it what it sealed: such shares open nowhere.
        assert refused(caller.signed("POST", "/keys/import", old_shares))[:2] == (400, "KEY_SHARES_REFUSED")
        assert imported(caller, import_body(after))["imported"] is True
        assert caller.signed("POST", f"/keys/{key['id']}/signatures", HASH).json()["status"] == "Signed"
        receiver = Receiver()
        exported = caller.signed("POST", f"/keys/{key['id']}/export", receiver.body())
        assert receiver.open(exported.json()) > 0


def test_an_import_that_was_switched_off_meanwhile_is_not_stored() -> None:
    """The signer has put the key together by then; its record goes nowhere."""
    new = NewKey("or-1", "key-1", "ECDSA", "secp256k1", "ks-1", is_imported=True)
    made = GeneratedKey(b"\2" * 33, b"record", 1, 1, "secp256k1.scalar")
    transaction = _imported(new, made, World())
    assert next(transaction)[0].name == "key_settings"
    with pytest.raises(ApiError) as refusal:
        transaction.send([(0, 1, 0, "", 0)])
    assert refusal.value.code == "KEY_IMPORT_DISABLED"


def test_an_export_that_was_switched_off_meanwhile_lets_nothing_out(
    runner: asyncio.Runner, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer has shared the key by then; its shares go nowhere."""

    def switched(on: int) -> Transaction[None]:
        yield Statement("of_a_test", "UPDATE organisations SET key_export = ?"), (on,)

    with InProcess(runner, tmp_path / "data", database_url) as server, server.caller(server.service) as caller:
        database = server.runtime.services.database
        key = caller.create_key("ECDSA", "secp256k1")
        runner.run(database.write(lambda: switched(1)))
        share = SignerClient.export_key

        async def shared_too_late(*arguments: Any) -> Any:
            shares = await share(*arguments)
            await database.write(lambda: switched(0))
            return shares

        monkeypatch.setattr(SignerClient, "export_key", shared_too_late)
        answer = caller.signed("POST", f"/keys/{key}/export", Receiver().body())
        assert refusal(answer) == (403, "KEY_EXPORT_DISABLED")
        assert not caller.send("GET", f"/keys/{key}").json().get("exported")
