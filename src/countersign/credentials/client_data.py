"""The client data that a credential signs: which challenge, for which purpose, from which origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.encoding.strictjson import BadJson, parse_object


@dataclass(frozen=True, slots=True)
class ClientData:
    """``raw`` are the bytes as signed; ``challenge`` and ``origin`` are what they say."""

    raw: bytes
    challenge: str
    origin: str | None


@dataclass(frozen=True, slots=True)
class WebClientData(ClientData):
    """Client data of a browser or app (WebAuthn section 5.8.1), which always names its ``origin``.

    ``cross_origin``: the page was framed by a page of another origin; ``top_origin`` names that one, if the
    browser does.
    """

    origin: str
    cross_origin: bool
    top_origin: str | None


def read_client_data(text: str, type_: str, max_bytes: int) -> ClientData | Refused:
    """Client data in base64 text (either alphabet, padding optional) that must be of ``type_``.

    ``crossOrigin`` must not be true; members that are not known are ignored.
    """
    read = _read(text, type_, max_bytes)
    if isinstance(read, Refused):
        return read
    raw, members = read
    if members.get("crossOrigin", False) is not False:
        return Refused("clientData: crossOrigin must be false")
    return ClientData(raw, members["challenge"], members.get("origin"))


def read_web_client_data(text: str, type_: str, max_bytes: int) -> WebClientData | Refused:
    """The same for the client data of WebAuthn, where a relying party decides about ``crossOrigin``."""
    read = _read(text, type_, max_bytes)
    if isinstance(read, Refused):
        return read
    raw, members = read
    origin, cross_origin = members.get("origin"), members.get("crossOrigin", False)
    if origin is None:
        return Refused("clientData: origin is missing")
    if type(cross_origin) is not bool:
        return Refused("clientData: crossOrigin must be a boolean")
    top_origin = members.get("topOrigin")
    if "topOrigin" in members and type(top_origin) is not str:
        return Refused("clientData: topOrigin must be a string")
    return WebClientData(raw, members["challenge"], origin, cross_origin, top_origin)


def _read(text: str, type_: str, max_bytes: int) -> tuple[bytes, dict[str, Any]] | Refused:
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
    if type(members.get("challenge")) is not str:
        return Refused("clientData: challenge must be a string")
    if "origin" in members and type(members["origin"]) is not str:
        return Refused("clientData: origin must be a string")
    return raw, members


def answers(client_data: ClientData, challenge: str) -> bool:
    """Whether the client data answers the challenge string as issued.

    Browsers encode the bytes of the string once more; key signers and mobile clients do not. Both occur.
    """
    return client_data.challenge in {challenge, base64url.encode(challenge.encode("utf-8"))}
