"""``countersign policy replay`` and ``export``: policies against what an organisation recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countersign.cli.common import (
    as_date,
    config_option,
    data_option,
    example,
    installation_settings,
    printable,
    run_local,
)

if TYPE_CHECKING:
    from countersign.policies.evaluate import Outcome
    from countersign.policies.recorded import Recorded
    from countersign.policies.replay import Tally
    from countersign.policies.types import Policy
    from countersign.storage import Database
    from countersign.world import World

org_option = click.option("--org", "org_id", help="Id of the organisation [default: the only one there is].")


@click.command(
    "replay",
    epilog=example(
        "countersign policy replay draft.yaml --since 2026-01-01 --add",
    ),
)
@click.argument("draft", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@data_option
@org_option
@click.option("--since", help="Only what was asked for since this date, such as 2026-01-01 [default: all].")
@click.option("--add", is_flag=True, help="Ask the draft together with the active policies, instead of alone.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0, 100_000), help="List at most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay_command(
    draft: Path,
    config: Path | None,
    data: Path | None,
    org_id: str | None,
    since: str | None,
    add: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Say what would have waited or been blocked, had the policies of DRAFT been in force. Nothing is written.

    DRAFT is a file of policies, as for 'countersign policy test'. Each activity is judged as of when it was asked for.
    """
    from countersign.api.wire import encode
    from countersign.cli.progress import progress_bar
    from countersign.identity.administration import organisation
    from countersign.policies.replay import replay
    from countersign.server.table import operations

    # What is recorded is known once the domains are loaded.
    operations()
    drafts, first = _drafts(draft), 0 if since is None else as_date("--since", since)
    listed: list[dict[str, Any]] = []

    def stopped(recorded: Recorded, outcome: Outcome) -> None:
        if len(listed) < limit:
            listed.append(_stopped(recorded, outcome))

    async def work(database: Database, _secret: bytes, _world: World) -> Tally:
        chosen = await database.read(lambda: organisation(org_id))
        with progress_bar("replaying") as show:
            return await replay(
                database,
                chosen,
                drafts,
                added=add,
                since=first,
                stopped=stopped,
                progress=lambda done, total: show("activities", done, total),
            )

    tally = run_local(installation_settings(config, data), work)
    if as_json:
        document = {
            "replayed": tally.replayed,
            "held": tally.held,
            "blocked": tally.blocked,
            "kinds": tally.of,
            "triggered": tally.policies,
            "stopped": listed,
        }
        click.echo(encode(document))
        return
    for each in listed:
        click.echo(
            f"{each['outcome']:<15}  {each['dateRequested']}  {each['id']}  by {each['initiatorId']}, {each['status']}"
        )
        for policy in each["policies"]:
            # Names and what was asked for are other people's words.
            click.echo(printable(f"  {policy['policyId']} ({policy['name']}): {policy['reason']}"))
    if tally.held + tally.blocked > len(listed):
        click.echo(f"and {tally.held + tally.blocked - len(listed):,} more; --limit lists them")
    click.echo(f"{tally.held:,} of {tally.replayed:,} would have been held, {tally.blocked:,} blocked")


@click.command("export")
@config_option
@data_option
@org_option
def export_command(config: Path | None, data: Path | None, org_id: str | None) -> None:
    """Print the active policies, and who could approve, as the YAML that 'test', 'lint' and 'replay' read."""
    from countersign.encoding import strictyaml
    from countersign.identity.administration import organisation
    from countersign.policies.exporting import scenario

    async def work(database: Database, _secret: bytes, _world: World) -> dict[str, Any]:
        chosen = await database.read(lambda: organisation(org_id))
        return await database.read(lambda: scenario(chosen))

    click.echo(strictyaml.write(run_local(installation_settings(config, data), work)), nl=False)


def _drafts(file: Path) -> list[Policy]:
    from countersign.api.wire import UNSET
    from countersign.cli.policy import read_file
    from countersign.policies import trial
    from countersign.policies.scenario import BadScenario

    given = trial.world_of(read_file(file)).policies
    if given is UNSET:
        raise click.ClickException(f"{file} holds no policies")
    try:
        return trial.read_policies(given, ())
    except BadScenario as error:
        raise click.ClickException(f"{file}: {error}") from None


def _stopped(recorded: Recorded, outcome: Outcome) -> dict[str, Any]:
    from countersign.encoding.dates import to_iso
    from countersign.policies.replay import stopping

    activity = recorded.activity
    return {
        "outcome": type(outcome).__name__,
        "id": recorded.entity_id,
        "activityKind": activity.kind,
        "dateRequested": to_iso(activity.requested_at),
        "initiatorId": activity.initiator_id,
        "status": recorded.status,
        "policies": [
            {"policyId": one.policy_id, "name": one.policy_name, "reason": one.reason} for one in stopping(outcome)
        ],
    }
