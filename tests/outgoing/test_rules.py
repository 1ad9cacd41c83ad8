"""Which URLs are gone to, by how they are written (check O2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.outgoing.rules import Rules, check_url

REFUSED = [
    "",
    "example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "http://example.com/",
    "https://",
    "https:///path",
    "https://user@example.com/",
    "https://user:word@example.com/",
    "https://@example.com/",
    "https://example.com/#part",
    "https://example.com#",
    "https://example.com:8443/",
    "https://example.com:80/",
    "https://example.com:/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com\\@evil.test/",
    "https://exa mple.com/",
    "https://example.com/\n",
    "https://ex\u00e4mple.com/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://example\u3002com/",
    "https://-a.example/",
    "https://a..example/",
    "https://%31%32%37.0.0.1/",
    # One address in other notations.
    "https://2130706433/",
    "https://017700000001/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://127.0.0.0x1/",
    "https://127.0.0.1./x",
    "https://1.1.1.256/",
    "https://1.1.1.1.1/",
    "https://example.0x/",
    "https://127.0.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[2606:4700::1111%1]/",
    "https://[1.1.1.1]/",
    "https://[v1.x]/",
    "https://[64:ff9b::7f00:1]/",
    "https://" + "a" * 64 + ".example/",
    "https://example.com/" + "a" * 2048,
]
TAKEN = [
    "https://example.com",
    "https://example.com:443/hook?a=b",
    "https://EXAMPLE.com/hook",
    "https://xn--exmple-cua.com/",
    "https://a_b.example.com./x",
    "https://1.1.1.1/",
    "https://[2606:4700::1111]/",
    "https://3com.example/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_o2_a_url_that_could_lead_inside_or_be_misread_is_refused(url: str) -> None:
    assert check_url(url, Rules()) is not None


@pytest.mark.parametrize("url", TAKEN)
def test_o2_an_ordinary_url_is_taken(url: str) -> None:
    assert check_url(url, Rules()) is None


def test_o2_an_operator_opens_what_a_sandbox_needs() -> None:
    rules = Rules(allow_http=True, any_port=True, allowed=("127.0.0.0/8",), allowed_hosts=("10.0.0.1",))
    assert check_url("http://127.0.0.1:8080/hook", rules) is None
    assert check_url("http://localhost:8080/hook", rules) is None
    assert check_url("http://10.0.0.1/", rules) is None
    assert check_url("http://10.0.0.2/", rules) is not None
    assert check_url("http://[::1]:8080/", rules) is not None


@given(st.text(max_size=60))
def test_any_other_text_is_refused_and_breaks_nothing(text: str) -> None:
    check_url("https://" + text, Rules(allow_http=True, any_port=True))
    assert check_url(text, Rules()) is not None or text.lower().startswith("https://")
