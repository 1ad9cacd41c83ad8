"""A mail relay in a process of its own, over aiosmtpd: ``with relay(directory) as it: it.letters()``.

It listens three times: with STARTTLS and a login, with TLS from the first byte, and in the clear. What it takes lies in
a Maildir. ``refused@`` is refused for good, ``later@`` is refused for now, ``silent@`` is taken and not stored.
"""

from __future__ import annotations

import asyncio
import json
import mailbox
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.certificates import Authority, authority

HOST = "localhost"
USERNAME, PASSWORD = "countersign", "correct horse battery staple"


@dataclass(frozen=True)
class MailRelay:
    """Ports, the file with the authority of its certificate, and what came in."""

    starttls: int
    tls: int
    clear: int
    ca_bundle: Path
    maildir: Path

    def letters(self) -> list[EmailMessage]:
        """What was taken so far."""
        found = [message_from_bytes(each.as_bytes(), policy=policy.default) for each in mailbox.Maildir(self.maildir)]
        return [each for each in found if isinstance(each, EmailMessage)]

    def letter_to(self, recipient: str) -> EmailMessage | None:
        """The first one to somebody."""
        return next((each for each in self.letters() if each["To"] == recipient), None)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a server that delivers here."""
        password = self.ca_bundle.with_name("password")
        password.write_text(PASSWORD + "\n")
        return {
            "smtp_host": HOST,
            "smtp_port": self.starttls,
            "smtp_username": USERNAME,
            "smtp_password_file": str(password),
            "smtp_ca_bundle": str(self.ca_bundle),
            "mail_from": "Acme Custody <custody@acme.example>",
        }


@contextmanager
def relay(directory: Path, made: Authority | None = None) -> Iterator[MailRelay]:
    """Start it; ended with the block."""
    made = made or authority(directory, HOST)
    maildir = directory / "maildir"
    command = [sys.executable, "-m", __name__, str(maildir), str(made.certificate), str(made.key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ports = json.loads(process.stdout.readline())
            yield MailRelay(*ports, made.bundle, maildir)
        finally:
            process.terminate()


class _Handler:
    def __init__(self, maildir: Path) -> None:
        self._maildir = mailbox.Maildir(maildir)

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self._maildir.add(envelope.content)
        return "250 OK"


def _authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USERNAME.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


async def _serve(maildir: Path, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    handler, loop = _Handler(maildir), asyncio.get_running_loop()

    def guarded() -> SMTP:
        return SMTP(
            handler, tls_context=context, require_starttls=True, auth_required=True, authenticator=_authenticate
        )

    servers = (
        await loop.create_server(guarded, "127.0.0.1", 0),
        await loop.create_server(lambda: SMTP(handler), "127.0.0.1", 0, ssl=context),
        await loop.create_server(lambda: SMTP(handler), "127.0.0.1", 0),
    )
    print(json.dumps([each.sockets[0].getsockname()[1] for each in servers]), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
