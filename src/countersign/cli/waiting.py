"""What commands print of requests that an operator makes, and that wait before they are done."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import click

from countersign.cli.common import printable


class Waits(Protocol):
    """A request of an operator; ``ready_at`` in milliseconds since the epoch."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def state(self) -> str:
        """Waiting, Completed or Cancelled."""
        ...

    @property
    def ready_at(self) -> int:
        """From when on it may be done."""
        ...

    def document(self) -> dict[str, Any]:
        """It as JSON."""
        ...


W = TypeVar("W", bound=Waits)


def show_made(made: Waits, what: str, command: str, as_json: bool) -> None:
    """Print a request that was just made; ``command``: whose ``complete`` and ``cancel`` take it from here."""
    from countersign.encoding.dates import to_iso

    if as_json:
        click.echo(json.dumps(made.document(), indent=2))
        return
    click.echo(f"{made.id} waits until {to_iso(made.ready_at)}: {printable(what)}")
    click.echo(f"then:    countersign admin {command} complete {made.id}")
    click.echo(f"to stop: countersign admin {command} cancel {made.id}")


def show_all(requests: Sequence[W], what: Callable[[W], str], ended_too: bool, as_json: bool) -> None:
    """Print those that wait, with ``ended_too`` the others as well."""
    from countersign.encoding.dates import to_iso

    found = [item for item in requests if ended_too or item.state == "Waiting"]
    if as_json:
        click.echo(json.dumps([item.document() for item in found], indent=2))
        return
    for item in found:
        click.echo(f"{item.id}  {item.state:<9}  {to_iso(item.ready_at)}  {printable(what(item))}")
    if not found:
        click.echo("no request waits")
