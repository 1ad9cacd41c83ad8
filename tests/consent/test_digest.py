import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.consent.digest import action_digest, payload_hash
from countersign.encoding import base64url
from countersign.encoding.strictjson import parse_payload
from countersign.encoding.target import canonical_path, canonical_query, parse_signed_path
from tests.support.vectors import auth_vectors

_PARTS = ("in-a", "or-b", "us-c", "POST", "/keys", "?force=true")


@pytest.mark.parametrize("case", auth_vectors()["action_digest"]["cases"])
def test_the_digest_is_the_published_one(case: dict[str, Any]) -> None:
    target = parse_signed_path(case["path"])
    digest = action_digest(
        case["installationId"],
        case["orgId"],
        case["userId"],
        case["method"],
        canonical_path(target.segments),
        canonical_query(target),
        payload_hash(parse_payload(case["payload"])),
    )
    assert digest == case["digest_b64url"]
    assert digest == base64url.encode(hashlib.sha256(bytes.fromhex(case["preimage_hex"])).digest())


@pytest.mark.parametrize("position", range(6))
def test_every_part_counts(position: int) -> None:
    changed = [*_PARTS]
    changed[position] += "x"
    assert action_digest(*changed, bytes(32)) != action_digest(*_PARTS, bytes(32))
    assert action_digest(*_PARTS, b"\x01" + bytes(31)) != action_digest(*_PARTS, bytes(32))


@settings(deadline=None, max_examples=100)
@given(*[st.lists(st.text(alphabet="ab\x00é", max_size=3), min_size=6, max_size=6)] * 2)
def test_no_two_requests_share_a_framing(one: list[str], other: list[str]) -> None:
    assert (action_digest(*one, b"") == action_digest(*other, b"")) == (one == other)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="abc", max_size=12), st.data())
def test_moving_a_boundary_between_parts_changes_the_digest(text: str, data: st.DataObject) -> None:
    cuts = [sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=5, max_size=5))) for _ in range(2)]
    one, other = ([text[a:b] for a, b in zip([0, *cut], [*cut, len(text)], strict=True)] for cut in cuts)
    assert (action_digest(*one, b"") == action_digest(*other, b"")) == (one == other)
