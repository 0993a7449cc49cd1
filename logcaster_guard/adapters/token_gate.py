"""Lets in whoever holds one token, which lies in a file or an environment variable."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import structlog

from logcaster_guard.domain.errors import SecretUnreadable
from logcaster_guard.ports import Caller, Kind


class TokenGate:
    """`ports.Gate` with one token for everything; `read` gives it, or raises `SecretUnreadable`.

    It is read at each use, so that a new one is taken up. One that is empty, or cannot be read, lets nobody in.
    """

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    async def caller(self, token: str) -> Caller | None:
        """The holder of the token; None for any other. The comparison takes the same time whatever was given."""
        try:
            wanted = self._read()
        except SecretUnreadable as error:
            structlog.get_logger().warning("secret.unreadable", detail=str(error))
            return None
        same = hmac.compare_digest(_digest(token), _digest(wanted))
        return Caller("the holder of the guard's token") if same and wanted.strip() and wanted.isprintable() else None

    async def may_change(self, caller: Caller, kind: Kind, namespace: str, name: str) -> bool:  # noqa: ARG002 - the port's shape
        """Always: the token is for everything."""
        return True

    async def aclose(self) -> None:
        """Nothing to release."""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
