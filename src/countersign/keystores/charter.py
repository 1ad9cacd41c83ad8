"""The key file of an authoriser in a process of its own: its secret, and the first credentials of its roster.

It is made where the key-encryption key is at hand, like the store root that names its public key, and is never in the
database: who holds it makes grants. JSON, mode 0600.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from countersign.keystores.grants import Authoriser
from countersign.keystores.kek import OTHERS_MAY
from countersign.keystores.roots import Founder
from countersign.keystores.roster_keys import SeedKeys
from countersign.private_files import write_new

_SEED_BYTES: Final = 32
_MAX_FILE: Final = 1 << 20


class Charter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``seed``: 32 bytes, of the Ed25519 key of grants and of what authenticates the roster."""

    version: int = 1
    authoriser_id: str
    installation_id: str
    founders: tuple[Founder, ...]
    seed: bytes

    def __post_init__(self) -> None:
        if self.version != 1 or len(self.seed) != _SEED_BYTES or not (self.authoriser_id and self.installation_id):
            raise ValueError("it is of another version, or incomplete")
        if not self.founders:
            raise ValueError("it names no first credentials")

    @property
    def public_key(self) -> bytes:
        """What the store root has to name."""
        return Authoriser(self.seed).public_key

    @property
    def keys(self) -> SeedKeys:
        """What authenticates the roster."""
        return SeedKeys(self.authoriser_id, self.seed)


def create(path: Path, authoriser_id: str, installation_id: str, founders: tuple[Founder, ...]) -> Charter:
    """Make a new authoriser. Raises OSError (FileExistsError rather than replace one)."""
    seed = os.urandom(_SEED_BYTES)
    made = Charter(authoriser_id=authoriser_id, installation_id=installation_id, founders=founders, seed=seed)
    write_new(path, msgspec.json.format(msgspec.json.encode(made)) + b"\n")
    return made


def read(path: Path) -> Charter:
    """Raises ValueError that says what is wrong with the file, and OSError."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        content = file.read(_MAX_FILE)
    if stat.S_ISREG(mode) and mode & OTHERS_MAY:
        raise ValueError(f"the authoriser's key file {path} is open to others; chmod 0400")
    try:
        return msgspec.json.decode(content, type=Charter)
    except msgspec.MsgspecError as defect:
        # Not the library's text where it may quote the content.
        raise ValueError(f"{path} is no key file of an authoriser: {_safe(defect)}") from None


def _safe(defect: msgspec.MsgspecError) -> str:
    return str(defect) if isinstance(defect, msgspec.ValidationError) else "it is not the JSON that was written"
