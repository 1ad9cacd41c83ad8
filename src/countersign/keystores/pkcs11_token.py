"""A hardware module (HSM) that holds or wraps private keys, through PKCS#11: one session, used by one thread.

Where it is and how it is used is in ``pkcs11_place``.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT

from countersign.keystores import native
from countersign.keystores.keks import options
from countersign.keystores.outcome import Refusal
from countersign.keystores.pkcs11_place import TokenPlace
from countersign.keystores.protocol import Buffer

T = TypeVar("T")

_SECP256K1: Final = bytes.fromhex("06052b8104000a")
# The OID of RFC 8410, then the name that PKCS#11 3.0 has for the curve: tokens take one, the other or both.
_ED25519: Final = (bytes.fromhex("06032b6570"), b"\x13\x0cedwards25519")
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_PAUSES_S: Final = (0.02, 0.1)
_STAYS: Final = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}

_LOST: Final = (
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.DeviceRemoved,
    pkcs11.DeviceError,
    pkcs11.TokenNotPresent,
    pkcs11.UserNotLoggedIn,
)
"""After these the session is opened once more; whatever follows is an outage."""


class TokenTrouble(Exception):
    """The token can't be used now; the text is for the operator."""


class Unsupported(Exception):
    """The token can't do that at all."""


class Token:
    """The keys behind one PKCS#11 session. Handles are bytes: ``CKA_ID`` when resident, else the wrapped key."""

    def __init__(self, place: TokenPlace) -> None:
        self.place = place
        self._session: Any | None = None
        self._library: Any | None = None
        self._refused_pin = b""

    def close(self) -> None:
        """End the session; the next use opens another."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(pkcs11.PKCS11Error):  # it may be lost already
                session.close()

    def ready(self) -> None:
        """Open the session, and make the wrapping key where it is missing. Raises TokenTrouble.

        Tried a few times: a module may fail to open a token at the moment when another process writes to it.
        """
        for pause in _PAUSES_S:
            try:
                return self._ready()
            except TokenTrouble:
                time.sleep(pause)
        return self._ready()

    def _ready(self) -> None:
        self._use(lambda session: None if self.place.mode == "resident" else self._wrapping_key(session))

    def generate(self, key_id: str, curve: str) -> tuple[bytes, bytes]:
        """Make a key on ``secp256k1`` or ``ed25519``: its handle, and its canonical public key.

        Raises Unsupported for a curve that the token does not have, or does not let out wrapped.
        """
        return self._use(lambda session: self._generate(session, key_id.encode(), curve))

    def sign(self, handle: bytes, curve: str, public_key: bytes, payload: Buffer) -> bytes | Refusal:
        """``r || s``, for ECDSA low-S with the recovery id after it, and verified; as ``schemes.sign``.

        ``payload`` is the 32-byte digest for secp256k1, the whole message for ed25519.
        """
        signature = self._use(lambda session: self._sign(session, handle, curve, bytes(payload)))
        if isinstance(signature, Refusal):
            return signature
        if curve == "ed25519":
            good = len(signature) == 64 and native.ed25519_verify(public_key, payload, signature)
            finished = signature if good else None
        else:
            finished = normalised(signature, payload, public_key)
        return finished or Refusal("Integrity", "the token's signature does not verify under the stored public key")

    def destroy(self, handle: bytes, curve: str) -> None:
        """Delete a resident key; what is wrapped is nowhere but in its record."""
        if self.place.mode == "resident":
            self._use(lambda session: _destroy(_resident(session, handle, curve)))

    def _use(self, act: Callable[[Any], T]) -> T:
        try:
            try:
                return act(self._opened())
            except _LOST:
                self.close()
                return act(self._opened())
        except pkcs11.PKCS11Error as trouble:
            self.close()
            raise TokenTrouble(f"token {self.place.label!r}: {_said(trouble)}") from None

    def _opened(self) -> Any:
        if self._session is not None:
            return self._session
        pin = options.read_secret(self.place.pin_file, "PIN")
        if isinstance(pin, Refusal):
            raise TokenTrouble(pin.reason)
        digest = hashlib.sha256(pin.encode()).digest()
        if digest == self._refused_pin:
            # A token locks itself after a few wrong ones.
            raise TokenTrouble(f"token {self.place.label!r} refused the PIN in {self.place.pin_file}")
        try:
            token = self._loaded().get_token(token_label=self.place.label)
            self._session = token.open(rw=True, user_pin=pin)
        except (pkcs11.PinIncorrect, pkcs11.PinLocked, pkcs11.PinLenRange, pkcs11.PinInvalid):
            self._refused_pin = digest
            raise TokenTrouble(f"token {self.place.label!r} refused the PIN in {self.place.pin_file}") from None
        except pkcs11.NoSuchToken:
            raise TokenTrouble(f"there is no token {self.place.label!r}") from None
        return self._session

    def _loaded(self) -> Any:
        if self._library is None:
            try:
                self._library = pkcs11.lib(str(self.place.module))
            except (pkcs11.PKCS11Error, RuntimeError, OSError) as trouble:
                raise TokenTrouble(f"module {self.place.module} can't be loaded: {trouble}") from None
        return self._library

    def _generate(self, session: Any, key_id: bytes, curve: str) -> tuple[bytes, bytes]:
        resident = self.place.mode == "resident"
        if resident and _resident(session, key_id, curve):
            # With two of one id neither could be told from the other.
            raise Unsupported("the token holds a key of this id already")
        private = {
            Attribute.TOKEN: resident,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: not resident,
        }
        public_key, private_key = _pair(session, key_id, curve, private)
        public = _point(public_key[Attribute.EC_POINT], curve)
        public_key.destroy()
        if resident:
            return key_id, public
        try:
            wrapped = self._wrapping_key(session).wrap_key(private_key, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        except (pkcs11.KeyNotWrappable, pkcs11.KeyUnextractable):
            raise Unsupported(f"the token does not let keys on {curve} out, not even wrapped") from None
        finally:
            private_key.destroy()
        return bytes(wrapped), public

    def _sign(self, session: Any, handle: bytes, curve: str, payload: bytes) -> bytes | Refusal:
        mechanism = Mechanism.ECDSA if curve == "secp256k1" else Mechanism.EDDSA
        if self.place.mode == "resident":
            found = _resident(session, handle, curve)
            if len(found) != 1:
                return Refusal("NotFound", f"token {self.place.label!r} holds {len(found)} keys of this id, not one")
            return bytes(found[0].sign(payload, mechanism=mechanism))
        try:
            key = self._wrapping_key(session).unwrap_key(
                ObjectClass.PRIVATE_KEY,
                _key_type(curve),
                handle,
                mechanism=Mechanism.AES_KEY_WRAP_PAD,
                store=False,
                capabilities=MechanismFlag.SIGN,
                # The package would ask for every use that a key may have, and tokens refuse those of a public key.
                template={
                    **_STAYS,
                    Attribute.SIGN: True,
                    Attribute.ENCRYPT: DEFAULT,
                    Attribute.WRAP: DEFAULT,
                    Attribute.VERIFY: DEFAULT,
                },
            )
        except (pkcs11.WrappedKeyInvalid, pkcs11.WrappedKeyLenRange, pkcs11.EncryptedDataInvalid):
            return Refusal("Integrity", "the wrapped key does not open under the token's wrapping key")
        try:
            return bytes(key.sign(payload, mechanism=mechanism))
        finally:
            key.destroy()

    def _wrapping_key(self, session: Any) -> Any:
        named = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self.place.wrapping_label}
        found = list(session.get_objects(named))
        if len(found) > 1:
            raise TokenTrouble(f"token {self.place.label!r} holds more than one key {self.place.wrapping_label!r}")
        if not found:
            return session.generate_key(
                KeyType.AES,
                256,
                label=self.place.wrapping_label,
                store=True,
                capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
                template=_STAYS,
            )
        key = found[0]
        if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE] or key[Attribute.VALUE_LEN] != 32:
            raise TokenTrouble(f"key {self.place.wrapping_label!r} is not a 256-bit key that stays in the token")
        return key


def normalised(signature: bytes, digest: Buffer, public_key: bytes) -> bytes | None:
    """``r || s || recid`` with the low one of both valid ``s``; None unless it recovers ``public_key`` (33 bytes).

    A token gives any ``s`` and no recovery id, which is found by trying all four.
    """
    if len(signature) != 64:
        return None
    s = int.from_bytes(signature[32:], "big")
    low = signature[:32] + min(s, _ORDER - s).to_bytes(32, "big") if 0 < s < _ORDER else signature
    for recid in range(4):
        candidate = low + bytes((recid,))
        if native.ecdsa_recovers(public_key, digest, candidate):
            return candidate
    return None


def _resident(session: Any, key_id: bytes, curve: str) -> list[Any]:
    named = {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.KEY_TYPE: _key_type(curve),
        Attribute.TOKEN: True,
        Attribute.ID: key_id,
    }
    return list(session.get_objects(named))


def _destroy(keys: list[Any]) -> None:
    for key in keys:
        key.destroy()


def _key_type(curve: str) -> KeyType:
    return KeyType.EC if curve == "secp256k1" else KeyType.EC_EDWARDS


def _pair(session: Any, key_id: bytes, curve: str, private: dict[Attribute, bool]) -> tuple[Any, Any]:
    pair: tuple[Any, Any]
    mechanism = Mechanism.EC_KEY_PAIR_GEN if curve == "secp256k1" else Mechanism.EC_EDWARDS_KEY_PAIR_GEN
    for parameters in (_SECP256K1,) if curve == "secp256k1" else _ED25519:
        domain = session.create_domain_parameters(_key_type(curve), {Attribute.EC_PARAMS: parameters}, local=True)
        try:
            pair = domain.generate_keypair(
                mechanism=mechanism,
                id=key_id,
                label=key_id.decode(),
                store=private[Attribute.TOKEN],
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                public_template={Attribute.TOKEN: False},
                private_template=private,
            )
        except (
            pkcs11.DomainParamsInvalid,
            pkcs11.AttributeValueInvalid,
            pkcs11.TemplateInconsistent,
            pkcs11.MechanismInvalid,
        ):
            continue
        return pair
    raise Unsupported(f"the token has no keys on {curve}")


def _point(encoded: bytes, curve: str) -> bytes:
    """The canonical public key of ``CKA_EC_POINT``, which is a DER octet string on most tokens and raw on some."""
    length = 65 if curve == "secp256k1" else 32
    point = encoded[2:] if len(encoded) == length + 2 and encoded[:2] == bytes((4, length)) else encoded
    if len(point) != length:
        raise TokenTrouble(f"the token's public key has {len(point)} bytes, not {length}")
    return point if curve == "ed25519" else bytes((2 + (point[64] & 1),)) + point[1:33]


def _said(trouble: pkcs11.PKCS11Error) -> str:
    text = str(trouble)
    return f"{type(trouble).__name__}{': ' + text if text else ''}"
