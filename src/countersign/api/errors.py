"""The one error envelope and the catalogue of stable codes.

An :class:`ApiError` is raised at the edge, once, from an outcome. Its code is stable; its message is
for people. ``details`` never holds secrets or ids of another organisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countersign.credentials.outcome import Cause, Refused


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """A row of the catalogue: HTTP status, default message, and what the caller can do about it."""

    status: int
    message: str
    remedy: str


CATALOGUE: Mapping[str, ErrorKind] = {
    "VALIDATION": ErrorKind(400, "Bad Request", "Correct the members named in details.issues."),
    "BAD_JSON": ErrorKind(
        400, "Bad Request", "Send one UTF-8 JSON object without duplicate members, NaN or trailing data."
    ),
    "BAD_PATH": ErrorKind(
        400, "Bad Request", "Send the path with single slashes, no dot segments and no encoded slash."
    ),
    "BAD_HEADER": ErrorKind(
        400, "Bad Request", "Send each security header at most once, and name this server as the host."
    ),
    "NONCE_INVALID": ErrorKind(400, "request nonce is missing or invalid", "Send a fresh nonce with a current date."),
    "NONCE_REUSED": ErrorKind(400, "request nonce has already been used", "Make a new nonce for every request."),
    "USER_ACTION_REUSED": ErrorKind(
        400, "user action has already been used", "Sign the action again: POST /auth/action/init, then /auth/action."
    ),
    "CHALLENGE_INVALID": ErrorKind(
        400, "Challenge token is not valid.", "Ask for a new challenge and sign that one, as who asked for it."
    ),
    "APP_SELF_STATE": ErrorKind(
        400,
        "application cannot modify its own state",
        "Name another application in X-DFNS-APPID, or none.",
    ),
    "PUBLIC_KEY_REFUSED": ErrorKind(
        400, "The public key is not accepted.", "Send a PEM public key: Ed25519, P-256, P-384, P-521, secp256k1 or RSA."
    ),
    "ATTESTATION_INVALID": ErrorKind(
        400,
        "The attestation of the credential is not valid.",
        "Sign the challenge of this enrolment with the new credential, and send exactly what it made.",
    ),
    "CREDENTIAL_KIND_DISABLED": ErrorKind(
        400, "Credentials of this kind are disabled.", "Use Fido2, Key, PasswordProtectedKey or RecoveryKey."
    ),
    "SIGN_IN_INVALID": ErrorKind(
        400,
        "The sign-in is unknown, completed or too old.",
        "Begin anew: POST /auth/login/sso/init or /auth/login/oidc/init.",
    ),
    "USER_DEACTIVATED": ErrorKind(
        400, "User account has been deactivated.", "Ask an administrator to activate the user."
    ),
    "REGISTRATION_CODE_EXPIRED": ErrorKind(
        400, "Registration code expired", "Ask for a new one: PUT /auth/registration/code."
    ),
    "WALLETS_NOT_OFFERED": ErrorKind(
        400,
        "Wallets are not offered yet; nothing was registered.",
        "Register with an empty list of wallets, or by POST /auth/registration.",
    ),
    "LAST_CREDENTIAL": ErrorKind(
        400,
        "The last active credential cannot be taken away.",
        "Add another credential that can sign first; a recovery key does not count.",
    ),
    "SIGNATURE_KIND_UNSUPPORTED": ErrorKind(
        400, "This signature kind is not supported for this key.", "Use kind Hash, or Message with an EdDSA key."
    ),
    "KEY_UNSUPPORTED": ErrorKind(
        400,
        "The key store does not offer this kind of key.",
        "Use a scheme and curve that the key store offers, or another key store.",
    ),
    "KEY_OPERATION_UNSUPPORTED": ErrorKind(
        400, "This key cannot do that.", "Use a key of the scheme that the message names."
    ),
    "KEY_NOT_MASTER": ErrorKind(
        400, "The key is no master key.", "Derive from a key that was made with masterKey: true."
    ),
    "KEY_NOT_DELEGABLE": ErrorKind(
        400,
        "The key cannot be delegated.",
        "Delegate a key that was made with delayDelegation: true and is not delegated yet.",
    ),
    "NOT_AN_END_USER": ErrorKind(
        400, "Keys are delegated to active end users only.", "Name an active user of kind EndUser."
    ),
    "KEY_NOT_DESTROYABLE": ErrorKind(
        400,
        "The key cannot be destroyed yet.",
        "Archive it, wait until the time in details.destroyableFrom, and repeat its public key.",
    ),
    "KEY_SHARES_REFUSED": ErrorKind(
        400,
        "The key shares are not accepted.",
        "Share the key anew for exactly the signers of GET /signers, and send all shares of that one sharing.",
    ),
    "UNAUTHENTICATED": ErrorKind(
        401,
        "Not Authorized.",
        "Send 'Authorization: Bearer <token>' with a token of this server that is neither expired nor revoked.",
    ),
    "NO_CREDENTIAL": ErrorKind(
        401,
        "User does not have a credential that can be used for the application.",
        "Sign with an active credential listed in allowCredentials of the challenge.",
    ),
    "ASSERTION_INVALID": ErrorKind(
        401,
        "Credential assertion is not valid.",
        "Sign the clientData bytes with the private key of the credential named by credId.",
    ),
    "NOT_RECOVERY_FACTOR": ErrorKind(
        401,
        "Credential cannot be used as a recovery factor.",
        "Sign with the active recovery key that was named when the recovery began.",
    ),
    "USER_NOT_FOUND": ErrorKind(401, "User not found", "Check username and organisation."),
    "USER_EXISTS": ErrorKind(401, "User already exists.", "Log in: POST /auth/login/init."),
    "IDENTITY_REFUSED": ErrorKind(
        401,
        "What the identity provider says is not accepted.",
        "Sign in at the provider anew; each ID token and code is good once, for ten minutes at most.",
    ),
    "FORBIDDEN": ErrorKind(
        403, "Not authorized to perform operation", "Ask an administrator for a permission with this operation."
    ),
    "CALLER_KIND_REFUSED": ErrorKind(
        403, "This kind of caller cannot perform the operation.", "Call with another kind of identity."
    ),
    "SSO_REQUIRED": ErrorKind(
        403,
        "The user must sign in through the organisation's identity provider.",
        "Sign in by POST /auth/login/sso/init, or ask an administrator to set isSSORequired to false.",
    ),
    "SSO_NOT_OFFERED": ErrorKind(
        403,
        "Single sign-on is not set up for this organisation, client and redirect URI.",
        "Ask the operator, who lists what is with 'countersign admin identity-providers list'.",
    ),
    "RECOVERY_HOLD": ErrorKind(
        403,
        "The account was recovered a short time ago and changes nothing yet.",
        "Wait until the time in the mail about the recovery; an administrator who does not know of it deactivates the "
        "user.",
    ),
    "APPLICATION_REFUSED": ErrorKind(
        403,
        "The application is missing, not active, not this organisation's, or did not sign the request.",
        "Send X-DFNS-APPID of an active application of the organisation; a server-signed one also sends X-DFNS-NONCE, "
        "X-DFNS-APPSECRET and X-DFNS-APISIGNATURE.",
    ),
    "KEY_DELEGATED": ErrorKind(
        403, "The key is delegated to an end user, who alone may use it.", "Let the end user do it."
    ),
    "SIGNER_REFUSED": ErrorKind(
        403, "The signer refused the order.", "Ask the operator for the reason, which is in the log."
    ),
    "KEY_IMPORT_DISABLED": ErrorKind(
        403,
        "Key import is not enabled for this organisation.",
        "Ask the operator to run 'countersign admin keys --enable-import'.",
    ),
    "KEY_EXPORT_DISABLED": ErrorKind(
        403,
        "Key export is not enabled for this organisation.",
        "Ask the operator to run 'countersign admin keys --enable-export'.",
    ),
    "EXPORT_NEEDS_APPROVAL": ErrorKind(
        403,
        "The export of the key waits for approvals.",
        "Have others of the organisation's export approvers approve exactly this body at POST "
        "/keys/{keyId}/export/approvals ('countersign keys approve-export'), then ask again; details say how many.",
    ),
    "KEY_EXPORTED": ErrorKind(
        403,
        "The key was exported and is used no longer.",
        "Use another key, or ask the operator to run 'countersign admin keys --sign-after-export'.",
    ),
    "POLICY_BLOCKED": ErrorKind(
        403,
        "The activity is blocked by a policy.",
        "Change what was asked for; details.policyIds names the policies, and details.requestId what was stored of it.",
    ),
    "NOT_AN_APPROVER": ErrorKind(
        403,
        "Not eligible to decide about this approval.",
        "Let somebody decide who belongs to one of its groups; initiators approve only where a group allows it.",
    ),
    "WEBHOOK_LIMIT": ErrorKind(
        403,
        "The organisation has as many webhooks as it may have.",
        "Delete a webhook, or ask the operator to raise webhook_limit.",
    ),
    "INVALID_CODE": ErrorKind(403, "Invalid code", "Ask for a new code, and enter it before it ends."),
    "USER_ACTION_INVALID": ErrorKind(
        403,
        "user action signature is missing or invalid",
        "Sign exactly this method, path and body: POST /auth/action/init, POST /auth/action, "
        "then send the token as X-DFNS-USERACTION.",
    ),
    "QUERY_NOT_SIGNED": ErrorKind(
        403,
        "the query string is not covered by the user action signature",
        "Sign the path together with its query string.",
    ),
    "NOT_FOUND": ErrorKind(404, "not found", "Check the path and the id; ids of other organisations count as unknown."),
    "METHOD": ErrorKind(405, "Method Not Allowed", "Use a method named in the Allow header."),
    "TIMEOUT": ErrorKind(408, "Request Timeout", "Send the request faster."),
    "CONFLICT": ErrorKind(
        409, "Conflict", "Read the existing entity named in details.duplicate, or choose another value."
    ),
    "CREDENTIAL_EXISTS": ErrorKind(
        409,
        "Conflicting credential",
        "Use the credential that is enrolled, or make a new key; an id and a key are never enrolled twice.",
    ),
    "KEY_ARCHIVED": ErrorKind(400, "The key is archived.", "Use an active key."),
    "LAST_ADMINISTRATOR": ErrorKind(
        412,
        "The last administrator can neither be deactivated nor deleted, nor lose full access.",
        "Give ManagedFullAdminAccess to another registered user first.",
    ),
    "PERMISSION_IMMUTABLE": ErrorKind(
        412, "The permission is immutable.", "Create a permission of your own and assign that one."
    ),
    "APPROVAL_CLOSED": ErrorKind(
        412, "The approval is not pending.", "Read the approval: it was approved, denied, or expired."
    ),
    "INTEGRATION_MISSING": ErrorKind(
        412, "The integration is not set up.", "Use a rule that needs no provider, or set up the integration first."
    ),
    "WEBHOOK_DISABLED": ErrorKind(
        412, "The webhook is disabled.", "Enable it first: PUT /webhooks/{webhookId} with status Enabled."
    ),
    "TOO_LARGE": ErrorKind(413, "Payload Too Large", "Send a smaller body."),
    "MEDIA_TYPE": ErrorKind(415, "Unsupported Media Type", "Send application/json in UTF-8, without content encoding."),
    "PERMISSION_ARCHIVED": ErrorKind(
        422, "The permission is archived.", "Restore it first: PUT /permissions/{permissionId}/archive."
    ),
    "IDENTITY_NOT_ACTIVE": ErrorKind(422, "The identity is not active.", "Activate it first."),
    "POLICY_ARCHIVED": ErrorKind(422, "The policy is archived.", "Create a new policy."),
    "RATE_LIMITED": ErrorKind(429, "Too Many Requests", "Wait for the seconds named in Retry-After."),
    "HEADERS_TOO_LARGE": ErrorKind(431, "Request Header Fields Too Large", "Send fewer or shorter headers."),
    "INTERNAL": ErrorKind(500, "Internal Server Error", "Report the error id to the operator."),
    "UNAVAILABLE": ErrorKind(503, "Service Unavailable", "Try again shortly; nothing was done."),
    "IDENTITY_PROVIDER_UNAVAILABLE": ErrorKind(
        503,
        "The identity provider cannot be reached.",
        "Try again shortly; the operator finds the reason in the log, or with "
        "'countersign admin identity-providers check'.",
    ),
    "SIGNER_UNAVAILABLE": ErrorKind(
        503, "The signer is not available.", "Try again shortly; the user action is not spent."
    ),
    "KEYSTORE_SEALED": ErrorKind(
        503, "The key store is sealed.", "Ask the operator to run 'countersign keystore unseal'."
    ),
    "OUTCOME_UNKNOWN": ErrorKind(
        503,
        "The outcome is not known.",
        "Read the state before repeating: the action may have been done, and counts as used.",
    ),
}


class ApiError(Exception):
    """A refusal or fault that is answered to the caller: ``code`` is a key of :data:`CATALOGUE`."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        kind = CATALOGUE[code]
        self.code = code
        self.status = kind.status
        self.message = kind.message if message is None else message
        self.details = (
            {"hint": kind.remedy} if details is None and kind.status not in (404, 500) else dict(details or {})
        )
        self.headers = dict(headers or {})
        #: For the log only; never answered.
        self.reason = reason
        super().__init__(f"{self.status} {code}: {self.message}")


def validation(path: str, message: str) -> ApiError:
    """400 for one member: ``path`` is where it stands, ``message`` what was expected."""
    text = f"{path}: {message}" if path else message
    return ApiError("VALIDATION", f"Bad Request: {text}", details={"issues": [{"path": path, "message": message}]})


#: What a caller is told of each cause, and can do.
CAUSES: Mapping[Cause, str] = {
    "origin": "Sign on a page whose origin the organisation has listed for the relying party.",
    "relyingParty": "Use a passkey of a relying party that the organisation has listed.",
    "userVerification": "Have the authenticator verify the user: userVerification is required.",
    "signatureCounter": "Stop using this passkey: another authenticator seems to hold its key.",
}


def evidence_error(code: str, refused: Refused) -> ApiError:
    """What a caller is told about evidence that does not hold: its cause in ``details``, where it has one to tell."""
    if refused.cause is None:
        return ApiError(code, reason=refused.reason)
    return ApiError(code, details={"cause": refused.cause, "hint": CAUSES[refused.cause]}, reason=refused.reason)


def not_found(thing: str) -> ApiError:
    """404 for a missing object, and just the same for one of another organisation."""
    return ApiError("NOT_FOUND", f"{thing} not found")


def conflict(message: str, *, entity_id: str | None = None, external_id: str | None = None) -> ApiError:
    """409; ``details.duplicate`` names the entity that stands in the way."""
    duplicate = {k: v for k, v in (("id", entity_id), ("externalId", external_id)) if v is not None}
    return ApiError("CONFLICT", message, details={"duplicate": duplicate} if duplicate else None)


def reference() -> str:
    """The catalogue as a Markdown table, for the documentation."""
    lines = ["| status | code | message | what to do |", "| --- | --- | --- | --- |"]
    lines += [f"| {kind.status} | `{code}` | {kind.message} | {kind.remedy} |" for code, kind in CATALOGUE.items()]
    return "\n".join(lines) + "\n"
