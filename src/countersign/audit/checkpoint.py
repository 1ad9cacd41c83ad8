"""Checkpoints: signed statements that a log of a given size has a given root, and how trust in their keys carries over.

The signed text (a *note*) is six lines, each ended by a line feed::

    countersign.checkpoint.v1
    <installation id>
    <organisation id>
    <size, decimal>
    <root hash, standard base64>
    <time, ISO 8601 UTC with milliseconds>

The signature is Ed25519 over these bytes. When a checkpoint key is replaced, the old key signs a
*handover*, four lines::

    countersign.checkpoint-key.v1
    <id of the new key>
    <new public key, 32 bytes, unpadded base64url>
    <time the new key was made, milliseconds since the epoch>

so that whoever trusts an earlier key's fingerprint can go on to the later ones.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from nacl import bindings as sodium

from countersign.audit.merkle import HASH_BYTES
from countersign.credentials import ed25519
from countersign.encoding import base64url, dates

_NOTE = "countersign.checkpoint.v1"
_HANDOVER = "countersign.checkpoint-key.v1"
# SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 section 4) up to the 32 bytes of the key.
_SPKI_ED25519 = bytes.fromhex("302a300506032b6570032100")


class CheckpointKey(Protocol):
    """The server key that signs checkpoints."""

    @property
    def kid(self) -> str:
        """The key's id."""

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (64 bytes) over ``message``."""


class Ed25519CheckpointKey:
    """A checkpoint key in memory; ``seed`` are its 32 secret bytes."""

    def __init__(self, kid: str, seed: bytes) -> None:
        self.kid = kid
        self.public_key, self._secret = sodium.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """See :meth:`CheckpointKey.sign`."""
        return sodium.crypto_sign(message, self._secret)[: sodium.crypto_sign_BYTES]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``root``: 32 bytes; ``created_at``: milliseconds since the epoch."""

    installation_id: str
    org_id: str
    size: int
    root: bytes
    created_at: int

    def note(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(self.root).decode("ascii")
        date = dates.to_iso(self.created_at)
        return f"{_NOTE}\n{self.installation_id}\n{self.org_id}\n{self.size}\n{root}\n{date}\n"


def parse_note(text: str) -> Checkpoint:
    """Inverse of :meth:`Checkpoint.note`; ``ValueError`` for any other text, so that one checkpoint has one note."""
    lines = text.split("\n")
    if len(lines) != 7 or lines[0] != _NOTE or lines[6]:
        raise ValueError("not a checkpoint note")
    _, installation_id, org_id, size, root, date, _ = lines
    if not size.isascii() or not size.isdecimal():
        raise ValueError("the checkpoint's size is not a number")
    try:
        checkpoint = Checkpoint(installation_id, org_id, int(size), base64.b64decode(root), dates.from_iso(date))
    except binascii.Error:
        raise ValueError("the checkpoint's root hash is not base64") from None
    if len(checkpoint.root) != HASH_BYTES or checkpoint.note() != text:
        raise ValueError("the checkpoint note is not in its canonical form")
    return checkpoint


def fingerprint(public_key: bytes) -> str:
    """``SHA256:`` and the unpadded standard base64 of SHA-256 over the DER SubjectPublicKeyInfo of 32 raw bytes."""
    digest = hashlib.sha256(_SPKI_ED25519 + public_key).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def is_fingerprint(text: str) -> bool:
    """Whether ``text`` has the form of a fingerprint."""
    kind, _, encoded = text.partition(":")
    try:
        return kind == "SHA256" and len(base64.b64decode(encoded + "=", validate=True)) == 32
    except binascii.Error:
        return False


def handover_text(kid: str, public_key: bytes, created_at: int) -> bytes:
    """What the key before signs about the key ``kid``; ``created_at`` in milliseconds since the epoch."""
    return f"{_HANDOVER}\n{kid}\n{base64url.encode(public_key)}\n{created_at}\n".encode()


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A checkpoint key as an export carries it. ``handover``: ``<id of the key before>.<its signature, base64url>``."""

    kid: str
    public_key: bytes
    created_at: int
    handover: str | None


def trusted_keys(keys: Iterable[PublishedKey], trusted_fingerprint: str) -> Mapping[str, bytes]:
    """The keys, by id, that trust in one fingerprint reaches: the key itself and those handed over to from it on.

    ``keys`` are in the order in which they were made. A handover that doesn't verify passes nothing on.
    """
    trusted: dict[str, bytes] = {}
    for key in keys:
        if fingerprint(key.public_key) == trusted_fingerprint or _handed_over(key, trusted):
            trusted[key.kid] = key.public_key
    return trusted


def _handed_over(key: PublishedKey, trusted: Mapping[str, bytes]) -> bool:
    signer, _, encoded = (key.handover or "").partition(".")
    if signer not in trusted:
        return False
    try:
        signature = base64url.decode(encoded)
    except ValueError:
        return False
    return ed25519.holds(trusted[signer], handover_text(key.kid, key.public_key, key.created_at), signature)
