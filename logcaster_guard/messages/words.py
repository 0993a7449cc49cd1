"""Pieces of sentences that notices share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def images(names: Sequence[str]) -> str:
    """Images in one line."""
    return ", ".join(names) or "no image"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first `most` names in one line, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{', '.join(found[:most])}{more}"


def sentence(reason: str) -> str:
    """The reason as a sentence."""
    text = reason[:1].upper() + reason[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
