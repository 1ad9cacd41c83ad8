"""A request as every station sees it: read once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from countersign.encoding import strictjson
from countersign.encoding.target import Target

_NOTHING: Mapping[str, Any] = {}


class Request:
    """A request whose body has been read: ``body`` is the object of the strict JSON reader, ``{}`` when none was sent.

    ``headers`` have lower-case names.
    """

    __slots__ = ("_canonical", "body", "client_address", "headers", "method", "request_id", "target")

    def __init__(
        self,
        request_id: str,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        client_address: str,
        body: Mapping[str, Any] = _NOTHING,
    ) -> None:
        self.request_id = request_id
        self.method = method
        self.target = target
        self.headers = headers
        self.client_address = client_address
        self.body = body
        self._canonical: bytes | None = None

    @property
    def canonical_body(self) -> bytes:
        """The canonical payload of ``body``, the bytes that a signature commits to."""
        if self._canonical is None:
            self._canonical = strictjson.canonical(self.body)
        return self._canonical


class Response(msgspec.Struct, frozen=True):
    """``content`` is the whole body; ``media_type`` its type."""

    status: int
    content: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = {}
