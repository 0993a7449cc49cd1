"""Archives, byte by byte: as `tar` writes them, and as nobody should."""

from __future__ import annotations

import gzip
import os

BLOCK = 512
END = bytes(2 * BLOCK)


def number(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def member(
    name: bytes,
    content: bytes = b"",
    *,
    kind: bytes = b"0",
    mode: int = 0o644,
    target: bytes = b"",
    size: bytes | int | None = None,
    prefix: bytes = b"",
    owner: bytes | None = None,
    mtime: bytes = number(1_600_000_000, 12),
) -> bytes:
    """A header with its content; `size` is what the header says, if that is not the truth."""
    told = len(content) if size is None else size
    block = bytearray(BLOCK)
    uid = number(os.geteuid(), 8) if owner is None else owner
    for at, field in (
        (0, name[:100]),
        (100, number(mode, 8)),
        (108, uid),
        (116, number(os.getegid(), 8)),
        (124, told if isinstance(told, bytes) else number(told, 12)),
        (136, mtime),
        (148, b" " * 8),
        (156, kind),
        (157, target[:100]),
        (257, b"ustar\x0000"),
        (345, prefix),
    ):
        block[at : at + len(field)] = field
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content + bytes(-len(content) % BLOCK)


def folder(name: bytes, mode: int = 0o755) -> bytes:
    return member(name + b"/", kind=b"5", mode=mode)


def link(name: bytes, target: bytes) -> bytes:
    return member(name, kind=b"2", target=target)


def hard_link(name: bytes, target: bytes) -> bytes:
    return member(name, kind=b"1", target=target)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(b"%d" % length):
        length = len(body) + len(b"%d" % length)
    return b"%d" % length + body


def extended(*records: tuple[str, bytes], kind: bytes = b"x") -> bytes:
    return member(b"pax", b"".join(record(key, value) for key, value in records), kind=kind)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    return member(b"././@LongLink", name + b"\0", kind=kind)


def packed(*members: bytes, end: bytes = END) -> bytes:
    return gzip.compress(b"".join(members) + end, 1, mtime=0)
