"""Mail through a real relay: over verified TLS, as jobs that are tried again, and once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from countersign.identity.mail_message import compose
from countersign.identity.relay import Relay, Undelivered
from tests.identity.test_mail_message import SENDER, letter
from tests.support.certificates import authority
from tests.support.commands import countersign
from tests.support.enrolment import NewKey
from tests.support.entering import begin, finish, invited
from tests.support.inprocess import InProcess
from tests.support.smtp_server import HOST, PASSWORD, USERNAME, MailRelay, relay
from tests.support.tenants import Tenants, beside

_PATIENCE = 60.0


@pytest.fixture(scope="module")
def smtp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailRelay]:
    with relay(tmp_path_factory.mktemp("smtp")) as it:
        yield it


def until(server: InProcess, reached: Callable[[], Any]) -> Any:
    """Let the server work until something is there."""
    deadline = time.monotonic() + _PATIENCE
    while not (found := reached()):
        assert time.monotonic() < deadline, "it did not come"
        server.runner.run(asyncio.sleep(0.02))
    return found


def of_settings(smtp: MailRelay, **changed: Any) -> Relay:
    values: dict[str, Any] = {
        "host": HOST,
        "port": smtp.starttls,
        "security": "starttls",
        "sender": SENDER,
        "username": USERNAME,
        "password": lambda: PASSWORD,
        "ca_bundle": str(smtp.ca_bundle),
    }
    return Relay(**{**values, **changed})


def send(through: Relay, recipient: str = "ada@example.com") -> Undelivered | None:
    message = compose(letter(recipient=recipient), SENDER)
    assert not isinstance(message, str)
    return asyncio.run(through.send(message, recipient))


def test_a_letter_is_delivered_and_its_code_registers(
    runner: asyncio.Runner, tmp_path: Path, database_url: str, smtp: MailRelay
) -> None:
    name = f"ada-{database_url.partition(':')[0]}@example.com"
    settings = {**smtp.settings, "public_url": "https://keys.acme.example"}
    with InProcess(runner, tmp_path / "data", database_url, **settings) as server:
        tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
        with server.caller(server.admin) as admin:
            invited(admin, name)
            message = until(server, lambda: smtp.letter_to(name))
            plain = message.get_body(("plain",)).get_content()
            code = next(line.strip() for line in plain.splitlines() if line.startswith("    "))
            assert code in message.get_body(("html",)).get_content()
            assert "https://keys.acme.example/console" in plain
            until(server, lambda: not rows(tenants, "jobs WHERE kind = 'mail.deliver'"))
            # What was sent is kept without its code.
            ((sent_at, sealed),) = tenants.execute("SELECT sent_at, sealed FROM mail WHERE recipient = ?", name)
            assert sent_at is not None
            assert sealed is None
            challenge = begin(admin, name, code).json()
            assert finish(admin, challenge, NewKey()).status_code == 200
            until(server, lambda: len([each for each in smtp.letters() if each["To"] == name]) == 2)


def rows(tenants: Tenants, what: str) -> list[Any]:
    return [tuple(row) for row in tenants.execute(f"SELECT * FROM {what}")]


def test_what_the_relay_does_not_take_is_tried_again_or_put_aside(
    runner: asyncio.Runner, tmp_path: Path, database_url: str, smtp: MailRelay
) -> None:
    with InProcess(runner, tmp_path / "data", database_url, **smtp.settings) as server:
        tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
        with server.caller(server.admin) as admin:
            for name in ("refused@example.com", "later@example.com"):
                invited(admin, name)
            dead = until(server, lambda: rows(tenants, "dead_jobs"))
            assert "refused the recipient (550)" in str(dead)
            waiting = until(server, lambda: rows(tenants, "jobs WHERE kind = 'mail.deliver' AND attempt > 0"))
            assert "refused the recipient (451)" in str(waiting)
            assert PASSWORD not in str(dead + waiting)
            # By the time of the next attempts its code has ended: nobody is sent one that does not work.
            tenants.execute("UPDATE mail SET good_until = 1")
            tenants.execute("UPDATE jobs SET due_at = 0 WHERE kind = 'mail.deliver'")
            until(server, lambda: "its code ended" in str(rows(tenants, "dead_jobs")))


def test_without_a_relay_letters_stay_in_the_outbox(runner: asyncio.Runner, tmp_path: Path, database_url: str) -> None:
    with InProcess(runner, tmp_path / "data", database_url) as server:
        tenants = beside(server.files.directory, database_url, server.values["baseUrl"])
        with server.caller(server.admin) as admin:
            invited(admin, "ada@example.com")
            until(server, lambda: not rows(tenants, "jobs WHERE kind = 'mail.deliver'"))
            ((sent_at, sealed),) = tenants.execute("SELECT sent_at, sealed FROM mail")
            assert (sent_at, sealed is None) == (None, False)


def test_mail_goes_over_tls_that_is_verified(smtp: MailRelay, tmp_path: Path) -> None:
    for good in (
        of_settings(smtp),
        of_settings(smtp, port=smtp.tls, security="tls", username=""),
        of_settings(smtp, port=smtp.clear, security="none", username="", ca_bundle=""),
    ):
        assert send(good) is None
    before = len(smtp.letters())
    other = str(authority(tmp_path, HOST).bundle)
    refusals = {
        "another authority": of_settings(smtp, ca_bundle=other),
        "no authority": of_settings(smtp, ca_bundle=""),
        "another name": of_settings(smtp, host="127.0.0.1"),
        "another authority, from the first byte": of_settings(
            smtp, port=smtp.tls, security="tls", username="", ca_bundle=other
        ),
        "no STARTTLS offered": of_settings(smtp, port=smtp.clear, username=""),
        "no TLS spoken": of_settings(smtp, port=smtp.clear, security="tls", username=""),
        "a wrong password": of_settings(smtp, password=lambda: "wrong"),
        "no login": of_settings(smtp, username=""),
        "nobody there": of_settings(smtp, port=1),
    }
    reasons = {}
    for name, bad in refusals.items():
        outcome = send(bad)
        assert outcome is not None, name
        assert not outcome.final, name
        reasons[name] = outcome.reason
    assert len(smtp.letters()) == before
    for name in ("another authority", "no authority", "another name", "another authority, from the first byte"):
        assert "certificate is not accepted" in reasons[name], reasons
    assert reasons["a wrong password"] == "the relay refused the credentials (535)"
    assert "STARTTLS" in reasons["no STARTTLS offered"]
    assert PASSWORD not in repr(of_settings(smtp))


def test_an_operator_tries_the_relay(smtp: MailRelay, tmp_path: Path) -> None:
    config = tmp_path / "countersign.toml"
    values = {key: value for key, value in smtp.settings.items() if key != "smtp_password_file"}
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    command = ("admin", "mail-test", "--config", config)
    good = {"COUNTERSIGN_SMTP_PASSWORD": PASSWORD}
    done = countersign(*command, "operator@example.com", env=good)
    assert (done.status, done.output) == (0, f"{HOST}:{smtp.starttls} took the message to operator@example.com\n")
    message = smtp.letter_to("operator@example.com")
    assert message is not None
    assert message["Subject"] == "Test mail"
    for recipient, environment, expected in (
        ("operator@example.com", {"COUNTERSIGN_SMTP_PASSWORD": "x"}, "refused the credentials"),
        ("refused@example.com", good, "refused the recipient (550)"),
        ("nobody", good, "no mail address"),
        ("operator@example.com", {**good, "COUNTERSIGN_SMTP_HOST": ""}, "set smtp_host"),
        ("operator@example.com", {**good, "COUNTERSIGN_MAIL_FROM": ""}, "mail_from"),
        ("x@y.example", {"COUNTERSIGN_SMTP_SECURITY": "none", "COUNTERSIGN_SMTP_HOST": "a.example"}, "same host only"),
    ):
        failed = countersign(*command, recipient, env=environment)
        assert failed.status == 1, failed
        assert expected in failed.errors, failed
        assert PASSWORD not in failed.errors
