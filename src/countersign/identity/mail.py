"""Mail to people: written in the transaction of what it tells of, and kept until it has been delivered or has ended.

A code is sealed under a key of the server, so that the database alone lets nobody in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from countersign.access.keyring import KeyRing
from countersign.encoding.dates import to_iso
from countersign.identity import mail_store as store
from countersign.jobs import queue
from countersign.storage import Row, Transaction
from countersign.world import World

Kind = Literal[
    "Invitation",
    "RegistrationCode",
    "LoginCode",
    "RecoveryCode",
    "Registered",
    "CredentialAdded",
    "Recovered",
    "IdentityLinked",
]

#: The kind of job that delivers a letter.
DELIVERY = "mail.deliver"
#: How long mail is kept: longer than any code in it counts.
KEPT_MS = 72 * 3_600_000
_HOUR_MS = 3_600_000
_PAGE = 500
#: Where the code belongs in a body, and the address of the console.
_CODE, _CONSOLE = "{code}", "{console}"


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be sent: plain text; a code stands in it as ``{code}``, and is good until ``good_until`` (ms).

    A paragraph with ``{console}`` is for where there is one: a link to a page of it.
    """

    kind: Kind
    subject: str
    body: str
    good_until: int | None = None


class Delivery(msgspec.Struct, rename="camel"):
    """What the job of a letter carries."""

    mail_id: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter as its recipient reads it; ``code`` is the one in it, if any."""

    id: str
    org_id: str
    user_id: str
    kind: str
    recipient: str
    subject: str
    body: str
    code: str | None
    created_at: int
    good_until: int | None

    def document(self) -> dict[str, Any]:
        """As JSON is printed of it."""
        return {
            "id": self.id,
            "orgId": self.org_id,
            "userId": self.user_id,
            "kind": self.kind,
            "recipient": self.recipient,
            "subject": self.subject,
            "body": self.body,
            "code": self.code,
            "dateCreated": to_iso(self.created_at),
        }


def _when(at: int) -> str:
    """A time (ms) for people."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def registration_code(organisation: str, org_id: str, username: str, expires_at: int, *, first: bool) -> Letter:
    """The code with which ``username`` registers; ``first``: with the invitation, else sent again."""
    opening = (
        f"You have been invited to {organisation}."
        if first
        else f"Here is your new registration code for {organisation}; the one before is void."
    )
    text = (
        f"{opening}\n\n"
        f"Register with this code:\n\n    {_CODE}\n\n"
        f"{_link('register', org_id, username)}\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\nValid until:   {_when(expires_at)}\n\n"
        "Whoever has the code can register in your place: give it to nobody.\n"
    )
    kind: Kind = "Invitation" if first else "RegistrationCode"
    return Letter(kind, f"Your registration code for {organisation}", text, expires_at)


def login_code(organisation: str, org_id: str, username: str, expires_at: int) -> Letter:
    """The code with which ``username`` is handed the own encrypted key."""
    text = (
        f"Somebody, hopefully you, is logging in to {organisation}.\n\n"
        f"Your login code:\n\n    {_CODE}\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\nValid until:   {_when(expires_at)}\n\n"
        "If it was not you, ignore this mail: without your password the code is of no use.\n"
    )
    return Letter("LoginCode", f"Your login code for {organisation}", text, expires_at)


def recovery_code(organisation: str, org_id: str, username: str, expires_at: int) -> Letter:
    """The code with which ``username`` begins to recover."""
    text = (
        f"Somebody, hopefully you, is recovering your account at {organisation}.\n\n"
        f"Your recovery code:\n\n    {_CODE}\n\n"
        f"{_link('recover', org_id, username)}\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\nValid until:   {_when(expires_at)}\n\n"
        "It is good for one try, together with your recovery key. Whoever has both takes your account over:\n"
        "if it was not you, give the code to nobody, and tell your administrator.\n"
    )
    return Letter("RecoveryCode", f"Your recovery code for {organisation}", text, expires_at)


def recovered(
    organisation: str, org_id: str, username: str, credential: str, now: int, held_until: int | None
) -> Letter:
    """A notice of a completed recovery; ``held_until`` (ms): before it the new credentials change nothing."""
    hold = "" if held_until is None else f"Held until:    {_when(held_until)}\n"
    wait = "" if held_until is None else " Until the time above it can read, and change nothing."
    text = (
        f"Your account at {organisation} was recovered: all your credentials, sessions and access tokens ended,\n"
        f"and new credentials took their place.{wait}\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\n"
        f"Credential:    {credential}\nRecovered:     {_when(now)}\n{hold}\n"
        "If it was not you, tell your administrator at once: whoever did it has your recovery key.\n"
    )
    return Letter("Recovered", f"Your account at {organisation} was recovered", text)


def registered(organisation: str, org_id: str, username: str, credential: str, now: int) -> Letter:
    """A notice of a completed registration: whoever reads it and did not register must be able to say so."""
    text = (
        f"You are registered with {organisation} now.\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\n"
        f"Credential:    {credential}\nRegistered:    {_when(now)}\n\n"
        "If it was not you, tell your administrator at once.\n"
    )
    return Letter("Registered", f"You are registered with {organisation}", text)


def credential_added(organisation: str, org_id: str, username: str, credential: str, now: int) -> Letter:
    """A notice of a credential that was added with a code."""
    text = (
        f"A credential was added to your account at {organisation}, with a code from a session of yours.\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\n"
        f"Credential:    {credential}\nAdded:         {_when(now)}\n\n"
        "If it was not you, deactivate it and tell your administrator at once.\n"
    )
    return Letter("CredentialAdded", f"A credential was added to your account at {organisation}", text)


def identity_linked(organisation: str, org_id: str, username: str, issuer: str, now: int) -> Letter:
    """A notice of the first sign-in at an identity provider."""
    text = (
        f"You have signed in to {organisation} by an identity provider for the first time.\n\n"
        f"Username:      {username}\nOrganisation:  {org_id}\n"
        f"Provider:      {issuer}\nSigned in:     {_when(now)}\n\n"
        "If it was not you, tell your administrator at once.\n"
    )
    return Letter("IdentityLinked", f"You can sign in to {organisation} by your identity provider", text)


def tell_of_credential(ring: KeyRing, org_id: str, user_id: str, credential: str, world: World) -> Transaction[None]:
    """Tell an employee of a new credential with this fingerprint; an end user's name is no mail address."""
    ((username, kind, organisation),) = yield store.READ_RECIPIENT, (org_id, user_id)
    if kind == "CustomerEmployee":
        letter = credential_added(organisation, org_id, username, credential, world.now())
        yield from put(ring, org_id, user_id, username.strip(), letter, None, world)


def put(
    ring: KeyRing, org_id: str, user_id: str, recipient: str, letter: Letter, code: str | None, world: World
) -> Transaction[None]:
    """Write a letter into the outbox, in the transaction of what it tells of, with the job that delivers it."""
    mail_id, now = world.new_id("ml"), world.now()
    sealed = None if code is None else ring.payload_seal.seal(code.encode(), mail_id)
    row = (org_id, mail_id, user_id, letter.kind, recipient, letter.subject, letter.body, sealed)
    yield store.INSERT_MAIL, (*row, now, now + KEPT_MS, letter.good_until)
    yield from queue.enqueue(DELIVERY, org_id, Delivery(mail_id), None, mail_id, world)


def sent_within_an_hour(org_id: str, user_id: str, kind: Kind, now: int) -> Transaction[int]:
    """How many letters of this kind the user was written in the last hour."""
    return int((yield store.COUNT_MAIL, (org_id, user_id, kind, now - _HOUR_MS))[0][0])


def organisation_name(org_id: str) -> Transaction[str]:
    """How the organisation is called in letters."""
    rows = yield store.ORGANISATION_NAME, (org_id,)
    return str(rows[0][0]) if rows else ""


def newest(ring: KeyRing, console: str | None = None) -> Transaction[list[Mail]]:
    """The newest letters (500 at most) of all organisations, oldest first, with their codes.

    ``console``: the address of the web console that people use, where they have one.
    """
    rows = yield store.LIST_MAIL, (_PAGE,)
    return [_read(ring, row, console) for row in reversed(rows)]


def unsent(ring: KeyRing, org_id: str, mail_id: str, console: str | None) -> Transaction[Mail | None]:
    """A letter that was not sent yet, with its code; ``None`` when it was, or has ended. ``console``: as above."""
    rows = yield store.READ_UNSENT, (org_id, mail_id)
    return _read(ring, rows[0], console) if rows else None


def mark_sent(org_id: str, mail_id: str, now: int) -> Transaction[None]:
    """The relay has taken it: its code is kept no longer."""
    yield store.MARK_SENT, (now, org_id, mail_id)


def forget(now: int) -> Transaction[None]:
    """Drop letters that have ended."""
    yield store.FORGET_MAIL, (now,)


def _link(page: str, org_id: str, username: str) -> str:
    # Behind the mark, which no browser sends to a server: the code stays out of every log.
    query = urlencode({"org": org_id, "username": username.strip()}, quote_via=quote)
    return f"Or follow this link, which brings it along:\n    {_CONSOLE}#/{page}?{query}&code={_CODE}"


def _addressed(body: str, console: str | None) -> str:
    if console is not None:
        return body.replace(_CONSOLE, console)
    return "\n\n".join(paragraph for paragraph in body.split("\n\n") if _CONSOLE not in paragraph)


def _read(ring: KeyRing, row: Row, console: str | None) -> Mail:
    mail_id, org_id, user_id, kind, recipient, subject, body, sealed, created_at, good_until = row
    code = None if sealed is None else ring.payload_seal.open(bytes(sealed), mail_id).decode()
    text = _addressed(body, console).replace(_CODE, "(sent)" if code is None else code)
    return Mail(mail_id, org_id, user_id, kind, recipient, subject, text, code, created_at, good_until)
