"""What identities cost, on either engine: a ceremony with a passkey or with a key, a caller among many or a few.

The rows of users and credentials are put in by hand, as copies of those that the server wrote; a million users would
take days to come in by the front door. Each request of the second measurement is by somebody whose token the server
has never seen or has long forgotten: it verifies the token, reads the identity, what it is granted and what it signs
with, and answers a challenge. The credentials of one user came at different times, so that PostgreSQL has each on a
page of its own: the worst case. What PostgreSQL uses for the requests counts like what the server uses.
"""

from __future__ import annotations

import asyncio
import json
import random
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
from bench.filling import Filling, filling
from bench.load import Load, Measured, measure
from bench.processes import Identity, Server, children, cores
from bench.run import postgresql
from bench.scale import identifiers
from countersign.access import keyring
from countersign.access.installation import read_installation
from countersign.access.keyring import KeyRing
from countersign.access.server_keys import read_server_secret
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url
from countersign.storage import open_database
from countersign.world import World
from tests.support.postgres import PostgresServer

CEREMONY_LIMIT = 1.5
IDENTIFY_LIMIT = 1.2
CLIENTS = (1, 16)
FEW = 1_000
#: More than a server remembers, so often that a round comes to none that was seen shortly before.
_TOKENS = 60_000
_SLICE = 10_000
_BATCH = 50_000
_DAY_MS = 86_400_000
_WARM = 6
_CREDENTIAL = (
    "org_id credential_uuid user_id token_id kind credential_id credential_key name public_key fingerprint rp_id "
    "origin sign_count state epoch created_at"
)


def run(
    engine: str,
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
        postgres = stack.enter_context(postgresql(client_core, [])) if engine == "postgresql" else None
        if engine == "postgresql" and postgres is None:
            raise SystemExit("no PostgreSQL is found here")
        generator = Load(client_core)
        stack.callback(generator.close)
        servers = {name: _server(name, place, postgres, server_core) for name in ("few", "many")}
        passkey = _add_passkey(servers["few"])
        each = credentials // users
        tokens = {}
        for name, count in (("few", FEW), ("many", users)):
            begun = time.perf_counter()
            tokens[name] = _ring(seed(servers[name], count, each))
            took = time.perf_counter() - begun
            tell(f"{name}: {count:,} users, {count * each:,} credentials, seeded in {took:.0f} s")
        for server in servers.values():
            stack.enter_context(server)
        few = servers["few"]
        with_passkey = replace(few, identity=Identity(token=few.identity["token"], **passkey))
        keys = generator.create_keys(few.port, few.identity, 50)
        measured: dict[tuple[str, int], Measured] = {}
        for number in range(rounds + 1):
            tell(f"round {number} of {rounds}")
            for clients in CLIENTS:
                for what in ("Key", "Fido2", "few", "many"):
                    # The first round only warms up, for longer: the upper levels of large indexes are in memory then.
                    into = measured.setdefault((what, clients), Measured()) if number else Measured()
                    how: dict[str, Any] = {"clients": clients, "seconds": seconds if number else _WARM * seconds}
                    if what in servers:
                        server = servers[what]
                        pids = _pids(server, postgres)
                        measure(into, generator, server, pids, next(tokens[what]), scenario="begin", **how)
                        continue
                    signer = with_passkey if what == "Fido2" else few
                    how["passkey"] = what == "Fido2"
                    measure(into, generator, signer, _pids(few, postgres), keys, scenario="rename", **how)
    return _report(measured, engine, users, credentials, console)


def _server(name: str, place: Path, postgres: PostgresServer | None, core: set[int]) -> Server:
    url = f"sqlite://{place}/{name}/bench.db" if postgres is None else postgres.new_database(migrated=False)
    server = Server(name, place / name, url, core)
    server.prepare()
    return server


def _pids(server: Server, postgres: PostgresServer | None) -> tuple[int, ...]:
    """The server, and what works for it in PostgreSQL."""
    if postgres is None:
        return server.pids[:1]
    database = server.database.rsplit("/", 1)[1]
    titles = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children(postgres.process.pid)}
    return server.pids[0], *(pid for pid, title in titles.items() if f" {database} " in title)


def _add_passkey(server: Server) -> dict[str, str]:
    """Give the administrator a passkey; its id and private number."""
    number = random.SystemRandom().randrange(1, 1 << 255)
    loaded = _public(ec.derive_private_key(number, ec.SECP256R1()).public_key())
    identifier = base64url.encode(random.randbytes(32))
    stored = json.dumps(
        {"aaguid": "0" * 32, "backupEligible": False, "backedUp": False, "format": "none", "trust": "none"}
    )
    org_id, now = server.org_id, World().now()
    with filling(server.database) as database:
        (user_id,) = database.one("SELECT user_id FROM credentials")
        values: tuple[Any, ...] = (
            org_id,
            World().new_id("cr"),
            user_id,
            "",
            "Fido2",
            identifier,
            identifier,
            "passkey",
            loaded.pem,
        )
        values += (loaded.fingerprint, RP_ID, ORIGIN, 0, "Active", 0, now, stored)
        database.insert("credentials", f"{_CREDENTIAL} fido2", [values])
        database.run("DELETE FROM relying_parties")
        columns = "org_id rp_id name is_default created_at"
        database.insert("relying_parties", columns, [(org_id, RP_ID, "Bench", 1, now)])
        database.insert("origins", "org_id app_id rp_id origin created_at", [(org_id, "", RP_ID, ORIGIN, now)])
    return {"credential": identifier, "seed": number.to_bytes(32, "big").hex()}


def _public(key: ec.EllipticCurvePublicKey) -> PublicKey:
    loaded = load(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert isinstance(loaded, PublicKey)
    return loaded


def seed(server: Server, users: int, each: int) -> list[str]:
    """Users with so many credentials each, in a database that no server has open; sessions of users at random."""
    org_id = server.org_id
    ring = asyncio.run(key_ring(server))
    end = int(time.time() * 1000) - 60_000
    with filling(server.database) as database:
        (pem,) = database.one("SELECT public_key FROM credentials LIMIT 1")
        (permission,) = database.one("SELECT permission_id FROM permissions LIMIT 1")
        made = [user_id for user_id, _ in identifiers("us", users, end)]
        for start in range(0, users, _BATCH):
            some = made[start : start + _BATCH]
            names = [(user_id, f"{user_id}@example.org") for user_id in some]
            database.insert(
                "users",
                "org_id user_id kind is_service_account username username_key is_registered state epoch created_at",
                [(org_id, user_id, "EndUser", 0, name, name, 1, "Active", 0, end) for user_id, name in names],
            )
            database.insert(
                "permission_assignments",
                "org_id assignment_id permission_id identity_id is_immutable created_at updated_at",
                [(org_id, f"as-{user_id[3:]}", permission, user_id, 0, end, end) for user_id in some],
            )
        _credentials(database, org_id, made, each, pem, end)
        return _sessions(ring, database, org_id, made, end)


def _credentials(database: Filling, org_id: str, users: list[str], each: int, pem: str, end: int) -> None:
    rows: list[tuple[Any, ...]] = []
    for number, (uuid, moment) in enumerate(identifiers("cr", len(users) * each, end), 1):
        # In another order than the users came, as in a year's work.
        user_id, identifier = users[number % len(users)], f"Y3I{number:09}"
        values = (org_id, uuid, user_id, "", "Key", identifier, identifier, "a key", pem, f"SHA256:{number:043}")
        rows.append((*values, "", "", 0, "Active", 0, moment))
        if len(rows) == _BATCH or number == len(users) * each:
            database.insert("credentials", _CREDENTIAL, rows)
            rows.clear()


def _sessions(ring: KeyRing, database: Filling, org_id: str, users: list[str], end: int) -> list[str]:
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
        rows.append((org_id, token_id, "Token", user_id, "session", digest, "Active", 0, end, end + _DAY_MS))
    database.insert("tokens", "org_id token_id kind user_id name hash state epoch created_at expires_at", rows)
    random.shuffle(tokens)
    return tokens


async def key_ring(server: Server) -> KeyRing:
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
    measured: dict[tuple[str, int], Measured], engine: str, users: int, credentials: int, console: Console
) -> dict[str, Any]:
    console.print(f"many: {users:,} users with {credentials:,} credentials, {engine}")
    table = Table(title="identities", title_justify="left")
    for name in ("clients", "what", "a second", "p50 ms", "p99 ms", "server µs", "database µs", "ratio", "limit", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    ratios = {}
    for clients in CLIENTS:
        for what, name in _WHAT.items():
            row = _as_dict(measured[what, clients])
            cpu = _cpu(measured[what, clients])
            verdict = ["", "", ""]
            if what in ("Fido2", "many"):
                base, limit = ("Key", CEREMONY_LIMIT) if what == "Fido2" else ("few", IDENTIFY_LIMIT)
                ratio = cpu / _cpu(measured[base, clients])
                ratios[f"{what}/{base}, {clients}"] = ratio
                verdict = [f"{ratio:.2f}", f"≤ {limit}", "[green]holds" if ratio <= limit else "[bold red]missed"]
            rate, p50, p99 = measured[what, clients].rate, row["p50Milliseconds"], row["p99Milliseconds"]
            shares = [f"{row[f'{of}CpuMicroseconds']:.0f}" for of in ("server", "database")]
            table.add_row(str(clients), name, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", *shares, *verdict)
    console.print(table)
    return {
        "engine": engine,
        "users": users,
        "credentials": credentials,
        "ratios": ratios,
        "measured": [
            {"what": what, "clients": clients, **_as_dict(each)} for (what, clients), each in measured.items()
        ],
    }


def _as_dict(each: Measured) -> dict[str, Any]:
    """For the JSON file; here the other processes are PostgreSQL's."""
    row = each.as_dict()
    row["databaseCpuMicroseconds"] = row.pop("signerCpuMicroseconds")
    return row


def _cpu(each: Measured) -> float:
    """Microseconds of server and database together."""
    return each.each(each.server_cpu + each.signer_cpu) * 1e6
