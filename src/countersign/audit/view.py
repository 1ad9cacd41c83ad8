"""An entry in the shape in which the API answers it."""

from __future__ import annotations

from typing import Any

import msgspec

from countersign.audit.entry import Action, Entry, Payload, Signature


def to_log(entry: Entry, payload: Payload | None) -> dict[str, Any]:
    """The object of ``GET /auth/action/logs/{id}``. ``payload`` as opened; ``None`` when there is none.

    ``action`` is JSON text with the canonical path (query included) and payload: what the digest commits
    to. An action's effect and its audit entry are one transaction, so it is resolved when it is performed.
    ``responseError`` is the stable error code, ``""`` for none, as absent links are elsewhere in the API.
    An entry without an assertion has ``assertion: null``, no credential and an empty ``actionToken``.
    """
    if not isinstance(entry, Action):
        return _unasserted(entry)
    action = {
        "userActionServerKind": "Api",
        "userActionHttpMethod": entry.method,
        "userActionHttpPath": entry.path + entry.query,
        "userActionPayload": payload.canonical.decode("utf-8") if payload else "",
    }
    evidence = entry.evidence
    return {
        "id": entry.id,
        "action": _text(action),
        "actionToken": payload.action_token if payload else "",
        "userId": entry.user_id,
        "username": entry.username,
        "datePerformed": entry.date_performed,
        "dateSigned": entry.date_signed,
        "dateResolved": entry.date_performed,
        "responseStatus": entry.response.status,
        "responseError": entry.response.code or "",
        "firstFactorCredential": {
            "id": entry.credential.uuid,
            "kind": entry.credential.kind,
            "publicKey": entry.credential.public_key,
            "assertion": {
                "authenticatorData": evidence.authenticator_data,
                "clientData": evidence.client_data,
                "signature": evidence.signature,
            },
        },
    }


def _unasserted(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Signature):
        told = {
            "event": "Signature",
            "actionId": entry.action_id,
            "signatureId": entry.signature_id,
            "keyId": entry.key_id,
        }
        who: tuple[str | None, str | None] = (None, None)
        failure = entry.failure or ""
    else:
        assert not isinstance(entry, Action)
        told = {"event": entry.event, **entry.details}
        who = (entry.user_id, entry.username)
        failure = ""
    return {
        "id": entry.id,
        "action": _text(told),
        "actionToken": "",
        "userId": who[0],
        "username": who[1],
        "datePerformed": entry.date_performed,
        "dateSigned": "",
        "dateResolved": entry.date_performed,
        "responseStatus": None,
        "responseError": failure,
        "firstFactorCredential": {"id": "", "kind": None, "publicKey": "", "assertion": None},
    }


def _text(value: dict[str, str]) -> str:
    return msgspec.json.encode(value).decode("utf-8")
