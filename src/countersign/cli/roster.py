"""``countersign keystore roster`` and ``admin endorse``: whose consent the signer takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countersign.cli.common import config_option, data_option, installation_settings, start_refusals
from countersign.cli.kek_secrets import Secrets, at_hand, last

if TYPE_CHECKING:
    from countersign.keystores import Founder, SignerClient
    from countersign.keystores.roster import Listed
    from countersign.server.settings import Settings
    from countersign.storage import Database

T = TypeVar("T")


class _Place:
    """An installation with its signer, for one command."""

    def __init__(self, settings: Settings, database: Database, client: SignerClient, facts: dict[str, str]) -> None:
        self.settings = settings
        self.database = database
        self.client = client
        self.store_id = facts["store_id"]
        self.installation_id = facts["installation_id"]

    async def known(self) -> tuple[int, str] | None:
        """How far the roster was when a server last saw it."""
        from countersign.keystores.store import read_roster_mark

        return await self.database.read(lambda: read_roster_mark(self.store_id))

    async def prove(self, message: bytes) -> bytes:
        """The word of who holds the key-encryption key."""
        from countersign.keystores.kek import open_provider
        from countersign.keystores.memory import wipe
        from countersign.keystores.outcome import Refusal
        from countersign.keystores.proof import operator_proof
        from countersign.keystores.store import list_roots

        if not self.settings.signer_kek:
            raise click.ClickException("signer_kek must name the key-encryption key: file:PATH or passphrase")
        try:
            provider = open_provider(self.settings.signer_kek)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        blobs = await self.database.read(lambda: list_roots(self.store_id))
        given = at_hand(provider, blobs, Secrets())
        try:
            proof = operator_proof(provider, last(given), self.store_id, blobs, message)
        finally:
            for secret in given:
                wipe(secret)
        if isinstance(proof, Refusal):
            raise click.ClickException(f"this needs the key-encryption secret: {proof.reason}")
        return proof


async def vouch(settings: Settings, database: Database, founder: Founder) -> bool:
    """Have a credential that the operator has just enrolled count for the signer, where that takes no typing.

    False where it could not be: the signer is away, or the key-encryption key has to be typed in.
    """
    from countersign.keystores import SignerClient, SignerError
    from countersign.keystores.kek import open_provider
    from countersign.keystores.outgoing import RosterKeeper
    from countersign.keystores.store import list_roots
    from countersign.server.maintenance import find_installation
    from countersign.world import World

    facts, world = await find_installation(database), World()
    store_id = facts["store_id"]
    client = SignerClient(
        settings.signer_socket,
        None,
        lambda: database.read(lambda: list_roots(store_id)),
        store_id=store_id,
        world=world,
    )
    await client.start(wait=2.0)
    try:
        keeper = RosterKeeper(database, client, store_id, world)
        await keeper.deliver()
        await keeper.settle()
        if open_provider(settings.signer_kek).needs_secret or client.roster_mark is None:
            return False
        await _endorse(_Place(settings, database, client, facts), founder.org_id, founder)
    except (SignerError, ValueError, click.ClickException):
        return False
    else:
        return True
    finally:
        await client.close()


async def _endorse(place: _Place, org_id: str, founder: Founder) -> None:
    from msgspec.structs import replace

    from countersign.keystores.roster_orders import Endorsement

    endorsement = Endorsement(org_id, founder.credential_uuid, _fingerprint(founder))
    proof = await place.prove(endorsement.message())
    await place.client.change_roster("endorse", _packed(replace(endorsement, proof=proof)))


def _run(config: Path | None, data: Path | None, work: Callable[[_Place], Awaitable[T]]) -> T:
    from countersign.keystores import SignerError

    refusals: tuple[type[Exception], ...] = (SignerError, *start_refusals())
    try:
        return asyncio.run(_at(installation_settings(config, data), work))
    except refusals as error:
        raise click.ClickException(str(error)) from None


async def _at(settings: Settings, work: Callable[[_Place], Awaitable[T]]) -> T:
    from countersign.keystores import SignerClient
    from countersign.keystores.store import list_roots
    from countersign.server.maintenance import find_installation
    from countersign.storage import open_database
    from countersign.world import World

    database = await open_database(settings.database, migrate=False)
    try:
        facts = await find_installation(database)
        store_id = facts["store_id"]
        client = SignerClient(
            settings.signer_socket,
            None,
            lambda: database.read(lambda: list_roots(store_id)),
            store_id=store_id,
            world=World(),
        )
        await client.start()
        try:
            return await work(_Place(settings, database, client, facts))
        finally:
            await client.close()
    finally:
        await database.close()


@click.group(invoke_without_command=True)
@click.pass_context
@data_option
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def roster(context: click.Context, data: Path | None, config: Path | None, as_json: bool) -> None:
    """Show whose consent the signer takes: the credentials in its own roster, and how each came in.

    Exits with 1 when the roster is older than the one that a server saw before.
    """
    if context.invoked_subcommand is not None:
        return
    document, listed = _run(config, data, _read)
    if as_json:
        click.echo(json.dumps({**document, "credentials": [_document(item) for item in listed]}, indent=2))
    else:
        _show(document, listed)
    if document["behind"]:
        raise SystemExit(1)


async def _read(place: _Place) -> tuple[dict[str, Any], list[Listed]]:
    from countersign.keystores.outgoing import behind

    page = await place.client.roster_page(0)
    listed = list(page.credentials)
    while page.more:
        page = await place.client.roster_page(len(listed))
        listed += page.credentials
    known = await place.known()
    document = {
        "storeId": place.store_id,
        "installationId": page.installation_id,
        "records": page.records,
        "head": page.head.hex(),
        "behind": None if known is None else behind(known, (page.records, page.head.hex())),
    }
    return document, listed


def _document(item: Listed) -> dict[str, Any]:
    from countersign.encoding.dates import to_iso

    return {
        "credentialUuid": item.credential_uuid,
        "userId": item.user_id,
        "orgId": item.org_id,
        "kind": item.kind,
        "publicKey": item.fingerprint,
        "state": item.state,
        "enrolledBy": item.how,
        "consentOf": item.by,
        "dateEnrolled": to_iso(item.at),
    }


def _show(document: dict[str, Any], listed: list[Listed]) -> None:
    if not document["installationId"]:
        click.echo("the roster has not begun: grants alone are checked; 'countersign keystore roster adopt' begins it")
    for item in listed:
        how = f"{item.how} by {item.by}" if item.by else item.how
        named = f"{item.credential_uuid}  {item.state:<8}  {item.kind:<20}  {item.user_id}"
        click.echo(f"{named}  {item.fingerprint}  {how}")
    click.echo(f"{document['records']} records, head {document['head']}")
    if document["behind"]:
        click.echo(f"BEHIND: {document['behind']}")
        click.echo("  Put the newest copy of the signer's state back; or 'roster repeat', then 'roster confirm'.")


@roster.command()
@data_option
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def adopt(data: Path | None, config: Path | None, yes: bool) -> None:
    """Begin the roster of an installation made before there was one: with every active credential.

    Needs the key-encryption secret. From then on the signer takes nobody else's consent, for good (grant level G3).
    """

    async def work(place: _Place) -> int:
        from msgspec.structs import replace

        from countersign.keystores.roster_orders import Adoption
        from countersign.keystores.store import credentials_to_adopt

        found = await place.database.read(credentials_to_adopt)
        for item in found:
            _tell(item)
        if not yes:
            click.confirm(f"Are these {len(found)} credentials all known and wanted?", abort=True)
        adoption = Adoption(place.installation_id, tuple(found))
        proof = await place.prove(adoption.message())
        await place.client.change_roster("adopt", _packed(replace(adoption, proof=proof)))
        return len(found)

    click.echo(f"the roster begins with {_run(config, data, work)} credentials")


def _tell(item: Founder) -> None:
    click.echo(f"{item.credential_uuid}  {item.kind:<20}  {item.user_id}  {_fingerprint(item)}")


def _fingerprint(item: Founder) -> str:
    from countersign.credentials import public_key

    key = public_key.load(item.public_key)
    return key.fingerprint if isinstance(key, public_key.PublicKey) else "refused"


def _packed(message: Any) -> bytes:
    import msgspec

    return msgspec.msgpack.encode(message)


@roster.command()
@data_option
@config_option
def repeat(data: Path | None, config: Path | None) -> None:
    """Have everything that the roster rests on sent to the signer again, for a roster that was lost.

    The signer judges each piece anew; a running server sends them within a minute.
    """

    async def work(place: _Place) -> int:
        from countersign.keystores.outgoing import begin_anew

        return await place.database.write(begin_anew)

    click.echo(f"{_run(config, data, work)} orders wait for the signer")


@roster.command()
@data_option
@config_option
def confirm(data: Path | None, config: Path | None) -> None:
    """Take the signer's roster as it is for the newest, after a look at why it was behind."""

    async def work(place: _Place) -> int:
        from countersign.keystores.store import put_roster_mark
        from countersign.world import World

        page = await place.client.roster_page(0)
        now = World().now()
        await place.database.write(lambda: put_roster_mark(place.store_id, page.records, page.head.hex(), now))
        return page.records

    click.echo(f"the roster of {_run(config, data, work)} records is taken for the newest")


@click.command()
@click.argument("credential_uuid", metavar="CREDENTIAL")
@click.option("--public-key", "fingerprint", required=True, help="Fingerprint of its public key (SHA256:...).")
@data_option
@config_option
def endorse(credential_uuid: str, fingerprint: str, data: Path | None, config: Path | None) -> None:
    """Let the pending CREDENTIAL (cr-...) count for the signer: one enrolled with a code, or by break-glass.

    Ask its holder for the fingerprint, by another way than this server. Needs the key-encryption secret.
    """

    async def work(place: _Place) -> None:
        from msgspec.structs import replace

        from countersign.keystores.roster_orders import Endorsement

        _, listed = await _read(place)
        found = next((item for item in listed if item.credential_uuid == credential_uuid), None)
        if found is None:
            raise click.ClickException(f"the roster has no credential {credential_uuid!r}")
        endorsement = Endorsement(found.org_id, credential_uuid, fingerprint)
        proof = await place.prove(endorsement.message())
        await place.client.change_roster("endorse", _packed(replace(endorsement, proof=proof)))

    _run(config, data, work)
    click.echo(f"{credential_uuid} counts")
