"""Ed25519 signatures: what is none whatever the bytes are. What holds is in the Wycheproof vectors."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.credentials.ed25519 import holds


def test_bytes_that_moved_between_signature_and_message_do_not_hold() -> None:
    key = Ed25519PrivateKey.generate()
    public_key, message = key.public_key().public_bytes_raw(), b"a message"
    signature = key.sign(message)
    assert holds(public_key, message, signature)
    assert not holds(public_key, b"another", signature)
    assert not holds(public_key, message[1:], signature + message[:1])
    assert not holds(public_key, signature[-1:] + message, signature[:-1])
    assert not holds(public_key, signature + message, b"")


def test_a_key_of_another_length_is_none() -> None:
    key = Ed25519PrivateKey.generate()
    public_key, signature = key.public_key().public_bytes_raw(), key.sign(b"")
    for wrong in (b"", public_key[:31], public_key + b"\0"):
        assert not holds(wrong, b"", signature)
