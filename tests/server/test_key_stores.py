"""A hardware module as a further key store of a running server, through the official SDK."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from dfns_sdk.types import DfnsError

from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa, check_eddsa
from tests.support.caller import Caller
from tests.support.commands import countersign
from tests.support.server import Sandbox
from tests.support.softhsm import Token, softhsm_token

DIGEST = hashlib.sha256(b"countersign").hexdigest()


@dataclass
class WithModule:
    """A sandbox with a further store for each mode, in its own signer processes."""

    sandbox: Sandbox
    hsm: Token
    stores: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithModule]:
    directory = tmp_path_factory.mktemp("module")
    for hsm in softhsm_token(tmp_path_factory.mktemp("hsm")):
        with Sandbox(directory / "data"):
            pass
        with tempfile.TemporaryDirectory(prefix="ks") as short:
            stores, settings = dict[str, str](), []
            for mode in ("wrapped", "resident"):
                spec, kek = f"{hsm.spec(label='wrapping')}&mode={mode}", f"dev:{directory / mode}"
                made = countersign(
                    *("keystore", "add", "--data", directory / "data", "--pkcs11", spec, "--kek", kek, "--name", mode)
                )
                assert made.status == 0, made.errors
                found = re.search(r'id = "([^"]+)"', made.output)
                assert found is not None, made.output
                stores[mode] = found[1]
                socket = str(Path(short) / mode / "s")
                settings.append({"id": found[1], "socket": socket, "embedded": True, "store": spec, "kek": kek})
            environment = {**os.environ, "COUNTERSIGN_KEY_STORES": json.dumps(settings)}
            with Sandbox(directory / "data", environment=environment) as sandbox:
                yield WithModule(sandbox, hsm, stores)


def test_further_stores_are_listed_beside_the_primary_one(served: WithModule) -> None:
    with Caller(served.sandbox.service) as caller:
        listed = {item["id"]: item for item in caller.send("GET", "/key-stores").json()["items"]}
    assert [listed[store_id]["kind"] for store_id in served.stores.values()] == ["Hsm", "Hsm"]
    assert [item["name"] for item in listed.values() if item["primary"]] == ["Sealed store"]
    shown = countersign("keystore", "list", "--data", served.sandbox.directory)
    assert all(store_id in shown.output for store_id in served.stores.values())


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
