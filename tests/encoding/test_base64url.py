import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding import base64url


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=100))
def test_what_was_encoded_decodes_to_the_same_bytes(data: bytes) -> None:
    text = base64url.encode(data)
    assert "=" not in text
    assert base64url.decode(text) == data
    assert base64url.decode_tolerant(text) == data


@pytest.mark.parametrize(
    "text", ["Zg==", "Zm8=", "+/8", "Zh", "Zm9", "Z", "Z g", "Zg\n", " Zg", "Zm8.", "é", "Zg=", "A=A", "\ud83d"]
)
def test_only_the_canonical_unpadded_form_decodes(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        base64url.decode(text)


@pytest.mark.parametrize("text", ["-_8", "+/8", "-_8=", "+/8="])
def test_clients_may_pad_and_use_either_alphabet(text: str) -> None:
    assert base64url.decode_tolerant(text) == b"\xfb\xff"


@pytest.mark.parametrize(
    "text", ["Zh", "Z", "Zg=", "Zg===", "Zm8==", "Zm9v=", "Zm9v====", "Zg ==", "Zg\n", "Z=g=", "é", "Zg!=", "="]
)
def test_the_tolerant_form_refuses_white_space_foreign_characters_and_wrong_padding(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        base64url.decode_tolerant(text)
