import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.credentials.strict_der import der, ecdsa_signature, integer_size


def _integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(integer_size(value), "big", signed=True))


@pytest.mark.parametrize(("r", "s"), [(1, 1), (0, 0), (127, 128), (-1, -128), (255, 256), (1 << 520, (1 << 521) - 1)])
def test_the_der_form_of_two_integers_is_read(r: int, s: int) -> None:
    assert ecdsa_signature(der(0x30, _integer(r) + _integer(s))) == (r, s)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "30",
        "3000",
        "3003020101",
        "30060201010201",
        "3006020101020101ff",
        "3106020101020101",
        "3006030101020101",
        "308106020101020101",
        "30820006020101020101",
        "30800201010201010000",
        "3080020101020101",
        "30070201010202ff81",
        "300702020001020101",
        "3007028101010201" + "01",
        "30050200020101",
        "3009020101020101020101",
        "3005020101020101",
        "3007020101020101",
        "30ff020101020101",
        "300602010102",
    ],
)
def test_no_other_form_is(encoded: str) -> None:
    assert ecdsa_signature(bytes.fromhex(encoded)) is None


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=12).map(lambda tail: b"\x30" + tail) | st.binary(max_size=12))
def test_any_bytes_are_the_one_encoding_or_nothing(encoded: bytes) -> None:
    pair = ecdsa_signature(encoded)
    assert pair is None or der(0x30, _integer(pair[0]) + _integer(pair[1])) == encoded
