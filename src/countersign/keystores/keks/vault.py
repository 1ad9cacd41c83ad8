"""Vault or OpenBao, engine ``transit``: it encrypts a random key per root, under a key that never leaves it.

``vault:https://HOST:PORT/MOUNT/KEY?token_file=PATH``; options ``namespace`` and ``ca`` (PEM file of its authority). The
associated data names store and root version, so the transit key's type has to be one with authentication
(``aes256-gcm96``, the default). The token is read from its file at each use, so that an agent may renew it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import hvac
import msgspec
import requests

from countersign.keystores.kek import KEK_BYTES, NewKek, RootName
from countersign.keystores.keks import options
from countersign.keystores.memory import fill_random, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer

_PATIENCE_S: Final = 5


@dataclass(frozen=True, slots=True)
class VaultProvider:
    """``url`` without a path; ``mount`` of the engine; ``key`` is the transit key's name."""

    url: str
    mount: str
    transit_key: str
    token_file: Path
    namespace: str = ""
    ca: str = ""
    name: str = "vault"
    needs_secret: bool = False
    note: str | None = None
    needs_network: bool = True
    needs_driver: bool = False

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Encrypt a random key under the newest version of the transit key. Raises ValueError when that fails."""
        key = bytearray(KEK_BYTES)
        fill_random(key)
        answer = self._ask("encrypt_data", root, plaintext=base64.b64encode(key).decode())
        if isinstance(answer, Refusal):
            wipe(key)
            raise ValueError(answer.reason)  # noqa: TRY004 - a condition of the service, not a wrong type
        return [answer["ciphertext"]], key

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Have the service decrypt the stored key."""
        match parameters:
            case [str() as wrapped] if wrapped.startswith("vault:"):
                pass
            case _:
                return Refusal("Integrity", f"the vault parameters of root {root.root_version} are malformed")
        answer = self._ask("decrypt_data", root, ciphertext=wrapped)
        if isinstance(answer, Refusal):
            return answer
        try:
            key = bytearray(base64.b64decode(answer["plaintext"], validate=True))
        except (binascii.Error, TypeError):
            key = bytearray()
        if len(key) != KEK_BYTES:
            return Refusal("Integrity", f"vault: what it decrypted is not a key of {KEK_BYTES} bytes")
        return key

    def forget(self) -> None:
        """Nothing is kept."""

    def _ask(self, what: str, root: RootName, **arguments: str) -> dict[str, Any] | Refusal:
        token = options.read_secret(self.token_file, "Vault token")
        if isinstance(token, Refusal):
            return token
        client = hvac.Client(
            url=self.url,
            token=token,
            namespace=self.namespace or None,
            verify=self.ca or True,
            timeout=_PATIENCE_S,
        )
        associated = msgspec.msgpack.encode(("csv/1", root.store_id, root.root_version))
        try:
            answer = getattr(client.secrets.transit, what)(
                self.transit_key,
                mount_point=self.mount,
                associated_data=base64.b64encode(associated).decode(),
                **arguments,
            )
            data: dict[str, Any] = answer["data"]
        except hvac.exceptions.VaultError as trouble:
            return Refusal("Sealed", f"vault: {type(trouble).__name__}: {trouble}")
        except requests.RequestException as trouble:
            return Refusal("Sealed", f"vault: {self.url} can't be reached: {type(trouble).__name__}")
        except (KeyError, TypeError):
            return Refusal("Sealed", f"vault: {self.url} does not answer like the transit engine")
        return data


def provider(rest: str) -> VaultProvider:
    """The provider of ``URL/MOUNT/KEY?token_file=PATH``. Raises ValueError."""
    place, found = options.split(rest, ("token_file", "namespace", "ca"))
    url = urlsplit(place)
    mount, _, key = url.path.strip("/").rpartition("/")
    if url.scheme not in ("https", "http") or not url.netloc or not mount or not key:
        raise ValueError("vault needs the address of a transit key: vault:https://HOST:PORT/MOUNT/KEY?token_file=PATH")
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("vault is reached by https; http is for an agent on this host only")
    if "token_file" not in found:
        raise ValueError("vault needs token_file=PATH: a token is never part of a setting")
    base = f"{url.scheme}://{url.netloc}"
    return VaultProvider(base, mount, key, Path(found["token_file"]), found.get("namespace", ""), found.get("ca", ""))
