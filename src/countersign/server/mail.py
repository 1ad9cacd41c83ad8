"""Where a server's mail goes, as its settings say."""

from __future__ import annotations

import os
from pathlib import Path

from countersign.identity.mail_delivery import Post
from countersign.identity.relay import Relay
from countersign.server.settings import BadSettings, Settings

PASSWORD_VARIABLE = "COUNTERSIGN_SMTP_PASSWORD"
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def relay(settings: Settings) -> Relay | None:
    """The relay of the settings, if they name one. Raises ``BadSettings``."""
    if not settings.smtp_host:
        return None
    made = Relay(
        host=settings.smtp_host,
        port=settings.smtp_port or _PORTS[settings.smtp_security],
        security=settings.smtp_security,
        sender=settings.mail_from,
        username=settings.smtp_username,
        password=lambda: _password(settings.smtp_password_file),
        ca_bundle=settings.smtp_ca_bundle,
    )
    if made.username:
        try:
            made.password()
        except OSError as error:
            raise BadSettings(f"smtp_password_file {settings.smtp_password_file}: {error.strerror}") from None
    if made.ca_bundle and not Path(made.ca_bundle).is_file():
        raise BadSettings(f"smtp_ca_bundle {made.ca_bundle} is no file")
    return made


def post(settings: Settings) -> Post:
    """Where letters go. Raises ``BadSettings``."""
    public = settings.public_url and settings.console
    return Post(relay(settings), f"{settings.public_url}{settings.mount_prefix}/console" if public else None)


def _password(path: str) -> str:
    """Of the file, or of the environment where no file is named."""
    if not path:
        return os.environ.get(PASSWORD_VARIABLE, "")
    return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
