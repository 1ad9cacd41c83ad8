"""What a countersigned request changes in the roster of credentials. Pure.

The roster follows the requests that enrol, endorse, deactivate, activate or delete a credential, its user or the access
token that it is bound to. All that such a change rests on is read from the signed request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from countersign.credentials.shown_keys import ShownKey, in_pem, in_submission
from countersign.encoding.strictjson import BadJson, parse_object

State = Literal["Active", "Inactive", "Archived"]
Subject = Literal["credential", "user", "token"]


@dataclass(frozen=True, slots=True)
class Enrols:
    """A new credential. ``own``: it is the signer's own user's, otherwise that of a user made with it."""

    kind: str
    key: ShownKey
    own: bool


@dataclass(frozen=True, slots=True)
class Endorses:
    """A credential that nobody's signature covered so far, by its id and the fingerprint of its key."""

    credential_uuid: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Sets:
    """A new state of a credential, a user (or service account) or an access token. ``own``: of the signer's own."""

    subject: Subject
    id: str
    state: State
    own: bool


Change = Enrols | Endorses | Sets

_CREDENTIAL_STATES: Final[Mapping[str, State]] = {"activate": "Active", "deactivate": "Inactive"}
_SUBJECTS: Final[Mapping[str, tuple[Subject, bool]]] = {
    "users": ("user", False),
    "service-accounts": ("user", False),
    "pats": ("token", True),
}
_ENROLLING: Final = ("/auth/service-accounts", "/auth/pats", "/auth/credentials")


def concerns_roster(method: str, path: str) -> bool:
    """Whether requests with this method and canonical path change the roster."""
    if method == "POST" and path in _ENROLLING:
        return True
    return isinstance(_without_key(method, path.split("/")[1:], {"credentialUuid": "-", "publicKey": "-"}), Change)


def key_ended(method: str, path: str) -> tuple[str, str] | None:
    """The order and the key of a request that ends a key for good: ``archive`` or ``destroy``."""
    match method, *path.split("/")[1:]:
        case "DELETE", "keys", key_id:
            return "archive", key_id
        case "POST", "keys", key_id, "destroy":
            return "destroy", key_id
    return None


def consented_change(method: str, path: str, payload: bytes) -> Change | str:
    """The change that a request asks for, or why it asks for none. ``path`` and ``payload`` are canonical."""
    try:
        body = parse_object(payload) if payload else {}
    except BadJson as defect:
        return f"the payload of the request: {defect.reason}"
    if method == "POST" and path in _ENROLLING:
        return _enrols(path, body)
    return _without_key(method, path.split("/")[1:], body)


def _enrols(path: str, body: Mapping[str, Any]) -> Enrols | str:
    if path != "/auth/credentials":
        pem = body.get("publicKey")
        key = in_pem(pem) if isinstance(pem, str) else None
        return "the request shows no public key" if key is None else Enrols("Key", key, own=path == "/auth/pats")
    shown = in_submission(dict(body))
    if shown is None:
        return "the request shows no public key of that kind of credential"
    return Enrols(*shown, own=True)


def _without_key(method: str, segments: Sequence[str], body: Mapping[str, Any]) -> Endorses | Sets | str:
    match method, *segments:
        case "PUT", "auth", "credentials", ("activate" | "deactivate") as verb:
            uuid = body.get("credentialUuid")
            if isinstance(uuid, str):
                return Sets("credential", uuid, _CREDENTIAL_STATES[verb], own=True)
        case "DELETE", "auth", "credentials", uuid:
            return Sets("credential", uuid, "Archived", own=True)
        case "POST", "auth", "credentials", uuid, "endorse":
            fingerprint = body.get("publicKey")
            if isinstance(fingerprint, str):
                return Endorses(uuid, fingerprint)
        case "PUT", "auth", ("users" | "service-accounts" | "pats") as kind, id_, ("activate" | "deactivate") as verb:
            return Sets(_SUBJECTS[kind][0], id_, _CREDENTIAL_STATES[verb], own=_SUBJECTS[kind][1])
        case "DELETE", "auth", ("users" | "service-accounts" | "pats") as kind, id_:
            return Sets(_SUBJECTS[kind][0], id_, "Archived", own=_SUBJECTS[kind][1])
    return "the request changes nothing in the roster"
