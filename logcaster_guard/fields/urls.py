"""Addresses that the guard may be pointed at: http and https, no credentials inside, no metadata services."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from logcaster_guard.domain.addresses import refusal
from logcaster_guard.fields.faults import Refused, closest, quoted
from logcaster_guard.messages.texts import Phrase, phrase

MAX_LENGTH = 2_000

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
        raise Refused(phrase("found.address_with_query"), phrase("allowed.without_query"))
    return text


def _check(text: str) -> SplitResult:
    if len(text) > MAX_LENGTH:
        found = phrase("found.long_address", length=f"{len(text):,}")
        raise Refused(found, phrase("allowed.at_most", most=f"{MAX_LENGTH:,}"))
    if not _PRINTABLE.fullmatch(text) or "\\" in text:
        raise Refused(phrase("found.odd_address"), phrase("allowed.address"))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Refused(phrase("found.malformed_address"), phrase("allowed.address")) from None
    # What stands before an @ may be a password: it is never shown.
    if "@" in parts.netloc:
        raise Refused(phrase("found.address_with_user"), phrase("allowed.address_without_user"))
    if parts.scheme not in {"http", "https"}:
        meant = closest(parts.scheme, ("http", "https")) if parts.netloc else None
        raise Refused(_found(text), phrase("allowed.address"), meant)
    if parts.fragment or "#" in text:
        raise Refused(_found(text), phrase("allowed.without_fragment"))
    if port == 0:
        raise Refused(_found(text), phrase("allowed.a_port"))
    _check_host(parts.hostname or "", text)
    return parts


def _found(text: str) -> Phrase:
    return phrase("found.address", text=quoted(text))


def _check_host(host: str, text: str) -> None:
    address = _address(host)
    if address is not None:
        if refusal(host) is not None:
            raise Refused(_found(text), phrase("allowed.no_special_addresses"))
        return
    name = host.rstrip(".")
    if not _HOST_NAME.fullmatch(host) or ".." in host:
        raise Refused(_found(text), phrase("allowed.address"))
    if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        raise Refused(_found(text), phrase("allowed.usual_ip"))
    if name in _FORBIDDEN_NAMES:
        raise Refused(_found(text), phrase("allowed.no_metadata_address"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
