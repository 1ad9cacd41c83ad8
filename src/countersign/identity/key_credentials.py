"""Key credentials that come with their owner: of founders, service accounts, access tokens, and by break-glass."""

from __future__ import annotations

from countersign.encoding import base64url
from countersign.identity import store
from countersign.storage import Transaction
from countersign.world import World


def insert_key(
    org_id: str,
    user_id: str,
    uuid: str,
    name: str,
    pem: str,
    fingerprint: str,
    now: int,
    world: World,
    *,
    token_id: str = "",
) -> Transaction[str | None]:
    """Store an active one under a new credential id, and give that; ``None`` where the public key is known already.

    ``token_id``: of the personal access token that signs with it. ``now`` in milliseconds.
    """
    credential_id = base64url.encode(world.new_id("ci").encode())
    # Of a key the credential id is what it is looked up by, too.
    row = (org_id, uuid, user_id, token_id, credential_id, credential_id, name, pem, fingerprint, now)
    return credential_id if (yield store.INSERT_CREDENTIAL, row) else None
