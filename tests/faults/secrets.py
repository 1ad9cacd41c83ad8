"""Every secret that a run of the server has to do with, opened as only its owner could, and the search for them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from countersign.access import server_keys
from countersign.access.server_keys import KeySet
from countersign.keystores.kek import open_provider
from countersign.keystores.memory import LockedPage
from countersign.keystores.outcome import Refusal
from countersign.keystores.record import Binding, unseal
from countersign.keystores.roots import OpenedRoot, open_root, parse_root
from countersign.keystores.transfer_messages import decode_signers
from countersign.storage import open_database
from tests.faults.rows import select
from tests.support import aio
from tests.support.server import Sandbox


@dataclass(frozen=True)
class Secret:
    """``home``: the one place where it belongs, by the name of its file; empty when it belongs nowhere."""

    name: str
    forms: frozenset[bytes]
    home: str = ""


def of_bytes(name: str, value: bytes, home: str = "") -> Secret:
    """A secret of bytes: raw, hexadecimal, and in base64 and base64url wherever in a longer text it begins."""
    forms = {value, value.hex().encode(), value.hex().upper().encode()}
    for before in range(3):
        # The characters that hold bits of this value only.
        first, last = -(-8 * before // 6), (8 * (before + len(value))) // 6
        padded = bytes(before) + value + bytes(3)
        forms |= {encode(padded)[first:last] for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return Secret(name, frozenset(forms), home)


def of_scalar(name: str, scalar: int) -> list[Secret]:
    """A private scalar: as bytes in either order, and as the number."""
    big, little = (of_bytes(f"{name}, {order}", scalar.to_bytes(32, order)) for order in ("big", "little"))
    return [big, little, Secret(f"{name}, decimal", frozenset({str(scalar).encode()}))]


def of_token(name: str, token: str, home: str = "") -> Secret:
    """A token as text; its last part alone gives it away as well."""
    return Secret(name, frozenset({token.rpartition(".")[2].encode()}), home)


def of_pem(name: str, pem: bytes, home: str = "") -> Secret:
    """An Ed25519 private key."""
    key = load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    return of_bytes(name, key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()), home)


def of_server(sandbox: Sandbox) -> list[Secret]:
    """Everything under the server secret and the key-encryption key, and those two."""
    directory = sandbox.directory
    server_secret = (directory / "server.secret").read_bytes()
    found = [
        of_bytes("server secret", server_secret, "server.secret"),
        of_bytes("key-encryption key", (directory / "dev.kek").read_bytes(), "dev.kek"),
        of_pem("administrator's key", (directory / "admin.pem").read_bytes(), "admin.pem"),
        of_pem("service account's key", (directory / "service-account.pem").read_bytes(), "service-account.pem"),
        of_token("service account's token", sandbox.values["authToken"], "connection.json"),
        of_token("administrator's token", sandbox.values["adminToken"], "connection.json"),
    ]
    found += [
        of_bytes(f"server key for {key.purpose}", key.secret) for key in _server_keys(sandbox, server_secret).keys
    ]
    return found + _stored_keys(sandbox)


def _server_keys(sandbox: Sandbox, server_secret: bytes) -> KeySet:
    async def read() -> KeySet:
        assert sandbox.database is not None
        database = await open_database(sandbox.database, migrate=False, readonly=True)
        try:
            return await database.read(lambda: server_keys.load(server_secret))
        finally:
            await database.close()

    return aio.run(read())


def _stored_keys(sandbox: Sandbox) -> list[Secret]:
    """The root of the key store and every private key in it, opened with the key-encryption key."""
    kek = open_provider(f"dev:{sandbox.directory / 'dev.kek'}")
    ((store_id, wrapped),) = select(sandbox, "SELECT store_id, wrapped FROM keystore_roots")
    parsed = parse_root(bytes(wrapped))
    assert not isinstance(parsed, Refusal), parsed
    page, root = LockedPage(), bytearray(32)
    opened = open_root(parsed, kek, b"", root, page.scratch)
    assert isinstance(opened, OpenedRoot), opened
    found = [of_bytes("root of the key store", bytes(root))]
    rows = select(
        sandbox,
        "SELECT k.org_id, k.key_id, k.scheme, k.curve, r.secret_kind, k.public_key, r.root_version, r.generation, "
        "r.record "
        "FROM key_records r JOIN keys k ON k.org_id = r.org_id AND k.key_id = r.key_id",
    )
    for org_id, key_id, scheme, curve, kind, public_key, root_version, generation, record in rows:
        binding = Binding(
            store_id, org_id, key_id, scheme, curve, kind, bytes.fromhex(public_key), root_version, generation
        )
        refused = unseal(page, memoryview(root), binding, bytes(record))
        assert refused is None, refused
        found.append(of_bytes(f"private key {scheme} {key_id}", bytes(page.secret)))
    for (listed,) in select(sandbox, "SELECT signers FROM keystore_signers"):
        for signer in decode_signers(bytes(listed)):
            of_signer = (store_id, "", signer.signer_id.hex(), "transport", "secp256k1", "secp256k1.scalar")
            binding = Binding(*of_signer, signer.public_key, signer.root_version, 1)
            refused = unseal(page, memoryview(root), binding, signer.record)
            assert refused is None, refused
            found.append(of_bytes(f"decryption key of signer {signer.signer_id.hex()}", bytes(page.secret)))
    return found


def search(secrets: Iterable[Secret], places: Mapping[str, bytes]) -> list[str]:
    """Where a secret lies that does not belong there, and which is not where it belongs (the search finds nothing)."""
    wrong = []
    for secret in secrets:
        for place, content in places.items():
            found = any(form in content for form in secret.forms)
            if found != (place == secret.home):
                wrong.append(f"{secret.name} {'is' if found else 'is not'} in {place}")
    return wrong


def files(directory: Path, since: float = 0.0) -> dict[str, bytes]:
    """Content of every file below a directory that was written after ``since`` (seconds), by its path in there."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.stat().st_mtime >= since
    }
