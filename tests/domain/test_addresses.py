from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.addresses import Forbidden, refusal


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", Forbidden.LINK_LOCAL),
        ("169.254.0.1", Forbidden.LINK_LOCAL),
        ("fe80::1", Forbidden.LINK_LOCAL),
        ("fe80::1%eth0", Forbidden.LINK_LOCAL),
        ("fd00:ec2::254", Forbidden.LINK_LOCAL),
        ("100.100.100.200", Forbidden.LINK_LOCAL),
        ("::ffff:169.254.169.254", Forbidden.LINK_LOCAL),
        ("2002:a9fe:a9fe::1", Forbidden.LINK_LOCAL),
        ("64:ff9b::a9fe:a9fe", Forbidden.LINK_LOCAL),
        ("224.0.0.1", Forbidden.GROUP),
        ("ff02::1", Forbidden.GROUP),
        ("0.0.0.0", Forbidden.UNSPECIFIED),  # noqa: S104 # nothing is bound
        ("::", Forbidden.UNSPECIFIED),
    ],
)
def test_nobody_is_asked_there(address: str, forbidden: Forbidden) -> None:
    assert refusal(address) is forbidden


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.7", "100.100.100.201", "fd00::1", "2001:db8::1", "name"]
)
def test_other_addresses_and_names_are_no_matter(address: str) -> None:
    assert refusal(address) is None


@given(low=st.integers(0, 0xFFFF))
def test_every_way_of_writing_a_link_local_address_is_known(low: int) -> None:
    address = ipaddress.IPv4Address((169 << 24) + (254 << 16) + low)
    number = int(address)
    ways = [
        str(address),
        f"::ffff:{address}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)),
        str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number)),
    ]
    assert all(refusal(way) for way in ways)
