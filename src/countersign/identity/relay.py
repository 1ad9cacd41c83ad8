"""The mail relay: one message handed over by SMTP, with TLS that is verified."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal

Security = Literal["starttls", "tls", "none"]

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Why the relay did not take a message; ``final``: it never will. Holds no secret and nothing of the message."""

    reason: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail goes. ``password`` is asked for at each message, so that a file may be replaced.

    ``security``: STARTTLS that is insisted on, TLS from the first byte, or none, which is for the same host.
    ``ca_bundle``: PEM file with authorities to trust beside the system's, or empty.
    """

    host: str
    port: int
    security: Security
    sender: str
    username: str = ""
    password: Callable[[], str] = field(default=lambda: "", repr=False)
    ca_bundle: str = ""

    async def send(self, message: EmailMessage, recipient: str) -> Undelivered | None:
        """Hand a message over; ``None`` once the relay has taken it."""
        import aiosmtplib

        try:
            credentials = (self.username, self.password()) if self.username else (None, None)
            client = aiosmtplib.SMTP(
                hostname=self.host,
                port=self.port,
                username=credentials[0],
                password=credentials[1],
                timeout=_TIMEOUT_S,
                use_tls=self.security == "tls",
                # Never as the server likes: without it, whoever is between would take it away.
                start_tls=self.security == "starttls",
                tls_context=None if self.security == "none" else self._context(),
            )
            async with client:
                await client.send_message(message, recipients=[recipient])
        except aiosmtplib.SMTPRecipientsRefused as refused:
            code = refused.recipients[0].code
            return Undelivered(f"the relay refused the recipient ({code})", final=code >= 500)
        except aiosmtplib.SMTPAuthenticationError as refused:
            return Undelivered(f"the relay refused the credentials ({refused.code})")
        except aiosmtplib.SMTPSenderRefused as refused:
            return Undelivered(f"the relay refused the sender ({refused.code})")
        except aiosmtplib.SMTPResponseException as refused:
            content = isinstance(refused, aiosmtplib.SMTPDataError)
            return Undelivered(f"the relay answered {refused.code}", final=content and refused.code >= 500)
        except aiosmtplib.SMTPException as fault:
            return Undelivered(f"{self.host}:{self.port}: {_cause(fault)}")
        except (OSError, ValueError) as fault:
            return Undelivered(f"{self.host}:{self.port}: {_cause(fault)}")
        return None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_bundle:
            context.load_verify_locations(self.ca_bundle)
        return context


def _cause(fault: BaseException) -> str:
    """In one line; of a certificate what is wrong with it."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(fault).split()) or type(fault).__name__
    return text[:200]
