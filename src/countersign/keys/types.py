"""Wire types of keys and signature requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from countersign.api import UNSET, Page, UnsetType, Wire

Scheme = Literal["ECDSA", "EdDSA", "Schnorr", "DH"]
Curve = Literal["secp256k1", "ed25519", "stark"]
Name = Annotated[str, Meta(max_length=100)]
ExternalId = Annotated[str, Meta(min_length=1, max_length=50)]
#: 255 KiB as hex with its prefix: an order to the signer carries message and request body in one frame.
Hex = Annotated[str, Meta(pattern="^(0x)?([0-9a-fA-F][0-9a-fA-F])*\\Z", max_length=522_242)]


class DeriveFrom(Wire):
    """A master key and the path below it, such as ``m/0/7``; without one the next free index is taken."""

    key_id: Annotated[str, Meta(min_length=1)]
    path: Annotated[str, Meta(max_length=400)] | UnsetType = UNSET


class CreateKey(Wire):
    """A new key in the primary key store, or the one that ``storeId`` names.

    ``masterKey``: others may be derived from it. ``deriveFrom``: derive it from a master key instead of drawing it.
    ``delegateTo``: it belongs to this end user from the start; ``delayDelegation``: it may be delegated later.
    """

    scheme: Scheme
    curve: Curve
    name: Name | UnsetType = UNSET
    master_key: bool | UnsetType = UNSET
    derive_from: DeriveFrom | UnsetType = UNSET
    store_id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    delegate_to: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    delay_delegation: bool | UnsetType = UNSET


class UpdateKey(Wire):
    """A new name; ``null`` clears it."""

    name: Name | None


class DerivedFrom(Wire):
    """The master key that it was derived from, and the path below it."""

    key_id: str
    path: str


class Key(Wire):
    """A key; ``publicKey`` is hex without prefix (SEC1 compressed, or 32 bytes for ed25519).

    ``custodial``: false once it is delegated to an end user. ``masterKey``, ``imported`` and ``exported`` are there
    where they are true.
    """

    id: str
    scheme: Scheme
    curve: Curve
    public_key: str
    master_key: bool | UnsetType = UNSET
    derived_from: DerivedFrom | UnsetType = UNSET
    name: str | UnsetType = UNSET
    status: Literal["Active", "Archived"]
    custodial: bool
    date_created: str
    imported: bool | UnsetType = UNSET
    exported: bool | UnsetType = UNSET
    date_exported: str | UnsetType = UNSET
    date_deleted: str | UnsetType = UNSET


class KeyWallet(Wire):
    """A wallet that signs with the key."""

    id: str
    network: str


StoreKind = Literal["Hsm", "Mpc", "OfflineSigner"]


class KeyStoreReference(Wire):
    """The key store that holds the key, and the key's id in it."""

    id: str
    kind: StoreKind
    key_id: str


class KeyDetail(Key):
    """A key with its wallets and its store."""

    wallets: list[KeyWallet]
    store: KeyStoreReference


class KeyList(Wire):
    """One page of keys, newest first."""

    items: list[Key]
    next_page_token: str | UnsetType = UNSET


class ListKeys(Page):
    """``owner``: only keys delegated to this end user (id or username)."""

    owner: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET


class DelegateKey(Wire):
    """The end user who is to own the key."""

    delegate_to: Annotated[str, Meta(min_length=1)]


class Delegated(Wire):
    """The key has a new owner."""

    key_id: str
    status: Literal["Delegated"] = "Delegated"


class DeriveOutput(Wire):
    """``domain``: hex of 1 byte to 4 KiB, the domain separation tag; ``seed``: hex of up to 64 KiB.

    Neither is secret.
    """

    domain: Annotated[str, Meta(pattern="^(0x)?([0-9a-fA-F][0-9a-fA-F])*\\Z", max_length=2 + 2 * 4096)]
    seed: Annotated[str, Meta(pattern="^(0x)?([0-9a-fA-F][0-9a-fA-F])*\\Z", max_length=2 + 2 * 65_536)]


class Derived(Wire):
    """``output``: 0x-prefixed hex of 32 bytes, the same for the same key, domain and seed."""

    output: str


class DestroyKey(Wire):
    """``publicKey`` of the key once more, as a confirmation."""

    public_key: Annotated[str, Meta(min_length=1, max_length=140)]


class DestroyedKey(Wire):
    """A key whose private part is gone for good."""

    key_id: str
    public_key: str
    status: Literal["Destroyed"] = "Destroyed"
    date_destroyed: str


class KeyStore(Wire):
    """A key store; new keys go into the primary one unless ``storeId`` names another."""

    id: str
    kind: StoreKind
    name: str
    primary: bool


class KeyStoreList(Wire):
    """All key stores of the server, the primary one first."""

    items: list[KeyStore]


class Hash(Wire, tag_field="kind", tag="Hash"):
    """Sign a 32-byte digest. ``taprootMerkleRoot``: Schnorr keys only, ``""`` for no script tree."""

    hash: Annotated[str, Meta(pattern="^(0x)?[0-9a-fA-F]{64}\\Z")]
    taproot_merkle_root: Annotated[str, Meta(pattern="^(0x)?([0-9a-fA-F]{64})?\\Z")] | UnsetType = UNSET
    network: str | UnsetType = UNSET
    blockchain_kind: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET


class Message(Wire, tag_field="kind", tag="Message"):
    """Sign a message (hex) of up to 255 KiB; EdDSA keys."""

    message: Hex
    network: str | UnsetType = UNSET
    blockchain_kind: str | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET


CreateSignature = Hash | Message


class Requester(Wire):
    """Who asked; ``tokenId`` when a personal access token was used."""

    user_id: str
    token_id: str | UnsetType = UNSET


class SignatureParts(Wire):
    """``r`` and ``s`` as 0x-prefixed hex of 32 bytes each; ``recid`` for ECDSA; ``encoded`` is the usual whole form."""

    r: str
    s: str
    recid: int | UnsetType = UNSET
    encoded: str | UnsetType = UNSET


class SignatureRequest(Wire):
    """A request for a signature and what became of it; ``requestBody`` as submitted.

    ``approvalId``: what it waits for, or waited. ``datePolicyResolved``: when policies let it go on, or refused it.
    """

    id: str
    key_id: str
    requester: Requester
    request_body: dict[str, Any]
    status: Literal["Pending", "Executing", "Signed", "Confirmed", "Failed", "Rejected"]
    reason: str | UnsetType = UNSET
    signature: SignatureParts | UnsetType = UNSET
    approval_id: str | UnsetType = UNSET
    date_requested: str
    date_policy_resolved: str | UnsetType = UNSET
    date_signed: str | UnsetType = UNSET
    external_id: str | UnsetType = UNSET


class SignatureList(Wire):
    """One page of signature requests of a key, newest first."""

    key_id: str
    items: list[SignatureRequest]
    next_page_token: str | UnsetType = UNSET
