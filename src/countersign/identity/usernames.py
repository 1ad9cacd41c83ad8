"""When two usernames are the same: the key for uniqueness, look-up and rate limits."""

from __future__ import annotations

import unicodedata

MAX_CODE_POINTS = 254
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def username_key(text: str) -> str | None:
    """NFKC, trimmed, casefolded, NFKC again; ``None`` for a name that must be refused.

    Refused: empty or longer than 254 code points, and any control, format, surrogate, private-use or
    unassigned character, so that invisible characters make no second name.
    """
    normal = unicodedata.normalize("NFKC", text).strip()
    if not 1 <= len(normal) <= MAX_CODE_POINTS:
        return None
    if any(unicodedata.category(character) in _REFUSED for character in normal):
        return None
    return unicodedata.normalize("NFKC", normal.casefold())
