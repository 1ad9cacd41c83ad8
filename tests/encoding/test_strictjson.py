import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding.strictjson import BadJson, canonical, parse_object, parse_payload
from tests.support.vectors import auth_vectors, named

_REASONS = {
    "duplicate member": "twice",
    "constant": "NaN",
    "lone surrogate": "lone surrogate",
    "BOM": "byte order mark",
    "utf-8": "UTF-8",
    "top level": "top level",
    "syntax": "not JSON",
}


def _compare(payload: str, body: bytes) -> str:
    try:
        signed, sent = canonical(parse_payload(payload)), canonical(parse_payload(body))
    except BadJson as error:
        return error.reason
    return "match" if signed == sent else "mismatch"


@pytest.mark.parametrize("case", **named(auth_vectors()["body_comparison"]))
def test_signed_payload_and_body_are_compared_as_json_values(case: dict[str, Any]) -> None:
    outcome = _compare(case["userActionPayload"], base64.b64decode(case["request_body_b64"]))
    if case["result"].startswith("reject: "):
        assert _REASONS[case["result"].removeprefix("reject: ")] in outcome
    else:
        assert outcome == case["result"]


@pytest.mark.parametrize("case", auth_vectors()["action_digest"]["cases"])
def test_the_canonical_payload_is_the_published_one(case: dict[str, Any]) -> None:
    assert canonical(parse_payload(case["payload"])).decode() == case["canonical_payload"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":-0}', '{"a":0}'),
        ('{"a":-0.0}', '{"a":0}'),
        ('{"a":0e5}', '{"a":0}'),
        ('{"a":1.0}', '{"a":1}'),
        ('{"a":1e3}', '{"a":1000}'),
        ('{"a":1.500e1}', '{"a":15}'),
        ('{"a":1.5E-3}', '{"a":0.0015}'),
        ('{"a":-0.10}', '{"a":-0.1}'),
        ('{"a":123456789012345678901234567890.10}', '{"a":123456789012345678901234567890.1}'),
        ('{"a":1e-64}', '{"a":0.' + "0" * 63 + "1}"),
        ('{"a":' + "9" * 64 + "}", '{"a":' + "9" * 64 + "}"),
        (
            r'{"a":"\b\t\n\f\r\u0000\u001F\\n\"\/\u007f"}',
            '{"a":"\\u0008\\u0009\\u000a\\u000c\\u000d\\u0000\\u001f\\\\n\\"/\x7f"}',
        ),
        ('{"\\n":0}', '{"\\u000a":0}'),
        ('{ "b" : [ ] , "a" : { } }', '{"a":{},"b":[]}'),
        ('{"\U0001f600":1,"\uffff":2,"é":3,"z":4}', '{"z":4,"é":3,"\uffff":2,"\U0001f600":1}'),
        ('{"a":[true,false,null,"",0.5,{"d":2.50,"c":[0.25]}]}', '{"a":[true,false,null,"",0.5,{"c":[0.25],"d":2.5}]}'),
    ],
)
def test_canonical_form(text: str, expected: str) -> None:
    assert canonical(parse_object(text)).decode() == expected


def test_integral_numbers_are_int_and_the_others_exact_decimals() -> None:
    value = parse_object('{"a":9007199254740993,"b":1.0,"c":0.1,"d":1e2}')
    assert value == {"a": 9007199254740993, "b": 1, "c": Decimal("0.1"), "d": 100}
    assert [type(member) for member in value.values()] == [int, int, Decimal, int]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        '"a"',
        "[]",
        "{} x",
        '{"a":01}',
        '{"a":.5}',
        '{"a":+1}',
        '{"a":1.}',
        '{"a":0x1}',
        '{"a":1_0}',
        '{"a":١}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        "{'a':1}",
        '{"a":1,}',
        '{"a":"\t"}',
        '{"a":"\\x"}',
        '{"a":[1}',
        '{"a":{"b":1,"b":1}}',
        '{"a":1,"\\u0061":2}',
        '{"\\ud800":1}',
        '{"a":["\\udc00\\ud800"]}',
        '{"a":' + "1" * 65 + "}",
        '{"a":-' + "1" * 65 + "}",
        '{"a":[{"b":' + "1" * 65 + "}]}",
        '{"a":0.' + "1" * 64 + "}",
        '{"a":1e65}',
        '{"a":1e-65}',
        '{"a":1e' + "9" * 5000 + "}",
        "/**/{}",
        "\u00a0{}",
    ],
)
def test_refused_texts(text: str) -> None:
    for data in (text, text.encode()):
        with pytest.raises(BadJson) as refusal:
            parse_object(data)
        assert refusal.value.reason


def test_a_string_that_never_was_utf8_is_refused() -> None:
    with pytest.raises(BadJson, match="surrogate"):
        parse_object('{"a":"\ud83d"}')


def test_nesting_is_limited_to_64_levels_with_the_object_as_the_first() -> None:
    assert parse_object('{"a":' + "[" * 63 + "]" * 63 + "}")
    with pytest.raises(BadJson, match="deeper than 64"):
        parse_object('{"a":' + "[" * 64 + "]" * 64 + "}")
    with pytest.raises(BadJson, match="deeper than 64"):
        parse_object('{"a":' * 65 + "1" + "}" * 65)
    with pytest.raises(BadJson, match="deeper than 64"):
        parse_object('{"a":' + "[" * 200_000 + "]" * 200_000 + "}")
    assert parse_object('{"a":"' + "[" * 200 + '"}')
    assert parse_object('{"a":[' + ",".join(["{}"] * 200) + "]}")


@pytest.mark.parametrize("value", [{"a": 1.5}, {"a": float("nan")}, {"a": (1,)}, {"a": b""}, {"a": Decimal("NaN")}])
def test_what_json_text_cannot_have_produced_has_no_canonical_form(value: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        canonical(value)


_numbers = st.integers(-(10**30), 10**30) | st.decimals(
    allow_nan=False, allow_infinity=False, places=6, max_value=10**20
)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text(max_size=6), _values, max_size=5))
def test_reading_the_canonical_form_gives_it_again(value: dict[str, Any]) -> None:
    text = canonical(value)
    assert canonical(parse_object(text)) == text
    assert canonical(parse_object(text.decode())) == text
    assert json.loads(text, parse_float=Decimal) == value


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.text(max_size=6), _values, max_size=5))
def test_a_text_has_the_same_value_however_it_is_written(value: dict[str, Any]) -> None:
    plain = canonical(value)
    read = parse_object(plain)
    assert repr(parse_object(b" " + plain)) == repr(read)  # with types: 1 and Decimal(1) are equal
    for text in (json.dumps(json.loads(plain, parse_float=str)), json.dumps(json.loads(plain), ensure_ascii=False)):
        with_blanks, without = parse_object(text), parse_object(json.dumps(json.loads(text), separators=(",", ":")))
        assert repr(with_blanks) == repr(without)


@settings(deadline=None, max_examples=150)
@given(
    st.binary(max_size=40) | st.text(alphabet='{}[]":,\\u0d8ceE+-.19 aNI\ufeff', max_size=40).map(lambda t: t.encode())
)
def test_any_bytes_are_an_object_or_bad_json(data: bytes) -> None:
    try:
        value = parse_object(data)
    except BadJson:
        return
    assert parse_object(canonical(value)) == value
