"""Whether a key was destroyed by its signer and by consent: read again from the audit log alone."""

from __future__ import annotations

import msgspec

from countersign.audit.entry import System
from countersign.credentials import ed25519
from countersign.encoding import base64url
from countersign.keystores.statements import VERSION, decode_statement

DESTROYED = "KeyDestroyed"


def consent_path(entry: System) -> str:
    """Path of the request that the destruction has to rest on."""
    return f"/keys/{entry.details.get('keyId', '')}/destroy"


def refuse_destruction(entry: System) -> str | None:
    """Why the entry holds no statement of a signer that it uses just this key no more.

    That the statement's key is that of a signer of this installation is not decided here.
    """
    details = entry.details
    try:
        statement, signature, key = (
            base64url.decode(details.get(name, "")) for name in ("statement", "statementSignature", "statementKey")
        )
    except ValueError:
        return "its statement is no base64url"
    if not ed25519.holds(key, statement, signature):
        return "the signature of the signer's statement doesn't hold"
    try:
        stated = decode_statement(statement)
    except msgspec.MsgspecError:
        return "the signer's statement can't be read"
    named = details.get("keyId", ""), details.get("publicKey", "")
    if (stated.version, stated.op, stated.org_id) != (VERSION, "destroy", entry.org_id):
        return "the signer stated something else"
    if (stated.key_id, stated.public_key.hex()) != named:
        return "the signer's statement is about another key"
    return None
