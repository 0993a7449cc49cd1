"""Every way the Kubernetes API can fail to hand over an object, told apart and put into one sentence."""

from __future__ import annotations

import json
import ssl
import unicodedata
from collections.abc import Mapping, Sequence

import aiohttp

from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Rejected, Unavailable
from logcaster_guard.domain.signals import Fault
from logcaster_guard.ports import Json, Kind

MESSAGE_LIMIT = 600
"""Characters of a server's own words that are passed on."""

RETRY_AFTER_LIMIT = 3600.0
"""Seconds: the longest wait that a server is believed to want."""


class NoAnswer(Unavailable):
    """`Unavailable`, with the fault by name."""

    def __init__(self, message: str, *, fault: Fault, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, status=status, retry_after=retry_after)
        self.fault = fault


def printable(text: str) -> str:
    """`text` with every character that a terminal or a log would obey instead of showing escaped."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c
        for c in text
    )


def parsed(body: bytes) -> Json | None:
    """The JSON object that `body` is, or None."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def failure(what: str, status: int, headers: Mapping[str, str], body: bytes) -> ClusterError:
    """The exception for an answer outside 200-299. `what` is the request in words: `patch Deployment shop/web`.

    A 404 or 409 counts as one only if it comes with a Kubernetes Status: a proxy's error page, or a path that the
    server does not serve, says nothing about the object.
    """
    answer = parsed(body)
    own_words = answer is not None and answer.get("kind") == "Status"
    said = str((answer or {}).get("message") or "") if own_words else body[:MESSAGE_LIMIT].decode("utf-8", "replace")
    said = printable(said.strip())[:MESSAGE_LIMIT] or "no explanation"
    wait = _retry_after(headers, answer)
    sentence = f"Cannot {what}: the Kubernetes API answered {status}: {said}"
    if 300 <= status < 400:
        sentence = f"Cannot {what}: the Kubernetes API answered {status}, a redirect, and redirects are not followed."
        return NoAnswer(sentence, fault=Fault.REDIRECTED, status=status)
    if status in {404, 409} and not own_words:
        sentence = f"Cannot {what}: the answer {status} did not come from a Kubernetes API that serves it: {said}"
        return NoAnswer(sentence, fault=Fault.CLIENT_ERROR, status=status, retry_after=wait)
    if status == 404:
        return NotFound(sentence, status=status, retry_after=wait)
    if status == 409:
        return Conflict(sentence, status=status, retry_after=wait)
    if status == 429:
        return NoAnswer(sentence, fault=Fault.THROTTLED, status=status, retry_after=wait)
    if status in {408, 410}:
        fault = Fault.TIMED_OUT if status == 408 else Fault.CLIENT_ERROR
        return NoAnswer(sentence, fault=fault, status=status, retry_after=wait)
    if 400 <= status < 500:
        return Rejected(sentence, status=status, retry_after=wait)
    return NoAnswer(sentence, fault=Fault.SERVER_ERROR, status=status, retry_after=wait)


def no_answer(what: str, cause: BaseException, timeout: float) -> NoAnswer:
    """The exception for a request that got no whole answer within `timeout` seconds."""
    fault, words = _transport_fault(cause, timeout)
    return NoAnswer(f"Cannot {what}: {words}", fault=fault)


def object_of(what: str, answer: Json, kind: Kind, namespace: str, name: str) -> Json:
    """The object that was asked for; raises `NoAnswer` for anything else."""
    metadata = answer.get("metadata")
    found = (answer.get("kind"), *(metadata.get(k) for k in ("namespace", "name") if isinstance(metadata, dict)))
    if found != (kind.value, namespace, name):
        raise NoAnswer(
            f"Cannot {what}: the answer is not that object but {found!a}, so its effect is not known.",
            fault=Fault.MALFORMED,
            status=200,
        )
    return answer


def items_of(what: str, answer: Json, kind: Kind) -> Sequence[Json]:
    """The objects of a list; raises `NoAnswer` for anything else."""
    items = answer.get("items")
    if items is None and "items" in answer:
        items = []
    if (
        answer.get("kind") != f"{kind.value}List"
        or not isinstance(items, list)
        or not all(isinstance(i, dict) and isinstance(i.get("metadata"), dict) for i in items)
    ):
        raise NoAnswer(
            f"Cannot {what}: the answer is not a list of them but {answer.get('kind')!a}.",
            fault=Fault.MALFORMED,
            status=200,
        )
    return items


def _transport_fault(cause: BaseException, timeout: float) -> tuple[Fault, str]:
    detail = printable(str(cause))[:MESSAGE_LIMIT]
    if isinstance(cause, TimeoutError):
        return Fault.TIMED_OUT, f"the Kubernetes API did not answer within {timeout:g} s."
    if isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError):
        return Fault.TLS, f"no trusted TLS connection to the Kubernetes API ({detail}); check its address and its CA."
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return Fault.NAME_NOT_FOUND, f"the Kubernetes API's host name cannot be resolved ({detail})."
    if isinstance(cause, aiohttp.ClientConnectorError):
        if isinstance(cause.os_error, ConnectionRefusedError):
            return Fault.REFUSED, f"the Kubernetes API refused the connection ({detail})."
        return Fault.UNREACHABLE, f"the Kubernetes API cannot be reached ({detail})."
    if isinstance(cause, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | OSError):
        return Fault.TRUNCATED, f"the connection to the Kubernetes API broke before its answer was whole ({detail})."
    return Fault.MALFORMED, f"the Kubernetes API's answer is not HTTP as it should be ({detail})."


def _retry_after(headers: Mapping[str, str], answer: Json | None) -> float | None:
    """Seconds from `Retry-After`, else from the Status; its form as a date is not used by Kubernetes and is ignored."""
    details = (answer or {}).get("details")
    for text in (headers.get("Retry-After"), details.get("retryAfterSeconds") if isinstance(details, dict) else None):
        digits = str(text).strip() if text is not None else ""
        if digits.isascii() and digits.isdigit():
            return min(float(digits[:9]), RETRY_AFTER_LIMIT)
    return None
