"""The client data that a credential signs: which challenge, for which purpose, from which origin."""

from __future__ import annotations

from dataclasses import dataclass

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object


@dataclass(frozen=True, slots=True)
class ClientData:
    """``raw`` are the bytes as signed; ``challenge`` and ``origin`` are what they say."""

    raw: bytes
    challenge: str
    origin: str | None


def read_client_data(text: str, type_: str, max_bytes: int) -> ClientData | Refused:
    """Client data in base64 text (either alphabet, padding optional) that must be of ``type_``.

    ``crossOrigin`` must not be true; members that are not known are ignored.
    """
    try:
        raw = base64url.decode_tolerant(text)
    except ValueError:
        return Refused("clientData is not base64url")
    if len(raw) > max_bytes:
        return Refused(f"clientData is longer than {max_bytes} bytes")
    try:
        members = parse_object(raw)
    except BadJson as error:
        return Refused(f"clientData: {error.reason}")
    if members.get("type") != type_:
        return Refused(f"clientData: type must be {type_}")
    challenge = members.get("challenge")
    if type(challenge) is not str:
        return Refused("clientData: challenge must be a string")
    if members.get("crossOrigin", False) is not False:
        return Refused("clientData: crossOrigin must be false")
    origin = members.get("origin")
    if "origin" in members and type(origin) is not str:
        return Refused("clientData: origin must be a string")
    return ClientData(raw, challenge, origin)


def answers(client_data: ClientData, challenge: str) -> bool:
    """Whether the client data answers the challenge string as issued.

    Browsers encode the bytes of the string once more; key signers and mobile clients do not. Both occur.
    """
    return client_data.challenge in {challenge, base64url.encode(challenge.encode("utf-8"))}
