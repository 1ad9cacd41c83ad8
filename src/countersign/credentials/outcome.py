"""What a check of evidence can come to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """The evidence does not hold; ``reason`` is for the log, callers are told no details."""

    reason: str


@dataclass(frozen=True, slots=True)
class KeyRefused(Refused):
    """The public key itself is not accepted, whatever was signed with it."""
