"""Options in a provider's name, ``KEY?name=value&name=value``, percent-encoded where needed; unknown are refused."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from countersign.keystores.outcome import Refusal

_MAX_SECRET = 8192


def split(rest: str, known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """What stands before the question mark, and the options after it. Raises ValueError as ``pairs``."""
    subject, _, query = rest.partition("?")
    return subject, pairs(query, "&", known)


def pairs(text: str, separator: str, known: tuple[str, ...]) -> dict[str, str]:
    """Names with their values, decoded. Raises ValueError for one that is unknown, empty or given twice."""
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, _, value = part.partition("=")
        if name not in known:
            raise ValueError(f"unknown option {name!r}; there are: {', '.join(known)}")
        if not value or name in found:
            raise ValueError(f"option {name} is given once, as {name}=VALUE")
        found[name] = unquote(value)
    return found


def read_secret(path: Path, what: str) -> str | Refusal:
    """A PIN or token in a file, without the newline at its end; read at each use and not kept."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as trouble:
        reason = trouble.strerror if isinstance(trouble, OSError) else "it is not text"
        return Refusal("Sealed", f"{what} file {path} can't be read: {reason}")
    secret = text.rstrip("\r\n")
    if not 0 < len(secret) <= _MAX_SECRET:
        return Refusal("Sealed", f"{what} file {path} is empty or too long")
    return secret
