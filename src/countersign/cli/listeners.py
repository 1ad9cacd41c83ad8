"""Which webhooks the ``sandbox listen`` of a data directory made, and which of them nobody listens to any more.

Each is marked: by a random word in its description, and by a file of that name, which is there before the webhook is
made, and locked as long as the process lives that made it. The kernel gives a lock up however its process ends: a mark
that can be locked is one that was left behind.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from countersign.cli.customer import Customer

_WORDS: Final = "countersign sandbox listen"
_UNFINISHED: Final = ".part"


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one webhook, locked by this process until it is closed."""

    path: Path
    descriptor: int

    @property
    def description(self) -> str:
        """What the webhook says of itself."""
        return f"{_WORDS} {self.path.name}"

    def remove(self) -> None:
        """The webhook is gone."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the lock."""
        os.close(self.descriptor)


def new_mark(directory: Path) -> Mark:
    """A mark for a webhook that is about to be made. Raises ``OSError``."""
    directory.mkdir(mode=0o700, exist_ok=True)
    # Named when it is locked, or another process would take it for one that was left behind.
    descriptor, name = tempfile.mkstemp(suffix=_UNFINISHED, dir=directory)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return Mark(Path(name).rename(directory / secrets.token_hex(8)), descriptor)


def remove_abandoned(customer: Customer, directory: Path) -> None:
    """Remove the webhooks that killed processes left behind, and say so. Raises ``Refused`` and ``OSError``."""
    listed: list[dict[str, Any]] | None = None
    for mark in _abandoned(directory):
        with closing(mark):
            listed = _webhooks(customer) if listed is None else listed
            if all(_removed(customer, each["id"]) for each in listed if each.get("description") == mark.description):
                mark.remove()


def _removed(customer: Customer, webhook_id: str) -> bool:
    from countersign.cli.customer import Refused

    try:
        customer.signed("DELETE", f"/webhooks/{webhook_id}", None)
    except Refused as error:
        click.echo(f"{webhook_id}, left behind by an earlier 'sandbox listen', could not be removed: {error}", err=True)
        return False
    click.echo(f"removed {webhook_id}, left behind by an earlier 'sandbox listen'", err=True)
    return True


def _abandoned(directory: Path) -> Iterator[Mark]:
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.suffix == _UNFINISHED:
            continue
        try:
            mark = Mark(path, os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(mark.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mark.close()
            continue
        # Another process may have been quicker.
        if os.fstat(mark.descriptor).st_nlink:
            yield mark
        else:
            mark.close()


def _webhooks(customer: Customer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path = "/webhooks"
    while path:
        page = customer.get(path)
        found += page["items"]
        token = page.get("nextPageToken")
        path = f"/webhooks?paginationToken={quote(token, safe='')}" if token else ""
    return found
