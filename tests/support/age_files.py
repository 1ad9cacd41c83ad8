"""Files that age opens with a passphrase, made at a cost of nearly nothing.

``pyrage`` makes a try at a passphrase cost about a second, and so each file that a test writes or reads. A file says
its own cost, so whoever reads one of these does what it always does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_COST = 1
_MOST = 64 * 1024


def encrypt(plaintext: bytes, passphrase: str) -> bytes:
    """As ``pyrage.passphrase.encrypt`` (age-encryption.org/v1), of one chunk at most."""
    assert len(plaintext) <= _MOST
    key, salt, nonce = (os.urandom(16) for _ in range(3))
    label = b"age-encryption.org/v1/scrypt"
    wrapping = hashlib.scrypt(passphrase.encode(), salt=label + salt, n=1 << _COST, r=8, p=1, dklen=32)
    wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), key, None)
    stanza = b"-> scrypt %s %d\n%s" % (_base64(salt), _COST, _base64(wrapped))
    header = b"age-encryption.org/v1\n" + stanza + b"\n---"
    mac = hmac.digest(_derived(key, b"", b"header"), header, "sha256")
    last_chunk = bytes(11) + b"\1"
    sealed = ChaCha20Poly1305(_derived(key, nonce, b"payload")).encrypt(last_chunk, plaintext, None)
    return header + b" " + _base64(mac) + b"\n" + nonce + sealed


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)
