"""The digest of an action: the commitment to one request that a user's signature covers."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from countersign.encoding import base64url
from countersign.encoding.strictjson import canonical

SERVER_KIND = "Api"


def _framed(part: bytes) -> bytes:
    # Lengths in front, so that no two different lists of parts give the same bytes.
    return len(part).to_bytes(4, "big") + part


_DOMAIN = _framed(b"countersign.action.v1")
_KIND = _framed(SERVER_KIND.encode("ascii"))


@lru_cache(maxsize=1024)
def _whose(installation_id: str, org_id: str, user_id: str) -> bytes:
    """The parts in front, which are the same for every request of a user."""
    parts = (installation_id, org_id, user_id)
    return b"".join([_DOMAIN, *[_framed(part.encode("utf-8")) for part in parts], _KIND])


def payload_hash(payload: dict[str, Any]) -> bytes:
    """SHA-256 of the canonical JSON of a request body (32 bytes); no body is the empty object."""
    return hashlib.sha256(canonical(payload)).digest()


def action_digest(
    installation_id: str,
    org_id: str,
    user_id: str,
    method: str,
    canonical_path: str,
    canonical_query: str,
    payload_hash: bytes,
) -> str:
    """Base64url SHA-256 over the parts of a request, each behind its length (uint32, big-endian).

    The parts are ``countersign.action.v1``, the installation (so that a clone or a restored copy accepts
    nothing signed for the original), organisation, user, ``Api``, the upper-case method, the canonical
    path, the canonical query (empty or from the ``?`` on) and the 32-byte hash of the payload, which
    lets an export leave a secret payload out and stay verifiable.
    """
    preimage = b"".join(
        [
            _whose(installation_id, org_id, user_id),
            _framed(method.encode("utf-8")),
            _framed(canonical_path.encode("utf-8")),
            _framed(canonical_query.encode("utf-8")),
            _framed(payload_hash),
        ]
    )
    return base64url.encode(hashlib.sha256(preimage).digest())
