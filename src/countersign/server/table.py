"""The table of operations: importing this module declares them all."""

from __future__ import annotations

from importlib import import_module

from countersign.api import Operation, declared

_MODULES = (
    "countersign.access.operations",
    "countersign.audit.operations",
    "countersign.console.operations",
    "countersign.identity.credential_operations",
    "countersign.identity.application_operations",
    "countersign.identity.login_operations",
    "countersign.identity.operations",
    "countersign.identity.pat_operations",
    "countersign.identity.recovery_operations",
    "countersign.identity.registration_operations",
    "countersign.identity.session_operations",
    "countersign.identity.social_operations",
    "countersign.identity.sso_operations",
    "countersign.identity.user_operations",
    "countersign.keys.custody_operations",
    "countersign.keys.operations",
    "countersign.keys.transfer_operations",
    "countersign.permissions.operations",
    "countersign.policies.operations",
    "countersign.server.system",
    "countersign.webhooks.operations",
)


def operations() -> tuple[Operation, ...]:
    """Every operation of the server."""
    for name in _MODULES:
        import_module(name)
    return declared()
