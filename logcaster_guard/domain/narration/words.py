"""Pieces of sentences that notices share."""

from __future__ import annotations

from collections.abc import Sequence


def images(names: Sequence[str]) -> str:
    """Images in one line."""
    return ", ".join(names) or "no image"


def sentence(reason: str) -> str:
    """The reason as a sentence."""
    text = reason[:1].upper() + reason[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
