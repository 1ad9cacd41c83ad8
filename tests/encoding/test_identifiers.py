import pytest

from countersign.encoding import base64url
from countersign.encoding.identifiers import is_identifier
from countersign.world import World
from tests.support.vectors import auth_vectors

_VECTORS = auth_vectors()["identifiers"]


@pytest.mark.parametrize("text", _VECTORS["valid"])
def test_valid_identifiers_pass_with_their_own_prefix_only(text: str) -> None:
    assert is_identifier(text)
    assert is_identifier(text, text[:2])
    assert not is_identifier(text, "zz")
    assert not is_identifier(text, text[:1])


@pytest.mark.parametrize("text", _VECTORS["invalid"])
def test_invalid_identifiers_are_refused(text: str) -> None:
    assert not is_identifier(text)


def test_a_fresh_identifier_has_the_shape() -> None:
    assert is_identifier(World().new_id("key"), "key")


def test_the_credential_id_of_a_token_bound_key_is_the_base64url_of_a_plain_id() -> None:
    vector = _VECTORS["access_token_cred_id"]
    assert base64url.encode(vector["ci"].encode()) == vector["credId"]
    assert is_identifier(vector["ci"], "ci")
