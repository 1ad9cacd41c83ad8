"""A copy of a private key that the key-encryption key is not needed for: the way back when that key is lost.

Each new secret is also encrypted to the store's recovery recipients (age, X25519), whose identities are kept offline.
The recipients stand inside the wrapped root, so only who holds the key-encryption key can name them. What is encrypted
is JSON that says everything needed to use the key without this program::

    {"format": "countersign-recovery-1", "storeId", "orgId", "keyId", "scheme", "curve", "secretKind",
     "publicKey": hex, "secret": hex}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from countersign.keystores.memory import wipe
from countersign.keystores.outcome import Refusal

if TYPE_CHECKING:
    from countersign.keystores.record import Binding

FORMAT: Final = "countersign-recovery-1"


class _Copy(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    format: str = FORMAT
    store_id: str
    org_id: str
    key_id: str
    scheme: str
    curve: str
    secret_kind: str
    public_key: str
    secret: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """An opened copy; ``secret`` is the caller's to wipe."""

    store_id: str
    org_id: str
    key_id: str
    scheme: str
    curve: str
    secret_kind: str
    public_key: bytes
    secret: bytearray


def check_recipient(text: str) -> None:
    """Raises ValueError for what is no age recipient."""
    import pyrage

    try:
        pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise ValueError(f"not an age recipient (age1...): {text!r}") from None


def seal_copy(binding: Binding, secret: memoryview, recipients: Sequence[str]) -> bytes:
    """Encrypt the secret to the recipients (``age1...``). Raises ValueError for a recipient that is none.

    age takes immutable bytes: this copy of the secret is gone from memory only when the interpreter reuses it.
    """
    import pyrage

    try:
        keys = [pyrage.x25519.Recipient.from_str(text) for text in recipients]
    except pyrage.RecipientError:
        raise ValueError("a recovery recipient is not an age recipient (age1...)") from None
    body = bytearray()
    copy = _Copy(
        store_id=binding.store_id,
        org_id=binding.org_id,
        key_id=binding.key_id,
        scheme=binding.scheme,
        curve=binding.curve,
        secret_kind=binding.secret_kind,
        public_key=binding.public_key.hex(),
        secret=secret.hex(),
    )
    try:
        msgspec.json.Encoder().encode_into(copy, body)
        sealed: bytes = pyrage.encrypt(bytes(body), keys)
        return sealed
    finally:
        wipe(body)


def open_copy(sealed: bytes, identities: Sequence[object]) -> Recovered | Refusal:
    """Decrypt with one of the identities (``pyrage.x25519.Identity``)."""
    import pyrage

    try:
        copy = msgspec.json.decode(pyrage.decrypt(sealed, list(identities)), type=_Copy)
        secret, public_key = bytearray.fromhex(copy.secret), bytes.fromhex(copy.public_key)
    except pyrage.DecryptError:
        return Refusal("Denied", "the identity does not open this recovery copy, or the copy was changed")
    except (msgspec.MsgspecError, ValueError):
        return Refusal("Integrity", "the recovery copy holds something else")
    if copy.format != FORMAT:
        return Refusal("Unsupported", f"the recovery copy has the format {copy.format!r}")
    return Recovered(
        copy.store_id, copy.org_id, copy.key_id, copy.scheme, copy.curve, copy.secret_kind, public_key, secret
    )
