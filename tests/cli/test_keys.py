"""``countersign keys``: a key moves from one server to another, by the commands alone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyrage
import pytest
from click import ClickException
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.cli import export_approvals, key_formats, main
from countersign.cli.common import handed_in
from countersign.cli.customer import Customer, Refused, signing_key
from countersign.cli.key_formats import HeldKey
from countersign.cli.keys import _new_file
from countersign.encoding import strictjson
from tests.clients.signatures import check_ecdsa, check_eddsa, check_schnorr, raw, taproot_output_key
from tests.support import age_files
from tests.support.caller import Caller
from tests.support.commands import Done, countersign, refusal
from tests.support.server import Sandbox
from tests.support.tenants import beside

OUT = "--i-understand-that-the-key-leaves-its-store"
IN = "--i-understand-that-copies-may-exist"
HASH = {"kind": "Hash", "hash": "5a" * 32}
MESSAGE = {"kind": "Message", "message": "c0ffee"}
SIGNABLE = {
    ("ECDSA", "secp256k1"): HASH,
    ("EdDSA", "ed25519"): MESSAGE,
    ("Schnorr", "secp256k1"): {**HASH, "taprootMerkleRoot": ""},
}


def connection(sandbox: Sandbox) -> Path:
    return sandbox.directory / "connection.json"


def keys(command: str, *arguments: object, passphrase: str | None = "correct horse") -> Done:
    return countersign("keys", command, *arguments, passphrase=passphrase)


def done(result: Done) -> Done:
    assert result.status == 0, result.errors
    return result


@pytest.fixture(scope="module")
def here(shared_sandbox: Sandbox) -> Sandbox:
    allow(shared_sandbox)
    return shared_sandbox


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Another installation, with other signers, roots and credentials."""
    with Sandbox(tmp_path_factory.mktemp("there") / "data") as running:
        allow(running)
        yield running


def allow(sandbox: Sandbox) -> None:
    done(countersign("admin", "keys", "--data", sandbox.directory, "--enable-import", "--enable-export"))


def check(key: dict[str, Any], signed: dict[str, Any]) -> None:
    """The signature holds for the key's public key, by another library."""
    assert signed["status"] == "Signed"
    signature = signed["signature"]
    if key["scheme"] == "ECDSA":
        check_ecdsa(key["publicKey"], bytes.fromhex(HASH["hash"]), signature)
    elif key["scheme"] == "EdDSA":
        check_eddsa(key["publicKey"], bytes.fromhex(MESSAGE["message"]), signature)
    else:
        check_schnorr(taproot_output_key(key["publicKey"], b""), bytes.fromhex(HASH["hash"]), raw(signature))


@pytest.mark.parametrize(("scheme", "curve"), list(SIGNABLE))
def test_k3_an_exported_key_imports_into_a_second_server_and_signs_for_the_same_public_key(
    here: Sandbox, there: Sandbox, tmp_path: Path, scheme: str, curve: str
) -> None:
    file = tmp_path / "key.age"
    with Caller(here.service) as caller:
        key_id = caller.create_key(scheme, curve)
        key = caller.send("GET", f"/keys/{key_id}").json()
        exported = done(keys("export", key_id, "--output", file, OUT, "--connection", connection(here)))
        assert caller.signed("POST", f"/keys/{key_id}/signatures", SIGNABLE[scheme, curve]).status_code == 403
    assert key["publicKey"] in exported.output
    assert "Warning: the private key is now outside" in exported.errors
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    imported = done(keys("import", file, IN, "--name", "moved", "--connection", connection(there)))
    moved_id = imported.output.split()[0]
    with Caller(there.service) as caller:
        moved = caller.send("GET", f"/keys/{moved_id}").json()
        assert (moved["publicKey"], moved["scheme"], moved["imported"]) == (key["publicKey"], scheme, True)
        check(moved, caller.signed("POST", f"/keys/{moved_id}/signatures", SIGNABLE[scheme, curve]).json())


# The form of a file is nothing to the server, so one engine is enough.
@pytest.mark.parametrize("shared_sandbox", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("form", "extra"), [("pkcs8", ()), ("ethereum", ()), ("wif", ()), ("pkcs8", ("--no-passphrase",))]
)
def test_other_forms_hold_the_same_key(
    here: Sandbox, there: Sandbox, tmp_path: Path, form: str, extra: tuple[str, ...]
) -> None:
    file = tmp_path / "key"
    with Caller(here.service) as caller:
        key_id = caller.create_key("ECDSA", "secp256k1")
        public = caller.send("GET", f"/keys/{key_id}").json()["publicKey"]
    way = ("--connection", connection(here))
    done(keys("export", key_id, "--output", file, "--format", form, OUT, *extra, *way))
    content = file.read_bytes()
    if form == "wif":
        key = key_formats.from_wif(content)
    elif form == "ethereum":
        key = key_formats.from_ethereum(content, "correct horse")
    else:
        key = key_formats.from_pkcs8(content, "" if extra else "correct horse")
    assert key.public_key.hex() == public
    moved = done(keys("import", file, "--format", form, IN, *extra, "--connection", connection(there)))
    assert public in moved.output


def test_a_phrase_is_imported_with_its_path(there: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "phrase"
    file.write_text("legal winner thank year wave sausage worth useful legal winner thank yellow\n")
    file.chmod(0o600)
    way = ("--format", "mnemonic", IN, "--connection", connection(there))
    assert "--path" in keys("import", file, *way, passphrase=None).errors
    made = done(keys("import", file, "--path", "m/44'/60'/0'/0/0", *way, passphrase=None))
    expected = key_formats.from_mnemonic(file.read_text(), "", "m/44'/60'/0'/0/0", "secp256k1")
    assert expected.public_key.hex() in made.output


def test_an_ed25519_key_cannot_be_pkcs8_and_stays_where_it_is(here: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    with Caller(here.service) as caller:
        key_id = caller.create_key()
        way = ("--connection", connection(here))
        reason = refusal(keys("export", key_id, "--output", file, "--format", "pkcs8", OUT, *way))
        assert "no seed is known" in reason
        assert "exported" not in caller.send("GET", f"/keys/{key_id}").json()
    assert not file.exists()


def test_nothing_moves_without_saying_that_one_understands(here: Sandbox, tmp_path: Path) -> None:
    for arguments in (("export", "key-1", "--output", tmp_path / "k"), ("import", connection(here))):
        refused = keys(*arguments, "--connection", connection(here))
        assert refused.status == 2
        assert "--i-understand" in refused.errors
    assert not (tmp_path / "k").exists()


def test_a_file_is_never_overwritten_and_the_key_then_stays(here: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("of somebody")
    with Caller(here.service) as caller:
        key_id = caller.create_key("ECDSA", "secp256k1")
        reason = refusal(keys("export", key_id, "--output", file, OUT, "--connection", connection(here)))
        assert "File exists" in reason
        assert "exported" not in caller.send("GET", f"/keys/{key_id}").json()
    assert file.read_text() == "of somebody"


def test_a_key_that_others_can_read_is_not_taken(here: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(key_formats.to_wif(HeldKey("secp256k1", 77)))
    file.chmod(0o644)
    reason = refusal(keys("import", file, "--format", "wif", IN, "--connection", connection(here)))
    assert "chmod 600" in reason


def test_what_the_server_refuses_is_told_in_one_line(here: Sandbox, tmp_path: Path) -> None:
    done(countersign("admin", "keys", "--data", here.directory, "--disable-export"))
    try:
        with Caller(here.service) as caller:
            key_id = caller.create_key("ECDSA", "secp256k1")
        way = ("--connection", connection(here))
        reason = refusal(keys("export", key_id, "--output", tmp_path / "k", OUT, *way))
        assert "KEY_EXPORT_DISABLED" in reason
        assert "countersign admin keys --enable-export" in reason
        assert "NOT_FOUND" in refusal(keys("export", "key-1", "--output", tmp_path / "k", OUT, *way))
    finally:
        allow(here)
    assert not (tmp_path / "k").exists()


def test_k5_a_wrong_passphrase_imports_nothing(here: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key.age"
    monkeypatch.setattr(pyrage.passphrase, "encrypt", age_files.encrypt)
    file.write_bytes(key_formats.to_age(HeldKey("secp256k1", 99), "correct horse"))
    file.chmod(0o600)
    way = ("--connection", connection(here))
    assert "does not open" in refusal(keys("import", file, IN, *way, passphrase="another"))
    with Caller(here.service) as caller:
        public = HeldKey("secp256k1", 99).public_key.hex()
        assert public not in caller.send("GET", "/keys").text


def test_the_way_to_a_server_may_be_named_piece_by_piece(here: Sandbox, tmp_path: Path) -> None:
    values = json.loads(connection(here).read_text())
    token, file = tmp_path / "token", tmp_path / "key"
    file.write_bytes(key_formats.to_wif(HeldKey("secp256k1", int.from_bytes(os.urandom(31), "big"))))
    token.write_text(values["authToken"])
    for path in (token, file):
        path.chmod(0o600)
    way = ("--base-url", values["baseUrl"], "--token-file", token, "--credential-id", values["credentialId"])
    signing = ("--credential-key", values["privateKeyPath"])
    assert "ECDSA secp256k1" in done(keys("import", file, "--format", "wif", IN, *way, *signing)).output
    assert keys("import", file, "--format", "wif", IN, *way).status == 2
    far = ("--base-url", "http://keys.example.org", *way[2:], *signing)
    assert "neither https nor of this machine" in refusal(keys("import", file, "--format", "wif", IN, *far))


def test_an_export_waits_until_others_have_approved_it(here: Sandbox, tmp_path: Path) -> None:
    tenants = beside(here.directory, here.database, here.values["baseUrl"])
    approver = tenants.session(here.values["orgId"], everything=True)
    tenants.introduce(approver)
    way = tmp_path / "approver.json"
    way.write_text(json.dumps(approver.connection))
    for path in (way, Path(approver.connection["privateKeyPath"])):
        path.chmod(0o600)
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_text("{}")
    assert "names no export" in refusal(keys("approve-export", spoilt, "--connection", way, passphrase=None))
    admin = ("admin", "keys", "--data", here.directory)
    done(countersign(*admin, "--export-approver", approver.user_id))
    file, request = tmp_path / "key.wif", tmp_path / "key.wif.request.json"
    arguments = ("export", "--output", file, "--format", "wif", OUT, "--connection", connection(here))
    try:
        with Caller(here.service) as caller, ThreadPoolExecutor(1) as pool:
            key_id = caller.create_key("ECDSA", "secp256k1")
            waiting = pool.submit(keys, *arguments, key_id, passphrase=None)
            while not (request.exists() and request.read_text().endswith("}")):
                assert not waiting.done(), waiting.result()
                time.sleep(0.05)
            approved = done(keys("approve-export", request, "--yes", "--connection", way, passphrase=None))
            exported = done(waiting.result())
            public = caller.send("GET", f"/keys/{key_id}").json()["publicKey"]
    finally:
        done(countersign(*admin, "--no-export-approvers"))
    shown = next(line for line in approved.output.splitlines() if "SHA256:" in line).split()[-1]
    assert shown in exported.errors
    assert approver.user_id in exported.errors
    assert public in approved.output
    assert key_formats.from_wif(file.read_bytes()).public_key.hex() == public
    assert not request.exists()


def test_nothing_is_signed_but_the_request_that_is_made(here: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was taken over asks for a signature over a request of its own."""
    values = json.loads(connection(here).read_text())
    key = signing_key(Path(values["privateKeyPath"]).read_bytes())
    customer = Customer(values["baseUrl"], values["authToken"], values["credentialId"], key)
    made = customer.signed("POST", "/keys", {"scheme": "ECDSA", "curve": "secp256k1"})
    send, signed = Customer._send, []

    def other_wish(**changed: str) -> None:
        def lying(self: Customer, method: str, path: str, body: str | None, action: str | None) -> Any:
            if path == "/auth/action/init":
                body = json.dumps({**json.loads(body or ""), **changed})
            signed.extend([path] if path == "/auth/action" else [])
            return send(self, method, path, body, action)

        monkeypatch.setattr(Customer, "_send", lying)

    path, body = f"/keys/{made['id']}", {"name": "mine"}
    for changed in (
        {"userActionHttpPath": f"{path[:-1]}x"},
        {"userActionPayload": '{"name":"theirs"}'},
        {"userActionHttpMethod": "DELETE"},
    ):
        other_wish(**changed)
        with pytest.raises(Refused, match="nothing was signed"):
            customer.signed("PUT", path, body)
    assert not signed
    other_wish()
    assert customer.signed("PUT", path, body)["name"] == "mine"
    elsewhere = replace(customer, installation_id="in-00000-00000-0000000000000000")
    with pytest.raises(Refused, match="--installation"):
        elsewhere.signed("PUT", path, body)


@pytest.mark.parametrize("descriptor", ["x", "977", "-1", ""])
def test_a_descriptor_that_is_none_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, descriptor: str) -> None:
    monkeypatch.setenv("COUNTERSIGN_PASSPHRASE_FD", descriptor)
    with pytest.raises(ClickException, match="no descriptor that can be read"):
        handed_in()


def test_a_full_disk_says_what_became_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told = r"No space left on device\. The key was exported all the same"
    with pytest.raises(ClickException, match=told), _new_file(tmp_path / "key.age") as write:
        write(b"secret")
    assert not (tmp_path / "key.age").exists()


@pytest.mark.parametrize(
    ("base_url", "token"),
    [
        ("http://127.0.0.1:1", "first-secret\nsecond-secret"),
        ("http://127.0.0.1:1", "secret-käse"),
        ("http://127.0.0.1:99999", "secret"),
        ("http://[::1", "secret"),
    ],
)
def test_a_token_or_address_that_cannot_be_sent_is_refused_without_being_shown(base_url: str, token: str) -> None:
    with pytest.raises(Refused) as refused:
        Customer(base_url, token, "cred", Ed25519PrivateKey.generate())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", ["[]", "no json", '{"authToken": 7}'])
def test_a_connection_file_that_is_none_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "connection.json"
    file.write_text(content)
    file.chmod(0o600)
    done = CliRunner().invoke(main, ["keys", "approve-export", str(file), "--connection", str(file)])
    assert (done.exit_code, "is no connection file" in done.output) == (1, True)


class _Busy:
    """A server that is restarted while an export waits; ``approved`` from its third answer on."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.body: dict[str, Any] = {}

    def get(self, path: str) -> Any:
        self.asked.append("approvals")
        if self.asked.count("approvals") == 2:
            raise Refused("too much to do", "RATE_LIMITED", passing=True)
        hashed = hashlib.sha256(strictjson.canonical(self.body)).hexdigest()
        items = [{"userId": "us-1", "requestHash": hashed}] if self.asked.count("approvals") == 3 else []
        return {"items": items, "approvers": ["us-1"], "quorum": 1}

    def signed(self, method: str, path: str, body: dict[str, Any]) -> Any:
        self.asked.append("export")
        self.body = body
        if self.asked.count("export") == 1:
            raise Refused("takes approvals", "EXPORT_NEEDS_APPROVAL")
        if self.asked.count("export") == 2:
            raise Refused("starting", "UNAVAILABLE", passing=True)
        return "the shares"


def test_an_export_that_others_approved_outlives_a_restart_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decryption key is in this process alone: whoever gave up would have to ask all approvers once more."""
    monkeypatch.setattr(export_approvals, "_SECONDS_BETWEEN", 0)
    busy, body = _Busy(), {"encryptionKey": "AAAA"}
    shares = export_approvals.export(cast("Customer", busy), "key-1", body, tmp_path / "request.json")
    assert (shares, busy.asked) == ("the shares", ["export", *["approvals"] * 3, "export", "export"])
    assert not (tmp_path / "request.json").exists()
