"""The members of a tar archive in their order, each with what its extended headers say of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from logcaster_guard.adapters.files import tar_header
from logcaster_guard.adapters.files.attributes import Xattrs
from logcaster_guard.adapters.files.faults import refused
from logcaster_guard.adapters.files.inflating import Inflating
from logcaster_guard.adapters.files.tar_header import Header, Unfit, Unreadable
from logcaster_guard.messages.tree_faults import ArchiveFault, EntryFault

_LONGEST_HEADER = 1 << 20
_EXTENSIONS = frozenset({b"x", b"L", b"K", b"g"})
_ZEROS = bytes(tar_header.SIZE)
_XATTR = "SCHILY.xattr."
_IGNORED = frozenset(
    {"atime", "ctime", "comment", "charset", "hdrcharset", "uname", "gname", "LIBARCHIVE.creationtime"}
)
_REFUSED = {
    b"S": EntryFault.SPARSE,
    b"3": EntryFault.DEVICE,
    b"4": EntryFault.DEVICE,
    b"6": EntryFault.FIFO,
}


class MemberKind(Enum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    HARD_LINK = "hard link"


_KINDS = {
    b"0": MemberKind.FILE,
    b"\0": MemberKind.FILE,
    b"7": MemberKind.FILE,
    b"5": MemberKind.FOLDER,
    b"2": MemberKind.LINK,
    b"1": MemberKind.HARD_LINK,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member; `target` is what a link leads to. Its content must be taken before the next member is asked for."""

    name: str
    kind: MemberKind
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    size: int = 0
    target: str = ""
    xattrs: Xattrs = ()


@dataclass(slots=True)
class _Extended:
    """What the headers before a member say of it."""

    records: Mapping[str, bytes] = field(default_factory=dict)
    name: bytes | None = None
    target: bytes | None = None


def members(stream: Inflating, place: str, most: int) -> Iterator[Member]:
    """All members; raises `TreeRefused` for more headers than `most`, and for whatever cannot be read or may not be."""
    try:
        extended = _Extended()
        for header in _headers(stream, most):
            if header.kind in _EXTENSIONS:
                _extend(extended, header, stream)
            else:
                yield _member(header, extended, place)
                extended = _Extended()
        if extended != _Extended():
            raise stream.refused(ArchiveFault.HEADER_ALONE)
    except Unreadable as error:
        raise stream.refused(error.fault) from error


def _headers(stream: Inflating, most: int) -> Iterator[Header]:
    for _ in range(most + 1):
        block = stream.take(tar_header.SIZE)
        if block == _ZEROS:
            break
        yield Header(block)
    else:
        raise Unreadable(ArchiveFault.TOO_MANY)
    if stream.take(tar_header.SIZE) != _ZEROS:
        raise Unreadable(ArchiveFault.TRAILING)


def _extend(extended: _Extended, header: Header, stream: Inflating) -> None:
    body = _body(header, stream)
    if header.kind == b"g":
        if set(tar_header.records(body)) - _IGNORED:
            raise Unreadable(ArchiveFault.PAX_GLOBAL)
        return
    before = {b"x": extended.records or None, b"L": extended.name, b"K": extended.target}[header.kind]
    if before is not None:
        raise Unreadable(ArchiveFault.PAX_TWICE)
    if header.kind == b"x":
        extended.records = tar_header.records(body)
    elif header.kind == b"L":
        extended.name = body
    else:
        extended.target = body


def _body(header: Header, stream: Inflating) -> bytes:
    try:
        size = header.size
    except Unfit as error:
        raise Unreadable(ArchiveFault.NOT_TAR) from error
    if size > _LONGEST_HEADER:
        raise Unreadable(ArchiveFault.HEADER_TOO_LARGE)
    return stream.take(size + -size % tar_header.SIZE)[:size]


def _member(header: Header, extended: _Extended, place: str) -> Member:
    """Raises `TreeRefused` by the name of the member, as far as that can be read."""
    name = b""
    try:
        name = header.block[:100].rstrip(b"\0")
        name = _name(header, extended)
        return _checked(header, extended, os.fsdecode(name))
    except Unfit as error:
        raise refused(place, os.fsdecode(name), error.fault) from error


def _name(header: Header, extended: _Extended) -> bytes:
    if "path" in extended.records:
        if extended.name is not None:
            raise Unreadable(ArchiveFault.PAX_TWICE)
        return _without_nul(extended.records["path"])
    return header.name if extended.name is None else _without_nul(extended.name.removesuffix(b"\0"))


def _target(header: Header, extended: _Extended) -> str:
    if "linkpath" in extended.records:
        if extended.target is not None:
            raise Unreadable(ArchiveFault.PAX_TWICE)
        return os.fsdecode(_without_nul(extended.records["linkpath"]))
    target = header.target if extended.target is None else _without_nul(extended.target.removesuffix(b"\0"))
    return os.fsdecode(target)


def _checked(header: Header, extended: _Extended, name: str) -> Member:
    records = extended.records
    if any(key.startswith("GNU.sparse.") for key in records):
        raise Unfit(EntryFault.SPARSE)
    kind = _KINDS.get(header.kind)
    if kind is None:
        raise Unfit(_REFUSED.get(header.kind, EntryFault.OTHER_KIND))
    size = _size(header, records)
    if kind is not MemberKind.FILE and size:
        raise Unfit(EntryFault.CONTENT_OF_NONE)
    if kind is MemberKind.FILE and name.endswith("/"):
        raise Unfit(EntryFault.OTHER_KIND)
    uid, gid = header.owner
    return Member(
        name,
        kind,
        header.mode,
        (
            tar_header.checked_id(tar_header.decimal_of(records["uid"])) if "uid" in records else uid,
            tar_header.checked_id(tar_header.decimal_of(records["gid"])) if "gid" in records else gid,
        ),
        tar_header.nanoseconds_of(records["mtime"]) if "mtime" in records else header.mtime_ns,
        size,
        _target(header, extended) if kind in {MemberKind.LINK, MemberKind.HARD_LINK} else "",
        _xattrs(records),
    )


def _size(header: Header, records: Mapping[str, bytes]) -> int:
    told = header.size
    if "size" not in records:
        return told
    size = tar_header.decimal_of(records["size"])
    # Another program would go by the other one, and see other members.
    if told not in {0, size}:
        raise Unfit(EntryFault.SIZE_DIFFERS)
    return size


def _xattrs(records: Mapping[str, bytes]) -> Xattrs:
    found = []
    for key, value in records.items():
        if key.startswith("SCHILY.acl."):
            raise Unfit(EntryFault.ACL)
        if key.startswith(_XATTR):
            if not key.startswith(f"{_XATTR}user."):
                raise Unfit(EntryFault.XATTR)
            found.append((key.removeprefix(_XATTR), value))
    return sorted(found)


def _without_nul(text: bytes) -> bytes:
    if b"\0" in text:
        raise Unfit(EntryFault.NUL)
    return text
