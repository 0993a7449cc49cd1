"""Addresses that the guard may be pointed at: http and https, no credentials inside, no metadata services."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from logcaster_guard.domain.addresses import refusal
from logcaster_guard.fields.faults import Refused, closest, quoted

MAX_LENGTH = 2_000

_ALLOWED = "an http:// or https:// address such as http://logcaster:9998/health"
_FORBIDDEN_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


def check_url(text: str) -> str:
    """The address as written; raises `Refused`."""
    _check(text)
    return text


def check_base_url(text: str) -> str:
    """As `check_url`, without a query: paths are put behind it."""
    if _check(text).query:
        raise Refused("an address with a query", "an address without ?…")
    return text


def _check(text: str) -> SplitResult:
    if len(text) > MAX_LENGTH:
        raise Refused(f"an address of {len(text):,} characters", f"at most {MAX_LENGTH:,}")
    if not _PRINTABLE.fullmatch(text) or "\\" in text:
        raise Refused("an address with a blank, a backslash or a character outside ASCII", _ALLOWED)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Refused("a malformed address", _ALLOWED) from None
    # What stands before an @ may be a password: it is never shown.
    if "@" in parts.netloc:
        raise Refused(
            "an address with a user name or password",
            "an address without: a token goes under the key `token`, and basic authentication is not supported",
        )
    if parts.scheme not in {"http", "https"}:
        meant = closest(parts.scheme, ("http", "https")) if parts.netloc else None
        raise Refused(f"the address {quoted(text)}", _ALLOWED, meant)
    if parts.fragment or "#" in text:
        raise Refused(f"the address {quoted(text)}", "an address without #…")
    if port == 0:
        raise Refused(f"the address {quoted(text)}", "a port from 1 to 65535")
    _check_host(parts.hostname or "", text)
    return parts


def _check_host(host: str, text: str) -> None:
    address = _address(host)
    if address is not None:
        if refusal(host) is not None:
            raise Refused(f"the address {quoted(text)}", "no link-local, metadata, multicast or unspecified addresses")
        return
    name = host.rstrip(".")
    if not _HOST_NAME.fullmatch(host) or ".." in host:
        raise Refused(f"the address {quoted(text)}", _ALLOWED)
    if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        raise Refused(f"the address {quoted(text)}", "an IP address in its usual notation, such as 10.0.0.1")
    if name in _FORBIDDEN_NAMES:
        raise Refused(f"the address {quoted(text)}", "no link-local or metadata addresses")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
