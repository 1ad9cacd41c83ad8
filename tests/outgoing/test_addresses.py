"""Which addresses are public (check O2)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.outgoing.addresses import Allowance, Networks, check_address

NONE = Allowance()

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "100::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    # Wrapped: mapped, 6to4, NAT64 and its local form.
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "not an address",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", REFUSED)
def test_o2_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert check_address(address, NONE) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_o2_a_public_address_is_gone_to(address: str) -> None:
    assert check_address(address, NONE) is None


@given(st.ip_addresses(v=4))
def test_o2_what_python_calls_private_is_refused_in_every_wrapping(address: IPv4Address) -> None:
    value = int(address)
    forms = [
        str(address),
        str(IPv6Address((0xFFFF << 32) | value)),
        str(IPv6Address((0x2002 << 112) | (value << 80))),
        str(IPv6Address((0x0064FF9B << 96) | value)),
    ]
    refused = {check_address(form, NONE) is not None for form in forms}
    assert len(refused) == 1
    if not address.is_global or address.is_multicast:
        assert refused == {True}


@given(st.ip_addresses(v=6))
def test_o2_what_python_calls_private_is_refused_in_ipv6(address: IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert check_address(str(address), NONE) is not None


def test_o2_what_an_operator_allows_is_gone_to_and_what_he_denies_never() -> None:
    open_ = Allowance(
        Networks(["10.0.0.0/8", "::1/128"]), Networks(["10.1.0.0/16", "1.1.1.0/24", "64:ff9b::900:0/104"])
    )
    assert check_address("10.2.0.1", open_) is None
    assert check_address("::ffff:10.2.0.1", open_) is None
    assert check_address("::1", open_) is None
    assert check_address("127.0.0.1", open_) is not None
    for denied in ("10.1.0.1", "::ffff:10.1.0.1", "1.1.1.1", "64:ff9b::101:101", "64:ff9b::900:1"):
        assert check_address(denied, open_) is not None
        assert check_address(denied, open_, any_network=True) is not None
    assert check_address("192.168.0.1", open_, any_network=True) is None
    assert ip_address("10.2.0.1") in Networks(["10.2.0.0/16"])
