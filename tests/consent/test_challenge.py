import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.consent.challenge import ActionChallenge, parse_challenge, parse_signed_challenge
from countersign.credentials.outcome import Refused
from countersign.encoding import base64url
from countersign.world import World
from tests.support.vectors import auth_vectors

_VECTORS = auth_vectors()["challenges"]
_MEMBERS: dict[str, Any] = json.loads(_VECTORS["action"]["json"])


def _text(**changes: object) -> str:
    members = {name: value for name, value in {**_MEMBERS, **changes}.items() if value is not ...}
    return base64url.encode(json.dumps(members).encode())


def test_the_challenge_string_is_the_published_one() -> None:
    challenge = ActionChallenge(**_MEMBERS)
    assert challenge.text == _VECTORS["action"]["challenge"]
    assert parse_challenge(challenge.text) == challenge


@pytest.mark.parametrize("form", ["plain", "double_encoded"])
def test_both_forms_in_which_clients_sign_it_are_read(form: str) -> None:
    text = _VECTORS["accepted_clientData_challenge_forms"][form]
    assert parse_signed_challenge(text) == ActionChallenge(**_MEMBERS)


def test_a_threefold_encoded_challenge_is_refused() -> None:
    double = _VECTORS["accepted_clientData_challenge_forms"]["double_encoded"]
    assert isinstance(parse_signed_challenge(base64url.encode(double.encode())), Refused)


def test_a_fresh_challenge_is_read_back() -> None:
    world = World()
    challenge = ActionChallenge(world.new_id("ch"), world.new_id("no"), 1, "A" * 43)
    assert parse_challenge(challenge.text) == challenge
    assert parse_signed_challenge(base64url.encode(challenge.text.encode())) == challenge


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "\ud83d",
        _VECTORS["action"]["challenge"] + "=",
        _VECTORS["login"]["challenge"],
        _VECTORS["recovery"]["challenge"],
        base64url.encode(b"\xff"),
        base64url.encode(b"[]"),
        base64url.encode(_VECTORS["action"]["json"].replace('"exp"', '"id":"ch-x","exp"').encode()),
        _text(id=_MEMBERS["nonce"]),
        _text(id=_MEMBERS["id"] + "\n"),
        _text(nonce=1),
        _text(exp="1790000900"),
        _text(exp=True),
        _text(exp=1.5),
        _text(action=None),
        _text(action="A" * 42),
        _text(action=...),
        _text(purpose="action"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    assert isinstance(parse_challenge(text), Refused)
    assert isinstance(parse_signed_challenge(text), Refused)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=30) | st.binary(max_size=30).map(base64url.encode))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert isinstance(parse_signed_challenge(text), ActionChallenge | Refused)
