"""Shares (`90%`) and sizes (`8MiB`) as operators write them."""

from __future__ import annotations

import re

from logcaster_guard.fields.faults import Refused, described, meant_word
from logcaster_guard.messages.texts import phrase

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%", re.ASCII)
_SIZE = re.compile(r"(\d{1,9})(B|KiB|MiB|GiB)", re.ASCII)
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_share(value: object) -> float:
    """`90%` → 0.9; raises `Refused` for anything but a percentage above 0 and up to 100."""
    share = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if share is None:
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        meant = None if number is None else f'"{number * 100 if number <= 1 else number:.6g}%"'
        raise Refused(described(value), phrase("allowed.share"), meant_word(meant))
    if not 0 < float(share[1]) <= 100:
        raise Refused(described(value), phrase("allowed.share_range"))
    return float(share[1]) / 100


def show_share(share: float) -> str:
    """A share of 1 in the notation that `parse_share` reads."""
    return f"{share * 100:.10g}%"


def parse_size(value: object) -> int:
    """`8MiB` → bytes; raises `Refused` for anything but 1 B to 1 GiB."""
    size = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if size is None:
        meant = f'"{value}B"' if isinstance(value, int) and not isinstance(value, bool) else None
        raise Refused(described(value), phrase("allowed.size"), meant_word(meant))
    count = int(size[1]) * _BYTES[size[2]]
    if not 0 < count <= 1 << 30:
        raise Refused(described(value), phrase("allowed.size_range"))
    return count


def show_size(count: float) -> str:
    """Bytes in the notation that `parse_size` reads, in the largest whole unit."""
    unit, size = next((u, n) for u, n in reversed(_BYTES.items()) if not count % n)
    return f"{count / size:.0f}{unit}"
