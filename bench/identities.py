"""What identities cost, on SQLite: a ceremony with a passkey next to one with a key, a caller among many or a few.

The rows of users and credentials are put in by hand, as copies of those that the server wrote; a million users would
take days to come in by the front door. Each request of the second measurement is by somebody whose token the server
has never seen or has long forgotten: it verifies the token, reads the identity, what it is granted and what it signs
with, and answers a challenge. The credentials of one user lie apart, each on a page of its own: the worst case.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.console import Console
from rich.table import Table

from bench.client import ORIGIN, RP_ID
from bench.load import Load, Measured, measure
from bench.processes import Identity, Server, cores
from bench.scale import bulk, identifiers
from countersign.access import keyring
from countersign.access.installation import read_installation
from countersign.access.keyring import KeyRing
from countersign.access.server_keys import read_server_secret
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url
from countersign.storage import open_database
from countersign.world import World

CEREMONY_LIMIT = 1.5
IDENTIFY_LIMIT = 1.2
CLIENTS = (1, 16)
FEW = 1_000
#: More than a server remembers, so often that a round comes to none that was seen shortly before.
_TOKENS = 60_000
_SLICE = 10_000
_BATCH = 50_000
_DAY_MS = 86_400_000


def run(
    users: int,
    credentials: int,
    directory: Path | None,
    rounds: int,
    seconds: float,
    console: Console,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Seed, measure, print; what was measured as JSON."""
    server_core, client_core = cores()
    with ExitStack() as stack:
        place = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-identities-")))
        generator = Load(client_core)
        stack.callback(generator.close)
        servers = {name: _server(name, place, server_core) for name in ("few", "many")}
        passkey = _add_passkey(place / "few" / "bench.db", servers["few"].org_id)
        each = credentials // users
        tokens = {}
        for name, count in (("few", FEW), ("many", users)):
            begun = time.perf_counter()
            tokens[name] = _ring(seed(servers[name], count, each))
            size = (place / name / "bench.db").stat().st_size / 1e9
            took = time.perf_counter() - begun
            tell(f"{name}: {count:,} users, {count * each:,} credentials, seeded in {took:.0f} s, {size:.1f} GB")
        for name, server in servers.items():
            _settle(place / name / "bench.db")
            stack.enter_context(server)
        few = servers["few"]
        with_passkey = replace(few, identity=Identity(token=few.identity["token"], **passkey))
        keys = generator.create_keys(few.port, few.identity, 50)
        measured: dict[tuple[str, int], Measured] = {}
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}")
            for clients in CLIENTS:
                for what in ("Key", "Fido2", "few", "many"):
                    # The first round only warms up.
                    into = measured.setdefault((what, clients), Measured()) if number else Measured()
                    how: dict[str, Any] = {"clients": clients, "seconds": seconds}
                    if what in servers:
                        server = servers[what]
                        measure(into, generator, server, server.pids, next(tokens[what]), scenario="begin", **how)
                        continue
                    signer = with_passkey if what == "Fido2" else few
                    how["passkey"] = what == "Fido2"
                    measure(into, generator, signer, few.pids, keys, scenario="rename", **how)
    return _report(measured, users, credentials, console)


def _settle(path: Path) -> None:
    """Have what was seeded on the disk, so that no commit waits for it, and in the memory of the system."""
    os.sync()
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def _server(name: str, place: Path, core: set[int]) -> Server:
    server = Server(name, place / name, f"sqlite://{place}/{name}/bench.db", core)
    server.prepare()
    return server


def _add_passkey(path: Path, org_id: str) -> dict[str, str]:
    """Give the administrator a passkey; its id and private number."""
    number = random.SystemRandom().randrange(1, 1 << 255)
    key = ec.derive_private_key(number, ec.SECP256R1())
    loaded = _public(key.public_key())
    identifier = base64url.encode(random.randbytes(32))
    stored = json.dumps(
        {"aaguid": "0" * 32, "backupEligible": False, "backedUp": False, "format": "none", "trust": "none"}
    )
    now = World().now()
    with sqlite3.connect(path) as connection:
        (user_id,) = connection.execute("SELECT user_id FROM credentials WHERE org_id = ?", (org_id,)).fetchone()
        row = (
            org_id,
            World().new_id("cr"),
            user_id,
            identifier,
            identifier,
            loaded.pem,
            loaded.fingerprint,
            RP_ID,
            ORIGIN,
        )
        connection.execute(
            "INSERT INTO credentials (org_id, credential_uuid, user_id, token_id, kind, credential_id, credential_key, "
            "name, public_key, fingerprint, rp_id, origin, sign_count, fido2, state, epoch, created_at) "
            "VALUES (?, ?, ?, '', 'Fido2', ?, ?, 'passkey', ?, ?, ?, ?, 0, ?, 'Active', 0, ?)",
            (*row, stored, now),
        )
        connection.execute("DELETE FROM relying_parties WHERE org_id = ?", (org_id,))
        connection.execute("INSERT INTO relying_parties VALUES (?, ?, 'Bench', 1, ?)", (org_id, RP_ID, now))
        connection.execute("INSERT INTO origins VALUES (?, '', ?, ?, ?)", (org_id, RP_ID, ORIGIN, now))
    connection.close()
    return {"credential": identifier, "seed": number.to_bytes(32, "big").hex()}


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    loaded = load(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert isinstance(loaded, PublicKey)
    return loaded


def seed(server: Server, users: int, each: int) -> list[str]:
    """Users with so many credentials each, in a database that no server has open; sessions of users at random."""
    org_id = server.org_id
    ring = asyncio.run(_key_ring(server))
    end = int(time.time() * 1000) - 60_000
    with bulk(server.directory / "bench.db") as connection:
        (pem,) = connection.execute("SELECT public_key FROM credentials LIMIT 1").fetchone()
        (permission,) = connection.execute("SELECT permission_id FROM permissions LIMIT 1").fetchone()
        connection.execute("BEGIN")
        made = [user_id for user_id, _ in identifiers("us", users, end)]
        for start in range(0, users, _BATCH):
            some = made[start : start + _BATCH]
            connection.executemany(
                "INSERT INTO users (org_id, user_id, kind, is_service_account, username, username_key, is_registered, "
                "state, epoch, created_at) VALUES (?, ?, 'EndUser', 0, ?, ?, 1, 'Active', 0, ?)",
                [(org_id, user_id, f"{user_id}@example.org", f"{user_id}@example.org", end) for user_id in some],
            )
            connection.executemany(
                "INSERT INTO permission_assignments VALUES (?, ?, ?, ?, 0, ?, ?)",
                [(org_id, f"as-{user_id[3:]}", permission, user_id, end, end) for user_id in some],
            )
        _credentials(connection, org_id, made, each, pem, end)
        tokens = _sessions(ring, connection, org_id, made, end)
        connection.execute("COMMIT")
    return tokens


def _credentials(connection: sqlite3.Connection, org_id: str, users: list[str], each: int, pem: str, end: int) -> None:
    rows: list[tuple[Any, ...]] = []
    for number, (uuid, moment) in enumerate(identifiers("cr", len(users) * each, end), 1):
        # In another order than the users came, as in a year's work: those of one user lie apart.
        user_id = users[number % len(users)]
        rows.append((org_id, uuid, user_id, f"Y3I{number:09}", f"Y3I{number:09}", pem, f"SHA256:{number:043}", moment))
        if len(rows) == _BATCH or number == len(users) * each:
            connection.executemany(
                "INSERT INTO credentials (org_id, credential_uuid, user_id, token_id, kind, credential_id, "
                "credential_key, name, public_key, fingerprint, rp_id, origin, sign_count, state, epoch, created_at) "
                "VALUES (?, ?, ?, '', 'Key', ?, ?, 'a key', ?, ?, '', '', 0, 'Active', 0, ?)",
                rows,
            )
            rows.clear()


def _sessions(ring: KeyRing, connection: sqlite3.Connection, org_id: str, users: list[str], end: int) -> list[str]:
    """Sessions signed with the server's own key."""
    tokens, rows = [], []
    for number, (token_id, _) in enumerate(identifiers("uj", _TOKENS, end)):
        user_id = random.choice(users) if len(users) > _TOKENS else users[number % len(users)]
        text, digest = keyring.mint(
            ring,
            org_id=org_id,
            user_id=user_id,
            username=f"{user_id}@example.org",
            token_id=token_id,
            kind="Token",
            lifetime=86_400,
            now_ms=end,
        )
        tokens.append(text)
        rows.append((org_id, token_id, user_id, digest, end, end + _DAY_MS))
    connection.executemany(
        "INSERT INTO tokens (org_id, token_id, kind, user_id, name, hash, state, epoch, created_at, expires_at) "
        "VALUES (?, ?, 'Token', ?, 'session', ?, 'Active', 0, ?, ?)",
        rows,
    )
    random.shuffle(tokens)
    return tokens


async def _key_ring(server: Server) -> KeyRing:
    """The server's own keys."""
    database = await open_database(server.database, migrate=False)
    try:
        installation = await database.read(read_installation)
        secret = read_server_secret(server.directory / "server.secret")
        ring = KeyRing(database, secret, installation["installation_id"], World())
        await ring.load()
    finally:
        await database.close()
    return ring


def _ring(tokens: list[str]) -> Iterator[list[str]]:
    """Slices of the tokens, again and again."""
    while True:
        for start in range(0, len(tokens), _SLICE):
            yield tokens[start : start + _SLICE]


_WHAT = {
    "Key": "ceremony with an Ed25519 key: PUT /keys/{keyId}",
    "Fido2": "the same with a passkey of P-256",
    "few": f"POST /auth/action/init by a stranger among {FEW:,}",
    "many": "the same among many",
}


def _report(
    measured: dict[tuple[str, int], Measured], users: int, credentials: int, console: Console
) -> dict[str, Any]:
    console.print(f"many: {users:,} users with {credentials:,} credentials")
    table = Table(title="identities", title_justify="left")
    for name in ("clients", "what", "a second", "p50 ms", "p99 ms", "server µs", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    ratios = {}
    for clients in CLIENTS:
        for what, name in _WHAT.items():
            row = measured[what, clients].as_dict()
            cpu = row["serverCpuMicroseconds"]
            verdict = ["", "", ""]
            if what in ("Fido2", "many"):
                base, limit = ("Key", CEREMONY_LIMIT) if what == "Fido2" else ("few", IDENTIFY_LIMIT)
                ratio = cpu / measured[base, clients].as_dict()["serverCpuMicroseconds"]
                ratios[f"{what}/{base}, {clients}"] = ratio
                verdict = [f"{ratio:.2f}", f"≤ {limit}", "[green]holds" if ratio <= limit else "[bold red]missed"]
            rate, p50, p99 = measured[what, clients].rate, row["p50Milliseconds"], row["p99Milliseconds"]
            table.add_row(str(clients), name, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{cpu:.0f}", *verdict)
    console.print(table)
    return {
        "users": users,
        "credentials": credentials,
        "ratios": ratios,
        "measured": [
            {"what": what, "clients": clients, **each.as_dict()} for (what, clients), each in measured.items()
        ],
    }
