"""Checkpoint notes, fingerprints and handovers."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countersign.audit.checkpoint import (
    Checkpoint,
    Ed25519CheckpointKey,
    PublishedKey,
    fingerprint,
    handover_text,
    is_fingerprint,
    parse_note,
    trusted_keys,
)
from countersign.credentials.public_key import PublicKey, load
from countersign.encoding import base64url

OLD, NEW, NEWEST = (Ed25519CheckpointKey(f"sk-{index}", bytes([index]) * 32) for index in (1, 2, 3))


def published(key: Ed25519CheckpointKey, signer: Ed25519CheckpointKey | None = None) -> PublishedKey:
    if signer is None:
        return PublishedKey(key.kid, key.public_key, 7, None)
    signature = base64url.encode(signer.sign(handover_text(key.kid, key.public_key, 7)))
    return PublishedKey(key.kid, key.public_key, 7, f"{signer.kid}.{signature}")


def test_a_note_reads_back() -> None:
    checkpoint = Checkpoint("in-1", "or-1", 12, bytes(range(32)), 1_790_000_000_123)
    assert checkpoint.note() == (
        "countersign.checkpoint.v1\nin-1\nor-1\n12\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n2026-09-21T14:13:20.123Z\n"
    )
    assert parse_note(checkpoint.note()) == checkpoint


@pytest.mark.parametrize(
    "change",
    [
        ("\n12\n", "\n012\n"),
        ("\n12\n", "\n-12\n"),
        ("Hh8=", "Hh9="),
        ("AAEC", "AAE"),
        (".123Z", ".1230Z"),
        ("v1", "v2"),
    ],
)
def test_a_checkpoint_has_one_note_only(change: tuple[str, str]) -> None:
    note = Checkpoint("in-1", "or-1", 12, bytes(range(32)), 1_790_000_000_123).note()
    for text in (note.replace(*change), note + "\n", note[:-1], ""):
        with pytest.raises(ValueError, match=r"checkpoint|time"):
            parse_note(text)


def test_a_fingerprint_is_that_of_the_subject_public_key_info() -> None:
    pem = Ed25519PublicKey.from_public_bytes(OLD.public_key).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    key = load(pem.decode())
    assert isinstance(key, PublicKey)
    assert fingerprint(OLD.public_key) == key.fingerprint
    assert is_fingerprint(key.fingerprint)
    assert not any(map(is_fingerprint, ("", "SHA256:", "SHA256:abc", "MD5:" + "A" * 43, "SHA256:" + "!" * 43)))


def test_trust_goes_from_a_key_to_its_successors_only() -> None:
    keys = [published(OLD), published(NEW, OLD), published(NEWEST, NEW)]
    assert set(trusted_keys(keys, fingerprint(OLD.public_key))) == {"sk-1", "sk-2", "sk-3"}
    assert set(trusted_keys(keys, fingerprint(NEW.public_key))) == {"sk-2", "sk-3"}
    assert trusted_keys(keys, fingerprint(bytes(32))) == {}


@pytest.mark.parametrize("handover", [None, "", "sk-1", "sk-1.!", "sk-9.AAAA", "sk-1." + "A" * 86])
def test_a_bad_handover_passes_no_trust_on(handover: str | None) -> None:
    keys = [published(OLD), PublishedKey(NEW.kid, NEW.public_key, 7, handover)]
    assert set(trusted_keys(keys, fingerprint(OLD.public_key))) == {"sk-1"}
