"""For each operation of the table one request that succeeds for whoever may make it.

A new operation needs a row here (or in ``OPEN``, with the reason why it asks for no permission): the checks over
the whole table, of permissions and of other organisations' ids, take their requests from it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.api import Operation
from countersign.server.table import operations
from tests.support.caller import Caller
from tests.support.moving_keys import Receiver, import_body
from tests.support.tenants import Tenants

_NUMBER = itertools.count(1)


def new_pem() -> str:
    """The public key of a new key pair."""
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass(frozen=True, slots=True)
class Stock:
    """Makes what a request names, as an administrator of the organisation; with ``tenants`` what takes time or more."""

    admin: Caller
    tenants: Tenants

    def key(self) -> str:
        return self.admin.create_key()

    def key_to_derive_with(self) -> str:
        return self.admin.create_key("DH", "secp256k1")

    def key_to_delegate(self) -> tuple[str, str]:
        """A key that may be delegated, and an end user."""
        end_user = self.tenants.end_user(self.admin.connection["orgId"])
        return self.admin.create_key(delayDelegation=True), end_user.user_id

    def key_to_destroy(self) -> tuple[str, str]:
        """A key that was archived long ago, and its public key."""
        key = self.key()
        archived = self.admin.signed("DELETE", f"/keys/{key}").json()
        self.tenants.execute("UPDATE keys SET deleted_at = 0 WHERE key_id = ?", key)
        return key, archived["publicKey"]

    def let_keys_move(self) -> None:
        """Let keys of the organisation come in and go out."""
        org_id = self.admin.connection["orgId"]
        self.tenants.execute("UPDATE organisations SET key_import = 1, key_export = 1 WHERE org_id = ?", org_id)

    def signature(self) -> tuple[str, str]:
        key = self.key()
        made = self.admin.signed("POST", f"/keys/{key}/signatures", {"kind": "Message", "message": "0x00"})
        return key, made.json()["id"]

    def policy(self) -> str:
        """A policy that concerns nothing."""
        made = self.admin.signed("POST", "/v2/policies", NEW_POLICY)
        assert made.status_code == 200, made.text
        policy_id: str = made.json()["id"]
        return policy_id

    def approval(self) -> str:
        """An approval that everybody may vote on: of a policy's end."""
        policy = self.policy()
        group = {"quorum": 1, "approvers": {}, "initiatorCanApprove": True}
        guard = {
            "name": "guard",
            "activityKind": "Policies:Modify",
            "rule": {"kind": "AlwaysTrigger"},
            "filters": {"policyId": {"in": [policy]}},
            "action": {"kind": "RequestApproval", "approvalGroups": [group]},
        }
        assert self.admin.signed("POST", "/v2/policies", guard).status_code == 200
        held = self.admin.signed("DELETE", f"/v2/policies/{policy}")
        assert held.status_code == 202, held.text
        approval_id: str = held.json()["approvalId"]
        return approval_id

    def account(self) -> str:
        made = self.admin.signed("POST", "/auth/service-accounts", new_account())
        assert made.status_code == 200, made.text
        user_id: str = made.json()["userInfo"]["userId"]
        return user_id

    def user(self) -> str:
        made = self.admin.signed("POST", "/auth/users", new_user())
        assert made.status_code == 200, made.text
        user_id: str = made.json()["userId"]
        return user_id

    def waiting(self) -> dict[str, Any]:
        """An end user who has not registered yet."""
        body = new_end_user()
        assert self.admin.signed("POST", "/auth/users", body).status_code == 200
        return body

    def end_user(self) -> str:
        """The name of an end user who has registered."""
        made = self.tenants.end_user(self.admin.connection["orgId"])
        return str(self.tenants.execute("SELECT username FROM users WHERE user_id = ?", made.user_id)[0][0])

    def recoverable(self) -> dict[str, Any]:
        """An end user who has a recovery key."""
        made = self.tenants.end_user(self.admin.connection["orgId"])
        key = self.tenants.credential(made, new_pem())
        self.tenants.execute("UPDATE credentials SET kind = 'RecoveryKey' WHERE credential_id = ?", key)
        rows = self.tenants.execute("SELECT username FROM users WHERE user_id = ?", made.user_id)
        return {"username": rows[0][0], "credentialId": key}

    def application(self) -> str:
        made = self.admin.signed("POST", "/auth/apps", new_application())
        assert made.status_code == 200, made.text
        app_id: str = made.json()["appId"]
        return app_id

    def permission(self, *operations: str) -> str:
        made = self.admin.signed("POST", "/permissions", new_permission(*operations))
        assert made.status_code == 200, made.text
        permission_id: str = made.json()["id"]
        return permission_id

    def assignment(self) -> tuple[str, str]:
        """A permission and its assignment to a service account."""
        permission = self.permission()
        made = self.admin.signed("POST", f"/permissions/{permission}/assignments", {"identityId": self.account()})
        assert made.status_code == 200, made.text
        return permission, made.json()["id"]

    def log(self) -> str:
        """The id of an entry of the audit log: that of the action that made a key."""
        answer = self.admin.send("GET", f"/auth/action/logs?{ALL_TIMES}")
        line = answer.json().splitlines()[-1]
        entry_id: str = next(cell for cell in line.replace('"', "").split(",") if cell.startswith("uj-"))
        return entry_id

    def webhook(self) -> str:
        # An organisation has few of them: each makes room for itself.
        for item in self.admin.send("GET", "/webhooks").json()["items"]:
            self.admin.signed("DELETE", f"/webhooks/{item['id']}")
        made = self.admin.signed("POST", "/webhooks", NEW_WEBHOOK)
        assert made.status_code == 200, made.text
        webhook_id: str = made.json()["id"]
        return webhook_id

    def webhook_event(self) -> tuple[str, str]:
        """A webhook and an attempt to deliver an event to it."""
        webhook, event, org_id = self.webhook(), "whe-00000-00000-0000000000000000", self.admin.connection["orgId"]
        self.tenants.execute(
            "INSERT INTO webhook_events (org_id, webhook_id, event_id, kind, date, data, status, sent_at, failed,"
            " attempt) VALUES (?, ?, ?, 'key.created', 1, '{}', '200', 1, 0, 1)",
            org_id,
            webhook,
            event,
        )
        return webhook, event


#: Nothing listens there, and nothing happens that it asks for.
NEW_WEBHOOK = {"url": "http://127.0.0.1:9/", "events": ["swap.completed"]}
#: It concerns no key, as none has this wallet.
NEW_POLICY = {
    "name": "p",
    "activityKind": "Wallets:Sign",
    "rule": {"kind": "AlwaysTrigger"},
    "filters": {"walletId": {"in": ["wa-00000-00000-0000000000000000"]}},
    "action": {"kind": "NoAction"},
}

ALL_TIMES = "startTime=2020-01-01T00:00:00.000Z&endTime=2099-01-01T00:00:00.000Z"


def new_account() -> dict[str, Any]:
    """The body that creates a service account."""
    return {"name": f"account {next(_NUMBER)}", "publicKey": new_pem()}


def new_application() -> dict[str, Any]:
    """The body that creates an application."""
    return {"name": f"application {next(_NUMBER)}", "kind": "ClientSideApplication"}


def new_user() -> dict[str, Any]:
    """The body that creates a person."""
    return {"email": f"person{next(_NUMBER)}@example.org", "kind": "CustomerEmployee"}


def new_permission(*operations: str) -> dict[str, Any]:
    """The body that creates a permission."""
    return {"name": f"rights {next(_NUMBER)}", "operations": list(operations or ("Keys:Read",))}


def new_end_user() -> dict[str, Any]:
    """The body that creates or registers an end user."""
    return {"email": f"end user {next(_NUMBER)}", "kind": "EndUser"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Path with query, and body."""

    path: str
    body: dict[str, Any] | None = None


MESSAGE = {"kind": "Message", "message": "0x00"}
DERIVE = {"domain": "0x636f756e7465727369676e", "seed": "0x00"}


def _signature(stock: Stock) -> Wanted:
    key, signature = stock.signature()
    return Wanted(f"/keys/{key}/signatures/{signature}")


def _endorse(stock: Stock) -> Wanted:
    own = stock.admin.send("GET", "/auth/credentials").json()["items"][0]
    return Wanted(f"/auth/credentials/{own['credentialUuid']}/endorse", {"publicKey": own["publicKey"]})


def _delegate(stock: Stock) -> Wanted:
    key, end_user = stock.key_to_delegate()
    return Wanted(f"/keys/{key}/delegate", {"delegateTo": end_user})


def _destroy(stock: Stock) -> Wanted:
    key, public_key = stock.key_to_destroy()
    return Wanted(f"/keys/{key}/destroy", {"publicKey": public_key})


def _import(stock: Stock) -> Wanted:
    stock.let_keys_move()
    return Wanted("/keys/import", import_body(stock.admin.send("GET", "/signers").json()))


def _export(stock: Stock) -> Wanted:
    stock.let_keys_move()
    return Wanted(f"/keys/{stock.key()}/export", Receiver().body())


def _approve_export(stock: Stock) -> Wanted:
    wanted = _export(stock)
    return Wanted(f"{wanted.path}/approvals", wanted.body)


def _assign(stock: Stock) -> Wanted:
    # Nobody gives what they do not hold, and this is all that who asks holds.
    permission = stock.permission("Permissions:Assign")
    return Wanted(f"/permissions/{permission}/assignments", {"identityId": stock.account()})


def _revoke(stock: Stock) -> Wanted:
    permission, assignment = stock.assignment()
    return Wanted(f"/permissions/{permission}/assignments/{assignment}")


def _get_webhook_event(stock: Stock) -> Wanted:
    webhook, event = stock.webhook_event()
    return Wanted(f"/webhooks/{webhook}/events/{event}")


def _resend_webhook_event(stock: Stock) -> Wanted:
    webhook, event = stock.webhook_event()
    stock.admin.signed("PUT", f"/webhooks/{webhook}", {"status": "Enabled"})
    return Wanted(f"/webhooks/{webhook}/events/{event}/resend")


def _create_webhook(stock: Stock) -> Wanted:
    stock.admin.signed("DELETE", f"/webhooks/{stock.webhook()}")
    return Wanted("/webhooks", NEW_WEBHOOK)


REQUESTS: dict[str, Callable[[Stock], Wanted]] = {
    "listAuditLogs": lambda stock: Wanted(f"/auth/action/logs?{ALL_TIMES}"),
    "getAuditLog": lambda stock: Wanted(f"/auth/action/logs/{stock.log()}"),
    "listServiceAccounts": lambda stock: Wanted("/auth/service-accounts"),
    "createServiceAccount": lambda stock: Wanted("/auth/service-accounts", new_account()),
    "getServiceAccount": lambda stock: Wanted(f"/auth/service-accounts/{stock.account()}"),
    "updateServiceAccount": lambda stock: Wanted(f"/auth/service-accounts/{stock.account()}", {"externalId": "e"}),
    "deleteServiceAccount": lambda stock: Wanted(f"/auth/service-accounts/{stock.account()}"),
    "activateServiceAccount": lambda stock: Wanted(f"/auth/service-accounts/{stock.account()}/activate"),
    "deactivateServiceAccount": lambda stock: Wanted(f"/auth/service-accounts/{stock.account()}/deactivate", {}),
    "listUsers": lambda stock: Wanted("/auth/users"),
    "createUser": lambda stock: Wanted("/auth/users", new_user()),
    "getUser": lambda stock: Wanted(f"/auth/users/{stock.user()}"),
    "updateUser": lambda stock: Wanted(f"/auth/users/{stock.user()}", {"isSSORequired": False}),
    "activateUser": lambda stock: Wanted(f"/auth/users/{stock.user()}/activate"),
    "deactivateUser": lambda stock: Wanted(f"/auth/users/{stock.user()}/deactivate", {}),
    "deleteUser": lambda stock: Wanted(f"/auth/users/{stock.user()}"),
    "createDelegatedRegistrationChallenge": lambda stock: Wanted("/auth/registration/delegated", new_end_user()),
    "restartDelegatedRegistration": lambda stock: Wanted("/auth/registration/delegated/restart", stock.waiting()),
    "delegatedLogin": lambda stock: Wanted("/auth/login/delegated", {"username": stock.end_user()}),
    "createDelegatedRecoveryChallenge": lambda stock: Wanted("/auth/recover/user/delegated", stock.recoverable()),
    "createPersonalAccessToken": lambda stock: Wanted("/auth/pats", new_account()),
    "endorseCredential": _endorse,
    "listApplications": lambda stock: Wanted("/auth/apps"),
    "createApplication": lambda stock: Wanted("/auth/apps", new_application()),
    "getApplication": lambda stock: Wanted(f"/auth/apps/{stock.application()}"),
    "updateApplication": lambda stock: Wanted(f"/auth/apps/{stock.application()}", {"externalId": "e"}),
    "updateApplicationByPost": lambda stock: Wanted(f"/auth/apps/{stock.application()}", {"externalId": "e"}),
    "activateApplication": lambda stock: Wanted(f"/auth/apps/{stock.application()}/activate"),
    "deactivateApplication": lambda stock: Wanted(f"/auth/apps/{stock.application()}/deactivate"),
    "archiveApplication": lambda stock: Wanted(f"/auth/apps/{stock.application()}"),
    "listPolicies": lambda stock: Wanted("/v2/policies"),
    "createPolicy": lambda stock: Wanted("/v2/policies", NEW_POLICY),
    "getPolicy": lambda stock: Wanted(f"/v2/policies/{stock.policy()}"),
    "updatePolicy": lambda stock: Wanted(f"/v2/policies/{stock.policy()}", NEW_POLICY),
    "deletePolicy": lambda stock: Wanted(f"/v2/policies/{stock.policy()}"),
    "simulatePolicies": lambda stock: Wanted(
        # About keys it takes another permission as well.
        "/policies/simulate",
        {"activity": {"kind": "Wallets:Sign", "walletId": "wa-1", "body": MESSAGE}},
    ),
    "listApprovals": lambda stock: Wanted("/v2/policy-approvals"),
    "getApproval": lambda stock: Wanted(f"/v2/policy-approvals/{stock.approval()}"),
    "createApprovalDecision": lambda stock: Wanted(
        f"/v2/policy-approvals/{stock.approval()}/decisions", {"value": "Approved"}
    ),
    "listKeys": lambda stock: Wanted("/keys"),
    "createKey": lambda stock: Wanted("/keys", {"scheme": "EdDSA", "curve": "ed25519"}),
    "getKey": lambda stock: Wanted(f"/keys/{stock.key()}"),
    "updateKey": lambda stock: Wanted(f"/keys/{stock.key()}", {"name": "renamed"}),
    "deleteKey": lambda stock: Wanted(f"/keys/{stock.key()}"),
    "listKeyStores": lambda stock: Wanted("/key-stores"),
    "delegateKey": _delegate,
    "deriveKey": lambda stock: Wanted(f"/keys/{stock.key_to_derive_with()}/derive", DERIVE),
    "destroyKey": _destroy,
    "listSigners": lambda stock: Wanted("/signers"),
    "importKey": _import,
    "exportKey": _export,
    "approveExport": _approve_export,
    "listExportApprovals": lambda stock: Wanted(f"/keys/{stock.key()}/export/approvals"),
    "generateSignature": lambda stock: Wanted(f"/keys/{stock.key()}/signatures", MESSAGE),
    "listSignatures": lambda stock: Wanted(f"/keys/{stock.key()}/signatures"),
    "getSignature": _signature,
    "listPermissions": lambda stock: Wanted("/permissions"),
    "createPermission": lambda stock: Wanted("/permissions", new_permission("Permissions:Create")),
    "getPermission": lambda stock: Wanted(f"/permissions/{stock.permission()}"),
    "updatePermission": lambda stock: Wanted(
        f"/permissions/{stock.permission()}", {"operations": ["Permissions:Update"]}
    ),
    "archivePermission": lambda stock: Wanted(f"/permissions/{stock.permission()}/archive", {"isArchived": True}),
    "listAssignments": lambda stock: Wanted(f"/permissions/{stock.permission()}/assignments"),
    "assignPermission": _assign,
    "revokePermission": _revoke,
    "listWebhooks": lambda stock: Wanted("/webhooks"),
    "createWebhook": _create_webhook,
    "getWebhook": lambda stock: Wanted(f"/webhooks/{stock.webhook()}"),
    "updateWebhook": lambda stock: Wanted(f"/webhooks/{stock.webhook()}", {"status": "Disabled"}),
    "deleteWebhook": lambda stock: Wanted(f"/webhooks/{stock.webhook()}"),
    "pingWebhook": lambda stock: Wanted(f"/webhooks/{stock.webhook()}/ping"),
    "listWebhookEvents": lambda stock: Wanted(f"/webhooks/{stock.webhook()}/events"),
    "getWebhookEvent": _get_webhook_event,
    "resendWebhookEvent": _resend_webhook_event,
}

#: What a service account is told that holds the permission and may not do it all the same.
NOT_FOR_SERVICE_ACCOUNTS = {"createApprovalDecision": "NOT_AN_APPROVER"}

#: What anybody is told whom the operator has not named, whatever else they hold.
FOR_NAMED_PEOPLE = {"approveExport": "NOT_AN_APPROVER"}

#: Operations without a permission of their own, and why.
OPEN: dict[str, str] = {
    "healthz": "says nothing but that the process answers",
    "readyz": "the same for database and signer",
    "jwks": "public keys",
    "webauthn": "what browsers ask for themselves, of nobody in particular",
    "openapi": "the same for everyone",
    "console": "the same for everyone",
    "consoleFile": "the same for everyone",
    "createUserActionChallenge": "a challenge grants nothing; the permission is asked where the action is used",
    "createUserActionSignature": "the same",
    "listCredentials": "the caller's own",
    "createCredentialChallenge": "the caller's own",
    "createCredential": "the caller's own",
    "createCredentialCode": "the caller's own",
    "createCredentialChallengeWithCode": "proves itself by a code",
    "createCredentialWithCode": "proves itself by a challenge that was got with a code",
    "resendRegistrationCode": "answers everybody alike",
    "createRegistrationChallenge": "proves itself by a code",
    "register": "proves itself by a challenge that was got with a code, or through a service account",
    "registerEndUser": "the same",
    "sendLoginCode": "answers everybody alike",
    "sendRecoveryCode": "answers everybody alike",
    "sendRecoveryCodeByPut": "answers everybody alike",
    "createRecoveryChallenge": "proves itself by a code",
    "recover": "proves itself by a recovery key",
    "createLoginChallenge": "a challenge grants nothing",
    "login": "proves itself by a credential",
    "ssoLoginInit": "a sign-in that begins grants nothing",
    "oidcLoginInit": "the same",
    "ssoLogin": "proves itself by a code of the identity provider",
    "oidcLogin": "the same",
    "oidcLoginCredentials": "proves itself by a challenge that was got with such a code",
    "createSocialRegistrationChallenge": "proves itself by an ID token of the identity provider",
    "socialLogin": "the same",
    "logout": "the caller's own",
    "logoutByPost": "the caller's own",
    "listSessions": "the caller's own",
    "endSession": "the caller's own",
    "exchangeAccessToken": "the caller's own, for another with no more power",
    "activateCredential": "the caller's own",
    "deactivateCredential": "the caller's own",
    "deleteCredential": "the caller's own",
    "listPersonalAccessTokens": "the caller's own",
    "getPersonalAccessToken": "the caller's own",
    "updatePersonalAccessToken": "the caller's own",
    "activatePersonalAccessToken": "the caller's own",
    "deactivatePersonalAccessToken": "the caller's own",
    "deletePersonalAccessToken": "the caller's own",
}

#: Operations that are no GET and ask for no user action: the steps of signing and enrolling, and what only reads.
UNSIGNED = {
    "createUserActionChallenge",
    "createUserActionSignature",
    "createCredentialChallenge",
    "createCredentialChallengeWithCode",
    "createCredentialWithCode",
    "resendRegistrationCode",
    "createRegistrationChallenge",
    "register",
    "registerEndUser",
    "sendRecoveryCode",
    "sendRecoveryCodeByPut",
    "createRecoveryChallenge",
    "recover",
    "sendLoginCode",
    "createLoginChallenge",
    "createSocialRegistrationChallenge",
    "oidcLogin",
    "oidcLoginCredentials",
    "oidcLoginInit",
    "socialLogin",
    "ssoLogin",
    "ssoLoginInit",
    "login",
    "logout",
    "logoutByPost",
    "endSession",
    "exchangeAccessToken",
    "simulatePolicies",
}


def with_permission() -> list[Operation]:
    """Every operation that asks for one and has a row."""
    return [operation for operation in operations() if operation.id in REQUESTS]
