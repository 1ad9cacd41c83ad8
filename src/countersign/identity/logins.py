"""Login: whom a challenge is for, what proves them, and the session that follows.

Where names are concealed, a name that cannot log in is given a challenge like any other, for a passkey that nobody
has; to answer it fails like a wrong signature, after the same work.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import msgspec

from countersign.access import temporary_tokens
from countersign.access.keyring import KeyRing
from countersign.access.stored_credentials import SigningKey, SigningKind, signing_key
from countersign.access.temporary_tokens import TemporaryToken
from countersign.access.types import (
    AllowCredentials,
    AllowedCredential,
    AllowedProtectedKey,
    Fido2Factor,
    KeyFactor,
    PasswordProtectedKeyFactor,
)
from countersign.access.types import RelyingParty as ShownParty
from countersign.credentials import fido2_assertion, key_assertion, public_key
from countersign.credentials.fido2_assertion import Answer, Fido2Assertion, Fido2Context
from countersign.credentials.key_assertion import KeyAssertion, lookup_key
from countersign.credentials.outcome import Refused
from countersign.credentials.public_key import PublicKey
from countersign.credentials.relying_party import RelyingParty
from countersign.encoding import base64url
from countersign.identity import login_store as store
from countersign.identity import mailed_codes, sessions
from countersign.identity.mailed_codes import Stored
from countersign.storage import Row, Transaction
from countersign.world import World

SignedFactor = Fido2Factor | KeyFactor | PasswordProtectedKeyFactor

#: Subjects of challenges that are for no user in particular: any with a passkey, and none at all.
ANYBODY, NOBODY = "", "-"
_SUBJECT = struct.Struct(">64sqq?")
_DECOY = b"countersign.login.decoy.v1|"
#: Public keys under which the answers of nobody are checked: the P-256 base point, and test 1 of RFC 8032.
_DECOY_P256 = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""
_DECOY_ED25519 = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a challenge is for, under which epochs; ``with_code``: who asked knew the mailed code."""

    user_id: str
    user_epoch: int = 0
    org_epoch: int = 0
    with_code: bool = False

    def seal(self, ring: KeyRing, token_id: str) -> str:
        """For the token of this id: of one length for everybody, readable by this server alone."""
        plain = _SUBJECT.pack(self.user_id.encode(), self.user_epoch, self.org_epoch, self.with_code)
        return base64url.encode(ring.payload_seal.seal(plain, token_id))

    @classmethod
    def open(cls, ring: KeyRing, token: TemporaryToken) -> Subject | Refused:
        """The subject of a token that was verified."""
        try:
            plain = ring.payload_seal.open(base64url.decode(token.metadata.subject or ""), token.id)
        except (ValueError, IndexError):
            return Refused("no subject")
        user_id, user_epoch, org_epoch, with_code = _SUBJECT.unpack(plain)
        return cls(user_id.rstrip(b"\0").decode(), user_epoch, org_epoch, with_code)


@dataclass(frozen=True, slots=True)
class Offered:
    """A credential that a person may log in with."""

    kind: SigningKind
    credential_id: str
    encrypted_private_key: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """The person behind a name, with what they may log in with, and the code that they were mailed."""

    user_id: str
    state: str
    user_epoch: int
    org_active: bool
    org_epoch: int
    code: Stored
    offered: tuple[Offered, ...]

    def usable(self, *, with_code: bool) -> tuple[Offered, ...]:
        """What may be offered: an encrypted private key only to who knows the mailed code."""
        return tuple(each for each in self.offered if with_code or each.kind != "PasswordProtectedKey")


def find(org_id: str, key: str) -> Transaction[Named | None]:
    """The person with this username key; ``None`` for nobody and for one who is archived."""
    rows = yield store.FIND_NAMED, (org_id, key)
    if not rows:
        return None
    user_id, state, user_epoch, org_active, org_epoch, *code = rows[0][:8]
    offered = tuple(Offered(*row[8:]) for row in rows if row[8] is not None)
    return Named(user_id, state, user_epoch, bool(org_active), org_epoch, Stored(*code), offered)


def code_is_good(ring: KeyRing, named: Named | None, typed: str, now: int) -> bool:
    """Whether a typed code is the person's own and has not ended. The same work is done for those who do not exist."""
    if named is None:
        return mailed_codes.NONE.is_good(ring, "login", "", 0, typed, now)
    good = named.code.is_good(ring, "login", named.user_id, named.user_epoch, typed, now)
    return good and named.state == "Active"


def why_not(named: Named | None, *, with_code: bool) -> Literal["unknown", "deactivated", "no credential"] | None:
    """Why this person cannot log in; ``None`` for one who can."""
    if named is None or not named.org_active:
        return "unknown"
    if named.state != "Active":
        return "deactivated"
    return None if named.usable(with_code=with_code) else "no credential"


def decoy_id(ring: KeyRing, org_id: str, key: str) -> str:
    """The id of a passkey that nobody has: always the same for one name, and in no way unlike a true one."""
    # The oldest key for payloads never ends; an id that changed with a rotation would be known for what it is.
    secret = ring.keys.of("payload")[0].secret
    derived = hmac.digest(secret, _DECOY, "sha256")
    return base64url.encode(hmac.digest(derived, f"{org_id}|{key}".encode(), "sha256"))


def allowed(offered: Sequence[Offered]) -> AllowCredentials:
    """The credentials of a challenge, by kind."""
    return AllowCredentials(
        key=[AllowedCredential(id=each.credential_id) for each in offered if each.kind == "Key"],
        password_protected_key=[
            AllowedProtectedKey(id=each.credential_id, encrypted_private_key=each.encrypted_private_key or "")
            for each in offered
            if each.kind == "PasswordProtectedKey"
        ],
        webauthn=[AllowedCredential(id=each.credential_id) for each in offered if each.kind == "Fido2"],
    )


class Holder(msgspec.Struct, frozen=True):
    """A credential that logs in, and the person whose it is."""

    org_id: str
    user_id: str
    username: str
    state: str
    user_epoch: int
    is_sso_required: int
    org_active: int
    org_epoch: int
    credential_uuid: str
    kind: SigningKind
    public_key: str
    rp_id: str
    passkey: str | None
    sign_count: int
    epoch: int

    @property
    def may_log_in(self) -> bool:
        """Whether person and organisation are active."""
        return self.state == "Active" and bool(self.org_active)


def find_holder(org_id: str, credential_id: str) -> Transaction[Holder | None]:
    """Whose this credential is; ``None`` for an unknown or inactive one, and for one that cannot log in."""
    rows: Sequence[Row] = yield store.FIND_HOLDER, (org_id, lookup_key(credential_id))
    return Holder(org_id, *rows[0]) if rows else None


@dataclass(frozen=True, slots=True)
class Proven:
    """The holder answered the challenge; ``answer`` is that of a passkey."""

    holder: Holder
    answer: Answer | None


def kind_of(factor: SignedFactor) -> SigningKind:
    """The kind of credential that a factor claims to be."""
    if isinstance(factor, Fido2Factor):
        return "Fido2"
    return "Key" if isinstance(factor, KeyFactor) else "PasswordProtectedKey"


def is_for(subject: Subject, holder: Holder | None, factor: SignedFactor, *, first: Holder | None = None) -> bool:
    """Whether this credential may answer this challenge. ``first``: whose the first factor is, of a second one."""
    kind = kind_of(factor)
    if holder is None or holder.kind != kind:
        return False
    if kind == "PasswordProtectedKey" and not subject.with_code:
        return False
    if first is not None and (first.user_id != holder.user_id or first.credential_uuid == holder.credential_uuid):
        return False
    # Where nobody was named, only a passkey says by itself whose it is.
    return holder.user_id == subject.user_id or (subject.user_id == ANYBODY and (first is not None or kind == "Fido2"))


def prove(
    factor: SignedFactor,
    holder: Holder | None,
    challenge: str,
    parties: Sequence[RelyingParty],
    shown: ShownParty | None,
    *,
    handle_required: bool,
) -> Proven | Refused:
    """Check a factor under the holder's key; without a holder under a key that nobody has, which never holds."""
    key = _decoy_key(factor, parties, shown) if holder is None else _key_of(holder, parties)
    if isinstance(key, Refused):
        return key
    if isinstance(factor, Fido2Factor):
        if key.fido2 is None:
            return Refused("the relying party is not known")
        user_id = NOBODY if holder is None else holder.user_id
        proven = fido2_assertion.verify_assertion(
            Fido2Assertion("Fido2", factor.credential_assertion),
            key.public_key,
            key.fido2,
            challenge,
            user_id=user_id,
            user_handle_required=handle_required,
        )
        if isinstance(proven, Refused):
            return proven
        return Refused("nobody's key") if holder is None else Proven(holder, proven.answer)
    kind: Literal["Key", "PasswordProtectedKey"] = "Key" if isinstance(factor, KeyFactor) else "PasswordProtectedKey"
    signed = KeyAssertion(kind, factor.credential_assertion)
    held = key_assertion.verify_assertion(signed, key.public_key, challenge)
    if isinstance(held, Refused):
        return held
    return Refused("nobody's key") if holder is None else Proven(holder, None)


def _key_of(holder: Holder, parties: Sequence[RelyingParty]) -> SigningKey | Refused:
    return signing_key(holder.kind, holder.public_key, holder.rp_id, holder.passkey, parties)


def _decoy_key(factor: SignedFactor, parties: Sequence[RelyingParty], shown: ShownParty | None) -> SigningKey | Refused:
    if not isinstance(factor, Fido2Factor):
        return SigningKey(_loaded(_DECOY_ED25519))
    party = next((each for each in parties if shown is not None and each.rp_id == shown.id), None)
    if party is None:
        return Refused("the organisation has no relying party")
    return SigningKey(_loaded(_DECOY_P256), party.rp_id, Fido2Context(party, None))


@cache
def _loaded(pem: str) -> PublicKey:
    key = public_key.load(pem)
    assert isinstance(key, PublicKey)
    return key


def enter(
    ring: KeyRing, token: TemporaryToken, subject: Subject, proofs: Sequence[Proven], lifetime: int, world: World
) -> Transaction[str | Refused]:
    """Use the challenge up and open a session of ``lifetime`` seconds; its token.

    ``Refused`` when the challenge was answered before, or the person or a credential changed state meanwhile.
    """
    owner = proofs[0].holder
    for proof in proofs:
        held = proof.holder
        rows = yield store.HOLD_CREDENTIAL, (held.org_id, held.user_id, held.credential_uuid)
        if not rows or tuple(rows[0][:2]) != ("Active", held.epoch):
            return Refused("the credential changed state")
        if rows[0][2]:
            return Refused("the person must sign in at the identity provider by now")
    named = subject.user_id != ANYBODY
    epochs = (subject.user_epoch, subject.org_epoch) if named else (owner.user_epoch, owner.org_epoch)
    metadata = msgspec.structs.replace(token.metadata, user_id=owner.user_id, user_epoch=epochs[0], org_epoch=epochs[1])
    refusal = yield from temporary_tokens.spend(
        TemporaryToken(token.id, token.expires_at, owner.username, metadata), world.now()
    )
    if refusal is not None:
        return refusal
    _, text = yield from sessions.open_session(
        ring,
        owner.org_id,
        owner.user_id,
        owner.username,
        lifetime,
        world,
        name="login",
        credential_uuid=owner.credential_uuid,
    )
    return text
