"""``countersign jobs``: the durable work of a server, looked at and mended on the server's own host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from countersign.cli.common import (
    Group,
    config_option,
    data_option,
    installation_settings,
    printable,
    run_local,
    start_refusals,
)

if TYPE_CHECKING:
    from countersign.jobs.inspection import Shown
    from countersign.storage import Database
    from countersign.world import World


@click.group(cls=Group)
def jobs() -> None:
    """Look after background jobs, by database access on the server's own host."""


@jobs.command("list")
@config_option
@data_option
@click.option("--dead", is_flag=True, help="Those whose every attempt failed, instead of those that wait or run.")
@click.option("--kind", default="", help="Only this kind, such as webhooks.deliver.")
@click.option("--org", "org_id", default="", help="Only of this organisation.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_command(
    config: Path | None, data: Path | None, dead: bool, kind: str, org_id: str, limit: int, as_json: bool
) -> None:
    """List jobs: the next due first, of dead ones the newest first."""
    from countersign.jobs import inspection

    async def work(database: Database, _secret: bytes, world: World) -> list[Shown]:
        now = world.now()
        return await database.read(lambda: inspection.listing(now, kind=kind, org_id=org_id, dead=dead, limit=limit))

    found = run_local(installation_settings(config, data), work)
    if as_json:
        click.echo(json.dumps([_document(job) for job in found], indent=2))
        return
    for job in found:
        document = _document(job)
        when = document.get("dateDied", document.get("dateDue", ""))
        line = f"{job.job_id}  {job.state:<7}  {job.kind:<20}  {when}  {job.attempts} failed  {job.reason or ''}"
        click.echo(printable(line).rstrip())
    if not found:
        click.echo(
            "no such job is dead" if dead else "no such job waits or runs" if kind or org_id else "no job waits or runs"
        )


@jobs.command("show")
@click.argument("job_id", metavar="JOB")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(job_id: str, config: Path | None, data: Path | None, as_json: bool) -> None:
    """Show JOB with its payload."""
    from countersign.jobs import inspection

    async def work(database: Database, _secret: bytes, world: World) -> Shown | None:
        now = world.now()
        return await database.read(lambda: inspection.find(job_id, now))

    job = run_local(installation_settings(config, data), work)
    if job is None:
        raise click.ClickException(f"there is no job {job_id}; it is done, dropped, or never was")
    document = {**_document(job), "payload": json.loads(job.payload)}
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for name, value in document.items():
        click.echo(printable(f"{name:<14}  {json.dumps(value, ensure_ascii=False) if name == 'payload' else value}"))


@jobs.command("retry")
@click.argument("job_id", metavar="JOB")
@config_option
@data_option
def retry_command(job_id: str, config: Path | None, data: Path | None) -> None:
    """Run JOB now; a dead one begins its attempts anew. It is an entry in the audit log of its organisation."""
    _change(job_id, config, data, "retry")
    click.echo(f"{job_id} is due now")


@jobs.command("drop")
@click.argument("job_id", metavar="JOB")
@config_option
@data_option
@click.confirmation_option(prompt="What it was to do will never be done. Drop it?")
def drop_command(job_id: str, config: Path | None, data: Path | None) -> None:
    """Delete JOB for good. It is an entry in the audit log of its organisation."""
    _change(job_id, config, data, "drop")
    click.echo(f"{job_id} is dropped")


def _change(job_id: str, config: Path | None, data: Path | None, what: str) -> None:
    from countersign.server.jobs import change_by_command
    from countersign.server.maintenance import find_installation

    async def work(database: Database, _secret: bytes, world: World) -> Shown | None:
        installation_id = (await find_installation(database))["installation_id"]
        return await database.write(lambda: change_by_command(what, job_id, installation_id, world))

    if run_local(installation_settings(config, data), work) is None:
        raise click.ClickException(f"there is no job {job_id}, or it is running, or another of its key took its place")


@jobs.command("work")
@config_option
@data_option
def work_command(config: Path | None, data: Path | None) -> None:
    """Run jobs in a process of its own, beside servers over one PostgreSQL, until it is stopped."""
    from countersign.server import logs
    from countersign.server.jobs import work_alone
    from countersign.world import World

    settings = installation_settings(config, data)
    if settings.database.startswith("sqlite"):
        raise click.ClickException(
            "SQLite is served by one process, which runs the jobs as well; this needs PostgreSQL"
        )
    import uvloop

    logs.configure(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work_alone(settings, World()))
    except start_refusals() as error:
        raise click.ClickException(str(error)) from None


def _document(job: Shown) -> dict[str, Any]:
    from countersign.encoding.dates import to_iso

    document: dict[str, Any] = {
        "id": job.job_id,
        "kind": job.kind,
        "state": job.state,
        "orgId": job.org_id,
        "failedAttempts": job.attempts,
        "dateCreated": to_iso(job.created_at),
    }
    if job.lane:
        document["lane"] = job.lane
    if job.due_at is not None:
        document["dateDue"] = to_iso(job.due_at)
    if job.died_at is not None:
        document["dateDied"] = to_iso(job.died_at)
    if job.reason is not None:
        document["reason"] = job.reason
    return document
