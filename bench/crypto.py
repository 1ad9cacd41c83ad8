"""The cryptography that a ceremony cannot do without, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import os
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings as sodium

_MESSAGE = os.urandom(200)
_TOKEN = os.urandom(1000)
_PUBLIC, _SECRET = sodium.crypto_sign_seed_keypair(os.urandom(32))
_SIGNED = sodium.crypto_sign(_MESSAGE, _SECRET)
_MAC = os.urandom(32)
_SEAL = AESGCM(os.urandom(32))


def _rename() -> None:
    """Digest twice, a MAC made and checked for each of two tokens, one assertion, the payload sealed."""
    hashlib.sha256(_MESSAGE).digest()
    hashlib.sha256(_MESSAGE).digest()
    for _ in range(2):
        mac = hmac.digest(_MAC, _TOKEN, "sha256")
        hmac.compare_digest(hmac.digest(_MAC, _TOKEN, "sha256"), mac)
    sodium.crypto_sign_open(_SIGNED, _PUBLIC)
    _SEAL.encrypt(_MESSAGE[:12], _TOKEN, None)


def _sign() -> None:
    """The same, a grant made and checked, the record opened, the signature."""
    _rename()
    sodium.crypto_sign(_MESSAGE, _SECRET)
    sodium.crypto_sign_open(_SIGNED, _PUBLIC)
    _SEAL.encrypt(_MESSAGE[:12], _MESSAGE[:32], None)
    sodium.crypto_sign(_MESSAGE, _SECRET)


def microseconds(scenario: str, seconds: float) -> float:
    """CPU of the raw cryptography of one ceremony, in this process."""
    work = {"rename": _rename, "sign": _sign}[scenario]
    begun = time.process_time()
    count = 0
    while time.process_time() - begun < seconds:
        for _ in range(50):
            work()
        count += 50
    return (time.process_time() - begun) / count * 1e6


def disturbance(turns: int) -> float:
    """How much others on this core disturb: 99th percentile of the time of a fixed piece of work, by its median."""
    taken = []
    for _ in range(turns):
        begun = time.perf_counter()
        for _ in range(20):
            hmac.digest(_MAC, _TOKEN, "sha256")
            sodium.crypto_sign(_MESSAGE, _SECRET)
        taken.append(time.perf_counter() - begun)
    taken.sort()
    return taken[int(0.99 * turns)] / taken[turns // 2]
