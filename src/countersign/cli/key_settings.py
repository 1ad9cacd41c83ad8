"""``countersign admin keys``: what an organisation allows its keys beyond signing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli.common import config_option, data_option, installation_settings, run_local

if TYPE_CHECKING:
    from countersign.keys.key_settings import KeySettings, Value
    from countersign.storage import Database
    from countersign.world import World


@click.command("keys")
@config_option
@data_option
@click.option("--org", "org_id", help="Id of the organisation [default: the only one there is].")
@click.option("--enable-import/--disable-import", "key_import", default=None, help="Let keys be imported.")
@click.option("--enable-export/--disable-export", "key_export", default=None, help="Let keys be exported.")
@click.option(
    "--sign-after-export/--no-sign-after-export",
    default=None,
    help="Let keys be used on that were exported: others may hold them too.",
)
@click.option(
    "--export-approver",
    "export_approvers",
    multiple=True,
    help="Id of somebody who approves exports; repeated, it names the whole group anew.",
)
@click.option(
    "--export-quorum", type=click.IntRange(min=1), help="How many of them an export takes [default: 1, or as it is]."
)
@click.option("--no-export-approvers", is_flag=True, help="Let exports wait for nobody.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def keys_command(
    config: Path | None,
    data: Path | None,
    org_id: str | None,
    key_import: bool | None,
    key_export: bool | None,
    sign_after_export: bool | None,
    export_approvers: tuple[str, ...],
    export_quorum: int | None,
    no_export_approvers: bool,
    as_json: bool,
) -> None:
    """Say or set whether keys of an organisation may be imported, exported, and used after an export.

    And who has to approve an export: people of the organisation, each of whom countersigns the same body.

    All of it is off at first. A change counts at once and is audited.
    """
    from countersign.keys import key_settings

    wanted = {"key_import": key_import, "key_export": key_export, "sign_after_export": sign_after_export}
    changes: dict[str, Value] = {name: value for name, value in wanted.items() if value is not None}
    if no_export_approvers and (export_approvers or export_quorum is not None):
        raise click.UsageError("--no-export-approvers goes with neither --export-approver nor --export-quorum")
    if no_export_approvers:
        changes |= {"export_approvers": (), "export_quorum": 0}
    if export_approvers:
        changes["export_approvers"] = export_approvers
    if export_quorum is not None:
        changes["export_quorum"] = export_quorum

    async def work(database: Database, _secret: bytes, world: World) -> tuple[str, KeySettings]:
        return await database.write(lambda: key_settings.change(org_id, changes, world))

    chosen, now = run_local(installation_settings(config, data), work)
    if as_json:
        document = {
            "orgId": chosen,
            "keyImport": now.key_import,
            "keyExport": now.key_export,
            "signAfterExport": now.sign_after_export,
            "exportApprovers": now.export_approvers,
            "exportQuorum": now.export_quorum,
        }
        click.echo(json.dumps(document))
        return
    click.echo(chosen)
    for name, label in key_settings.NAMES.items():
        click.echo(f"{label:<18}  {key_settings.text(getattr(now, name))}")
    if now.key_export and not now.export_approvers:
        click.echo(
            "Warning: no export waits for an approval; whoever holds Keys:Export and a credential takes keys out. "
            "Name people who approve with --export-approver.",
            err=True,
        )
