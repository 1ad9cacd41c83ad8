"""A letter as a mail message: plain text, and the same as a page. Pure."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from countersign.credentials.outcome import Refused
from countersign.identity.mail import Mail

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
#: Aligned, as a letter lists what it is about; a sentence with a colon has one space behind it.
_PAIR = re.compile(r"([A-Z][A-Za-z ]*): {2,}(\S.*)")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="margin:0;padding:24px;background:#f4f4f5;color:#18181b;font:16px/1.5 system-ui,sans-serif">
<div style="overflow-wrap:anywhere;max-width:560px;margin:0 auto;padding:32px;background:#ffffff;border-radius:8px">
{content}
</div></body></html>
"""
_CODE = (
    '<p style="margin:24px 0;padding:16px;background:#f4f4f5;border-radius:8px;text-align:center;'
    'font:700 24px/1.4 ui-monospace,monospace;letter-spacing:1px">{}</p>'
)
_TABLE = '<table role="presentation" style="margin:16px 0;border-collapse:collapse;font-size:14px">{}</table>'
_ROW = (
    '<tr><td style="padding:4px 16px 4px 0;color:#52525b;vertical-align:top">{}</td>'
    '<td style="padding:4px 0">{}</td></tr>'
)


def compose(letter: Mail, sender: str) -> EmailMessage | Refused:
    """The message to ``letter.recipient``.

    Sent twice, it has the same id, so that a mail program shows it once. ``Refused`` for a recipient that is no mail
    address: nothing of a name gets into another header, or makes two recipients of one.
    """
    title = _CONTROL.sub(" ", letter.subject).strip()
    message = EmailMessage()
    message["From"] = sender
    try:
        message["To"] = Address(addr_spec=letter.recipient)
    except (ValueError, MessageError, IndexError):
        return Refused("the username is no mail address")
    message["Subject"] = title
    message["Date"] = format_datetime(datetime.fromtimestamp(letter.created_at / 1000, UTC))
    message["Message-ID"] = f"<{letter.id}@{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body)
    message.add_alternative(_page(title, letter.body, letter.code), subtype="html")
    return message


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2].strip(" >") or "localhost"


def _page(title: str, text: str, code: str | None) -> str:
    blocks = [_block(block, code) for block in text.strip().split("\n\n")]
    return _PAGE.format(title=html.escape(title), content="\n".join(blocks))


def _block(block: str, code: str | None) -> str:
    lines = block.splitlines()
    if code is not None and block.strip() == code:
        return _CODE.format(html.escape(code))
    pairs = [_PAIR.fullmatch(line) for line in lines]
    if all(pairs):
        return _TABLE.format("".join(_ROW.format(*map(html.escape, pair.groups())) for pair in pairs if pair))
    return f"<p>{'<br>'.join(_linked(line) for line in lines)}</p>"


def _linked(line: str) -> str:
    words = [html.escape(word) for word in line.split(" ")]
    return " ".join(
        f'<a href="{word}">{word}</a>' if word.startswith(("https://", "http://")) else word for word in words
    )
