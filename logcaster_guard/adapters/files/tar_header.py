"""One header of a tar archive, and the records of an extended one: what they say, or why they cannot be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from logcaster_guard.messages.tree_faults import ArchiveFault, EntryFault

SIZE = 512
LAST_ID = 2**32 - 2
"""The highest number of an owner; the one above it means "leave it as it is"."""

_USTAR = b"ustar\x0000"
_LAST_SECOND = 2**34
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_RECORD = re.compile(rb"([1-9][0-9]{0,8}) ([^=\n\0]+)=")


class Unreadable(Exception):
    """The archive cannot be read."""

    def __init__(self, fault: ArchiveFault) -> None:
        super().__init__(fault)
        self.fault = fault


class Unfit(Exception):
    """The member may not be, whatever else it is."""

    def __init__(self, fault: EntryFault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Header:
    """A block of 512 bytes, field by field; numbers are read when they are asked for."""

    block: bytes

    def __post_init__(self) -> None:
        told = _OCTAL.fullmatch(self.block[148:156])
        blanked = self.block[:148] + b" " * 8 + self.block[156:]
        if told is None or not told[1] or int(told[1], 8) != sum(blanked):
            raise Unreadable(ArchiveFault.NOT_TAR)

    @property
    def kind(self) -> bytes:
        """Its type, one byte."""
        return self.block[156:157]

    @property
    def name(self) -> bytes:
        """The name, with the prefix that POSIX headers have; raises `Unfit`."""
        prefix = _text(self.block[345:500]) if self.block[257:265] == _USTAR else b""
        name = _text(self.block[:100])
        return prefix + b"/" + name if prefix else name

    @property
    def target(self) -> bytes:
        """What a link leads to; raises `Unfit`."""
        return _text(self.block[157:257])

    @property
    def size(self) -> int:
        """The bytes that follow; raises `Unfit`."""
        return _number(self.block[124:136])

    @property
    def mode(self) -> int:
        """The permissions; raises `Unfit`."""
        return _number(self.block[100:108]) & 0o7777

    @property
    def owner(self) -> tuple[int, int]:
        """The numbers of user and group; raises `Unfit`."""
        return checked_id(_number(self.block[108:116])), checked_id(_number(self.block[116:124]))

    @property
    def mtime_ns(self) -> int:
        """When it was changed; raises `Unfit`."""
        return checked_second(_number(self.block[136:148])) * 10**9


def records(body: bytes) -> Mapping[str, bytes]:
    """The records of an extended header by their keys; raises `Unreadable`."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(body):
        begin = _RECORD.match(body, at)
        end = at + int(begin[1]) if begin else 0
        if begin is None or end > len(body) or end <= begin.end() or body[end - 1 : end] != b"\n":
            raise Unreadable(ArchiveFault.PAX_BROKEN)
        key = begin[2].decode("utf-8", "surrogateescape")
        if key in found:
            raise Unreadable(ArchiveFault.PAX_TWICE)
        found[key] = body[begin.end() : end - 1]
        at = end
    return found


def decimal_of(value: bytes) -> int:
    """A whole number of an extended header; raises `Unfit`."""
    if not re.fullmatch(rb"[0-9]{1,20}", value):
        raise Unfit(EntryFault.NUMBER)
    return int(value)


def nanoseconds_of(value: bytes) -> int:
    """A time of an extended header, in seconds with a fraction; raises `Unfit`."""
    if not re.fullmatch(rb"[0-9]{1,20}(\.[0-9]{0,20})?", value):
        raise Unfit(EntryFault.NUMBER)
    try:
        whole, fraction = divmod(Decimal(value.decode("ascii")), 1)
    except InvalidOperation as error:
        raise Unfit(EntryFault.NUMBER) from error
    return checked_second(int(whole)) * 10**9 + int(fraction * 10**9)


def checked_id(number: int) -> int:
    """The number of an owner; raises `Unfit`."""
    if number > LAST_ID:
        raise Unfit(EntryFault.NUMBER)
    return number


def checked_second(second: int) -> int:
    """A second that every file system can keep; raises `Unfit`."""
    if second >= _LAST_SECOND:
        raise Unfit(EntryFault.NUMBER)
    return second


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        if field[0] & 0x40:  # a negative one
            raise Unfit(EntryFault.NUMBER)
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    told = _OCTAL.fullmatch(field)
    if told is None:
        raise Unfit(EntryFault.NUMBER)
    return int(told[1] or b"0", 8)


def _text(field: bytes) -> bytes:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise Unfit(EntryFault.NUL)
    return text
