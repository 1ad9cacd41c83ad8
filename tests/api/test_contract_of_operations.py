"""The declared table against the wire contract: what is offered is offered as the official clients expect it."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil

import countersign
from countersign.api import Operation, declared
from tests.contract import contract

#: What the server offers today. A name leaves this list only with the operation.
OFFERED = {
    "activateServiceAccount",
    "createKey",
    "createServiceAccount",
    "createUserActionChallenge",
    "createUserActionSignature",
    "deactivateServiceAccount",
    "deleteKey",
    "deleteServiceAccount",
    "generateSignature",
    "getAuditLog",
    "getKey",
    "getServiceAccount",
    "getSignature",
    "listAuditLogs",
    "listCredentials",
    "listKeys",
    "listServiceAccounts",
    "listSignatures",
    "updateKey",
    "updateServiceAccount",
}


def table() -> list[Operation]:
    """Every declared operation: each domain declares its own in its module ``operations``."""
    for package in pkgutil.iter_modules(countersign.__path__, "countersign."):
        name = f"{package.name}.operations"
        if package.ispkg and importlib.util.find_spec(name):
            importlib.import_module(name)
    return list(declared())


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
