"""Lengths of time as sentences write them."""

from __future__ import annotations


def span(seconds: float) -> str:
    """A length of time as operators write it: `5m`, `1h30m`, `45s`."""
    whole = round(seconds)
    if whole != seconds and seconds < 60:
        return f"{seconds:g}s"
    parts = [(whole // 86_400, "d"), (whole % 86_400 // 3_600, "h"), (whole % 3_600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{n}{unit}" for n, unit in parts if n) or "0s"
