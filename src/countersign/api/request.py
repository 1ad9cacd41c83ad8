"""A request as every station sees it: read once, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from countersign.encoding.target import Target


@dataclass(frozen=True, slots=True)
class Request:
    """``body`` is the object of the strict JSON reader (``{}`` when none was sent); ``headers`` have lower-case names.

    ``canonical_body`` is the canonical payload of the same object, the bytes that a signature commits to.
    """

    request_id: str
    method: str
    target: Target
    headers: Mapping[str, str]
    client_address: str
    body: Mapping[str, Any] = field(default_factory=dict)
    canonical_body: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Response:
    """``content`` is the whole body; ``media_type`` its type."""

    status: int
    content: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
