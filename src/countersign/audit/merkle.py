"""Merkle tree hashes and proofs of RFC 6962 section 2.1 (RFC 9162 section 2.1 is the same), SHA-256 throughout.

Pure functions on 32-byte hashes. A *frontier* holds the hashes of the complete subtrees of a tree from
left to right (largest first), one for each set bit of its size: all that appending needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

HASH_BYTES = 32

#: Hash of a tree without leaves.
EMPTY_ROOT: bytes = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256 over 0x00 and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 over 0x01 and the hashes of both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of ``size`` leaves as the hashes of its complete subtrees, largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def append(self, leaves: Sequence[bytes]) -> Frontier:
        """The tree with these leaf hashes added at its right end."""
        builder = Builder(self)
        for leaf in leaves:
            builder.append(leaf)
        return builder.frontier()

    def root(self) -> bytes:
        """The tree's root hash."""
        return _fold(self.hashes)

    def to_bytes(self) -> bytes:
        """The hashes one after the other; the size is stored beside it."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Inverse of :meth:`to_bytes`; ``ValueError`` if the length doesn't fit the size."""
        if len(data) != HASH_BYTES * size.bit_count():
            raise ValueError(f"a frontier of {size} leaves has {size.bit_count()} hashes, not {len(data)} bytes")
        return cls(size, tuple(data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES)))


class Builder:
    """A frontier that grows in place, for passes over many leaves."""

    __slots__ = ("_hashes", "size")

    def __init__(self, start: Frontier | None = None) -> None:
        self.size = start.size if start else 0
        self._hashes = list(start.hashes) if start else []

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        # Each trailing one bit of the size is a complete subtree that the new leaf completes to the next larger one.
        size = self.size
        while size & 1:
            leaf = node_hash(self._hashes.pop(), leaf)
            size >>= 1
        self._hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Root hash of the leaves so far."""
        return _fold(self._hashes)

    def frontier(self) -> Frontier:
        """The state as a value."""
        return Frontier(self.size, tuple(self._hashes))


def _fold(hashes: Sequence[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH over leaf hashes."""
    return Frontier().append(leaves).root()


def _split(size: int) -> int:
    """The largest power of two smaller than ``size`` (at least 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """PATH(index, leaves): the sibling hashes from the leaf up to the root, over leaf hashes."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} in a tree of {len(leaves)}")
    if len(leaves) == 1:
        return ()
    k = _split(len(leaves))
    if index < k:
        return (*inclusion_proof(index, leaves[:k]), tree_hash(leaves[k:]))
    return (*inclusion_proof(index - k, leaves[k:]), tree_hash(leaves[:k]))


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows the leaf hash at ``index`` of a tree of ``size`` leaves (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn = index, size - 1
    result = leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            result = node_hash(sibling, result)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            result = node_hash(result, sibling)
        fn >>= 1
        sn >>= 1
    return sn == 0 and result == root


def consistency_proof(first: int, leaves: Sequence[bytes]) -> tuple[bytes, ...]:
    """PROOF(first, leaves): that the tree of the first ``first`` leaves is a prefix of this one, over leaf hashes."""
    if not 0 < first <= len(leaves):
        raise ValueError(f"no tree of {first} leaves inside one of {len(leaves)}")
    return _subproof(first, leaves, complete=True)


def _subproof(first: int, leaves: Sequence[bytes], *, complete: bool) -> tuple[bytes, ...]:
    if first == len(leaves):
        return () if complete else (tree_hash(leaves),)
    k = _split(len(leaves))
    if first <= k:
        return (*_subproof(first, leaves[:k], complete=complete), tree_hash(leaves[k:]))
    return (*_subproof(first - k, leaves[k:], complete=False), tree_hash(leaves[:k]))


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``second`` leaves begins with that of ``first`` (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            new = node_hash(new, sibling)
        fn >>= 1
        sn >>= 1
    return sn == 0 and old == first_root and new == second_root
