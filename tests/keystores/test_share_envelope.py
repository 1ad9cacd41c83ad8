"""The envelope of key shares: the published construction, and every way in which one can be wrong."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.keystores import share_envelope
from countersign.keystores.outcome import Refusal
from tests.keystores.builders import vectors

VECTORS: dict[str, Any] = vectors("keys-wallets-vectors.json")["keyShareEnvelope"]
SIGNERS = {signer["signerId"]: signer for signer in VECTORS["signers"]}
SCALAR = bytearray(range(1, 33))
KEY = share_envelope.encryption_key(SCALAR)


def opened(scalar: bytearray, envelope: bytes, room: int = 2000) -> bytes | Refusal:
    content = share_envelope.decrypt(scalar, envelope, memoryview(bytearray(room)))
    return content if isinstance(content, Refusal) else bytes(content)


@pytest.mark.parametrize("signer", VECTORS["signers"], ids=lambda signer: signer["signerId"][:4])
def test_encryption_keys_are_those_of_the_vectors(signer: dict[str, str]) -> None:
    scalar = bytearray.fromhex(signer["decryptionScalarHex"])
    assert base64.b64encode(share_envelope.encryption_key(scalar)).decode() == signer["encryptionKey"]


@pytest.mark.parametrize(
    "share", VECTORS["importRequest"]["encryptedKeyShares"], ids=lambda share: share["signerId"][:4]
)
def test_opens_the_import_shares_of_the_vectors(share: dict[str, str]) -> None:
    envelope = base64.b64decode(share["encryptedKeyShare"])
    content = opened(bytearray.fromhex(SIGNERS[share["signerId"]]["decryptionScalarHex"]), envelope)
    assert isinstance(content, bytes)
    assert (len(envelope), len(content)) == (1008, 959)
    if share is VECTORS["importRequest"]["encryptedKeyShares"][0]:
        assert content.decode() == VECTORS["importSharePlaintext0"]


@pytest.mark.parametrize(
    "share", VECTORS["exportResponse"]["encryptedKeyShares"], ids=lambda share: share["signerId"][:4]
)
def test_opens_the_export_shares_of_the_vectors(share: dict[str, str]) -> None:
    envelope = base64.b64decode(share["encryptedKeyShare"])
    content = opened(bytearray.fromhex(VECTORS["exportDecryptionScalarHex"]), envelope)
    assert isinstance(content, bytes)
    assert (len(envelope), len(content)) == (281, 232)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=1500, min_size=1), st.binary(min_size=31, max_size=31))
def test_what_goes_in_comes_out(content: bytes, tail: bytes) -> None:
    scalar = bytearray(b"\1" + tail)
    envelope = share_envelope.encrypt(share_envelope.encryption_key(scalar), content)
    assert isinstance(envelope, bytes)
    assert len(envelope) == len(content) + share_envelope.OVERHEAD
    assert opened(scalar, envelope) == content


def test_no_two_envelopes_share_an_ephemeral_key() -> None:
    envelopes = [share_envelope.encrypt(KEY, b"same") for _ in range(20)]
    assert len({envelope[-33:] for envelope in envelopes if isinstance(envelope, bytes)}) == 20


def test_k5_a_changed_byte_opens_nothing_and_leaves_nothing_behind() -> None:
    envelope = share_envelope.encrypt(KEY, b"content that nobody sees")
    assert isinstance(envelope, bytes)
    for index in range(len(envelope)):
        changed = bytearray(envelope)
        changed[index] ^= 1
        into = bytearray(2000)
        assert isinstance(share_envelope.decrypt(SCALAR, bytes(changed), memoryview(into)), Refusal), index
        assert not any(into)


def test_another_key_opens_nothing() -> None:
    envelope = share_envelope.encrypt(KEY, b"content")
    assert isinstance(envelope, bytes)
    refusal = opened(bytearray(os.urandom(32)), envelope)
    assert isinstance(refusal, Refusal)
    assert "made for another key" in refusal.reason


@pytest.mark.parametrize("length", [0, 1, 33, 48, 49])
def test_an_envelope_without_content_is_refused(length: int) -> None:
    assert isinstance(opened(SCALAR, bytes(length)), Refusal)


def test_an_envelope_longer_than_any_share_is_refused() -> None:
    envelope = share_envelope.encrypt(KEY, bytes(100))
    assert isinstance(envelope, bytes)
    assert isinstance(opened(SCALAR, envelope, room=99), Refusal)


def test_an_ephemeral_point_off_the_curve_is_refused() -> None:
    envelope = share_envelope.encrypt(KEY, b"content")
    assert isinstance(envelope, bytes)
    for point in (bytes(33), b"\2" + b"\xff" * 32, b"\4" + envelope[-32:], b"\2" + (5).to_bytes(32, "big")):
        refusal = opened(SCALAR, envelope[:-33] + point)
        assert isinstance(refusal, Refusal)
        assert "no point" in refusal.reason


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (KEY[:-1], "34 bytes, not 33"),
        (KEY + b"\0", "34 bytes, not 35"),
        (b"", "34 bytes, not 0"),
        (b"\0" + KEY[1:], "version 0"),
        (b"\2" + KEY[1:], "version 2"),
        (b"\1" + bytes(33), "no point"),
        (b"\1\2" + (5).to_bytes(32, "big"), "no point"),
    ],
)
def test_a_wrong_encryption_key_is_refused(key: bytes, reason: str) -> None:
    for refusal in (share_envelope.encryption_point(key), share_envelope.encrypt(key, b"content")):
        assert isinstance(refusal, Refusal)
        assert reason in refusal.reason


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (bytes(33), "version 0"),
        (b"\1" + bytes(32), "out of range"),
        (b"\1" + b"\xff" * 32, "out of range"),
        (b"\1" + bytes(31), "33 bytes, not 32"),
    ],
)
def test_a_wrong_decryption_key_is_refused(key: bytes, reason: str) -> None:
    refusal = share_envelope.decryption_scalar(bytearray(key))
    assert refusal is not None
    assert reason in refusal.reason


def test_a_decryption_key_is_version_and_scalar() -> None:
    assert share_envelope.decryption_scalar(bytearray(b"\1") + SCALAR) is None
