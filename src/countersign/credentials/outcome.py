"""What a check of evidence can come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What a passkey's holder can do something about.
Cause = Literal["origin", "relyingParty", "userVerification", "signatureCounter"]


@dataclass(frozen=True, slots=True)
class Refused:
    """The evidence does not hold; ``reason`` is for the log. Callers are told ``cause`` at most."""

    reason: str
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class KeyRefused(Refused):
    """The public key itself is not accepted, whatever was signed with it."""
