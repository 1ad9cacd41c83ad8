import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.encoding.dates import from_iso, to_iso


def test_times_are_utc_with_milliseconds() -> None:
    assert to_iso(1681504888715) == "2023-04-14T20:41:28.715Z"
    assert to_iso(0) == "1970-01-01T00:00:00.000Z"
    assert to_iso(-1) == "1969-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2023-04-14T20:41:28.715Z", 1681504888715),
        ("2023-04-14T20:41:28.7159Z", 1681504888715),
        ("2023-04-14T20:41:28.7Z", 1681504888700),
        ("2023-04-14T20:41:28Z", 1681504888000),
        ("2023-04-14T20:41Z", 1681504860000),
        ("2023-04-14T22:41:28+02:00", 1681504888000),
        ("2023-04-14T18:11:28-02:30", 1681504888000),
    ],
)
def test_iso_times_with_z_or_an_offset_are_read(text: str, ms: int) -> None:
    assert from_iso(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2023-04-14",
        "2023-04-14T20:41:28",
        "2023-02-30T00:00:00Z",
        "2023-04-14T24:00:00Z",
        "2023-04-14T20:41:60Z",
        "2023-04-14 20:41:28Z",
        "2023-04-14T20:41:28z",
        "2023-04-14T20:41:28Z\n",
        "2023-04-14T20:41:28.Z",
        "2023-04-14T20:41:28+24:00",
        "2023-04-14T20:41:28+01:60",
        "0000-01-01T00:00:00Z",
        "٢٠٢٣-04-14T20:41:28Z",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_iso(text)


@settings(deadline=None, max_examples=50)
@given(st.integers(-62135596800000, 253402300799999))
def test_what_was_written_is_read_back(ms: int) -> None:
    assert from_iso(to_iso(ms)) == ms
