"""A server whose signer has worker processes, driven by the official SDK."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa, check_eddsa
from tests.support.server import Sandbox

DIGEST = hashlib.sha256(b"countersign").hexdigest()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_keys_are_made_and_sign_by_consent_through_workers(tmp_path: Path, workers: str) -> None:
    environment = {"COUNTERSIGN_SIGNER_WORKERS": workers}
    with Sandbox(tmp_path / "data", environment=environment) as server, python_client(server.service) as dfns:
        key = dfns.keys.create_key({"scheme": "ECDSA", "curve": "secp256k1"})
        edwards = dfns.keys.create_key({"scheme": "EdDSA", "curve": "ed25519"})

        def sign(_: int) -> None:
            signed = dfns.keys.generate_signature(key["id"], {"kind": "Hash", "hash": DIGEST})
            check_ecdsa(key["publicKey"], bytes.fromhex(DIGEST), signed["signature"])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(sign, range(12)))
        signed = dfns.keys.generate_signature(edwards["id"], {"kind": "Message", "message": b"hello".hex()})
        check_eddsa(edwards["publicKey"], b"hello", signed["signature"])
