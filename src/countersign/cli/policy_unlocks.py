"""``countersign admin unlock-policy``: the end of a policy that guards policies and that nobody can change any more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli import waiting
from countersign.cli.common import (
    Group,
    config_option,
    data_option,
    installation_settings,
    printable,
    run_local,
    write_local,
)
from countersign.cli.kek_secrets import prove

if TYPE_CHECKING:
    from countersign.identity.policy_unlocks import Unlock
    from countersign.storage import Database
    from countersign.world import World


@click.group("unlock-policy", cls=Group)
def unlock_policy() -> None:
    """Archive a policy that guards policies and that nobody can change any more: asked for, waited for, then done.

    'request' and 'complete' need the key-encryption secret of the key store (setting signer_kek). The wait is what the
    setting break_glass_hours was at init; meanwhile the server warns in its log, and anyone with this host can cancel.
    """


@unlock_policy.command()
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List the policies that are locked, and why."""
    from countersign.identity import policy_unlocks

    allowed = installation_settings(config, data).service_accounts_approve
    found = write_local(config, data, lambda _world: policy_unlocks.locked(allowed))
    if as_json:
        documents = [
            {"orgId": org_id, "policyId": lock.policy.id, "policyName": lock.policy.name, "reasons": lock.reasons}
            for org_id, lock in found
        ]
        click.echo(json.dumps(documents, indent=2))
        return
    for org_id, lock in found:
        click.echo(f"{lock.policy.id}  {org_id}  {printable(lock.policy.name)}")
        for reason in lock.reasons:
            click.echo(f"  {printable(reason)}")
    if not found:
        click.echo("no policy is locked")


@unlock_policy.command("request")
@click.argument("policy_id", metavar="POLICY")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def request_command(policy_id: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Ask for the end of the locked policy POLICY. Where a group is open to everybody, inviting a user may do."""
    from countersign.identity import policy_unlocks

    settings = installation_settings(config, data)

    async def work(database: Database, _secret: bytes, world: World) -> Unlock:
        await prove(settings, database, "unlocking a policy")
        allowed = settings.service_accounts_approve
        return await database.write(lambda: policy_unlocks.request(policy_id, allowed, world))

    made = run_local(settings, work)
    waiting.show_made(made, f"the end of {made.policy_name}", "unlock-policy", as_json)


@unlock_policy.command("list")
@config_option
@data_option
@click.option("--all", "ended_too", is_flag=True, help="Those that ended too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(config: Path | None, data: Path | None, ended_too: bool, as_json: bool) -> None:
    """List the requests that wait."""
    from countersign.identity import policy_unlocks

    found = write_local(config, data, lambda _world: policy_unlocks.list_requests())
    waiting.show_all(found, lambda item: f"{item.policy_id}  {item.policy_name}", ended_too, as_json)


@unlock_policy.command()
@click.argument("request_id", metavar="ID")
@config_option
@data_option
def cancel(request_id: str, config: Path | None, data: Path | None) -> None:
    """Cancel the request ID; the policy stays."""
    from countersign.identity import policy_unlocks

    ended = write_local(config, data, lambda world: policy_unlocks.cancel(request_id, world))
    click.echo(f"{ended.id} is cancelled")


@unlock_policy.command()
@click.argument("request_id", metavar="ID")
@config_option
@data_option
def complete(request_id: str, config: Path | None, data: Path | None) -> None:
    """Archive the policy of the request ID, once its wait is over and if it is still locked."""
    from countersign.identity import policy_unlocks

    settings = installation_settings(config, data)

    async def work(database: Database, _secret: bytes, world: World) -> Unlock:
        await prove(settings, database, "unlocking a policy")
        allowed = settings.service_accounts_approve
        return await database.write(lambda: policy_unlocks.complete(request_id, allowed, world))

    done = run_local(settings, work)
    click.echo(f"{done.policy_id} ({printable(done.policy_name)}) is archived: guard policies anew at once")
