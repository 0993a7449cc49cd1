"""Instants and lengths of time as the sentences of refusals write them."""

from __future__ import annotations

from datetime import datetime


def instant(at: datetime) -> str:
    """An instant to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time as operators write it: `5m`, `1h30m`, `45s`."""
    whole = round(seconds)
    if whole != seconds and seconds < 60:
        return f"{seconds:g}s"
    parts = [(whole // 86_400, "d"), (whole % 86_400 // 3_600, "h"), (whole % 3_600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n) or "0s"
