"""Every way the Kubernetes API can fail to hand over an object, told apart and put into one sentence."""

from __future__ import annotations

import json
import ssl
import unicodedata
from collections.abc import Mapping, Sequence

import aiohttp

from logcaster_guard.domain.errors import ClusterError, Conflict, NotFound, Rejected, Unavailable
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.cluster_faults import (
    AnotherObject,
    ApiAnswered,
    ApiNoAnswerInTime,
    ApiNotItself,
    ApiRedirected,
    ApiUnreached,
    CannotAsk,
    NotAList,
    Transport,
)
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Json, Kind

MESSAGE_LIMIT = 600
"""Characters of a server's own words that are passed on."""

RETRY_AFTER_LIMIT = 3600.0
"""Seconds: the longest wait that a server is believed to want."""


class NoAnswer(Unavailable):
    """`Unavailable`, with the fault by name."""

    def __init__(
        self,
        text: str,
        *,
        fault: Fault,
        status: int = 0,
        retry_after: float | None = None,
        reason: Message | None = None,
    ) -> None:
        super().__init__(text, status=status, retry_after=retry_after, reason=reason)
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


def error_of(
    request: Message, status: int, headers: Mapping[str, str], body: bytes, *, concealed: bool
) -> ClusterError:  # fmt: skip
    """The exception for an answer outside 200-299 to this request.

    A 404 or 409 counts as one only if it comes with a Kubernetes Status: a proxy's error page, or a path that the
    server does not serve, says nothing about the object. `concealed`: the request is about Secrets, whose values the
    server's words may quote (a 422 holds the whole object), so that nothing is kept but the code and the reason.
    """
    answer = parsed(body)
    own_words = answer is not None and answer.get("kind") == "Status"
    said = _said(answer if own_words else None, body, concealed=concealed)
    wait = _retry_after(headers, answer)
    cause = CannotAsk(request, ApiAnswered(status, said))
    if 300 <= status < 400:
        return failure(NoAnswer, CannotAsk(request, ApiRedirected(status)), fault=Fault.REDIRECTED, status=status)
    if status in {404, 409} and not own_words:
        cause = CannotAsk(request, ApiNotItself(status, said))
        return failure(NoAnswer, cause, fault=Fault.CLIENT_ERROR, status=status, retry_after=wait)
    if status in _KINDS or (400 <= status < 500 and status not in _FAULTS):
        return failure(_KINDS.get(status, Rejected), cause, status=status, retry_after=wait)
    fault = _FAULTS.get(status, Fault.SERVER_ERROR)
    return failure(NoAnswer, cause, fault=fault, status=status, retry_after=wait)


_KINDS: Mapping[int, type[ClusterError]] = {404: NotFound, 409: Conflict}
_FAULTS: Mapping[int, Fault] = {408: Fault.TIMED_OUT, 410: Fault.CLIENT_ERROR, 429: Fault.THROTTLED}
"""Refusals that may pass."""


def _said(status: Json | None, body: bytes, *, concealed: bool) -> str:
    """What the server says of its refusal, `status` being its Status, if it sent one."""
    if concealed:
        reason = (status or {}).get("reason")
        return reason if isinstance(reason, str) and reason in _REASONS else ""
    said = body[:MESSAGE_LIMIT].decode("utf-8", "replace") if status is None else str(status.get("message") or "")
    return printable(said.strip())[:MESSAGE_LIMIT]


_REASONS = frozenset(
    {"Unauthorized", "Forbidden", "NotFound", "AlreadyExists", "Conflict", "Gone", "Invalid", "ServerTimeout",
     "StoreReadError", "Timeout", "TooManyRequests", "BadRequest", "MethodNotAllowed", "NotAcceptable",
     "RequestEntityTooLarge", "UnsupportedMediaType", "InternalError", "Expired", "ServiceUnavailable"}
)  # fmt: skip
"""Kubernetes' own words for why a request is refused; an admission webhook may set any other."""


def no_answer(request: Message, cause: BaseException, timeout: float, *, concealed: bool) -> NoAnswer:
    """The exception for a request that got no whole answer within `timeout` seconds; `concealed` as in `error_of`."""
    fault, reason = _transport_fault(cause, timeout, concealed=concealed)
    return failure(NoAnswer, CannotAsk(request, reason), fault=fault)


def object_of(what: Message, answer: Json, kind: Kind, namespace: str, name: str) -> Json:
    """The object that was asked for; raises `NoAnswer` for anything else."""
    metadata = answer.get("metadata")
    found = (answer.get("kind"), *(metadata.get(k) for k in ("namespace", "name") if isinstance(metadata, dict)))
    if found != (kind.value, namespace, name):
        cause = CannotAsk(what, AnotherObject(f"{found!a}"))
        raise failure(NoAnswer, cause, fault=Fault.MALFORMED, status=200)
    return answer


def items_of(what: Message, answer: Json, kind: Kind) -> Sequence[Json]:
    """The objects of a list; raises `NoAnswer` for anything else."""
    items = answer.get("items")
    if items is None and "items" in answer:
        items = []
    if (
        answer.get("kind") != f"{kind.value}List"
        or not isinstance(items, list)
        or not all(isinstance(i, dict) and isinstance(i.get("metadata"), dict) for i in items)
    ):
        cause = CannotAsk(what, NotAList(f"{answer.get('kind')!a}"))
        raise failure(NoAnswer, cause, fault=Fault.MALFORMED, status=200)
    return items


def _transport_fault(cause: BaseException, timeout: float, *, concealed: bool) -> tuple[Fault, Message]:
    words = type(cause).__name__ if concealed else printable(str(cause))[:MESSAGE_LIMIT]
    if isinstance(cause, TimeoutError):
        return Fault.TIMED_OUT, ApiNoAnswerInTime(timeout)
    if isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError):
        return Fault.TLS, ApiUnreached(Transport.TLS, words)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return Fault.NAME_NOT_FOUND, ApiUnreached(Transport.NAME, words)
    if isinstance(cause, aiohttp.ClientConnectorError):
        if isinstance(cause.os_error, ConnectionRefusedError):
            return Fault.REFUSED, ApiUnreached(Transport.REFUSED, words)
        return Fault.UNREACHABLE, ApiUnreached(Transport.UNREACHABLE, words)
    if isinstance(cause, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | OSError):
        return Fault.TRUNCATED, ApiUnreached(Transport.CUT, words)
    return Fault.MALFORMED, ApiUnreached(Transport.NOT_HTTP, words)


def _retry_after(headers: Mapping[str, str], answer: Json | None) -> float | None:
    """Seconds from `Retry-After`, else from the Status; its form as a date is not used by Kubernetes and is ignored."""
    details = (answer or {}).get("details")
    for text in (headers.get("Retry-After"), details.get("retryAfterSeconds") if isinstance(details, dict) else None):
        digits = str(text).strip() if text is not None else ""
        if digits.isascii() and digits.isdigit():
            return min(float(digits[:9]), RETRY_AFTER_LIMIT)
    return None
