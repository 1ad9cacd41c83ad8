"""Both official SDKs move keys, unmodified; the helpers that put shares together are played here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from countersign.keystores import sharing
from tests.clients.sdk_node import NodeClient
from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa
from tests.support.commands import countersign
from tests.support.moving_keys import Receiver, import_body
from tests.support.server import Sandbox

DIGEST = "5a" * 32


@dataclass(frozen=True)
class Sdk:
    """The calls of one SDK, by one signature."""

    list_signers: Callable[[], Any]
    import_key: Callable[[Any], Any]
    export_key: Callable[[str, Any], Any]
    create_key: Callable[[Any], Any]
    get_key: Callable[[str], Any]
    sign: Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def moving(shared_sandbox: Sandbox) -> Sandbox:
    done = countersign("admin", "keys", "--data", shared_sandbox.directory, "--enable-import", "--enable-export")
    assert done.status == 0, done.errors
    return shared_sandbox


@pytest.fixture(params=["python", "typescript"])
def sdk(request: pytest.FixtureRequest, moving: Sandbox) -> Iterator[Sdk]:
    if request.param == "python":
        with python_client(moving.service) as python:
            keys = python.keys
            yield Sdk(
                python.signers.list_signers,
                keys.import_key,
                keys.export_key,
                keys.create_key,
                keys.get_key,
                keys.generate_signature,
            )
        return
    with NodeClient(moving.service) as node:
        yield Sdk(
            lambda: node.call("signers.listSigners"),
            lambda body: node.call("keys.importKey", body=body),
            lambda key_id, body: node.call("keys.exportKey", keyId=key_id, body=body),
            lambda body: node.call("keys.createKey", body=body),
            lambda key_id: node.call("keys.getKey", keyId=key_id),
            lambda key_id, body: node.call("keys.generateSignature", keyId=key_id, body=body),
        )


def test_an_sdk_imports_a_key_that_then_signs(sdk: Sdk) -> None:
    secret = secrets.randbelow(sharing.ORDERS["secp256k1"] - 1) + 1
    key = sdk.import_key(import_body(sdk.list_signers(), secret, name="from elsewhere"))
    assert (key["imported"], key["name"], key["scheme"]) == (True, "from elsewhere", "ECDSA")
    signed = sdk.sign(key["id"], {"kind": "Hash", "hash": DIGEST})
    check_ecdsa(key["publicKey"], bytes.fromhex(DIGEST), signed["signature"])


@pytest.mark.parametrize(("scheme", "curve"), [("ECDSA", "secp256k1"), ("EdDSA", "ed25519"), ("Schnorr", "secp256k1")])
def test_an_sdk_exports_a_key_that_imports_elsewhere(sdk: Sdk, scheme: str, curve: str) -> None:
    key, receiver = sdk.create_key({"scheme": scheme, "curve": curve}), Receiver()
    exported = sdk.export_key(key["id"], receiver.body())
    assert exported["publicKey"] == key["publicKey"]
    assert receiver.open(exported) > 0
    shown = sdk.get_key(key["id"])
    assert shown["exported"] is True
    assert shown["dateExported"]
