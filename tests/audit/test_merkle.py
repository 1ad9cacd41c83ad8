"""The tree against the reference data of the Certificate Transparency software, and its properties."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.audit import merkle

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "merkle_rfc6962.json").read_text())
LEAVES = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]


def proof_of(case: dict[str, list[str]]) -> list[bytes]:
    return [bytes.fromhex(node) for node in case["proof"]]


def leaf_hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(count)]


def recursive_tree_hash(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 writes it down."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return merkle.node_hash(recursive_tree_hash(leaves[:k]), recursive_tree_hash(leaves[k:]))


def test_empty_tree_has_the_published_root() -> None:
    assert merkle.EMPTY_ROOT.hex() == VECTORS["empty_root"]
    assert merkle.Frontier().root() == merkle.EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 9))
def test_every_prefix_has_the_published_root(size: int) -> None:
    assert merkle.tree_hash(LEAVES[:size]) == ROOTS[size - 1]


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_published_inclusion_proofs(case: dict[str, object]) -> None:
    leaf, size = int(str(case["leaf"])), int(str(case["size"]))
    proof = proof_of(case)
    assert list(merkle.inclusion_proof(leaf, LEAVES[:size])) == proof
    assert merkle.verify_inclusion(leaf, size, LEAVES[leaf], proof, ROOTS[size - 1])


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_published_consistency_proofs(case: dict[str, object]) -> None:
    first, second = int(str(case["first"])), int(str(case["second"]))
    proof = proof_of(case)
    assert list(merkle.consistency_proof(first, LEAVES[:second])) == proof
    assert merkle.verify_consistency(first, second, ROOTS[first - 1], ROOTS[second - 1], proof)


@given(st.integers(0, 130))
def test_appending_one_by_one_equals_the_recursive_definition(size: int) -> None:
    leaves = leaf_hashes(size)
    assert merkle.tree_hash(leaves) == recursive_tree_hash(leaves)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_stored_frontier_goes_on_where_it_stopped(first: int, more: int) -> None:
    leaves = leaf_hashes(first + more)
    before = merkle.Frontier().append(leaves[:first])
    stored = merkle.Frontier.from_bytes(before.size, before.to_bytes())
    assert stored.append(leaves[first:]).root() == merkle.tree_hash(leaves)


def test_a_frontier_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="frontier of 3 leaves"):
        merkle.Frontier.from_bytes(3, bytes(32))


@given(st.integers(1, 70), st.data())
def test_inclusion_proofs_hold_for_their_leaf_only(size: int, data: st.DataObject) -> None:
    leaves = leaf_hashes(size)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(index, leaves), merkle.tree_hash(leaves)
    assert merkle.verify_inclusion(index, size, leaves[index], proof, root)
    assert merkle.verify_inclusion(index, size, leaves[other], proof, root) == (other == index)
    assert not merkle.verify_inclusion(size, size, leaves[index], proof, root)
    assert not merkle.verify_inclusion(index, size, leaves[index], (*proof, bytes(32)), root)
    if proof:
        assert not merkle.verify_inclusion(index, size, leaves[index], proof[:-1], root)


@given(st.integers(1, 70), st.data())
def test_consistency_proofs_hold_for_prefixes_only(second: int, data: st.DataObject) -> None:
    leaves = leaf_hashes(second)
    first = data.draw(st.integers(1, second))
    proof = merkle.consistency_proof(first, leaves)
    old, new = merkle.tree_hash(leaves[:first]), merkle.tree_hash(leaves)
    assert merkle.verify_consistency(first, second, old, new, proof)
    changed = merkle.tree_hash([*leaves[: first - 1], merkle.leaf_hash(b"changed")])
    assert not merkle.verify_consistency(first, second, changed, new, proof)
    assert not merkle.verify_consistency(first, second, old, changed, proof)
    assert not merkle.verify_consistency(first, second, old, new, (*proof, bytes(32)))
    assert not merkle.verify_consistency(0, second, old, new, proof)
