"""The types of parsed JSON."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A JSON object."""

Value: TypeAlias = Any
"""Any JSON value; what it holds is decided where it is read."""
