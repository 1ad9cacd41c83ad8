"""The declared table against the wire contract: what is offered is offered as the official clients expect it."""

from __future__ import annotations

from countersign.api import Operation
from countersign.server.table import operations
from tests.contract import contract
from tests.support.contract import OURS, OUTSIDE

#: What the server offers today. A name leaves this list only with the operation.
OFFERED = {
    "activateApplication",
    "activateCredential",
    "activatePersonalAccessToken",
    "activateServiceAccount",
    "activateUser",
    "archiveApplication",
    "archivePermission",
    "assignPermission",
    "createApplication",
    "createCredential",
    "createCredentialChallenge",
    "createCredentialChallengeWithCode",
    "createCredentialCode",
    "createCredentialWithCode",
    "createDelegatedRecoveryChallenge",
    "createDelegatedRegistrationChallenge",
    "createKey",
    "createLoginChallenge",
    "createPermission",
    "createPersonalAccessToken",
    "createRecoveryChallenge",
    "createRegistrationChallenge",
    "createServiceAccount",
    "createUser",
    "createUserActionChallenge",
    "createUserActionSignature",
    "deactivateApplication",
    "deactivateCredential",
    "deactivatePersonalAccessToken",
    "deactivateServiceAccount",
    "deactivateUser",
    "delegateKey",
    "delegatedLogin",
    "deleteCredential",
    "deleteKey",
    "deletePersonalAccessToken",
    "deleteServiceAccount",
    "deleteUser",
    "deriveKey",
    "generateSignature",
    "getApplication",
    "getAuditLog",
    "getKey",
    "getPermission",
    "getPersonalAccessToken",
    "getServiceAccount",
    "getSignature",
    "getUser",
    "listApplications",
    "listAssignments",
    "listAuditLogs",
    "listCredentials",
    "listKeyStores",
    "listKeys",
    "listPermissions",
    "listPersonalAccessTokens",
    "listServiceAccounts",
    "listSignatures",
    "listUsers",
    "login",
    "logout",
    "recover",
    "register",
    "registerEndUser",
    "resendRegistrationCode",
    "restartDelegatedRegistration",
    "revokePermission",
    "sendLoginCode",
    "sendRecoveryCode",
    "updateApplication",
    "updateKey",
    "updatePermission",
    "updatePersonalAccessToken",
    "updateServiceAccount",
    "updateUser",
}


def table() -> list[Operation]:
    """Every declared operation of the API; what the server offers beside it is not in the contract, nor is our own."""
    return [
        operation
        for operation in operations()
        if not operation.path.startswith(OUTSIDE) and (operation.method, operation.path) not in OURS
    ]


def of_contract(operation: Operation) -> contract.Operation | None:
    """The operation of the contract with the same method and path, parameter names included."""
    for candidate in contract.load().values():
        for route in (candidate.spec, *candidate.spec.get("alternateRoutes", ())):
            if (route["method"], route["path"]) == (operation.method, operation.path):
                return candidate
    return None


def test_every_operation_is_one_of_the_contract() -> None:
    assert [f"{operation.method} {operation.path}" for operation in table() if of_contract(operation) is None] == []


def test_every_operation_asks_for_a_user_action_where_the_contract_says_so() -> None:
    pairs = [(operation, of_contract(operation)) for operation in table()]
    assert [operation.id for operation, known in pairs if known and operation.signed != known.spec["signed"]] == []


def test_a_body_is_read_exactly_where_the_contract_has_one() -> None:
    """An optional body (an empty ``{}`` is sent where none is needed) may be left out of the declaration."""
    pairs = [(operation, of_contract(operation)) for operation in table()]
    assert [operation.id for operation, known in pairs if known and operation.body and not known.spec["request"]] == []
    required = [operation for operation, known in pairs if known and (known.spec["request"] or {}).get("required")]
    assert [operation.id for operation in required if operation.body is None] == []


def test_what_is_offered_stays_offered() -> None:
    found = {known.id for operation in table() if (known := of_contract(operation))}
    assert OFFERED - found == set()
