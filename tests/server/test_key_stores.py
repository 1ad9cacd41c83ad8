"""A hardware module as a further key store of a running server, through the official SDK."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest
from dfns_sdk.types import DfnsError

from tests.backup.builders import age_key, backed_up
from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa, check_eddsa
from tests.faults.waiting import until
from tests.support.answers import refusal
from tests.support.caller import Caller
from tests.support.commands import Done, countersign
from tests.support.enrolment import NewKey, action_with, enrolled
from tests.support.moving_keys import import_body
from tests.support.server import Sandbox
from tests.support.softhsm import Token, softhsm_token

DIGEST = hashlib.sha256(b"countersign").hexdigest()


@dataclass
class WithModule:
    """A sandbox with a further store for each mode, in its own signer processes."""

    sandbox: Sandbox
    hsm: Token
    stores: dict[str, str]
    environment: dict[str, str]
    recovery: Path

    def keystore(self, *arguments: object) -> Done:
        """A command about its key stores."""
        return countersign("keystore", *arguments, "--data", self.sandbox.directory, env=self.environment)

    def wait_until_used(self) -> None:
        """Until the server takes keys for each store: it asks the signers each second whether they are unsealed."""
        with Caller(self.sandbox.admin) as caller:
            for store_id in self.stores.values():
                until(f"{store_id} is used", lambda store_id=store_id: _makes_keys(caller, store_id))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithModule]:
    directory = tmp_path_factory.mktemp("module")
    for hsm in softhsm_token(tmp_path_factory.mktemp("hsm")):
        recovery, recipient = age_key(directory, "recovery")
        with Sandbox(directory / "data", environment={"COUNTERSIGN_RECOVERY_RECIPIENTS": recipient}):
            pass
        with tempfile.TemporaryDirectory(prefix="ks") as short:
            stores, settings = dict[str, str](), []
            for mode in ("wrapped", "resident"):
                # One for each: a login to a token that another process logs in to may be taken for a wrong PIN.
                token = hsm.beside(mode)
                spec, kek = f"{token.spec(label='wrapping')}&mode={mode}", f"dev:{directory / mode}"
                made = countersign(
                    *("keystore", "add", "--data", directory / "data", "--pkcs11", spec, "--kek", kek, "--name", mode)
                )
                assert made.status == 0, made.errors
                found = re.search(r'id = "([^"]+)"', made.output)
                assert found is not None, made.output
                stores[mode] = found[1]
                socket = str(Path(short) / mode / "s")
                settings.append({"id": found[1], "socket": socket, "embedded": True, "store": spec, "kek": kek})
            environment = {
                "COUNTERSIGN_KEY_STORES": json.dumps(settings),
                "COUNTERSIGN_KEY_DESTRUCTION_DAYS": "0",
            }
            with Sandbox(directory / "data", environment=environment) as sandbox:
                module = WithModule(sandbox, hsm, stores, environment, recovery)
                module.wait_until_used()
                yield module


def _makes_keys(caller: Caller, store_id: str) -> bool:
    made = caller.signed("POST", "/keys", {"scheme": "ECDSA", "curve": "secp256k1", "storeId": store_id})
    assert made.status_code == 200 or refusal(made) == (503, "KEYSTORE_SEALED"), made.text
    return made.status_code == 200


def test_further_stores_are_listed_beside_the_primary_one(served: WithModule) -> None:
    with Caller(served.sandbox.service) as caller:
        stores = {item["id"]: item for item in caller.send("GET", "/key-stores").json()["items"]}
    assert [stores[store_id]["kind"] for store_id in served.stores.values()] == ["Hsm", "Hsm"]
    assert [item["name"] for item in stores.values() if item["primary"]] == ["Sealed store"]
    listed = json.loads(countersign("keystore", "list", "--json", "--data", served.sandbox.directory).output)
    assert set(served.stores.values()) == {each["storeId"] for each in listed if not each["isPrimary"]}


@pytest.mark.parametrize("mode", ["wrapped", "resident"])
def test_a_key_made_in_the_module_signs_through_the_official_sdk(served: WithModule, mode: str) -> None:
    with python_client(served.sandbox.service) as dfns:
        key = dfns.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1", "storeId": served.stores[mode]})
        signed = dfns.keys.generate_signature(key["id"], {"kind": "Hash", "hash": DIGEST})
    assert signed["status"] == "Signed"
    check_ecdsa(key["publicKey"], bytes.fromhex(DIGEST), signed["signature"])


def test_a_resident_ed25519_key_signs_a_message(served: WithModule) -> None:
    with python_client(served.sandbox.service) as dfns:
        key = dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519", "storeId": served.stores["resident"]})
        signed = dfns.keys.generate_signature(key["id"], {"kind": "Message", "message": b"hello".hex()})
    check_eddsa(key["publicKey"], b"hello", signed["signature"])


def test_what_the_module_cannot_do_is_refused_at_creation_and_leaves_no_key(served: WithModule) -> None:
    with python_client(served.sandbox.service) as dfns:
        before = len(dfns.keys.list_keys()["items"])
        for scheme, curve in (("Schnorr", "secp256k1"), ("EdDSA", "ed25519"), ("ECDSA", "stark")):
            with pytest.raises(DfnsError) as refused:
                dfns.keys.create_key({"scheme": scheme, "curve": curve, "storeId": served.stores["wrapped"]})
            assert refused.value.status_code == 400
        assert len(dfns.keys.list_keys()["items"]) == before


def test_every_store_is_shown_and_keeps_the_same_roster(served: WithModule) -> None:
    status = json.loads(served.keystore("status", "--json").output)
    shown = [status, *status["furtherStores"]]
    assert [each["state"] for each in shown] == ["unsealed"] * 3
    assert {each["storeId"] for each in shown[1:]} == set(served.stores.values())
    done = served.keystore("roster", "--json")
    document = json.loads(done.output)
    assert (done.status, document["differences"]) == (0, [])
    active = [{each["credentialUuid"] for each in store["credentials"]} for store in document["stores"]]
    assert len(active[0]) >= 2
    assert active[0] == active[1] == active[2]
    one = served.keystore("roster", "--store", served.stores["resident"], "--json")
    assert [each["storeId"] for each in json.loads(one.output)["stores"]] == [served.stores["resident"]]
    assert "is not known" in served.keystore("roster", "--store", "ks-0").errors


def test_a_credential_enrolled_a_moment_ago_moves_keys_of_every_store(served: WithModule) -> None:
    body = {"scheme": "ECDSA", "curve": "secp256k1"}
    with Caller(served.sandbox.admin) as caller:
        new = NewKey()
        enrolled(caller, new)
        for store_id in (None, *served.stores.values()):
            wanted = body if store_id is None else {**body, "storeId": store_id}
            token = action_with(caller, "POST", "/keys", wanted, new).json()["userAction"]
            made = caller.send("POST", "/keys", wanted, action=token)
            assert made.status_code == 200, made.text


def resident_keys(hsm: Token) -> set[bytes]:
    """``CKA_ID`` of the private keys in the token."""
    library = pkcs11.lib(str(hsm.module))
    library.reinitialize()
    token = library.get_token(token_label="resident")
    with token.open(user_pin=hsm.pin_file.read_text().strip()) as session:
        found = session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY})
        return {bytes(each[pkcs11.Attribute.ID]) for each in found}


def told_of(served: WithModule, key_id: str) -> set[tuple[str, str]]:
    """Which stores' signers are told of the end of a key."""
    with closing(sqlite3.connect(served.sandbox.directory / "countersign.db")) as database:
        rows = database.execute("SELECT op, store_id FROM roster_orders WHERE subject_id = ?", (key_id,))
        return set(rows.fetchall())


def test_a_resident_key_that_is_destroyed_is_gone_from_the_token(served: WithModule) -> None:
    with python_client(served.sandbox.service) as dfns:
        kept, gone = (
            dfns.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1", "storeId": served.stores["resident"]})
            for _ in range(2)
        )
        assert {kept["id"].encode(), gone["id"].encode()} <= resident_keys(served.hsm)
        dfns.keys.delete_key(gone["id"])
        assert told_of(served, gone["id"]) == {("archive", served.stores["resident"])}
        assert gone["id"].encode() in resident_keys(served.hsm)
    with Caller(served.sandbox.admin) as caller:
        done = caller.signed("POST", f"/keys/{gone['id']}/destroy", {"publicKey": gone["publicKey"]})
        assert done.status_code == 200, done.text
        assert kept["id"].encode() in resident_keys(served.hsm)
        assert gone["id"].encode() not in resident_keys(served.hsm)
    with python_client(served.sandbox.service) as dfns:
        signed = dfns.keys.generate_signature(kept["id"], {"kind": "Hash", "hash": DIGEST})
        assert signed["status"] == "Signed"


def test_the_root_of_a_further_store_and_what_wraps_it_are_exchanged_while_it_serves(served: WithModule) -> None:
    store, directory = served.stores["wrapped"], served.sandbox.directory.parent
    old, new = f"dev:{directory / 'wrapped'}", f"dev:{directory / 'another'}"
    with Caller(served.sandbox.service) as caller:
        path = f"/keys/{caller.create_key('ECDSA', 'secp256k1', storeId=store)}/signatures"

        def turned(*arguments: object, kek: str = old) -> str:
            settings = served.environment["COUNTERSIGN_KEY_STORES"].replace(f'"kek": "{old}"', f'"kek": "{kek}"')
            command = ("keystore", *arguments, "--store", store, "--data", served.sandbox.directory)
            done = countersign(*command, env={**served.environment, "COUNTERSIGN_KEY_STORES": settings})
            assert done.status == 0, done.errors
            assert caller.signed("POST", path, {"kind": "Hash", "hash": DIGEST}).json()["status"] == "Signed"
            return done.output

        assert "destroyed root 1" in turned("rotate-root", "--settle", 0)
        assert f"kek of {store} in key_stores" in turned("rotate-kek", "--to", new)
        turned("rotate-kek", "--to", old, kek=new)
    shown = json.loads(served.keystore("status", "--json").output)
    roots = {each["storeId"]: [root["version"] for root in each["roots"]] for each in (shown, *shown["furtherStores"])}
    assert (roots.pop(store), set(map(tuple, roots.values()))) == ([1, 2], {(1,)})


def test_a_lost_key_of_the_sealed_store_is_recovered_beside_modules_which_stay_as_they_are(
    served: WithModule, tmp_path: Path
) -> None:
    identity, recipient = age_key(tmp_path)
    with Caller(served.sandbox.service) as caller:
        key, ended = caller.create_key("ECDSA", "secp256k1"), caller.create_key("ECDSA", "secp256k1")
        module = caller.create_key("ECDSA", "secp256k1", storeId=served.stores["wrapped"])
        assert caller.signed("DELETE", f"/keys/{ended}").status_code == 200
    backed_up(served.sandbox, tmp_path / "b.age", recipient)
    new = tmp_path / "new"
    identities = ("--identity", identity, "--recovery-identity", served.recovery)
    done = countersign("keystore", "recover", tmp_path / "b.age", *identities, "--data", new, "--json")
    assert done.status == 0, done.errors
    assert json.loads(done.output)["withoutCopy"] == []
    for path in [served.sandbox.directory / "connection.json", *served.sandbox.directory.glob("*.pem")]:
        shutil.copy(path, new / path.name)
    with (
        closing(sqlite3.connect(new / "countersign.db")) as database,
        closing(sqlite3.connect(served.sandbox.directory / "countersign.db")) as before,
    ):
        of_module = "SELECT record, root_version FROM key_records WHERE key_id = ?"
        assert database.execute(of_module, (module,)).fetchall() == before.execute(of_module, (module,)).fetchall()
    with Sandbox(new) as recovered, Caller(recovered.service) as caller:
        # Its signer's roster begins anew, and is told again what was told before: what has ended stays so.
        assert countersign("keystore", "roster", "adopt", "--yes", "--data", new).status == 0
        answer = caller.signed("POST", f"/keys/{key}/signatures", {"kind": "Hash", "hash": DIGEST})
        assert answer.json()["status"] == "Signed"
        until("the roster is told", lambda: told_of_end(new, ended))


def told_of_end(directory: Path, key_id: str) -> bool:
    """Whether the signer has taken the end of a key."""
    with closing(sqlite3.connect(directory / "countersign.db")) as database:
        told = "SELECT done_at FROM roster_orders WHERE subject_id = ? AND op = 'archive'"
        return all(row[0] is not None for row in database.execute(told, (key_id,)).fetchall())


def test_a_hardware_module_as_primary_store_lists_no_signers_and_imports_nothing(served: WithModule) -> None:
    before = json.loads(served.keystore("status", "--json").output)["storeId"]
    assert countersign("admin", "keys", "--enable-import", "--data", served.sandbox.directory).status == 0
    with Caller(served.sandbox.service) as caller:
        shares = import_body(caller.send("GET", "/signers").json())
    assert served.keystore("primary", served.stores["resident"]).status == 0
    served.sandbox.stop()
    served.sandbox.start()
    try:
        with Caller(served.sandbox.service) as caller:
            for answer in (caller.send("GET", "/signers"), caller.signed("POST", "/keys/import", shares)):
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, "KEY_UNSUPPORTED")
                assert "is a hardware module" in answer.json()["error"]["message"]
            # Keys that name no store are made in the module, and those of the other store still sign.
            assert (
                caller.send("GET", f"/keys/{caller.create_key('ECDSA', 'secp256k1')}").json()["store"]["kind"] == "Hsm"
            )
            assert caller.create_key(storeId=before)
    finally:
        assert served.keystore("primary", before).status == 0
        served.sandbox.stop()
        served.sandbox.start()
