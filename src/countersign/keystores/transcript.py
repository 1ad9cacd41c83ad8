"""The transcript of a ceremony: who saw what, each step chained to the one before and signed by those present.

JSON lines. Each is ``{"entry": TEXT, "signatures": {name: base64url}}``; ``TEXT`` is the exact JSON of::

    {"sequence": 0, "time": ISO 8601, "step": "...", "facts": {...}, "previous": hex}

``previous`` is the SHA-256 of the text before it (64 zeros for the first). The first step, ``participants``, names the
people and their Ed25519 public keys; each of them signs every text, its own included. The digest of the last text is
what an installation writes down: whoever has it can tell whether a transcript is the one of this key store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from countersign.credentials import ed25519
from countersign.encoding import base64url
from countersign.encoding.dates import to_iso

PARTICIPANTS: Final = "participants"
_START: Final = "0" * 64


class Participant(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Someone present; ``role`` is operator or witness, ``public_key`` 32 bytes in base64url."""

    name: str
    role: str
    public_key: str


class Step(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One thing that was done, or was not; ``facts`` hold no secret."""

    sequence: int
    time: str
    step: str
    facts: dict[str, Any]
    previous: str


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entry: str
    signatures: dict[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """A transcript that holds together; ``digest`` (hex) is that of its last text."""

    participants: tuple[Participant, ...]
    steps: tuple[Step, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A transcript that does not; ``line`` counts from 1."""

    line: int
    reason: str


def write(step: str, facts: Mapping[str, Any], before: Sequence[str], now: int) -> str:
    """The text of the next step behind the texts ``before``. ``now``: milliseconds since the epoch."""
    previous = digest(before[-1]) if before else _START
    return msgspec.json.encode(Step(len(before), to_iso(now), step, dict(facts), previous)).decode()


def digest(text: str) -> str:
    """SHA-256 of a text, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def line(text: str, signatures: Mapping[str, bytes]) -> bytes:
    """A text with its signatures (64 bytes each) by name, as it stands in the file."""
    encoded = {name: base64url.encode(signature) for name, signature in signatures.items()}
    return msgspec.json.encode(_Line(text, encoded)) + b"\n"


def verify(data: bytes) -> Held | Broken:
    """Check a whole transcript: order, chain, and the signature of every participant under every step."""
    participants: tuple[Participant, ...] = ()
    steps: list[Step] = []
    previous = _START
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            read = msgspec.json.decode(raw, type=_Line)
            step = msgspec.json.decode(read.entry, type=Step)
            if number == 1:
                participants = msgspec.convert(step.facts.get("participants"), tuple[Participant, ...])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Broken(number, "it is no step of a transcript")
        if number == 1 and step.step != PARTICIPANTS:
            return Broken(number, "a transcript begins with its participants")
        if step.sequence != number - 1 or step.previous != previous:
            return Broken(number, "it does not follow the step before")
        if read.signatures.keys() != {participant.name for participant in participants}:
            return Broken(number, "it is not signed by everyone who was there")
        for participant in participants:
            if not _signed(participant, read.entry, read.signatures[participant.name]):
                return Broken(number, f"the signature of {participant.name} does not hold")
        steps.append(step)
        previous = digest(read.entry)
    if not participants or len({participant.name for participant in participants}) != len(participants):
        return Broken(1, "a transcript names its participants, each once")
    return Held(participants, tuple(steps), previous)


def _signed(participant: Participant, text: str, signature: str) -> bool:
    try:
        return ed25519.holds(base64url.decode(participant.public_key), text.encode(), base64url.decode(signature))
    except ValueError:
        return False
