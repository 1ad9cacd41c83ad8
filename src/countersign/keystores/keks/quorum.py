"""m of n custodians: a random key-encryption key, split by Shamir's scheme into shares of SLIP-39 words.

Nobody holds the key: it exists while it is split and while a root is opened, in the signer's memory. Stored with the
root are the threshold and SHA-256 of each share, under the root's authentication: a share of 256 random bits is not
found from its hash, and one that is mistyped, altered or of another set is named at once, before it can do harm.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import shamir_mnemonic

from countersign.keystores.kek import KEK_BYTES, MoreShares, NewKek, RootName
from countersign.keystores.memory import fill_random, wipe
from countersign.keystores.outcome import Refusal
from countersign.keystores.protocol import Buffer

_FORM: Final = re.compile(r"(\d{1,2})-of-(\d{1,2})")
_MOST: Final = 16
_MAX_WORDS_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class _Set:
    """A set of shares as it is stored: how many open, and the hash of each."""

    threshold: int
    hashes: tuple[bytes, ...]


class QuorumProvider:
    """``threshold`` of ``count`` shares open; both None where shares are only taken, not made."""

    name = "quorum"
    needs_secret = True
    note = None
    needs_network = False
    needs_driver = False

    def __init__(self, threshold: int | None, count: int | None) -> None:
        self.threshold, self.count = threshold, count
        self._given: dict[bytes, bytearray] = {}
        self._current: tuple[list[Any], bytearray] | None = None

    def split(self) -> list[str]:
        """Make a new key and give its shares, 33 words each; ``create`` wraps under it from then on.

        Raises ValueError where the numbers are not known.
        """
        if self.threshold is None or self.count is None:
            raise ValueError("say how many custodians there are and how many open: quorum:M-of-N")
        key = bytearray(KEK_BYTES)
        fill_random(key)
        # The key is random, so there is no passphrase to slow down guesses of.
        groups = shamir_mnemonic.generate_mnemonics(1, [(self.threshold, self.count)], bytes(key), iteration_exponent=0)
        shares: list[str] = groups[0]
        self.forget()
        self._current = [self.threshold, [_hash(share.encode()) for share in shares]], key
        return shares

    def create(self, root: RootName, secret: Buffer) -> NewKek:
        """Wrap under the key that was split, or that the shares just gave back. Raises ValueError without one."""
        if self._current is None:
            raise ValueError("the shares of the quorum's custodians are needed first")
        parameters, key = self._current
        return parameters, bytearray(key)

    def key(self, root: RootName, parameters: Sequence[Any], secret: Buffer) -> bytearray | Refusal:
        """Take one share in ``secret`` (words in UTF-8); the key once there are enough of them."""
        wanted = _stored(parameters)
        if wanted is None:
            return Refusal("Integrity", f"the quorum's parameters of root {root.root_version} are malformed")
        if self._current is not None and self._current[0] == list(parameters) and len(secret) == 0:
            return bytearray(self._current[1])
        if len(secret) and (refusal := self._take(secret, wanted)) is not None:
            return refusal
        mine = [number for number, each in enumerate(wanted.hashes, 1) if each in self._given]
        if not mine:
            return Refusal("Sealed", f"the key store waits for {wanted.threshold} shares: {_COMMAND}")
        if (missing := wanted.threshold - len(mine)) > 0:
            verb = "is" if len(mine) == 1 else "are"
            here = f"{len(mine)} of {wanted.threshold} shares {verb} here (number {', '.join(map(str, mine))})"
            return MoreShares("Sealed", f"{here}; {missing} more needed: {_COMMAND}")
        return self._combine(list(parameters), [self._given[wanted.hashes[number - 1]] for number in mine])

    def _take(self, secret: Buffer, wanted: _Set) -> Refusal | None:
        if len(secret) > _MAX_WORDS_BYTES:
            return Refusal("Denied", "a share is 33 words, not that many")
        words = _normal(secret)
        digest = _hash(words)
        if digest not in wanted.hashes:
            wipe(words)
            return Refusal("Denied", _strange(bytes(secret)))
        self._given[digest] = words
        return None

    def _combine(self, parameters: list[Any], shares: list[bytearray]) -> bytearray | Refusal:
        try:
            threshold: int = parameters[0]
            key = bytearray(shamir_mnemonic.combine_mnemonics(share.decode() for share in shares[:threshold]))
        except shamir_mnemonic.MnemonicError as error:
            self.forget()
            return Refusal("Integrity", f"the shares do not fit together: {error}")
        if len(key) != KEK_BYTES:
            return Refusal("Integrity", f"the shares hold a secret of {len(key)} bytes, not {KEK_BYTES}")
        self._current = parameters, bytearray(key)
        return key

    def forget(self) -> None:
        """Wipe the shares and the key."""
        for words in self._given.values():
            wipe(words)
        self._given.clear()
        if self._current is not None:
            wipe(self._current[1])
            self._current = None


_COMMAND: Final = "countersign keystore unseal --share"


def provider(rest: str) -> QuorumProvider:
    """The provider of ``M-of-N``, or of nothing where shares are only taken. Raises ValueError."""
    if not rest:
        return QuorumProvider(None, None)
    found = _FORM.fullmatch(rest)
    if found is None or not 2 <= int(found[1]) <= int(found[2]) <= _MOST:
        raise ValueError(f"a quorum is M-of-N with 2 <= M <= N <= {_MOST}, such as quorum:3-of-5, not {rest!r}")
    return QuorumProvider(int(found[1]), int(found[2]))


def _stored(parameters: Sequence[Any]) -> _Set | None:
    match parameters:
        case [int() as threshold, [*hashes]] if 2 <= threshold <= len(hashes) <= _MOST:
            if all(isinstance(each, bytes) and len(each) == 32 for each in hashes):
                return _Set(threshold, tuple(hashes))
    return None


def _hash(words: Buffer) -> bytes:
    return hashlib.sha256(b"csq/1\0" + bytes(words)).digest()


def _normal(secret: Buffer) -> bytearray:
    """Lower case, one space between words: how it was written down does not matter."""
    return bytearray(b" ".join(bytes(secret).lower().split()))


def _strange(secret: bytes) -> str:
    """Why a share is none of the set, as exactly as can be said without the others."""
    try:
        share = shamir_mnemonic.Share.from_mnemonic(secret.decode().lower())
    except (shamir_mnemonic.MnemonicError, UnicodeDecodeError):
        return "this is not a share as it was written down: a word is missing, mistyped or changed"
    return f"share {share.index + 1} is of another set than the one that this key store was split into, or was changed"
