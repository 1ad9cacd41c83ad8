"""Assets by their exact identity: network and ``tid``, never a symbol, which anybody may give to a token.

A ``tid`` is the standard, a colon and what identifies the asset there: ``native:eth``, ``erc20:0x...`` in lower case,
``spl:<mint>``. Where a standard allows several spellings of one identity, one is canonical, and every other one is
refused: an asset that could be spelled in another way would slip past a limit that lists it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countersign.encoding import base64url
from countersign.policies.networks import NATIVE_SYMBOLS

_HEX_20 = re.compile(r"0x[0-9a-f]{40}", re.ASCII)
_HEX_32 = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_HEDERA = re.compile(r"0\.0\.(0|[1-9][0-9]{0,18})", re.ASCII)
_STARKNET = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_COIN = re.compile(r"0x[0-9a-f]{64}::[A-Za-z0-9_]+::[A-Za-z0-9_]+", re.ASCII)
_SHORT_COIN = re.compile(r"0x([0-9a-fA-F]{1,64})(::[A-Za-z0-9_]+::[A-Za-z0-9_]+)", re.ASCII)
_TON_RAW = re.compile(r"(0|-1):[0-9a-f]{64}", re.ASCII)
_TON_FRIENDLY = re.compile(r"[A-Za-z0-9_-]{48}", re.ASCII)
#: Cardano: policy and name in hex; Asset Hub: a number.
_ASSET = re.compile(r"[0-9a-f]{56,120}|0|[1-9][0-9]{0,38}", re.ASCII)
#: XRP Ledger: a code of three characters, or 160 bits in hex that are none of these codes again (those begin with a
#: zero byte), and the issuer's classic address, which an X-address would be a second form of.
_IOU = re.compile(
    r"(?:(?!XRP:)[A-Za-z0-9?!@#$%^&*<>(){}\[\]|]{3}|(?!00)[0-9A-F]{40}):r[1-9A-HJ-NP-Za-km-z]{24,34}", re.ASCII
)
_ISSUANCE = re.compile(r"[0-9A-F]{48}", re.ASCII)
_TRON = re.compile(r"T[1-9A-HJ-NP-Za-km-z]{33}", re.ASCII)
_HEX_CURRENCY = re.compile(r"[0-9a-fA-F]{40}(?=:)", re.ASCII)
_OPAQUE = re.compile(r"[!-~]{1,200}", re.ASCII)

#: Transfer kinds that move something fungible: how the standard is called in a ``tid``, and the members that identify
#: the asset. Transfers of single things (Erc721, Trc721, Hip17, Snip3) are not here.
_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "Native": (),
    "Aip21": ("metadata",),
    "Asa": ("assetId",),
    "Asset": ("assetId",),
    "Cip56": ("instrumentAdmin", "instrumentId"),
    "Cis2": ("tokenAddress",),
    "Cis7": ("tokenId",),
    "Coin": ("coin",),
    "Erc20": ("contract",),
    "Erc7984": ("contract",),
    "Hts": ("tokenId",),
    "Iou": ("currency", "issuer"),
    "Sep41": ("assetCode", "issuer"),
    "Snip2": ("contract",),
    "Spl": ("mint",),
    "Spl2022": ("mint",),
    "Tep74": ("master",),
    "Trc10": ("tokenId",),
    "Trc20": ("contract",),
    "Xls33": ("issuanceId",),
}
_PATTERNS = {
    "aip21": _HEX_32,
    "asa": _NUMBER,
    "asset": _ASSET,
    "coin": _COIN,
    "erc20": _HEX_20,
    "erc7984": _HEX_20,
    "hts": _HEDERA,
    "iou": _IOU,
    "snip2": _STARKNET,
    "tep74": _TON_RAW,
    "trc10": _NUMBER,
    "trc20": _TRON,
    "xls33": _ISSUANCE,
}
_LOWER_CASE = frozenset({"aip21", "asset", "erc20", "erc7984", "snip2"})
STANDARDS = frozenset(kind.lower() for kind in _MEMBERS)


@dataclass(frozen=True, slots=True)
class Asset:
    """One fungible asset; ``tid`` is canonical, ``native`` alone where the network's symbol is not known."""

    network: str
    tid: str

    def __str__(self) -> str:
        return f"{self.network}/{self.tid}"


def native(network: str) -> Asset:
    """The one native asset of a network."""
    symbol = NATIVE_SYMBOLS.get(network)
    return Asset(network, "native" if symbol is None else f"native:{symbol}")


def of_tid(network: str, tid: str) -> Asset | None:
    """The asset that a canonical ``tid`` names; nothing when it is not canonical or not of a fungible standard.

    On a network whose native symbol is not known, every ``native:...`` is its native asset: it has only one.
    """
    standard, _, identity = tid.partition(":")
    if standard not in STANDARDS:
        return None
    if standard == "native":
        asset = native(network)
        return asset if tid == asset.tid or (asset.tid == "native" and identity) else None
    pattern = _PATTERNS.get(standard, _OPAQUE)
    return Asset(network, tid) if pattern.fullmatch(identity) else None


def of_transfer(network: str, body: Mapping[str, Any]) -> Asset | None:
    """The asset that the body of a transfer request moves; nothing when it is not fungible or spelled otherwise."""
    kind = body.get("kind")
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None or not isinstance(kind, str):
        return None
    if not members:
        return native(network)
    parts = [body.get(member) for member in members]
    if not all(isinstance(part, str) and part for part in parts):
        return None
    standard = kind.lower()
    return of_tid(network, f"{standard}:{_canonical(standard, ':'.join(str(part) for part in parts))}")


def _canonical(standard: str, identity: str) -> str:
    """The canonical spelling, where another one is allowed in requests."""
    if standard in _LOWER_CASE:
        identity = identity.lower()
    if standard == "xls33":
        return identity.upper()
    if standard == "iou":
        return _HEX_CURRENCY.sub(lambda match: match[0].upper(), identity, count=1)
    if standard == "snip2" and identity.startswith("0x"):
        return f"0x{identity[2:].zfill(64)}"
    if standard == "coin" and (match := _SHORT_COIN.fullmatch(identity)) is not None:
        return f"0x{match.group(1).lower().zfill(64)}{match.group(2)}"
    if standard == "tep74" and _TON_FRIENDLY.fullmatch(identity):
        # Tag, work chain and account in base64url, with a checksum; two tags make two texts of one address.
        content = base64url.decode(identity)
        return f"{int.from_bytes(content[1:2], signed=True)}:{content[2:34].hex()}"
    return identity.lower() if standard == "tep74" else identity
