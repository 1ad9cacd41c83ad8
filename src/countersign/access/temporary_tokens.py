"""Temporary tokens: what must travel between the two calls of an enrolment, a login, a recovery.

They are ordinary EdDSA tokens of kind ``Temp``, each good at the one place of its purpose. (The challenge of
an action is another matter: only this server reads it, so that one is under a MAC.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from countersign.access import jwt, store
from countersign.access.keyring import KeyRing
from countersign.api import Epochs
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.storage import Transaction
from countersign.world import World

#: Spent tokens are remembered for that long after they expired: another process, whose clock is behind, may take one.
_KEPT_MS = 3_600_000

Purpose = Literal["login", "registration", "recovery", "credential", "credentialCode", "oidcCredential"]


class TemporaryMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the token was made for. A change of state raises an epoch and so cancels the token.

    ``credential_kind``: of the credential to enrol. ``token_id``, ``caller_kind`` and ``token_epoch``: of the
    token that asked for it, where one did. ``action_id``: the user action behind a code or a registration.
    ``delegated_by`` and ``delegate_epoch``: the service account that asked for it on behalf of the user.
    ``subject``: who is asked to log in, sealed: whoever asks for a challenge is not told whether there is such a user,
    so that then ``user_id`` is empty and the epochs are in the subject as well. ``recovery_uuid``: the
    recovery key that was named when a recovery began.
    """

    user_id: str
    org_id: str
    token_kind: str
    purpose: Purpose
    challenge: str
    user_epoch: int
    org_epoch: int
    credential_kind: str | None = None
    token_id: str | None = None
    caller_kind: str | None = None
    token_epoch: int | None = None
    action_id: str | None = None
    delegated_by: str | None = None
    delegate_epoch: int | None = None
    subject: str | None = None
    recovery_uuid: str | None = None


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    jti: str
    exp: int
    username: str = msgspec.field(name="https://custom/username", default="")
    metadata: TemporaryMetadata = msgspec.field(name="https://custom/app_metadata")


_CLAIMS = msgspec.json.Decoder(_Claims)


@dataclass(frozen=True, slots=True)
class TemporaryToken:
    """A temporary token that was verified; ``id`` is spent with its effect, ``expires_at`` in seconds."""

    id: str
    expires_at: int
    username: str
    metadata: TemporaryMetadata


def new_challenge(world: World) -> str:
    """A challenge that commits to nothing but itself: base64url of compact JSON with an id and a nonce."""
    return base64url.encode(msgspec.json.encode({"id": world.new_id("ch"), "nonce": world.new_id("no")}))


def issue(
    ring: KeyRing,
    metadata: TemporaryMetadata,
    username: str,
    lifetime: int,
    world: World,
    *,
    token_id: str | None = None,
) -> str:
    """The token's text; it lives ``lifetime`` seconds. ``token_id``: one that was made before and written down."""
    now = world.now() // 1000
    claims = jwt.Claims(
        iss=ring.issuer,
        aud=jwt.AUDIENCE,
        sub=metadata.org_id,
        jti=token_id or world.new_id("uj"),
        username=username,
        metadata=msgspec.to_builtins(metadata),
        iat=now,
        exp=now + lifetime,
    )
    return jwt.encode(claims, "JWT", ring.token_signer)


async def read(ring: KeyRing, text: str, purpose: Purpose, world: World) -> TemporaryToken | Refused:
    """Verify a token of one purpose. That it is unspent and its epochs hold is for :func:`spend` to see."""
    place = jwt.Place("JWT", "EdDSA", ring.issuer, frozenset({"Temp"}), purpose)
    now = world.now() // 1000
    verified = jwt.verify(text, place, ring.token_keys, now)
    if isinstance(verified, jwt.Refused) and verified.reason == "unknown kid":
        await ring.look_again()
        verified = jwt.verify(text, place, ring.token_keys, now)
    if isinstance(verified, jwt.Refused):
        return Refused(verified.reason)
    try:
        claims = _CLAIMS.decode(verified.payload)
    except msgspec.DecodeError:
        return Refused("not the claims of a temporary token")
    return TemporaryToken(claims.jti, claims.exp, claims.username, claims.metadata)


def presented(headers: Mapping[str, str]) -> str | None:
    """The token that a request carries as its bearer, where one completes something without a session."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token and " " not in token else None


def read_epochs(org_id: str, user_id: str, token_id: str) -> Transaction[Epochs | None]:
    """The epochs as they stand; those of a remembered caller may be a moment old, and a token under them void."""
    rows = yield store.READ_EPOCHS, (token_id, org_id, user_id)
    if not rows:
        return None
    _, user_epoch, _, org_epoch, _, token_epoch = rows[0]
    return Epochs(user=user_epoch, token=token_epoch or 0, organisation=org_epoch)


def spend(token: TemporaryToken, now_ms: int) -> Transaction[Refused | None]:
    """Use the token up, in the transaction of its effect; says why not when it cannot be.

    It must not have expired or been spent, user and organisation must be active in the epochs that it names,
    and so must the token of a program that asked for it, and a service account that did for somebody else.
    """
    metadata = token.metadata
    if token.expires_at * 1000 <= now_ms:
        return Refused("expired")
    rows = yield store.READ_EPOCHS, (metadata.token_id or "", metadata.org_id, metadata.user_id)
    if not rows:
        return Refused("the user is gone")
    user_state, user_epoch, org_active, org_epoch, token_state, token_epoch = rows[0]
    if user_state != "Active" or not org_active:
        return Refused("user or organisation is not active")
    if (user_epoch, org_epoch) != (metadata.user_epoch, metadata.org_epoch):
        return Refused("cancelled by a change of state")
    alone = metadata.caller_kind in ("Pat", "ServiceAccount")
    if alone and (token_state, token_epoch) != ("Active", metadata.token_epoch):
        return Refused("cancelled by a change of the token")
    if metadata.delegated_by is not None:
        rows = yield store.READ_EPOCHS, ("", metadata.org_id, metadata.delegated_by)
        if not rows or tuple(rows[0][:2]) != ("Active", metadata.delegate_epoch):
            return Refused("cancelled by a change of the service account")
    arguments = (metadata.org_id, token.id, token.expires_at * 1000)
    spent = yield store.SPEND_CHALLENGE, arguments
    return None if spent else Refused("spent before")


def forget(now_ms: int) -> Transaction[None]:
    """Drop what is remembered of tokens that have expired, on the clock of every process."""
    yield store.FORGET_SPENT_CHALLENGES, (now_ms - _KEPT_MS,)
