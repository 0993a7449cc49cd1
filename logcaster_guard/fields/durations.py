"""Durations as operators write them: `90s`, `5m`, `1h30m`, `250ms`, `1d`."""

from __future__ import annotations

import re

from logcaster_guard.fields.faults import Refused, described, meant_word, quoted
from logcaster_guard.messages.texts import Phrase, phrase

LONGEST = 366 * 86_400.0
"""Seconds; what is longer was mistyped."""

_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[dhms])", re.ASCII)
_BARE = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_LOOSE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+)\.?(?:\s+ago)?", re.ASCII)


def parse_duration(value: object) -> float:
    """Seconds, more than 0 and at most a year; raises `Refused` with what to write instead."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _bare(str(value))
    if not isinstance(value, str):
        raise Refused(described(value), phrase("allowed.duration"))
    if _BARE.fullmatch(value):
        raise _bare(value)
    seconds = _sum(value)
    if seconds is None:
        raise Refused(described(value), phrase("allowed.duration"), meant_word(_guess(value)))
    if seconds <= 0:
        raise Refused(phrase("found.duration", text=quoted(value)), phrase("allowed.above_zero"))
    if seconds > LONGEST:
        raise Refused(phrase("found.duration", text=quoted(value)), phrase("allowed.at_most_a_year"))
    return seconds


def show_duration(seconds: float) -> str:
    """Seconds in the notation that `parse_duration` reads, to the millisecond."""
    left = round(seconds * 1_000)
    parts = []
    # A single day is told in hours, as people do.
    days = [("d", 86_400_000)] if left >= 2 * 86_400_000 else []
    for unit, size in (*days, ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def value_of(key: str, seconds: float) -> Phrase:
    """What was found where a key's duration is told."""
    return phrase("found.value_of", key=key, value=show_duration(seconds))


def two_values(one: Phrase, other: Phrase) -> Phrase:
    """What was found where one value does not go with the other."""
    return phrase("found.two_values", one=one, other=other)


def _sum(text: str) -> float | None:
    """Seconds, if the text is parts of falling size, each unit once."""
    place, total, order = 0, 0.0, list(_SECONDS)
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or part[2] not in order:
            return None
        order = order[order.index(part[2]) + 1 :]
        total += float(part[1]) * _SECONDS[part[2]]
        place = part.end()
    return total if text else None


def _bare(text: str) -> Refused:
    if text.startswith("-"):
        return Refused(phrase("found.negative", number=text), phrase("allowed.above_zero_such_as"))
    shown = text[:12]
    meant = phrase("meant.either", one=f'"{shown}s"', other=f'"{shown}m"')
    return Refused(phrase("found.bare_number", number=shown), phrase("allowed.duration_with_unit"), meant)


def _guess(text: str) -> str | None:
    """`5 minutes ago` → `5m`."""
    loose = _LOOSE.fullmatch(text[:40].strip().lower())
    if loose is None:
        return None
    names = {"millisecond": "ms", "msec": "ms", "ms": "ms"} | {
        word: unit
        for unit, words in {"d": ("day", "d"), "h": ("hour", "hr", "h"), "m": ("minute", "min", "m")}.items()
        for word in words
    }
    names |= {"second": "s", "sec": "s", "s": "s"}
    unit = names.get(loose[2]) or names.get(loose[2].removesuffix("s"))
    return f'"{loose[1]}{unit}"' if unit else None
