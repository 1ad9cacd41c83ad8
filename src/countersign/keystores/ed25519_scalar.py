"""Ed25519 by a scalar instead of a seed, with libsodium's scalar arithmetic.

A key that was put together from shares, or derived from a master key, is a scalar: no seed hashes to it. It signs as
RFC 8032 section 5.1.6 says, with a nonce prefix that is kept beside the scalar instead of coming from the seed. With
the prefix that a seed gives, signatures are byte for byte those of the seed.

A secret is 64 bytes: the scalar (32 bytes little-endian, above zero and below the group order L), then the prefix.
"""

from __future__ import annotations

from typing import Final

from nacl._sodium import ffi, lib

from countersign.keystores.memory import LockedPage, wipe
from countersign.keystores.protocol import Buffer

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""L, the order of the base point."""

_IDENTITY: Final = b"\1" + bytes(31)


def is_scalar(scalar: memoryview, scratch: memoryview) -> bool:
    """Whether 32 little-endian bytes are a private scalar: above zero and below L."""
    scratch[:32], scratch[32:64] = scalar[:32], bytes(32)
    _reduce(scratch[:32], scratch[:64])
    # Memory is compared, so that no integer is made of the secret.
    return scratch[:32] == scalar[:32] and any(scalar[:32])


def expand_seed(secret: memoryview, scratch: memoryview) -> None:
    """Turn the 32-byte seed at the start of ``secret`` (64 bytes) into its scalar and prefix (RFC 8032 5.1.5).

    The clamped scalar is reduced mod L, which leaves the public key and every signature as they are.
    """
    hashed = ffi.from_buffer("unsigned char[]", scratch)
    lib.crypto_hash_sha512(hashed, ffi.from_buffer("unsigned char[]", secret), 32)
    scratch[0] &= 248
    scratch[31] = scratch[31] & 127 | 64
    secret[32:64] = scratch[32:64]
    scratch[32:64] = bytes(32)
    _reduce(secret[:32], scratch[:64])


def public_key(scalar: memoryview) -> bytes:
    """Public key (32 bytes, RFC 8032) of a private scalar. Raises ValueError for zero."""
    point = ffi.new("unsigned char[32]")
    if lib.crypto_scalarmult_ed25519_base_noclamp(point, ffi.from_buffer("unsigned char[]", scalar)) != 0:
        raise ValueError("not an Ed25519 private scalar")
    return bytes(ffi.buffer(point))


def sign(secret: memoryview, scratch: memoryview, public: bytes, message: Buffer) -> bytes:
    """64-byte signature of the whole message by scalar and prefix (64 bytes), RFC 8032 section 5.1.6.

    ``scratch`` is 96 bytes that the caller must wipe: it holds the nonce. The one copy of the prefix outside of the
    page is before the message in a buffer that is wiped here.
    """
    prefixed = bytearray(32 + len(message))
    try:
        prefixed[:32], prefixed[32:] = secret[32:64], message
        source = ffi.from_buffer("unsigned char[]", prefixed)
        lib.crypto_hash_sha512(ffi.from_buffer("unsigned char[]", scratch), source, len(prefixed))
    finally:
        wipe(prefixed)
    nonce, product = scratch[:32], scratch[64:96]
    _reduce(nonce, scratch[:64])
    commitment = public_key(nonce)
    challenge = ffi.new("unsigned char[32]")
    hashed = ffi.new("unsigned char[64]")
    signed = commitment + public + bytes(message)
    lib.crypto_hash_sha512(hashed, signed, len(signed))
    lib.crypto_core_ed25519_scalar_reduce(challenge, hashed)
    blinded = ffi.from_buffer("unsigned char[]", product)
    lib.crypto_core_ed25519_scalar_mul(blinded, challenge, ffi.from_buffer("unsigned char[]", secret))
    response = ffi.new("unsigned char[32]")
    lib.crypto_core_ed25519_scalar_add(response, ffi.from_buffer("unsigned char[]", nonce), blinded)
    return commitment + bytes(ffi.buffer(response))


def add(scalar: memoryview, shift: bytes) -> None:
    """Replace a private scalar by its sum with ``shift`` (32 bytes little-endian, below L), in place."""
    target = ffi.from_buffer("unsigned char[]", scalar)
    lib.crypto_core_ed25519_scalar_add(target, target, shift)


def add_base(public: bytes, shift: bytes) -> bytes | None:
    """The point ``public`` plus ``shift`` (as in ``add``) times the base point, or None if that is the identity.

    Raises ValueError for bytes that are no point.
    """
    product, total = ffi.new("unsigned char[32]"), ffi.new("unsigned char[32]")
    if any(shift):
        lib.crypto_scalarmult_ed25519_base_noclamp(product, shift)
    else:
        product[0] = 1
    if lib.crypto_core_ed25519_add(total, public, product) != 0:
        raise ValueError("not a point of Ed25519")
    point = bytes(ffi.buffer(total))
    return None if point == _IDENTITY else point


def reduce_wide(wide: memoryview) -> None:
    """Reduce 64 little-endian bytes mod L in place; the scalar is the first 32 bytes, the rest becomes zero.

    Of 64 uniform bytes it makes a uniform scalar, without an integer in between.
    """
    _reduce(wide[:32], wide)
    wide[32:64] = bytes(32)


def _reduce(target: memoryview, wide: memoryview) -> None:
    lib.crypto_core_ed25519_scalar_reduce(
        ffi.from_buffer("unsigned char[]", target), ffi.from_buffer("unsigned char[]", wide)
    )


def _known_answer() -> None:
    """RFC 8032 test 1 by the scalar and prefix of its seed."""
    page = LockedPage()
    try:
        page.secret[:] = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        expand_seed(page.secret_pair, page.keypair)
        public = public_key(page.secret)
        good = (
            public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
            and is_scalar(page.secret, page.keypair)
            and sign(page.secret_pair, page.keypair, public, b"").hex().startswith("e5564300c360ac729086e2cc806e828a")
            and add_base(public, bytes(32)) == public
        )
    finally:
        page.wipe_all()
    if not good:
        raise RuntimeError("libsodium fails its known-answer test; check the pynacl version")


_known_answer()
