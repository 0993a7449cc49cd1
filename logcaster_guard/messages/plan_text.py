"""How many pods, in words."""

from __future__ import annotations


def pods(count: int) -> str:
    """So many pods."""
    return "1 pod" if count == 1 else f"{count} pods"


def wanted(count: int) -> str:
    """How many pods a workload asks for."""
    return f"{pods(count)} wanted"
