"""Sharing a key and putting it together: the arithmetic, and what shares say."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.keystores import share_envelope, share_format, share_points, sharing
from countersign.keystores.outcome import Refusal
from countersign.keystores.share_format import ExportShare, ImportShare
from tests.keystores.builders import vectors

VECTORS: dict[str, Any] = vectors("keys-wallets-vectors.json")["keyShareEnvelope"]
CURVES = ("secp256k1", "ed25519", "stark")
LENGTHS = {"secp256k1": (1008, 281), "stark": (984, 273), "ed25519": (666, 277)}
OVERHEAD = 49


@st.composite
def shared_keys(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """Order of a curve, a key, a threshold and the five shares of the key."""
    order = sharing.ORDERS[draw(st.sampled_from(CURVES))]
    scalars = st.integers(1, order - 1)
    secret, threshold = draw(scalars), draw(st.integers(2, 5))
    coefficients = draw(st.lists(scalars, min_size=threshold - 1, max_size=threshold - 1))
    return order, secret, threshold, sharing.split(secret, coefficients, 5, order)


@settings(max_examples=60, deadline=None)
@given(shared_keys(), st.permutations(range(1, 6)), st.data())
def test_as_many_shares_as_it_takes_give_the_key(
    shared: tuple[int, int, int, list[int]], positions: list[int], data: st.DataObject
) -> None:
    order, secret, threshold, shares = shared
    chosen = positions[: data.draw(st.integers(threshold, 5))]
    assert sharing.combine({position: shares[position - 1] for position in chosen}, order) == secret


@settings(max_examples=60, deadline=None)
@given(shared_keys(), st.permutations(range(1, 6)))
def test_k5_one_share_too_few_gives_another_number(
    shared: tuple[int, int, int, list[int]], positions: list[int]
) -> None:
    order, secret, threshold, shares = shared
    # The highest coefficient is not zero, so that fewer shares never meet the key.
    assert sharing.combine({position: shares[position - 1] for position in positions[: threshold - 1]}, order) != secret


@settings(max_examples=60, deadline=None)
@given(shared_keys(), st.integers(1, 5), st.data())
def test_k5_a_share_of_another_polynomial_is_noticed(
    shared: tuple[int, int, int, list[int]], position: int, data: st.DataObject
) -> None:
    order, _, threshold, shares = shared
    given_shares = dict(enumerate(shares, 1))
    assert sharing.on_one_polynomial(given_shares, threshold, order)
    changed = data.draw(st.integers(0, order - 1).filter(lambda value: value != shares[position - 1]))
    given_shares[position] = changed
    if threshold < 5:
        assert not sharing.on_one_polynomial(given_shares, threshold, order)


def test_a_polynomial_of_a_higher_degree_is_noticed() -> None:
    order = sharing.ORDERS["secp256k1"]
    shares = dict(enumerate(sharing.split(7, [1, 2, 3], 5, order), 1))
    assert sharing.on_one_polynomial(shares, 4, order)
    assert not sharing.on_one_polynomial(shares, 3, order)


def test_positions_are_ranks_by_id() -> None:
    assert sharing.positions([b"\2", b"\1", b"\xff"]) == {b"\1": 1, b"\2": 2, b"\xff": 3}
    assert sharing.positions([b"\1", b"\1"]) is None


def test_the_shares_of_the_vectors_make_the_key_of_the_vectors() -> None:
    share = share_format.decode_import(VECTORS["importSharePlaintext0"].encode(), "secp256k1", 5)
    assert isinstance(share, ImportShare)
    assert share_points.public_share("secp256k1", share.scalar) == share.public_shares[0]
    secret = int(VECTORS["secretScalarHex"], 16)
    point = share_points.public_share("secp256k1", secret)
    assert share_points.canonical("secp256k1", point).hex() == VECTORS["publicKey"]


@pytest.mark.parametrize("curve", CURVES)
def test_shares_have_exactly_the_published_lengths(curve: str) -> None:
    order = sharing.ORDERS[curve]
    point = bytes(32 if curve == "ed25519" else 65)
    into, out = LENGTHS[curve]
    assert len(share_format.encode_import(curve, order - 1, [point] * 5, None)) + OVERHEAD == into
    assert len(share_format.encode_export(curve, 5, order - 1)) + OVERHEAD == out


def test_the_import_share_is_the_text_of_the_vectors() -> None:
    text = VECTORS["importSharePlaintext0"]
    share = share_format.decode_import(text.encode(), "secp256k1", 5)
    assert isinstance(share, ImportShare)
    assert share_format.encode_import("secp256k1", share.scalar, share.public_shares, None) == text.encode()


@pytest.mark.parametrize("number", range(3))
def test_the_export_shares_are_the_texts_of_the_vectors(number: int) -> None:
    envelope = base64.b64decode(VECTORS["exportResponse"]["encryptedKeyShares"][number]["encryptedKeyShare"])
    scalar = bytearray.fromhex(VECTORS["exportDecryptionScalarHex"])
    content = share_envelope.decrypt(scalar, envelope, memoryview(bytearray(500)))
    assert isinstance(content, memoryview)
    share = share_format.decode_export(content, "secp256k1")
    assert isinstance(share, ExportShare)
    assert share_format.encode_export("secp256k1", share.index, share.scalar) == bytes(content)


@pytest.mark.parametrize("curve", CURVES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_share_is_read_as_it_was_written(curve: str, data: st.DataObject) -> None:
    scalar = data.draw(st.integers(1, sharing.ORDERS[curve] - 1))
    size = 32 if curve == "ed25519" else 65
    points = tuple(data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=5, max_size=5)))
    chain_code = data.draw(st.none() | st.binary(min_size=32, max_size=32))
    written = share_format.encode_import(curve, scalar, points, chain_code)
    assert share_format.decode_import(written, curve, 5) == ImportShare(scalar, points, chain_code)
    assert share_format.decode_export(share_format.encode_export(curve, 3, scalar), curve) == ExportShare(3, scalar)


def test_the_order_of_members_is_free() -> None:
    share = json.loads(VECTORS["importSharePlaintext0"])
    turned = json.dumps(dict(reversed(share.items())), indent=1).encode()
    assert share_format.decode_import(turned, "secp256k1", 5) == share_format.decode_import(
        VECTORS["importSharePlaintext0"].encode(), "secp256k1", 5
    )


def broken_shares() -> list[tuple[str, dict[str, Any] | bytes, str]]:
    good = json.loads(VECTORS["importSharePlaintext0"])
    scalar, points = good["secret_share"], good["public_shares"]
    order = sharing.ORDERS["secp256k1"]

    def with_scalar(text: str) -> dict[str, Any]:
        return {**good, "secret_share": {**scalar, "scalar": text}}

    return [
        ("no JSON", b"\xff", "not JSON"),
        ("a list", b"[1]", "not JSON"),
        ("no version", {name: good[name] for name in good if name != "version"}, "not JSON with a version"),
        ("version 0", {**good, "version": 0}, "version 0"),
        ("version 2", {**good, "version": 2}, "version 2"),
        ("version as text", {**good, "version": "1"}, "not JSON with a version"),
        ("no scalar", {**good, "secret_share": None}, "form"),
        ("no points", {"version": 1, "secret_share": scalar}, "form"),
        ("curve of the scalar", {**good, "secret_share": {**scalar, "curve": "stark"}}, "'stark', not 'secp256k1'"),
        ("curve of a point", {**good, "public_shares": [*points[:4], {**points[4], "curve": "ed25519"}]}, "'ed25519'"),
        ("scalar zero", with_scalar("00" * 32), "out of range"),
        ("scalar at the order", with_scalar(f"{order:064x}"), "out of range"),
        ("scalar too short", with_scalar("01" * 31), "32 bytes"),
        ("scalar too long", with_scalar("00" + "01" * 32), "32 bytes"),
        ("scalar with prefix", with_scalar("0x" + "01" * 31), "32 bytes"),
        ("scalar with blanks", with_scalar("01 " * 32), "32 bytes"),
        ("four points", {**good, "public_shares": points[:4]}, "5 public shares"),
        ("six points", {**good, "public_shares": [*points, points[0]]}, "5 public shares"),
        ("compressed point", {**good, "public_shares": [*points[:4], {**points[4], "point": "02" * 33}]}, "65 bytes"),
        ("chain code too short", {**good, "chain_code": "01" * 31}, "chain code"),
        ("an export share", share_format.encode_export("secp256k1", 1, 1), "form"),
    ]


@pytest.mark.parametrize(
    ("share", "reason"), [case[1:] for case in broken_shares()], ids=[c[0] for c in broken_shares()]
)
def test_k5_a_broken_share_is_refused_and_the_reason_said(share: dict[str, Any] | bytes, reason: str) -> None:
    content = json.dumps(share).encode() if isinstance(share, dict) else share
    refusal = share_format.decode_import(content, "secp256k1", 5)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason
    # Nothing of the share is in it: it travels to logs and to the caller.
    assert json.loads(VECTORS["importSharePlaintext0"])["secret_share"]["scalar"] not in refusal.reason


def test_ed25519_scalars_are_canonical() -> None:
    order = sharing.ORDERS["ed25519"]
    content = share_format.encode_export("ed25519", 1, order)
    assert isinstance(share_format.decode_export(content, "ed25519"), Refusal)


@pytest.mark.parametrize(
    ("scheme", "curve", "supported", "chosen"),
    [
        ("ECDSA", "secp256k1", [("CGGMP24", "secp256k1"), ("CGGMP21", "secp256k1")], "CGGMP24"),
        ("ECDSA", "secp256k1", [("CGGMP21", "stark"), ("FROST_BITCOIN", "secp256k1"), ("KU23", "secp256k1")], "KU23"),
        ("ECDSA", "stark", [("CGGMP21", "secp256k1"), ("KU23", "stark"), ("CGGMP21", "stark")], "CGGMP21"),
        ("EdDSA", "ed25519", [("FROST", "ed25519")], "FROST"),
        ("Schnorr", "secp256k1", [("CGGMP21", "secp256k1"), ("FROST_BITCOIN", "secp256k1")], "FROST_BITCOIN"),
        ("DH", "secp256k1", [("GLOW20_DH", "secp256k1")], "GLOW20_DH"),
        ("EdDSA", "ed25519", [("FROST", "secp256k1")], None),
        ("ECDSA", "secp256k1", [], None),
    ],
)
def test_the_protocol_is_chosen_from_the_callers_list(
    scheme: str, curve: str, supported: list[tuple[str, str]], chosen: str | None
) -> None:
    assert share_format.choose_protocol(scheme, curve, supported) == chosen
