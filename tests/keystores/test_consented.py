"""For each order one request that asks for exactly it, and everything near by that does not."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from countersign.keystores.consented import CONSENTED_OPS, mismatch
from countersign.keystores.protocol import Order
from tests.keystores.builders import STORE
from tests.keystores.people import Person

KEY, OTHER = "key-00000-00001-0000000000000001", "key-00000-00002-0000000000000002"
SOMEONE = Person()
pack = msgspec.msgpack.encode


@dataclass(frozen=True)
class Case:
    """An order and the request that asks for it; ``near`` are members of the body that ask for something else."""

    op: str
    kind: str
    payload: bytes
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    near: tuple[dict[str, Any], ...] = ()
    scheme: str = "ECDSA"
    curve: str = "secp256k1"
    tweak: bytes | None = None

    def order(self, **changed: Any) -> Order:
        order = Order(1, self.op, KEY, self.scheme, payload=memoryview(self.payload), payload_kind=self.kind)
        order.curve, order.tweak, order.public_key = self.curve, self.tweak, b"\x02\xab"
        for name, value in changed.items():
            setattr(order, name, value)
        return order


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


NEW = {"scheme": "ECDSA", "curve": "secp256k1"}
SHARES = [(b"signer-1", b"cipher-1"), (b"signer-2", b"cipher-2")]
IMPORT = {
    "protocol": "CGGMP21",
    "curve": "secp256k1",
    "minSigners": 2,
    "encryptedKeyShares": [{"signerId": b64(who), "encryptedKeyShare": b64(what)} for who, what in SHARES],
}
EXPORT = {"encryptionKey": b64(b"k" * 34), "supportedSchemes": [{"protocol": "KU23", "curve": "secp256k1"}]}
CASES = [
    Case(
        "sign", "digest32", b"\1" * 32, "POST", f"/keys/{KEY}/signatures", {"kind": "Hash", "hash": "01" * 32},
        ({"hash": "02" * 32}, {"kind": "Message"}, {"kind": "Transaction"}, {"kind": None}, {"taprootMerkleRoot": ""},
         {"network": "Bitcoin"}, {"blockchainKind": "Evm"}),
    ),
    Case(
        "sign", "message", b"\1\2", "POST", f"/keys/{KEY}/signatures", {"kind": "Message", "message": "0x0102"},
        ({"message": "0x01"}, {"kind": "Hash", "hash": "01" * 32}), "EdDSA", "ed25519",
    ),
    Case(
        "sign", "digest32", b"\1" * 32, "POST", f"/keys/{KEY}/signatures",
        {"kind": "Hash", "hash": "01" * 32, "taprootMerkleRoot": "0x" + "03" * 32},
        ({"taprootMerkleRoot": ""}, {"taprootMerkleRoot": "04" * 32}), "Schnorr", tweak=b"\3" * 32,
    ),
    Case(
        "derive", "derive", pack([b"d", b"s"]), "POST", f"/keys/{KEY}/derive", {"domain": "64", "seed": "0x73"},
        ({"domain": "65"}, {"seed": ""}), "DH",
    ),
    Case(
        "generate", "generate", b"secp256k1", "POST", "/keys", NEW,
        ({"curve": "stark"}, {"masterKey": True}, {"storeId": "ks-other"}),
    ),
    Case(
        "generate", "generate_master", b"secp256k1", "POST", "/keys", {**NEW, "masterKey": True},
        ({"masterKey": False}, {"scheme": "Schnorr"}, {"deriveFrom": {"keyId": KEY}}),
    ),
    Case(
        "derive_child", "derive_child", pack([OTHER, "m/1/2"]), "POST", "/keys",
        {**NEW, "deriveFrom": {"keyId": KEY, "path": "m/1/02"}},
        ({"deriveFrom": {"keyId": OTHER}}, {"deriveFrom": {"keyId": KEY, "path": "m/1"}}, {"scheme": "Schnorr"},
         {"deriveFrom": {"keyId": KEY, "path": "m/1/2'"}}, {"masterKey": True}, {"deriveFrom": None},
         {"storeId": "ks-other"}),
    ),
    Case(
        "import", "import", pack(["CGGMP21", "secp256k1", 2, SHARES]), "POST", "/keys/import", IMPORT,
        ({"minSigners": 3}, {"protocol": "KU23"}, {"curve": "stark"}, {"masterKey": True},
         {"encryptedKeyShares": IMPORT["encryptedKeyShares"][:1]}, {"encryptedKeyShares": "none"}),
    ),
    Case(
        "export", "export", pack([b"k" * 34, "KU23"]), "POST", f"/keys/{KEY}/export", EXPORT,
        ({"encryptionKey": b64(b"l" * 34)}, {"supportedSchemes": [{"protocol": "CGGMP21", "curve": "secp256k1"}]},
         {"supportedSchemes": []}, {"encryptionKey": "%"}),
    ),
    Case("archive", "archive", b"", "DELETE", f"/keys/{KEY}"),
    Case(
        "destroy", "destroy", b"", "POST", f"/keys/{KEY}/destroy", {"publicKey": "0x02AB"},
        ({"publicKey": "03ab"}, {"publicKey": None}),
    ),
]  # fmt: skip


def named(case: Case) -> str:
    return f"{case.op}-{case.kind}-{case.scheme}"


def test_every_order_that_takes_consent_has_a_case() -> None:
    assert {case.op for case in CASES} == CONSENTED_OPS


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_request_that_asks_for_it(case: Case) -> None:
    assert mismatch(case.order(), SOMEONE.consents(case.method, case.path, case.body), STORE) is None


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_request_near_by_asks_for_something_else(case: Case) -> None:
    for members in case.near:
        near_by = SOMEONE.consents(case.method, case.path, {**case.body, **members})
        assert mismatch(case.order(), near_by, STORE), members
    right = SOMEONE.consents(case.method, case.path, case.body)
    assert mismatch(case.order(), msgspec.structs.replace(right, query="?x=1"), STORE)
    assert mismatch(case.order(), msgspec.structs.replace(right, method="PUT"), STORE)
    assert mismatch(case.order(), msgspec.structs.replace(right, path=case.path + "/more"), STORE)
    assert mismatch(case.order(), msgspec.structs.replace(right, payload=b"{"), STORE)
    assert mismatch(case.order(payload=memoryview(case.payload + b"\0")), right, STORE)
    assert mismatch(case.order(payload_kind="other"), right, STORE)
    if KEY in f"{case.path}{case.body}":
        assert mismatch(case.order(key_id=OTHER), right, STORE)
    for op in {each.op for each in CASES} - {case.op}:
        assert mismatch(case.order(op=op), right, STORE), op


def test_an_order_is_of_the_kind_of_key_that_the_request_makes() -> None:
    (moved_in,) = (each for each in CASES if each.op == "import")
    asked = SOMEONE.consents(moved_in.method, moved_in.path, moved_in.body)
    for scheme in ("Schnorr", "DH"):
        assert "another kind of key" in str(mismatch(moved_in.order(scheme=scheme), asked, STORE))
    (child,) = (each for each in CASES if each.op == "derive_child")
    anywhere = SOMEONE.consents(child.method, child.path, {**NEW, "deriveFrom": {"keyId": KEY}})
    assert mismatch(child.order(), anywhere, STORE) is None
    for path in ("m/01", "m", "m/1'", "m//1", "1"):
        order = child.order(payload=memoryview(pack([OTHER, path])))
        assert "canonical form" in str(mismatch(order, anywhere, STORE)), path


def test_a_request_may_name_the_store_that_carries_it_out() -> None:
    (case,) = (each for each in CASES if each.kind == "generate")
    body = {**case.body, "storeId": STORE}
    assert mismatch(case.order(), SOMEONE.consents(case.method, case.path, body), STORE) is None


def test_no_request_asks_for_an_order_that_is_not_known() -> None:
    reason = mismatch(Order(1, "melt"), SOMEONE.consents("POST", "/keys", NEW), STORE)
    assert reason == "no request asks for an order 'melt'"
