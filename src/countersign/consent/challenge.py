"""The challenge that a credential signs to consent to one action."""

from __future__ import annotations

import msgspec

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.identifiers import is_identifier
from countersign.encoding.strictjson import BadJson, parse_object

DIGEST_LENGTH = 43
"""Characters of a SHA-256 digest in unpadded base64url."""
_MOST_KNOWN = 1024


class ActionChallenge(msgspec.Struct, frozen=True):
    """``exp`` is in seconds since the epoch; ``action`` is the digest of the action."""

    id: str
    nonce: str
    exp: int
    action: str

    @property
    def text(self) -> str:
        """The challenge string: base64url of compact JSON, canonical because mobile clients decode and re-encode it."""
        return base64url.encode(msgspec.json.encode(self))


# The same text stands in the challenge identifier and in the signed client data, soon after it was made.
_known: dict[str, ActionChallenge] = {}


def _know(text: str, challenge: ActionChallenge) -> None:
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[text] = challenge


def issue(challenge: ActionChallenge) -> str:
    """The string of a challenge that was made just now, which is not parsed when it comes back soon."""
    text = challenge.text
    _know(text, challenge)
    return text


def parse_challenge(text: str) -> ActionChallenge | Refused:
    """Read a challenge string of an action. Never raises for bad input."""
    known = _known.get(text)
    if known is not None:
        return known
    read = _parse(text)
    if isinstance(read, ActionChallenge):
        _know(text, read)
    return read


def _parse(text: str) -> ActionChallenge | Refused:
    try:
        members = parse_object(base64url.decode(text))
    except BadJson as error:
        return Refused(f"the challenge: {error.reason}")
    except ValueError:
        return Refused("the challenge is not base64url")
    if members.keys() != {"id", "nonce", "exp", "action"}:
        return Refused("the challenge is not that of an action")
    id_, nonce, exp, action = members["id"], members["nonce"], members["exp"], members["action"]
    if type(id_) is not str or not is_identifier(id_, "ch") or type(nonce) is not str or not is_identifier(nonce, "no"):
        return Refused("the id or nonce of the challenge is malformed")
    if type(exp) is not int or type(action) is not str or len(action) != DIGEST_LENGTH:
        return Refused("the expiry or digest of the challenge is malformed")
    return ActionChallenge(id_, nonce, exp, action)


def parse_signed_challenge(text: str) -> ActionChallenge | Refused:
    """Read the challenge as it stands in signed client data: the challenge string, or base64url of its bytes."""
    plain = parse_challenge(text)
    if isinstance(plain, ActionChallenge):
        return plain
    try:
        inner = base64url.decode(text).decode("ascii")
    except ValueError:
        return plain
    double = parse_challenge(inner)
    return plain if isinstance(double, Refused) else double
