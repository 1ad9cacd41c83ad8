"""One-time codes that people type: made, compared and kept only as a MAC."""

from __future__ import annotations

import hmac

from countersign.access.keyring import KeyRing
from countersign.world import World

#: No 0 and O, no 1 and I: a code is read from one screen and typed on another.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

_DOMAIN = b"countersign.one-time-code.v1|"
#: Stands for the hash of a code where there is none, so that the comparison is made all the same.
_NO_HASH = "0" * 64


def new_code(world: World, groups: int, size: int) -> str:
    """``groups`` of ``size`` symbols with dashes between; five random bits a symbol."""
    symbols = [ALPHABET[byte & 31] for byte in world.randomness(groups * size)]
    return "-".join("".join(symbols[start : start + size]) for start in range(0, groups * size, size))


def new_mailed_code(world: World) -> str:
    """``XXXX-XXXX-XXXX-XXXX``: 80 random bits, too many to guess."""
    return new_code(world, 4, 4)


def normalise(typed: str) -> str:
    """What counts of a code as typed: not the case, the spaces or the dashes."""
    return typed.replace("-", "").replace(" ", "").upper()


def code_hash(ring: KeyRing, purpose: str, typed: str) -> str:
    """What is stored of a code: hex HMAC-SHA-256 under a key of the server, so that the database alone tells none."""
    return _mac(ring.challenge_signer.secret, purpose, typed)


def code_hashes(ring: KeyRing, purpose: str, typed: str) -> tuple[str, str]:
    """The hashes under which a code may be stored: the server's key may have been rotated since."""
    newest = [_mac(secret, purpose, typed) for secret in list(ring.challenge_keys.values())[-2:]]
    return newest[0], newest[-1]


def matches(ring: KeyRing, purpose: str, stored: str | None, typed: str) -> bool:
    """Whether what was typed is the code whose hash is stored, in constant time; as much work where none is."""
    newest, older = code_hashes(ring, purpose, typed)
    expected = stored or _NO_HASH
    of_newest, of_older = hmac.compare_digest(expected, newest), hmac.compare_digest(expected, older)
    return of_newest or of_older


def _mac(secret: bytes, purpose: str, typed: str) -> str:
    # A key of its own, derived: the MAC key of challenges signs nothing else.
    key = hmac.digest(secret, _DOMAIN, "sha256")
    return hmac.digest(key, f"{purpose}|{normalise(typed)}".encode(), "sha256").hex()
