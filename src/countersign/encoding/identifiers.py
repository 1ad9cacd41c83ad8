"""The shape of identifiers: ``prefix-5-5-16`` (14 to 16 characters at the end are accepted)."""

from __future__ import annotations

import re

_IDENTIFIER = re.compile(r"[a-z]{2,4}-[a-z0-9]{5}-[a-z0-9]{5}-[a-z0-9]{14,16}", re.ASCII)


def is_identifier(text: str, prefix: str | None = None) -> bool:
    """Whether ``text`` is an identifier, of the kind ``prefix`` (``us``, ``key``) if one is given.

    Anchored at the end of the string: a trailing newline does not pass.
    """
    return _IDENTIFIER.fullmatch(text) is not None and (prefix is None or text.startswith(prefix + "-"))
