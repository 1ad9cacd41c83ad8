"""``countersign admin mail-test``: whether the mail relay of the settings takes a message."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from countersign.cli.common import config_option, read_settings


@click.command("mail-test")
@click.argument("recipient", metavar="ADDRESS")
@config_option
def mail_test(recipient: str, config: Path | None) -> None:
    """Send a test message to ADDRESS through the relay of the settings, and say what became of it."""
    from countersign.credentials.outcome import Refused
    from countersign.identity.mail import Mail
    from countersign.identity.mail_message import compose
    from countersign.server.mail import relay
    from countersign.server.settings import BadSettings
    from countersign.world import World

    world = World()
    try:
        found = relay(read_settings(config))
    except BadSettings as error:
        raise click.ClickException(str(error)) from None
    if found is None:
        raise click.ClickException("no mail is delivered: set smtp_host and mail_from")
    text = "This is a test of Countersign's mail.\n\nCodes and notices will reach this address.\n"
    letter = Mail(world.new_id("ml"), "", "", "Test", recipient, "Test mail", text, None, world.now(), None)
    message = compose(letter, found.sender)
    if isinstance(message, Refused):
        raise click.ClickException(f"{recipient} is no mail address")
    undelivered = asyncio.run(found.send(message, recipient))
    if undelivered is not None:
        raise click.ClickException(undelivered.reason)
    click.echo(f"{found.host}:{found.port} took the message to {recipient}")
