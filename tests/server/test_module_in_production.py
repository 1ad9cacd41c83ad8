"""A production installation whose keys are in a hardware module, with a signer of its own for it."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa
from tests.support.caller import Caller
from tests.support.commands import environment
from tests.support.enrolment import NewKey, action_with, enrolled
from tests.support.production import PATIENCE, Production
from tests.support.softhsm import softhsm_token

KEY = {"scheme": "ECDSA", "curve": "secp256k1"}
DIGEST = hashlib.sha256(b"countersign").hexdigest()


@contextmanager
def signer(directory: Path, spec: str, kek: str) -> Iterator[None]:
    """The module's signer, as an operator starts it."""
    arguments = ("--socket", str(directory / "run" / "s"), "--store", spec, "--kek", kek)
    command = [sys.executable, "-P", "-m", "countersign.keystores.signer", *arguments]
    with (directory / "signer.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--state", str(directory / "state")], env=environment(), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_module_is_the_primary_store_and_its_signer_takes_the_consent_of_the_same_credentials(tmp_path: Path) -> None:
    directory = tmp_path / "module"
    directory.mkdir()
    (tmp_path / "hsm").mkdir()
    kek = directory / "kek"
    kek.touch(0o600)
    kek.write_bytes(secrets.token_bytes(32))
    production = Production(tmp_path / "made", f"sqlite://{tmp_path / 'countersign.db'}")
    for hsm in softhsm_token(tmp_path / "hsm"):
        spec = f"{hsm.spec(label='wrapping')}&mode=resident"
        production.initialise()
        production.start_signer()
        production.start()
        before, meanwhile = NewKey(), NewKey()
        with Caller(production.admin) as caller:
            enrolled(caller, before)
        production.stop()
        added = production.run("keystore", "add", "--pkcs11", spec, "--kek", f"file:{kek}", "--primary")
        assert added.status == 0, added.errors
        found = re.search(r'id = "([^"]+)"', added.output)
        assert found is not None
        store = {"id": found[1], "socket": str(directory / "run" / "s"), "kek": f"file:{kek}"}
        production.settings["key_stores"] = [store]
        production.write_config()
        try:
            production.start()
            # While the module's signer is away, what it has to be told waits.
            with Caller(production.admin) as caller:
                enrolled(caller, meanwhile)
                token = action_with(caller, "POST", "/keys", KEY, meanwhile).json()["userAction"]
                assert caller.send("POST", "/keys", KEY, action=token).status_code == 503
            with signer(directory, spec, f"file:{kek}"):
                production.wait(lambda: production.run("keystore", "roster").status == 0)
                shown = json.loads(production.run("keystore", "status", "--json").output)
                assert [each["state"] for each in (shown, *shown["furtherStores"])] == ["unsealed"] * 2
                assert not any("G1" in note for note in shown["furtherStores"][0]["notes"])
                with Caller(production.admin) as caller:
                    for new in (before, meanwhile):
                        token = action_with(caller, "POST", "/keys", KEY, new).json()["userAction"]
                        made = caller.send("POST", "/keys", KEY, action=token)
                        assert made.status_code == 200, made.text
                    assert caller.send("GET", f"/keys/{made.json()['id']}").json()["store"]["kind"] == "Hsm"
                with python_client(production.admin) as dfns:
                    key = made.json()
                    signed = dfns.keys.generate_signature(key["id"], {"kind": "Hash", "hash": DIGEST})
                check_ecdsa(key["publicKey"], bytes.fromhex(DIGEST), signed["signature"])
        finally:
            production.__exit__(None, None, None)
