from __future__ import annotations

import errno
import socket
import ssl
from datetime import UTC, datetime

import pytest

from logcaster_guard.adapters.failures import failure_of, plain, retry_after, status_failure
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.texts import english

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _wrapped(cause: Exception) -> Exception:
    outer = RuntimeError("http://user:secret@host/")
    outer.__cause__ = ExceptionGroup("all attempts failed", [OSError(), cause])
    return outer


@pytest.mark.parametrize(
    ("error", "fault", "local"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), Fault.REFUSED, False),
        (OSError(errno.EHOSTUNREACH, "No route to host"), Fault.UNREACHABLE, True),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), Fault.UNREACHABLE, True),
        (OSError(errno.EMFILE, "Too many open files"), Fault.UNREACHABLE, True),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Fault.NAME_NOT_FOUND, True),
        (TimeoutError(), Fault.TIMED_OUT, False),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Fault.TRUNCATED, False),
        (ssl.SSLCertVerificationError("self signed"), Fault.TLS, True),
        (ssl.SSLError("wrong version"), Fault.TLS, False),
        (KeyError("what"), Fault.UNREACHABLE, True),
    ],
)
def test_the_cause_is_found_below_what_libraries_wrap_around_it(error: Exception, fault: Fault, local: bool) -> None:
    for failure in (failure_of(error), failure_of(_wrapped(error))):
        assert (failure.fault, failure.local) == (fault, local)
        assert "secret" not in english().text(failure.detail)


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert failure_of(first).fault is Fault.UNREACHABLE


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 30 ", 30.0),
        ("99999999999999999999", 300.0),
        ("-1", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:00:10 GMT", 10.0),
        ("Thu, 01 Jan 2026 00:00:10 -0000", 10.0),
        ("Wed, 31 Dec 2025 00:00:10 GMT", 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 300.0),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_capped(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (200, None),
        (204, None),
        (304, Fault.REDIRECTED),
        (404, Fault.CLIENT_ERROR),
        (429, Fault.THROTTLED),
        (599, Fault.SERVER_ERROR),
        (101, Fault.MALFORMED),
    ],
)
def test_statuses_have_their_faults(status: int, fault: Fault | None) -> None:
    failure = status_failure(status, "5", NOW)
    assert (failure.fault if failure else None) is fault


def test_foreign_text_stays_on_one_line() -> None:
    assert plain("a\nb\x1b[31m\u202ec") == "a b [31m c"
    assert len(plain("x" * 10_000)) == 300
