"""Why a key store did not do what it was asked: one closed set of codes, and what the API process sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Code = Literal["ok", "Sealed", "NotFound", "Unsupported", "Denied", "Integrity", "Busy", "Unavailable", "Internal"]
"""``Integrity`` means a record, root or fresh signature failed its check and should raise an alarm.
Only ``Busy`` and ``Unavailable`` may be retried automatically."""


DONE: Final = b"done"
"""The reply to an order about the roster that is in force."""
PENDING: Final = b"pending"
"""The reply to the enrolment of a credential that somebody has to endorse before it counts."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order that was not carried out. ``reason`` is for operators and holds no secret."""

    code: Code
    reason: str


class SignerError(Exception):
    """The signer did not carry out an order; nothing was signed as far as the caller can know."""


class SignerUnavailable(SignerError):
    """The signer can't be reached, is overloaded, or went away with the order: try again later.

    An order that was in flight may or may not have been carried out; repeating it is harmless, because a signature
    that never reached the caller has no effect.
    """


class SignerSealed(SignerError):
    """The key store is sealed: an operator has to unseal it before any key can be used."""


class SignerRefused(SignerError):
    """The signer understood the order and refused it; repeating it as it is will not help."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code: Code = code
        self.reason = reason
