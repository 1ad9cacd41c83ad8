"""What somebody wants to do, as policies see it, and what can be read from it.

Only plain transfers of value are understood: a transfer request of a fungible asset, and a transaction given as a JSON
object that moves the native asset and calls nothing. Everything else is undeterminable, even where more could be
decoded: serialized transactions, contract calls, hashes, messages, typed data, user operations, swaps, transfers of
single things, and amounts of zero. Rules that look at values trigger on what they can't read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from countersign.policies import assets
from countersign.policies.assets import Asset
from countersign.policies.networks import CHAIN_IDS, EVM_NETWORKS, is_evm_address

WalletApi = Literal["transfer", "transaction", "signature", "swap"]

_AMOUNT = re.compile(r"[0-9]{1,78}", re.ASCII)
_HEX_AMOUNT = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
_EMPTY_DATA = (None, "", "0x")
#: Members of a JSON transaction that change who pays how much for its inclusion, and nothing of what it does.
_HARMLESS = frozenset(
    {"nonce", "gas", "gasLimit", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "accessList", "from", "type"}
)


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet with its tags at the time of the request."""

    id: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WalletActivity:
    """Something that asks for a signature: activity kind ``Wallets:Sign``.

    ``wallets``: the wallet; for a signature that was asked of a key, all wallets built on the key, perhaps none.
    ``network``: of the wallet, or what the signature request names, if anything. ``body``: of the request, read by the
    strict JSON reader. ``requested_at``: milliseconds since the epoch. ``delegated``: wallet or key belong to an end
    user, whom no policy binds.
    """

    api: WalletApi
    wallets: tuple[Wallet, ...]
    network: str | None
    body: Mapping[str, Any]
    initiator_id: str
    requested_at: int
    key_id: str | None = None
    delegated: bool = False
    kind: Literal["Wallets:Sign"] = field(default="Wallets:Sign", init=False)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose history counts it: its wallets, or the key where no wallet is built on it."""
        if self.wallets:
            return tuple([wallet.id for wallet in self.wallets])
        return () if self.key_id is None else (self.key_id,)


@dataclass(frozen=True, slots=True)
class IncomingTransaction:
    """A transfer that arrived; nobody of the organisation started it."""

    wallet: Wallet
    network: str | None
    requested_at: int
    body: Mapping[str, Any] = field(default_factory=dict)
    initiator_id: str | None = None
    delegated: bool = False
    kind: Literal["Wallets:IncomingTransaction"] = field(default="Wallets:IncomingTransaction", init=False)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Its wallet."""
        return (self.wallet.id,)


ChangeKind = Literal[
    "Permissions:Modify",
    "Permissions:Assign",
    "Policies:Modify",
    "Registry:Addresses:Modify",
    "Registry:ContractSchemas:Modify",
]


@dataclass(frozen=True, slots=True)
class ChangeActivity:
    """A change that governance may guard.

    ``permission_id``: the permission that is changed, assigned or revoked; ``policy_id``: the policy that is changed.
    """

    kind: ChangeKind
    initiator_id: str
    requested_at: int
    permission_id: str | None = None
    policy_id: str | None = None


@dataclass(frozen=True, slots=True)
class VaultActivity:
    """Release of quarantined funds, or a new lock."""

    kind: Literal["Vaults:ReleaseQuarantine", "Vaults:CreateLock"]
    vault_id: str
    vault_tags: frozenset[str]
    initiator_id: str
    requested_at: int


Activity = WalletActivity | IncomingTransaction | ChangeActivity | VaultActivity


@dataclass(frozen=True, slots=True)
class ValueTransfer:
    """``amount`` in base units, above 0; ``recipient`` is who gets it, for tokens too, never the token's contract."""

    asset: Asset
    amount: int
    recipient: str


@dataclass(frozen=True, slots=True)
class Undeterminable:
    """What moves, and to whom, can't be read; ``reason`` says why."""

    reason: str


Reading = ValueTransfer | Undeterminable


def read(activity: WalletActivity) -> Reading:
    """Asset, amount and recipient of an activity. Never raises, whatever the body holds."""
    if activity.api == "transfer":
        return _read_transfer(activity.network, activity.body)
    if activity.api == "swap":
        return Undeterminable("what a swap moves is decided by its provider")
    if activity.body.get("kind") != "Transaction":
        return Undeterminable(f"a {activity.api} of kind {_shown(activity.body.get('kind'))} is not decoded")
    transaction = activity.body.get("transaction")
    if not isinstance(transaction, Mapping):
        return Undeterminable("a serialized transaction is not decoded")
    return _read_transaction(activity.network, activity.body.get("network"), transaction)


def _read_transfer(network: str | None, body: Mapping[str, Any]) -> Reading:
    if network is None:
        return Undeterminable("the network of the transfer is not known")
    asset = assets.of_transfer(network, body)
    if asset is None:
        return Undeterminable(f"a transfer of kind {_shown(body.get('kind'))} has no asset with a readable amount")
    amount, recipient = body.get("amount"), body.get("to")
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        return Undeterminable("the amount is not a string of digits")
    if int(amount) == 0:
        return Undeterminable("the amount is zero")
    if not isinstance(recipient, str) or not recipient:
        return Undeterminable("the transfer names no recipient")
    return ValueTransfer(asset, int(amount), recipient)


def _read_transaction(network: str | None, named: object, transaction: Mapping[str, Any]) -> Reading:
    if network is None or (named is not None and named != network):
        return Undeterminable("the network of the transaction is not known")
    if network not in EVM_NETWORKS:
        return Undeterminable(f"a transaction on {network} is not decoded")
    if transaction.get("data") not in _EMPTY_DATA or transaction.get("input") not in _EMPTY_DATA:
        return Undeterminable("the transaction carries data: a contract call is not decoded")
    unknown = transaction.keys() - _HARMLESS - {"to", "value", "data", "input", "chainId"}
    if unknown:
        return Undeterminable(f"the transaction has the member {_shown(min(unknown))}, which is not understood")
    if "chainId" in transaction and _whole(transaction["chainId"]) != CHAIN_IDS.get(network, -1):
        return Undeterminable("the chain id of the transaction is not that of the network")
    recipient, value = transaction.get("to"), _whole(transaction.get("value"))
    if not isinstance(recipient, str) or not is_evm_address(recipient):
        return Undeterminable("the transaction names no recipient")
    if not value:
        return Undeterminable("the transaction moves no value")
    return ValueTransfer(assets.native(network), value, recipient)


def _whole(value: object) -> int | None:
    """A whole number of a JSON transaction: a number, decimal digits, or hex behind ``0x``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, str):
        if _AMOUNT.fullmatch(value):
            return int(value)
        if _HEX_AMOUNT.fullmatch(value):
            return int(value, 16)
    return None


def _shown(value: object) -> str:
    """A name that somebody sent, short enough for a reason."""
    return value[:40] if isinstance(value, str) else type(value).__name__
