"""Letters as mail messages: what a person reads, and that nothing of a name gets out of its place."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest

from countersign.credentials.outcome import Refused
from countersign.identity import mail
from countersign.identity.mail_message import compose

CODE = "ABCD-EFGH-JKLM-NPQR"
SENDER = "Acme Custody <custody@acme.example>"


def letter(
    written: mail.Letter | None = None, *, code: str | None = CODE, recipient: str = "ada@example.com"
) -> mail.Mail:
    made = written or mail.recovery_code("Acme", "or-1", "ada@example.com", 1_800_000_000_000)
    text = made.body.replace("{console}", "https://keys.example/console").replace("{code}", code or "")
    return mail.Mail("ml-1", "or-1", "us-1", made.kind, recipient, made.subject, text, code, 1_800_000_000_000, None)


def sent(of: mail.Mail) -> EmailMessage:
    """What a mail program makes of the bytes on the wire."""
    composed = compose(of, SENDER)
    assert isinstance(composed, EmailMessage)
    read = message_from_bytes(composed.as_bytes(policy=policy.SMTP), policy=policy.default)
    assert isinstance(read, EmailMessage)
    return read


class Words(HTMLParser):
    """The text of a page, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.rows = "", set[str](), 0
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.rows += tag == "tr"


def parts(message: EmailMessage) -> tuple[str, Words]:
    plain, page = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert page is not None
    return plain.get_content(), Words(page.get_content())


def test_a_letter_is_read_as_text_and_as_a_page() -> None:
    message = sent(letter())
    assert message["From"] == SENDER
    assert message["To"] == "ada@example.com"
    assert message["Subject"] == "Your recovery code for Acme"
    assert message["Message-ID"] == "<ml-1@acme.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    text, page = parts(message)
    for words in (text, page.text):
        assert CODE in words
        assert "2027-01-15 08:00 UTC" in words
        assert "https://keys.example/console" in words
    assert page.tags >= {"table", "a", "p"}
    # A warning is read as a sentence, and not as one more row.
    assert "if it was not you, give the code to nobody" in page.text
    assert page.rows == 3
    # No image, script or style from elsewhere: a mail program blocks them, and they tell who reads.
    assert not page.tags & {"img", "script", "link", "iframe"}


def test_a_notice_leads_nowhere() -> None:
    notice = mail.recovered("Acme", "or-1", "ada@example.com", "SHA256:x", 1_800_000_000_000, None)
    text, _ = parts(sent(letter(notice, code=None)))
    assert "console" not in text


def test_names_stay_text() -> None:
    name = 'Acme\r\nBcc: everybody@example.com\r\n\r\n<script>alert("1")</script>'
    message = sent(letter(mail.recovery_code(name, "or-1", "<b>x</b>", 1_800_000_000_000)))
    assert message["Bcc"] is None
    assert set(message.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    _, page = parts(message)
    assert not page.tags & {"script", "b"}
    assert "<b>x</b>" in page.text


@pytest.mark.parametrize(
    "recipient",
    [
        "nobody",
        "",
        "a@x.example, b@x.example",
        "a@x.example\r\nBcc: b@x.example",
        "Ada <a@x.example>",
        "@",
        "a@",
        "\u0430@x.example",
    ],
)
def test_a_name_that_is_no_single_address_gets_no_mail(recipient: str) -> None:
    assert isinstance(compose(replace(letter(), recipient=recipient), SENDER), Refused)


def test_an_address_with_a_tag_is_one() -> None:
    for recipient in ("ada+keys@example.com", "ada.lovelace@sub.example.com"):
        assert sent(letter(recipient=recipient))["To"] == recipient
