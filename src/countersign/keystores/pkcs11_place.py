"""Where a store's hardware module is, and how its keys are kept there.

``pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE&mode=MODE``, in the form of RFC 7512. Two modes:

``resident``: keys are made in the token, can't be taken out, and are found again by ``CKA_ID``; what the token holds
is the limit. ``wrapped``: keys leave the token only under an AES-256 key that never does (``object``), are stored
elsewhere, and are unwrapped for one use at a time: any number of keys, and any token with that wrapping key serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from countersign.keystores.keks import options

Mode = Literal["resident", "wrapped"]


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where the token is. ``wrapping_label`` names the AES key of mode ``wrapped``; ``pin_file`` is read at login."""

    label: str
    module: Path
    pin_file: Path
    mode: Mode
    wrapping_label: str


def parse_place(spec: str) -> TokenPlace:
    """Read ``pkcs11:token=…;object=…?module-path=…&pin-source=…&mode=…``. Raises ValueError naming what is wrong."""
    kind, _, rest = spec.partition(":")
    if kind != "pkcs11":
        raise ValueError(f"a store of its own is pkcs11:token=LABEL?..., not {spec.partition('?')[0]!r}")
    path, query = options.split(rest, ("module-path", "pin-source", "mode"))
    named = options.pairs(path, ";", ("token", "object"))
    missing = [name for name in ("token",) if name not in named]
    missing += [name for name in ("module-path", "pin-source") if name not in query]
    if missing:
        raise ValueError(f"pkcs11 lacks {', '.join(missing)}")
    mode = query.get("mode", "wrapped")
    if mode not in ("resident", "wrapped"):
        raise ValueError(f"pkcs11 mode is resident or wrapped, not {mode!r}")
    return TokenPlace(
        named["token"],
        Path(query["module-path"]),
        Path(query["pin-source"].removeprefix("file:")),
        "resident" if mode == "resident" else "wrapped",
        named.get("object", "countersign-wrapping"),
    )
