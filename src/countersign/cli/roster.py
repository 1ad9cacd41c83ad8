"""``countersign keystore roster`` and ``admin endorse``: whose consent the signer takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from countersign.cli.common import Group, config_option, data_option, example, installation_settings, start_refusals
from countersign.cli.kek_secrets import Secrets, last
from countersign.cli.signers import (
    ServedStore,
    kek_at_hand,
    one_store_option,
    roster_keepers,
    roster_line,
    store_option,
)
from countersign.encoding.counted import counted

if TYPE_CHECKING:
    from countersign.keystores import Founder
    from countersign.keystores.roster import Listed
    from countersign.keystores.roster_line import RosterLine
    from countersign.server.settings import Settings
    from countersign.storage import Database

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Place:
    """One keeper of a roster, a signer or the authoriser, for one command."""

    database: Database
    client: RosterLine
    store: ServedStore
    installation_id: str
    secrets: Secrets

    async def known(self) -> tuple[int, str] | None:
        """How far the roster was when a server last saw it."""
        from countersign.keystores.store import read_roster_mark

        return await self.database.read(lambda: read_roster_mark(self.store.store_id))

    async def prove(self, message: bytes) -> bytes:
        """The word of who holds the key-encryption key, or the key file of the authoriser."""
        from countersign.keystores import charter
        from countersign.keystores.memory import wipe
        from countersign.keystores.outcome import Refusal
        from countersign.keystores.proof import operator_proof

        if self.store.key_file:
            try:
                return charter.read(Path(self.store.key_file)).keys.operator_proof(message)
            except (ValueError, OSError) as trouble:
                raise click.ClickException(f"this needs the key file of the authoriser: {trouble}") from None
        provider, given, blobs = await kek_at_hand(self.database, self.store, self.secrets)
        try:
            proof = operator_proof(provider, last(given), self.store.store_id, blobs, message)
        finally:
            for secret in given:
                wipe(secret)
        if isinstance(proof, Refusal):
            raise click.ClickException(f"this needs the key-encryption secret: {proof.reason}")
        return proof


async def vouch(settings: Settings, database: Database, founder: Founder) -> bool:
    """Have a credential that the operator has just enrolled count for the signers, where that takes no typing.

    False where one of them does not know it: it is away, or its key-encryption key has to be typed in, or what every
    command needs is missing meanwhile.
    """
    foreseen: tuple[type[Exception], ...] = (click.ClickException, *start_refusals())
    try:
        done = [await _vouch(database, store, founder) for store in await roster_keepers(settings, database)]
    except foreseen:
        return False
    return all(done)


async def _vouch(database: Database, store: ServedStore, founder: Founder) -> bool:
    from countersign.keystores import SignerError
    from countersign.keystores.kek import open_provider
    from countersign.keystores.outgoing import RosterKeeper
    from countersign.world import World

    async with roster_line(database, store) as client:
        try:
            keeper = RosterKeeper(database, {store.store_id: client}, World())
            await keeper.deliver()
            await keeper.settle()
            typed = not store.key_file and open_provider(store.kek).needs_secret
            if typed or client.roster_mark is None:
                return False
            await _endorse(_Place(database, client, store, "", Secrets()), founder.org_id, founder)
        except (SignerError, ValueError, click.ClickException):
            return False
        return True


async def _endorse(place: _Place, org_id: str, founder: Founder) -> None:
    from msgspec.structs import replace

    from countersign.keystores.roster_orders import Endorsement

    endorsement = Endorsement(org_id, founder.credential_uuid, _fingerprint(founder))
    proof = await place.prove(endorsement.message())
    await place.client.change_roster("endorse", _packed(replace(endorsement, proof=proof)))


def _run(
    config: Path | None, data: Path | None, store_id: str | None, work: Callable[[_Place], Awaitable[T]]
) -> list[tuple[ServedStore, T | Exception]]:
    """Do the work at every store, or at the one that is named; what a signer refuses stops no other."""
    try:
        return asyncio.run(_at(installation_settings(config, data), store_id, work))
    except start_refusals() as error:
        raise click.ClickException(str(error)) from None


def _run_one(config: Path | None, data: Path | None, store_id: str | None, work: Callable[[_Place], Awaitable[T]]) -> T:
    """Do the work at one store, by default that of ``init``."""
    _, outcome = _run(config, data, store_id or "", work)[0]
    if isinstance(outcome, Exception):
        raise click.ClickException(str(outcome)) from None
    return outcome


async def _at(
    settings: Settings, store_id: str | None, work: Callable[[_Place], Awaitable[T]]
) -> list[tuple[ServedStore, T | Exception]]:
    from countersign.keystores import SignerError
    from countersign.server.maintenance import find_installation
    from countersign.storage import open_database

    database = await open_database(settings.database, migrate=False)
    try:
        installation_id = (await find_installation(database))["installation_id"]
        stores = await roster_keepers(settings, database, store_id or None)
        outcomes: list[tuple[ServedStore, T | Exception]] = []
        secrets = Secrets()
        for store in stores[:1] if store_id == "" else stores:
            async with roster_line(database, store) as client:
                try:
                    place = _Place(database, client, store, installation_id, secrets)
                    outcomes.append((store, await work(place)))
                except (SignerError, click.ClickException) as error:
                    outcomes.append((store, error))
        return outcomes
    finally:
        await database.close()


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
@data_option
@config_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def roster(context: click.Context, data: Path | None, config: Path | None, store_id: str | None, as_json: bool) -> None:
    """Show whose consent the signers take: the credentials in the roster of each, and how each came in.

    Exits with 1 when a roster is older than the one that a server saw before, when a credential counts in one roster
    and not in another, and when a signer does not answer.
    """
    if context.invoked_subcommand is not None:
        return
    outcomes = _run(config, data, store_id, _read)
    read = [outcome for _, outcome in outcomes if not isinstance(outcome, Exception)]
    unlike = [line for roster in read[1:] for line in differences(read[0], roster)]
    if as_json:
        stores = [
            {"storeId": store.store_id, "error": str(outcome)}
            if isinstance(outcome, Exception)
            else {**outcome.document, "credentials": [_document(item) for item in outcome.listed]}
            for store, outcome in outcomes
        ]
        click.echo(json.dumps({"stores": stores, "differences": unlike}, indent=2))
    else:
        for store, outcome in outcomes:
            if len(outcomes) > 1:
                click.echo(f"{store.title} ({store.name})")
            if isinstance(outcome, Exception):
                click.echo(f"no answer: {outcome}")
            else:
                _show(outcome.document, outcome.listed)
        for line in unlike:
            click.echo(f"DIFFERS: {line}")
    if unlike or len(read) < len(outcomes) or any(roster.document["behind"] for roster in read):
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class Shown:
    """The roster of one store as it is shown."""

    document: dict[str, Any]
    listed: list[Listed]


def differences(one: Shown, other: Shown) -> list[str]:
    """Credentials that count in one of two rosters and not in the other; none while one of them has not begun."""
    if not (one.document["installationId"] and other.document["installationId"]):
        return []
    states = [{(item.org_id, item.credential_uuid): item.state for item in shown.listed} for shown in (one, other)]
    unlike = []
    for key in dict.fromkeys([*states[0], *states[1]]):
        here, there = (each.get(key, "absent") for each in states)
        if here != there and "Active" in (here, there):
            unlike.append(f"{key[1]} is {here} in {one.document['storeId']}, {there} in {other.document['storeId']}")
    return unlike


async def _read(place: _Place) -> Shown:
    page = await place.client.roster_page(0)
    listed = list(page.credentials)
    while page.more:
        page = await place.client.roster_page(len(listed))
        listed += page.credentials
    known = await place.known()
    document = {
        "storeId": place.store.store_id,
        "installationId": page.installation_id,
        "records": page.records,
        "head": page.head.hex(),
        "behind": None if known is None else await place.client.behind(known),
    }
    return Shown(document, listed)


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
    click.echo(f"{counted(document['records'], 'record')}, head {document['head']}")
    if document["behind"]:
        click.echo(f"BEHIND: {document['behind']}")
        click.echo("  Until then no key is used: put the newest copy back; or 'roster repeat', then 'roster confirm'.")


@roster.command()
@data_option
@config_option
@one_store_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def adopt(data: Path | None, config: Path | None, store_id: str | None, yes: bool) -> None:
    """Begin the roster of a key store made before there was one: with every active credential.

    Needs the key-encryption secret. From then on the signer takes nobody else's consent, for good (grant level G3).
    """

    async def work(place: _Place) -> int:
        from msgspec.structs import replace

        from countersign.keystores.roster_orders import Adoption

        if place.store.key_file:
            raise click.ClickException("the roster of an authoriser begins with its key file")
        if (await place.client.roster_page(0)).installation_id:
            raise click.ClickException(
                "the roster has begun already, once and for all: 'admin endorse' lets a further credential count"
            )
        found = await confirmed_credentials(place.database, ask=not yes)
        adoption = Adoption(place.installation_id, found)
        proof = await place.prove(adoption.message())
        await place.client.change_roster("adopt", _packed(replace(adoption, proof=proof)))
        return len(found)

    click.echo(f"the roster begins with {counted(_run_one(config, data, store_id, work), 'credential')}")


async def confirmed_credentials(database: Database, *, ask: bool) -> tuple[Founder, ...]:
    """Every active credential, shown to the operator, who takes them all or gives up."""
    from countersign.keystores.store import credentials_to_adopt

    found = await database.read(credentials_to_adopt)
    for item in found:
        _tell(item)
    if ask:
        these = counted(len(found), "credential known and", "credentials all known and")
        click.confirm(f"{'Is this' if len(found) == 1 else 'Are these'} {these} wanted?", abort=True)
    return tuple(found)


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
@one_store_option
def repeat(data: Path | None, config: Path | None, store_id: str | None) -> None:
    """Have everything that the roster rests on sent to the signer again, for a roster that was lost.

    The signer judges each piece anew; a running server sends them within a minute.
    """

    async def work(place: _Place) -> int:
        from countersign.keystores.outgoing import begin_anew

        return await place.database.write(lambda: begin_anew(place.store.store_id))

    click.echo(f"{counted(_run_one(config, data, store_id, work), 'order waits', 'orders wait')} for the signer")


@roster.command()
@data_option
@config_option
@one_store_option
def confirm(data: Path | None, config: Path | None, store_id: str | None) -> None:
    """Take a roster as it is for the newest, after a look at why it was behind; keys are used again within seconds."""

    async def work(place: _Place) -> int:
        from countersign.keystores.store import put_roster_mark
        from countersign.world import World

        page = await place.client.roster_page(0)
        now = World().now()
        await place.database.write(lambda: put_roster_mark(place.store.store_id, page.records, page.head.hex(), now))
        return page.records

    click.echo(f"the roster of {counted(_run_one(config, data, store_id, work), 'record')} is taken for the newest")


@click.command(
    epilog=example(
        "countersign admin endorse cr-... --public-key SHA256:...",
    ),
)
@click.argument("credential_uuid", metavar="CREDENTIAL")
@click.option("--public-key", "fingerprint", required=True, help="Fingerprint of its public key (SHA256:...).")
@data_option
@config_option
@store_option
def endorse(
    credential_uuid: str, fingerprint: str, data: Path | None, config: Path | None, store_id: str | None
) -> None:
    """Let the pending CREDENTIAL (cr-...) count for the signers: one enrolled with a code, or by break-glass.

    Ask its holder for the fingerprint, by another way than this server. Needs the key-encryption secret of each store,
    and the key file of an authoriser in a process of its own.
    """

    async def work(place: _Place) -> None:
        from msgspec.structs import replace

        from countersign.keystores.roster_orders import Endorsement

        shown = await _read(place)
        found = next((item for item in shown.listed if item.credential_uuid == credential_uuid), None)
        if found is None:
            raise click.ClickException(f"the roster has no credential {credential_uuid!r}")
        endorsement = Endorsement(found.org_id, credential_uuid, fingerprint)
        proof = await place.prove(endorsement.message())
        await place.client.change_roster("endorse", _packed(replace(endorsement, proof=proof)))

    outcomes = _run(config, data, store_id, work)
    failed = [(store, outcome) for store, outcome in outcomes if isinstance(outcome, Exception)]
    for store, outcome in failed:
        click.echo(f"{store.title}: {outcome}", err=True)
    if failed:
        taken = len(outcomes) - len(failed)
        raise click.ClickException(f"{credential_uuid} counts in {taken} of {counted(len(outcomes), 'roster')}")
    click.echo(f"{credential_uuid} counts")
