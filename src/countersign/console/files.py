"""The files of the console: an exact table, read once, so that no request names a file of the system."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from importlib import resources

import msgspec

from countersign.api import Response

PAGE = "index.html"
SETTINGS = "settings.json"
#: Every file that was built, with its media type; nothing else is served, whatever lies beside them.
BUILT: Mapping[str, str] = {
    PAGE: "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "licences.txt": "text/plain; charset=utf-8",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes markup or a script, whatever a mistake in the page would let through.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    # Asked for anew each time, and answered 304: a page and a script of two versions never meet.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "publickey-credentials-create=(self), publickey-credentials-get=(self), camera=(), display-capture=(), "
        "geolocation=(), microphone=(), payment=(), serial=(), usb=()"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Console:
    """Answers with the files, and with what the page must know of this installation.

    ``installation_id`` is part of what a signature commits to; ``sandbox``: whether the page says that it guards
    nothing.
    """

    def __init__(self, installation_id: str, *, sandbox: bool) -> None:
        folder = resources.files("countersign.console") / "static"
        settings = msgspec.json.encode({"installationId": installation_id, "sandbox": sandbox})
        self._table = {name: _File(kind, (folder / name).read_bytes()) for name, kind in BUILT.items()}
        self._table[SETTINGS] = _File("application/json", settings)

    def answer(self, name: str, headers: Mapping[str, str]) -> Response | None:
        """The file of this name, 304 if the client has it, ``None`` if there is none. ``headers``: of the request."""
        file = self._table.get(name)
        if file is None:
            return None
        form = file.packed if _takes_gzip(headers.get("accept-encoding", "")) else file.plain
        return form.unchanged if form.is_known(headers.get("if-none-match", "")) else form.whole


class _File:
    """A file in both forms, made once: to pack a page that holds no secret tells nobody anything."""

    def __init__(self, media_type: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()[:32]
        self.plain = _Form(media_type, content, digest, {})
        packed = gzip.compress(content, mtime=0)
        self.packed = _Form(media_type, packed, f"{digest}-gzip", {"Content-Encoding": "gzip"})


class _Form:
    """Both answers with one form of a file."""

    def __init__(self, media_type: str, content: bytes, tag: str, headers: Mapping[str, str]) -> None:
        self._tag = f'"{tag}"'
        headers = {**HEADERS, **headers, "ETag": self._tag, "Vary": "Accept-Encoding"}
        self.whole = Response(200, content, media_type, headers)
        self.unchanged = Response(304, b"", media_type, headers)

    def is_known(self, if_none_match: str) -> bool:
        """Whether the client's list of versions holds this one (RFC 9110 section 13.1.2: compared weakly)."""
        tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return self._tag in tags or "*" in tags


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether the client names it without refusing it (RFC 9110 section 12.5.3)."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
