"""A hardware module (HSM) through PKCS#11: AES-256-GCM under a token key that can't be taken out.

``pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE``, the form of RFC 7512. A PIN in the name itself
(``pin-value``) is refused: names are seen in process lists. The key is made in the token by ``init`` if it is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass

from countersign.keystores.kek import KEK_BYTES, NewKek, RootName
from countersign.keystores.keks import options
from countersign.keystores.memory import fill_random, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer

_NONCE_BYTES: Final = 12
_TAG_BITS: Final = 128


class _Trouble(Exception):
    """The token can't be used as it is; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Pkcs11Provider:
    """``label`` names the AES key in the token ``token``; ``pin_file`` is read at each use."""

    token: str
    label: str
    module: Path
    pin_file: Path
    name: str = "pkcs11"
    needs_secret: bool = False
    note: str | None = None
    needs_network: bool = False
    needs_driver: bool = True

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Encrypt a random key in the token. Raises ValueError when that fails."""
        key = bytearray(KEK_BYTES)
        fill_random(key)
        nonce = os.urandom(_NONCE_BYTES)
        try:
            with self._session(write=True) as session:
                wrapped = self._token_key(session, make=True).encrypt(
                    bytes(key), mechanism=Mechanism.AES_GCM, mechanism_param=_parameters(nonce, root)
                )
        except (_Trouble, pkcs11.PKCS11Error) as trouble:
            wipe(key)
            raise ValueError(_said(trouble)) from None
        return [nonce, bytes(wrapped)], key

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Have the token decrypt the stored key."""
        match parameters:
            case [bytes() as nonce, bytes() as wrapped] if len(nonce) == _NONCE_BYTES:
                pass
            case _:
                return Refusal("Integrity", f"the pkcs11 parameters of root {root.root_version} are malformed")
        try:
            with self._session(write=False) as session:
                opened = self._token_key(session, make=False).decrypt(
                    wrapped, mechanism=Mechanism.AES_GCM, mechanism_param=_parameters(nonce, root)
                )
        except (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange, pkcs11.GeneralError):
            # SoftHSM says no more than "general error" to a tag that does not fit.
            return Refusal("Denied", f"pkcs11: key {self.label!r} is not the one that wrapped root {root.root_version}")
        except (_Trouble, pkcs11.PKCS11Error) as trouble:
            return Refusal("Sealed", _said(trouble))
        key = bytearray(opened)
        if len(key) != KEK_BYTES:
            return Refusal("Integrity", f"pkcs11: what the token decrypted is not a key of {KEK_BYTES} bytes")
        return key

    def forget(self) -> None:
        """Nothing is kept."""

    @contextmanager
    def _session(self, *, write: bool) -> Iterator[Any]:
        """A session for one use: none is kept, so none is lost when the module is unplugged in between."""
        pin = options.read_secret(self.pin_file, "PIN")
        if isinstance(pin, Refusal):
            raise _Trouble(pin.reason)
        try:
            library = pkcs11.lib(str(self.module))
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as trouble:
            raise _Trouble(f"module {self.module} can't be loaded: {trouble}") from None
        with library.get_token(token_label=self.token).open(rw=write, user_pin=pin) as session:
            yield session

    def _token_key(self, session: Any, *, make: bool) -> Any:
        named = {"object_class": ObjectClass.SECRET_KEY, "key_type": KeyType.AES, "label": self.label}
        try:
            key = session.get_key(**named)
        except pkcs11.NoSuchKey:
            if not make:
                raise _Trouble(f"token {self.token!r} holds no AES key {self.label!r}") from None
            return session.generate_key(
                KeyType.AES,
                8 * KEK_BYTES,
                label=self.label,
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
        except pkcs11.MultipleObjectsReturned:
            raise _Trouble(f"token {self.token!r} holds more than one AES key {self.label!r}") from None
        if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE] or key[Attribute.VALUE_LEN] != KEK_BYTES:
            raise _Trouble(f"AES key {self.label!r} is not a 256-bit key that stays in the token")
        return key


def provider(rest: str) -> Pkcs11Provider:
    """The provider of ``token=…;object=…?module-path=…&pin-source=…`` (RFC 7512). Raises ValueError."""
    path, query = options.split(rest, ("module-path", "pin-source"))
    named = options.pairs(path, ";", ("token", "object", "type"))
    if named.get("type", "secret-key") != "secret-key":
        raise ValueError("pkcs11: type is secret-key")
    missing = [name for name in ("token", "object") if name not in named]
    missing += [name for name in ("module-path", "pin-source") if name not in query]
    if missing:
        raise ValueError(f"pkcs11 lacks {', '.join(missing)}")
    return Pkcs11Provider(
        named["token"], named["object"], Path(query["module-path"]), Path(query["pin-source"].removeprefix("file:"))
    )


def _parameters(nonce: bytes, root: RootName) -> GCMParams:
    return GCMParams(nonce, msgspec.msgpack.encode(("csp/1", root.store_id, root.root_version)), _TAG_BITS)


def _said(trouble: Exception) -> str:
    text = str(trouble)
    return f"pkcs11: {type(trouble).__name__.strip('_')}{': ' + text if text else ''}".replace("Trouble: ", "")
