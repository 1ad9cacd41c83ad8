"""The sandbox: a server that sets itself up, for development and CI."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from countersign.access.installation import read_installation
from countersign.access.keyring import KeyRing
from countersign.access.server_keys import read_server_secret
from countersign.credentials import public_key
from countersign.identity.application_administration import add_origin
from countersign.identity.bootstrap import (
    Founded,
    Plan,
    first_session,
    found,
    founding_credential,
    prepare_keys,
    sandbox_account,
)
from countersign.identity.local_commands import Impossible
from countersign.keystores import create_root
from countersign.keystores.kek import open_provider
from countersign.private_files import write_whole
from countersign.server.authorising import new_authoriser
from countersign.server.runtime import Runtime
from countersign.server.settings import Settings
from countersign.storage import Database, open_database, read_unmigrated
from countersign.world import World

SERVICE_ACCOUNT = "sandbox"
ADMINISTRATOR = "admin@sandbox.local"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_YEARS = 2 * 365 * 86_400


class NotASandbox(Exception):
    """The data directory belongs to a production server, to another database or to a server that runs."""


@dataclass(frozen=True, slots=True)
class SandboxFiles:
    """Where a sandbox keeps what."""

    directory: Path

    @property
    def exist(self) -> bool:
        """Whether a server was ever made here."""
        return self.database_url.exists() or (self.directory / "countersign.db").exists()

    @property
    def connection(self) -> Path:
        """What a client needs to connect, mode 0600."""
        return self.directory / "connection.json"

    @property
    def server_secret(self) -> Path:
        """Seals the server's own keys."""
        return self.directory / "server.secret"

    @property
    def kek(self) -> Path:
        """Key-encryption key of the development provider."""
        return self.directory / "dev.kek"

    @property
    def database_url(self) -> Path:
        """The URL of the database, mode 0600 because it may hold a password."""
        return self.directory / "database.url"

    @property
    def database(self) -> str:
        """URL of the database that the sandbox was made with, by default an embedded one."""
        if self.database_url.exists():
            return self.database_url.read_text(encoding="utf-8").strip()
        return f"sqlite://{self.directory / 'countersign.db'}"

    @property
    def socket(self) -> Path:
        """The signer's socket."""
        return self.directory / "signer" / "signer.sock"

    def private_key(self, name: str) -> Path:
        """PEM of a credential's private key."""
        return self.directory / f"{name}.pem"


def settings_values(files: SandboxFiles, port: int | None, database: str | None) -> dict[str, Any]:
    """The settings that make a sandbox, to lay under what the user sets."""
    return {
        "profile": "sandbox",
        "database": database or files.database,
        "port": port,
        "server_secret_file": str(files.server_secret),
        "signer_socket": str(files.socket),
        "signer_embedded": True,
        "signer_state": str(files.directory / "signer-state"),
        "signer_kek": f"dev:{files.kek}",
        "authoriser_socket": str(files.directory / "authoriser" / "authoriser.sock"),
        "authoriser_embedded": True,
        "authoriser_key": str(files.directory / "authoriser.key"),
        "authoriser_state": str(files.directory / "authoriser-state"),
        "allow_unsigned_query": True,
        "organisation_requests_per_minute": 1_000_000,
        "address_requests_per_minute": 1_000_000,
        "public_requests_per_minute": 1_000_000,
        "username_requests_per_minute": 1_000_000,
        "code_tries_per_minute": 1_000_000,
        "code_tries_per_hour": 1_000_000,
        "login_enumeration_protection": False,
        "recovery_seconds": 5,
        "job_lease_seconds": 10,
        "outgoing_allow_http": True,
        "outgoing_any_port": True,
        "outgoing_allowed_networks": ("127.0.0.0/8", "::1/128"),
    }


@contextmanager
def held(files: SandboxFiles) -> Iterator[None]:
    """Keep other servers off the data directory, which is made when missing; however this one ends, the hold does too.

    A second one would write its own address into ``connection.json``. Raises ``NotASandbox`` and ``OSError``.
    """
    files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(files.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotASandbox(
                f"a sandbox is running on {files.directory}; stop it, or name another data directory with --data"
            ) from None
        yield
    finally:
        os.close(descriptor)


def prepare(files: SandboxFiles, settings: Settings, world: World) -> bool:
    """Make on the first start what belongs in the data directory; true on that first start."""
    if not files.server_secret.exists():
        write_whole(files.server_secret, secrets.token_bytes(32))
    first = asyncio.run(_prepare(files, settings, world))
    # So that the commands that take a data directory find the database, wherever it is.
    write_whole(files.database_url, f"{settings.database}\n".encode())
    return first


def _leave_production_alone(installation: dict[str, str]) -> None:
    if installation.get("profile", "sandbox") != "sandbox":
        raise NotASandbox("this database is that of a production server; the sandbox does not touch it")


async def _prepare(files: SandboxFiles, settings: Settings, world: World) -> bool:
    # Also before it is migrated.
    _leave_production_alone(await read_unmigrated(settings.database, "installation", read_installation) or {})
    database = await open_database(settings.database, migrate=True)
    try:
        installation = await database.read(read_installation)
        if "store_id" in installation:
            _leave_production_alone(installation)
            if not files.connection.exists():
                raise NotASandbox(
                    f"the database is set up, but {files.connection} is missing: "
                    "use the data directory it was made with"
                )
            return False
        if files.connection.exists():
            raise NotASandbox(
                f"{files.directory} belongs to another database, and this one is empty: "
                "name the one it was made with, or another data directory"
            )
        await _first_start(files, settings, database, world)
        return True
    finally:
        await database.close()


async def _first_start(files: SandboxFiles, settings: Settings, database: Database, world: World) -> None:
    secret = read_server_secret(files.server_secret)
    keys = await database.write(lambda: prepare_keys(secret, world))
    store_id, installation_id = world.new_id("ks"), world.new_id("in")
    admin, service = _new_key(files, "admin"), _new_key(files, "service-account")
    first = founding_credential(admin, world.new_id("or"), world)
    second = founding_credential(service, first.org_id, world)
    founders = (first, second)
    apart = new_authoriser(settings, installation_id, founders, world)
    root = create_root(
        open_provider(settings.signer_kek),
        store_id,
        keys.active("authoriser").public_key if apart is None else apart.public_key,
        installation_id=installation_id,
        founders=founders,
        recovery_recipients=settings.recovery_recipients,
        authoriser_apart=apart is not None,
    )
    plan = Plan(
        installation_id=installation_id,
        profile="sandbox",
        organisation="Sandbox",
        administrator=ADMINISTRATOR,
        administrator_key=admin,
        relying_party="localhost",
        origin=f"http://localhost:{settings.port}",
        store_id=store_id,
        wrapped_root=root,
        founder=first,
        break_glass_hours=settings.break_glass_hours,
        authoriser_id=None if apart is None else apart.authoriser_id,
    )
    made = await database.write(lambda: found(plan, world))
    ring = KeyRing(database, secret, settings.issuer or installation_id, world)
    await ring.load()
    account = await database.write(
        lambda: sandbox_account(second, SERVICE_ACCOUNT, service, installation_id, ring, _YEARS, world)
    )
    _write_connection(
        files,
        {
            "baseUrl": "",
            "orgId": made.org_id,
            "appId": made.app_id,
            "userId": account.user_id,
            "authToken": account.token,
            "credentialId": account.credential_id,
            "privateKeyPath": str(files.private_key("service-account")),
            "adminUserId": made.user_id,
            "adminToken": "",
            "adminCredentialId": _credential(made),
            "adminPrivateKeyPath": str(files.private_key("admin")),
        },
    )


def _credential(made: Founded) -> str:
    return made.credential_id


def _new_key(files: SandboxFiles, name: str) -> public_key.PublicKey:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(files.private_key(name), pem)
    spki = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    loaded = public_key.load(spki.decode())
    assert isinstance(loaded, public_key.PublicKey)
    return loaded


def read_connection(files: SandboxFiles) -> dict[str, str]:
    """What ``connection.json`` holds."""
    content: dict[str, str] = json.loads(files.connection.read_text(encoding="utf-8"))
    return content


def console_address(files: SandboxFiles) -> str | None:
    """Where people find the console of a sandbox that was started; by name, as passkeys are bound to names."""
    base_url = read_connection(files)["baseUrl"]
    return f"{base_url.replace('//127.0.0.1', '//localhost')}/console" if base_url else None


def _write_connection(files: SandboxFiles, values: dict[str, str]) -> None:
    write_whole(files.connection, (json.dumps(values, indent=2) + "\n").encode())


async def renew_token(
    files: SandboxFiles, database: Database, ring: KeyRing, installation_id: str, lifetime: int
) -> str:
    """Mint a session token for the administrator and write it into ``connection.json``."""
    values = read_connection(files)
    token = await database.write(
        lambda: first_session(
            values["orgId"], values["adminUserId"], ADMINISTRATOR, installation_id, ring, lifetime, World()
        )
    )
    _write_connection(files, {**values, "adminToken": token})
    return token


async def announce(files: SandboxFiles, runtime: Runtime, port: int) -> dict[str, str]:
    """At each start: the address and a fresh administrator's token into ``connection.json``."""
    services = runtime.services
    await renew_token(files, services.database, services.ring, services.installation_id, 86_400)
    scheme = "https" if runtime.settings.tls_certificate else "http"
    host = runtime.settings.host if runtime.settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    with contextlib.suppress(Impossible):
        # The console's, wherever this start listens; whoever took the application away wants no passkeys there.
        origin = f"{scheme}://localhost" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://localhost:{port}"
        app_id = read_connection(files)["appId"]
        await services.database.write(lambda: add_origin(app_id, origin, services.world))
    base_url = runtime.settings.public_url or f"{scheme}://{host}:{port}{runtime.settings.mount_prefix}"
    values = {**read_connection(files), "baseUrl": base_url}
    _write_connection(files, values)
    return values
