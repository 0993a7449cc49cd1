"""What a failed HTTP exchange is called, from the exception chain that a client library left behind.

Details are sentences of our own: a library's message may hold a URL with credentials or a header.
"""

from __future__ import annotations

import errno
import http.client
import math
import socket
import ssl
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from logcaster_guard.adapters.outgoing import AddressRefused
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.signals import Fault, SourceError
from logcaster_guard.messages.exchange_faults import (
    Answered,
    AnsweredOddly,
    CertificateUntrusted,
    ConnectionRefused,
    CutShort,
    NameUnresolved,
    NoAnswerInTime,
    NotFollowed,
    NotHttp,
    NoWay,
    RequestFailed,
    TlsFailed,
)

LONGEST_RETRY_AFTER = 300.0
LONGEST_DETAIL = 300

_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}


@dataclass(frozen=True, slots=True)
class Failure:
    """No usable answer.

    `local`: the cause lies between the guard and the network (name resolution, routing, its own trust store, a
    proxy), so it says nothing about the server asked. `retry_after` is in seconds.
    """

    fault: Fault
    detail: Reason
    local: bool = False
    retry_after: float | None = None

    def reading(self, at: float) -> SourceError:
        """The failure as a reading at monotonic second `at`."""
        return SourceError(at, self.fault, self.detail, self.retry_after)


def failure_of(error: BaseException) -> Failure:
    """Name the cause of a failed exchange; what no rule knows is `UNREACHABLE` with the exception's type."""
    chain = list(_chain(error))
    for rule in (_refused, _tls, _name, _timeout, _connection, _protocol):
        for link in chain:
            if (found := rule(link)) is not None:
                return found
    return Failure(Fault.UNREACHABLE, RequestFailed(type(error).__name__), local=True)


def status_failure(status: int, retry_after_header: str | None, now: datetime, text: str = "") -> Failure | None:
    """What an HTTP status other than 2xx means; None for 2xx. `text` is the server's own explanation."""
    if 200 <= status < 300:
        return None
    explained = plain(text)
    if 300 <= status < 400:
        return Failure(Fault.REDIRECTED, NotFollowed(status))
    wait = retry_after(retry_after_header, now)
    if status == 429:
        return Failure(Fault.THROTTLED, Answered(status, explained), retry_after=wait)
    if 400 <= status < 500:
        return Failure(Fault.CLIENT_ERROR, Answered(status, explained))
    if status >= 500:
        return Failure(Fault.SERVER_ERROR, Answered(status, explained), retry_after=wait)
    return Failure(Fault.MALFORMED, AnsweredOddly(status))


def retry_after(header: str | None, now: datetime, longest: float = LONGEST_RETRY_AFTER) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110, 10.2.3), at most `longest`; None without one."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), longest)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds = (date - now).total_seconds()
    return min(max(seconds, 0.0), longest) if math.isfinite(seconds) else None


def plain(text: str, longest: int = LONGEST_DETAIL) -> str:
    """ExternalChange text made safe for one line of a log: printable, at most `longest` characters."""
    safe = "".join(c if c.isprintable() else " " for c in text[: longest + 1]).strip()
    return safe if len(safe) <= longest else safe[: longest - 1] + "…"


def _chain(error: BaseException, limit: int = 50) -> Iterator[BaseException]:
    """The exception, its causes, contexts, members and arguments; each once, at most `limit`."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < limit:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        linked = [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
        linked += link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        waiting += [x for x in linked if isinstance(x, BaseException)]


def _refused(error: BaseException) -> Failure | None:
    return Failure(Fault.UNREACHABLE, error.reason, local=True) if isinstance(error, AddressRefused) else None


def _tls(error: BaseException) -> Failure | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = plain(str(getattr(error, "verify_message", "") or "verification failed"))
        return Failure(Fault.TLS, CertificateUntrusted(reason), local=True)
    if isinstance(error, ssl.SSLError):
        return Failure(Fault.TLS, TlsFailed(plain(str(getattr(error, "reason", None) or "broken off"))))
    return None


def _name(error: BaseException) -> Failure | None:
    if isinstance(error, socket.gaierror):
        return Failure(Fault.NAME_NOT_FOUND, NameUnresolved(plain(str(error.strerror))), local=True)
    return None


def _timeout(error: BaseException) -> Failure | None:
    return Failure(Fault.TIMED_OUT, NoAnswerInTime(0.0)) if isinstance(error, TimeoutError) else None


def _connection(error: BaseException) -> Failure | None:
    if isinstance(error, ConnectionRefusedError):
        return Failure(Fault.REFUSED, ConnectionRefused())
    if isinstance(error, ConnectionError | http.client.IncompleteRead):
        return Failure(Fault.TRUNCATED, CutShort())
    if isinstance(error, OSError) and error.errno in _NO_ROUTE:
        return Failure(Fault.UNREACHABLE, NoWay(plain(str(error.strerror))), local=True)
    return None


def _protocol(error: BaseException) -> Failure | None:
    if isinstance(error, http.client.HTTPException | zlib.error):
        return Failure(Fault.MALFORMED, NotHttp(type(error).__name__))
    if isinstance(error, OSError) and error.errno is not None:
        return Failure(Fault.UNREACHABLE, RequestFailed(plain(str(error.strerror))), local=True)
    return None
