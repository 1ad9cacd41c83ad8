"""ID tokens (OpenID Connect Core 1.0 section 3.1.3.7): who a provider says that somebody is.

The algorithm is one of a closed list and has to fit the provider's own key, which ``kid`` only looks up: keys that a
token brings along or points to (``jwk``, ``jku``, ``x5c``, ``x5u``) are never used. A person is the pair of issuer and
subject. A mail address counts only where the provider has verified it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object
from countersign.federation.provider_keys import ALGORITHMS, ProviderKey, select

MAX_LENGTH = 16_384
"""Characters of a whole token."""
LEEWAY = 30
"""Seconds by which ``iat`` and ``nbf`` may lie in the future."""
OLDEST = 600
"""Seconds since ``iat`` after which a token counts no longer."""
#: OpenID Connect Core 1.0 section 2.
_LONGEST_SUBJECT = 255
_LONGEST_MAIL = 254
_MOST_AUDIENCES = 10


class _Registry(jws.JWSRegistry):
    """The algorithms of the keys, none by default, and nothing that warns about the one name EdDSA."""

    max_header_length = MAX_LENGTH

    def get_alg(self, name: str) -> Any:
        """The algorithm of this name."""
        if name not in ALGORITHMS.values():
            raise JoseError(f"{name} is not allowed")
        return self.algorithms[name]


_REGISTRY = _Registry(strict_check_header=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whose a token claims to be, and whom for; nothing of it is proven."""

    issuer: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must be: of this issuer, for this client. ``nonce`` where the sign-in began here.

    ``parties``: other clients that may have asked for it (``azp``), as an app does for its own server.
    """

    issuer: str
    client_id: str
    nonce: str | None
    parties: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody at a provider. ``mail``: the verified address, if any.

    ``digest``: lower-case hex SHA-256 of what was signed, by which a token is known again whatever its signature is
    made to look like; ``ends_at``: from when on it is refused anyway, in seconds since the epoch.
    """

    issuer: str
    subject: str
    mail: str | None
    digest: str
    ends_at: int


def peek(token: str) -> Claimed | Refused:
    """Issuer and audiences as the token has them, to find out which provider it is to be checked by."""
    parsed = _parse(token)
    if isinstance(parsed, Refused):
        return parsed
    claims = parsed[1]
    issuer, audiences = claims.get("iss"), _audiences(claims)
    # They are looked for in the database as they stand, and not every database can be asked for every text.
    if not isinstance(issuer, str) or not issuer.isprintable() or audiences is None:
        return Refused("no iss or aud")
    return Claimed(issuer, audiences)


def verify(token: str, keys: tuple[ProviderKey, ...], expected: Expected, now: int) -> Identity | Refused:
    """Check a token. ``now`` in seconds. Never raises for bad input.

    Checked in this order: form, algorithm and key, signature, ``iss``, ``aud`` and ``azp``, ``exp``, ``iat`` (at most
    ten minutes ago), ``nbf``, ``nonce``, ``sub``.
    """
    parsed = _parse(token)
    if isinstance(parsed, Refused):
        return parsed
    header, claims = parsed
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS.values():
        return Refused("the algorithm is not allowed")
    if not (kid is None or isinstance(kid, str)) or "crit" in header or "b64" in header:
        return Refused("a header that is not understood")
    # A provider signs other tokens for the same client with the same key, as those of access (RFC 9068) and of a logout
    # (OpenID Connect Back-Channel Logout 1.0 section 2.4), which third parties see.
    if str(header.get("typ", "JWT")).lower().removeprefix("application/") != "jwt" or "events" in claims:
        return Refused("a token of another type")
    key = select(keys, kid, algorithm)
    if isinstance(key, Refused):
        return key
    try:
        jws.deserialize_compact(token, key.key, registry=_REGISTRY)
    except (JoseError, ValueError):
        return Refused("signature")
    refusal = _refusal(claims, expected, now)
    if refusal is not None:
        return Refused(refusal)
    digest = hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()
    ends_at = int(min(claims["exp"], claims["iat"] + OLDEST + 1))
    return Identity(expected.issuer, claims["sub"], _verified_mail(claims), digest, ends_at)


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any]] | Refused:
    segments = token.split(".") if len(token) <= MAX_LENGTH else []
    if len(segments) != 3:
        return Refused("not three segments, or too long")
    try:
        base64url.decode(segments[2])
        return parse_object(base64url.decode(segments[0])), parse_object(base64url.decode(segments[1]))
    except BadJson as error:
        return Refused(error.reason)
    except ValueError:
        return Refused("a segment is not canonical unpadded base64url")


def _refusal(claims: dict[str, Any], expected: Expected, now: int) -> str | None:
    audiences, party = _audiences(claims), claims.get("azp")
    expires, issued, not_before = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    subject = claims.get("sub")
    if claims.get("iss") != expected.issuer:
        return "iss"
    if audiences is None or expected.client_id not in audiences:
        return "aud"
    if party is None and len(audiences) > 1:
        return "azp: the token is for several and says not who asked for it"
    if party is not None and not (isinstance(party, str) and party in {expected.client_id, *expected.parties}):
        return "azp: another asked for the token"
    if expires is None or expires <= now:
        return "expired"
    if issued is None or issued > now + LEEWAY or issued < now - OLDEST:
        return "iat is missing, in the future or too long ago"
    if "nbf" in claims and (not_before is None or not_before > now + LEEWAY):
        return "nbf"
    if expected.nonce is not None and claims.get("nonce") != expected.nonce:
        return "nonce"
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        return "sub"
    return None


def _audiences(claims: dict[str, Any]) -> tuple[str, ...] | None:
    named = claims.get("aud")
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST_AUDIENCES:
        return None
    return tuple(listed) if all(isinstance(each, str) and each.isprintable() for each in listed) else None


def _time(claims: dict[str, Any], name: str) -> Decimal | None:
    value = claims.get(name)
    return Decimal(value) if type(value) is int or isinstance(value, Decimal) else None


def _verified_mail(claims: dict[str, Any]) -> str | None:
    mail, verified = claims.get("email"), claims.get("email_verified")
    # Some providers write the flag as text.
    if not (verified is True or verified == "true") or not isinstance(mail, str):
        return None
    return mail if 1 <= len(mail) <= _LONGEST_MAIL and mail.isprintable() else None
