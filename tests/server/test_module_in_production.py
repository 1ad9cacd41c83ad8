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

import httpx

from tests.clients.sdk_python import python_client
from tests.clients.signatures import check_ecdsa
from tests.support.caller import Caller
from tests.support.commands import environment
from tests.support.enrolment import NewKey, action_with, enrolled
from tests.support.production import PATIENCE, Production
from tests.support.softhsm import softhsm_token
from tests.support.tenants import Tenants

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


@contextmanager
def installation(directory: Path) -> Iterator[Production]:
    """A production server without the module, stopped in the end."""
    production = Production(directory / "made", f"sqlite://{directory / 'countersign.db'}")
    try:
        yield production.initialise()
    finally:
        production.__exit__(None, None, None)


def add_module(production: Production, directory: Path, spec: str, kek: str) -> str:
    """Register the module as the primary store; its id."""
    added = production.run("keystore", "add", "--pkcs11", spec, "--kek", kek, "--primary")
    assert added.status == 0, added.errors
    found = re.search(r'id = "([^"]+)"', added.output)
    assert found is not None
    production.settings["key_stores"] = [{"id": found[1], "socket": str(directory / "run" / "s"), "kek": kek}]
    production.write_config()
    return found[1]


def make_key(caller: Caller, new: NewKey) -> httpx.Response:
    """Create a key with the consent of this credential."""
    token = action_with(caller, "POST", "/keys", KEY, new).json()["userAction"]
    return caller.send("POST", "/keys", KEY, action=token)


def test_a_module_is_the_primary_store_and_its_signer_takes_the_consent_of_the_same_credentials(tmp_path: Path) -> None:
    directory = tmp_path / "module"
    for name in (directory, tmp_path / "hsm"):
        name.mkdir()
    (directory / "kek").touch(0o600)
    (directory / "kek").write_bytes(secrets.token_bytes(32))
    kek = f"file:{directory / 'kek'}"
    before, meanwhile = NewKey(), NewKey()
    for hsm in softhsm_token(tmp_path / "hsm"):
        spec = f"{hsm.spec(label='wrapping')}&mode=resident"
        with installation(tmp_path) as production:
            production.start_signer()
            production.start()
            with Caller(production.admin) as caller:
                enrolled(caller, before)
            production.stop()
            store_id = add_module(production, directory, spec, kek)
            production.start()
            # While the module's signer is away, what it has to be told waits.
            with Caller(production.admin) as caller:
                enrolled(caller, meanwhile)
                assert make_key(caller, meanwhile).status_code == 503
            assert store_id in production.run("keystore", "roster").output
            with signer(directory, spec, kek):
                production.wait(lambda: production.run("keystore", "roster").status == 0)
                shown = json.loads(production.run("keystore", "status", "--json").output)
                assert [each["state"] for each in (shown, *shown["furtherStores"])] == ["unsealed"] * 2
                assert not any("G1" in note for note in shown["furtherStores"][0]["notes"])
                with Caller(production.admin) as caller:
                    made = [make_key(caller, new) for new in (before, meanwhile)]
                    assert [answer.status_code for answer in made] == [200, 200]
                    key = made[0].json()
                    assert caller.send("GET", f"/keys/{key['id']}").json()["store"]["kind"] == "Hsm"
                with python_client(production.admin) as dfns:
                    signed = dfns.keys.generate_signature(key["id"], {"kind": "Hash", "hash": DIGEST})
                check_ecdsa(key["publicKey"], bytes.fromhex(DIGEST), signed["signature"])
                endorse_somebody_whom_nobody_countersigned(production)


def endorse_somebody_whom_nobody_countersigned(production: Production) -> None:
    """The operator's word lets a credential count in both stores; before, it moves no key."""
    made = production.directory / "tenants"
    tenants = Tenants(production.database, production.directory / "server.secret", production.base_url, made)
    somebody = tenants.session(production.made["orgId"], everything=True)
    tenants.introduce(somebody)
    (fingerprint,) = tenants.execute(
        "SELECT fingerprint FROM credentials WHERE credential_uuid = ?", somebody.credential_uuid
    )[0]
    with Caller(somebody.connection) as caller:
        assert caller.signed("POST", "/keys", KEY).json()["error"]["code"] == "SIGNER_REFUSED"
        pending = f"{somebody.credential_uuid}  Pending"
        production.wait(lambda: production.run("keystore", "roster").output.count(pending) == 2)
        done = production.run("admin", "endorse", somebody.credential_uuid, "--public-key", fingerprint)
        assert done.status == 0, done.errors
        assert production.run("keystore", "roster").output.count(f"{somebody.credential_uuid}  Active") == 2
        assert caller.signed("POST", "/keys", KEY).status_code == 200
