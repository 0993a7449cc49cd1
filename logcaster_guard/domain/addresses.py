"""Addresses that the guard never speaks to, whoever names them: where clouds keep the credentials of their machines."""

from __future__ import annotations

import ipaddress
from enum import StrEnum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED = tuple(
    ipaddress.ip_network(n) for n in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32")
)
"""Link-local, and the metadata services of AWS (IPv6) and Alibaba Cloud that are not."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(StrEnum):
    """What an address is that the guard does not speak to."""

    LINK_LOCAL = "link_local"
    GROUP = "group"
    UNSPECIFIED = "unspecified"


def refusal(text: str) -> Forbidden | None:
    """Why the guard does not speak to this IP address; None if it may, or it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    every = (address, *_embedded(address))
    if any(a in n for a in every for n in _REFUSED if a.version == n.version):
        return Forbidden.LINK_LOCAL
    if any(a.is_multicast for a in every):
        return Forbidden.GROUP
    if any(a.is_unspecified for a in every):
        return Forbidden.UNSPECIFIED
    return None


def _embedded(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 one leads to: mapped, 6to4 (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    teredo = address.teredo[1] if address.teredo else None
    return tuple(a for a in (address.ipv4_mapped, address.sixtofour, teredo, low) if a is not None)
