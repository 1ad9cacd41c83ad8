"""The permission catalogue: every right an identity can hold, older spellings, and the managed permissions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

FULL_ADMIN = "ManagedFullAdminAccess"
DEFAULT_END_USER = "ManagedDefaultEndUserAccess"

_CURRENT = """
Activities:Read Analytics:Read Billing:Read Billing:Manage
Orgs:Read Orgs:Update Orgs:Settings:Read Orgs:Settings:Update
AddressWatches:Create AddressWatches:Read AddressWatches:Delete
Agreements:Read Agreements:Accept
Allocations:Create Allocations:Read Allocations:Update
Auth:Apps:Create Auth:Apps:Read Auth:Apps:Update
Auth:Logs:Read
Auth:Users:Create Auth:Users:Read Auth:Users:Update Auth:Users:Activate Auth:Users:Deactivate Auth:Users:Delete
Auth:ServiceAccounts:Create Auth:ServiceAccounts:Read Auth:ServiceAccounts:Update
Auth:ServiceAccounts:Activate Auth:ServiceAccounts:Deactivate Auth:ServiceAccounts:Delete
Auth:Pats:Create
Auth:Delegated:Register Auth:Delegated:Login Auth:Delegated:Recover
Exchanges:Create Exchanges:Read Exchanges:Delete Exchanges:Deposits:Create Exchanges:Withdrawals:Create
FeeSponsors:Create FeeSponsors:Read FeeSponsors:Update FeeSponsors:Delete FeeSponsors:Use
Keys:Create Keys:Read Keys:Update Keys:Delete Keys:Import Keys:Export Keys:Delegate Keys:Reuse
Keys:ChildKeys:Create Keys:Vrf:Derive Keys:Signatures:Create Keys:Signatures:Read
KeyStores:Read KeyStores:Instructions:Cancel
KeyStores:Instructions:Fleets:Create KeyStores:Instructions:Fleets:Clone KeyStores:Instructions:Fleets:Users:Add
KeyStores:Instructions:Fleets:Keys:Harvest KeyStores:Instructions:Fleets:Provisioners:Add
KeyStores:Instructions:Keys:ProveControl KeyStores:Instructions:Keys:Sign
Networks:Canton:Validators:Create Networks:Canton:Validators:Read
Networks:Canton:Validators:Update Networks:Canton:Validators:Delete
Payins:Create Payins:Read Payouts:Create Payouts:Read Payouts:Update
Permissions:Create Permissions:Read Permissions:Update Permissions:Delete Permissions:Assign Permissions:Revoke
Permissions:Assignments:Read
Policies:Create Policies:Read Policies:Update Policies:Delete Policies:Evaluations:Read Policies:Evaluations:Vote
Registry:Addresses:Create Registry:Addresses:Read Registry:Addresses:Update Registry:Addresses:Delete
Registry:ContractSchemas:Create Registry:ContractSchemas:Read Registry:ContractSchemas:Delete
Stakes:Create Stakes:Read Stakes:Update Swaps:Create Swaps:Read
Vaults:Create Vaults:Read Vaults:Update Vaults:Tags:Add Vaults:Tags:Remove Vaults:Quarantines:Release
Vaults:Locks:Create Vaults:Locks:Release Vaults:Locks:Transfer Vaults:Transfers:Create
Wallets:Create Wallets:Read Wallets:Update Wallets:Tags:Add Wallets:Tags:Remove
Wallets:Transactions:Create Wallets:Transactions:Read Wallets:Transactions:Abort
Wallets:Transfers:Create Wallets:Transfers:Read Wallets:Transfers:Abort Wallets:Offers:Read Wallets:Offers:Settle
Webhooks:Create Webhooks:Read Webhooks:Update Webhooks:Delete Webhooks:Ping Webhooks:Events:Read
"""

#: Every operation name, in the catalogue's order.
OPERATIONS: tuple[str, ...] = tuple(_CURRENT.split())
_CURRENT_NAMES = frozenset(OPERATIONS)

_ALIASES: dict[str, str] = dict(
    pair.split(">")
    for pair in [
        "Auth:Register:Delegated>Auth:Delegated:Register",
        "Auth:Login:Delegated>Auth:Delegated:Login",
        "Auth:Recover:Delegated>Auth:Delegated:Recover",
        "Agreements:Acceptance:Create>Agreements:Accept",
        "Agreements:Acceptance:Read>Agreements:Read",
        "Events:Read>Activities:Read",
        "Permissions:Archive>Permissions:Delete",
        "Policies:Archive>Policies:Delete",
        "Policies:Approvals:Read>Policies:Evaluations:Read",
        "Policies:Approvals:Approve>Policies:Evaluations:Vote",
        "Signers:ListSigners>KeyStores:Read",
        "Payouts:Write>Payouts:Update",
        "Keys:Derive>Keys:Vrf:Derive",
        "Networks:CantonValidators:Create>Networks:Canton:Validators:Create",
        "Networks:CantonValidators:Read>Networks:Canton:Validators:Read",
        "Networks:CantonValidators:Update>Networks:Canton:Validators:Update",
        "Networks:CantonValidators:Delete>Networks:Canton:Validators:Delete",
        "Wallets:Tags:Delete>Wallets:Tags:Remove",
        "Wallets:Tags:Create>Wallets:Tags:Add",
        "Vaults:Tags:Delete>Vaults:Tags:Remove",
        "Vaults:Addresses:Create>Vaults:Create",
        "Vaults:Locks:Delete>Vaults:Locks:Release",
        "Billing:Write>Billing:Manage",
        "KeyStores:Fleets:Cancel>KeyStores:Instructions:Cancel",
        "KeyStores:Fleets:Create>KeyStores:Instructions:Fleets:Create",
        "KeyStores:Fleets:Clone>KeyStores:Instructions:Fleets:Clone",
        "KeyStores:Fleets:AddMacUser>KeyStores:Instructions:Fleets:Users:Add",
        "KeyStores:Fleets:AddProvisioner>KeyStores:Instructions:Fleets:Provisioners:Add",
        "KeyStores:Fleets:KeyHarvest>KeyStores:Instructions:Fleets:Keys:Harvest",
        "KeyStores:ProofOfControl:Create>KeyStores:Instructions:Keys:ProveControl",
        "KeyStores:OnchainSignatures:Create>KeyStores:Instructions:Keys:Sign",
        "PermissionAssignments:Create>Permissions:Assign",
        "PermissionAssignments:Read>Permissions:Assignments:Read",
        "PermissionAssignments:Revoke>Permissions:Revoke",
        "Wallets:TransferAsset>Wallets:Transfers:Create",
        "Wallets:BroadcastTransaction>Wallets:Transactions:Create",
        "Wallets:GenerateSignature>Keys:Signatures:Create",
        "Wallets:ReadTransfer>Wallets:Transfers:Read",
        "Wallets:ReadTransaction>Wallets:Transactions:Read",
        "Wallets:ReadSignature>Keys:Signatures:Read",
        "Wallets:Delegate>Keys:Delegate",
        "Wallets:Export>Keys:Export",
        "Wallets:Import>Keys:Import",
        "Alias:Create>Registry:Addresses:Create",
        "Alias:Read>Registry:Addresses:Read",
        "Alias:Update>Registry:Addresses:Update",
        "Alias:Delete>Registry:Addresses:Delete",
        "Exchanges:Deposit:Create>Exchanges:Deposits:Create",
        "Yields:Create>Allocations:Create",
        "Yields:Read>Allocations:Read",
        "Yields:Update>Allocations:Update",
    ]
)

_INERT = """
Auth:Action:Sign Auth:Creds:Create Auth:Creds:Read Auth:Creds:Update Auth:Creds:Code:Create
Auth:Types:Application Auth:Types:Employee Auth:Types:EndUser Auth:Types:Pat Auth:Types:ServiceAccount
Auth:UserGroups:Create Auth:UserGroups:Read Auth:UserGroups:Update Auth:UserGroups:Delete
Auth:UserGroups:Members:Read Auth:UserGroups:Members:Add Auth:UserGroups:Members:Remove
Auth:Users:Delegate Auth:Users:EndUser Internal:Auth:Types:Staff Networks:Transactions:Reindex
Registry:VerifiedAssets:Create Registry:VerifiedAssets:Read Registry:VerifiedAssets:Delete
Tenant:Billing:Write Tenant:Settings:Write
"""
#: Names that clients of some age know and that no operation here asks for. They are stored, echoed and grant nothing.
INERT: frozenset[str] = frozenset(_INERT.split())
# Families of the first version of the API.
_INERT_FAMILIES = re.compile(
    r"(AssetAccounts|Balances|Callback[A-Za-z]*|Payments|PermissionPredicates|PolicyControl[A-Za-z]*|PolicyRules"
    r"|PublicKey[A-Za-z]*|Signatures|Transactions)(:[A-Z][A-Za-z]{0,40}){1,3}",
    re.ASCII,
)

DEFAULT_END_USER_OPERATIONS: tuple[str, ...] = (
    "Keys:Read",
    "Keys:Signatures:Create",
    "Keys:Signatures:Read",
    "Wallets:Read",
    "Wallets:Transactions:Create",
    "Wallets:Transactions:Read",
    "Wallets:Transfers:Create",
    "Wallets:Transfers:Read",
)


def resolve(names: Iterable[str]) -> frozenset[str]:
    """Names as stored to the current names that authorisation compares."""
    return frozenset(_ALIASES.get(name, name) for name in names)


def is_known(name: str) -> bool:
    """Whether a permission may list the name: a current one, an accepted older spelling, or one that grants nothing."""
    return name in _ALIASES or name in _CURRENT_NAMES or name in INERT or _INERT_FAMILIES.fullmatch(name) is not None


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names in their order, each once; an older spelling beside its successor stays."""
    return tuple(dict.fromkeys(names))


def reference() -> str:
    """The catalogue as Markdown tables, for the documentation."""
    areas: defaultdict[str, list[str]] = defaultdict(list)
    for name in OPERATIONS:
        areas[name.partition(":")[0]].append(f"`{name}`")
    older: defaultdict[str, list[str]] = defaultdict(list)
    for alias, current in _ALIASES.items():
        older[current].append(f"`{alias}`")
    lines = ["| Area | Operations |", "| --- | --- |"]
    lines += [f"| {area} | {', '.join(names)} |" for area, names in areas.items()]
    lines += ["", "| Older spelling | Stands for |", "| --- | --- |"]
    lines += [f"| {', '.join(names)} | `{current}` |" for current, names in older.items()]
    return "\n".join(lines) + "\n"
