"""A `requests.Session` that can be trusted with a server that misbehaves.

Streamed, with a total deadline and a byte cap (before and after decompression), no redirects, no retries, no proxies
from the environment. An answer of Prometheus is checked here, whole, because the client library drops what is needed
for that.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from logcaster_guard import __version__
from logcaster_guard.adapters.failures import Failure, failure_of, plain, status_failure
from logcaster_guard.adapters.outgoing import AddressRefused, check_peer, check_resolved
from logcaster_guard.adapters.skew import ClockSkew
from logcaster_guard.adapters.sources.prometheus.workers import Line
from logcaster_guard.domain.signals import Fault
from logcaster_guard.messages.exchange_faults import (
    AnsweredError,
    AnswerNotJson,
    AnswerNotOfApi,
    AnswerTooLarge,
    AnswerWithoutResult,
    CutShort,
)
from logcaster_guard.messages.texts import english

CHUNK = 1 << 16
LARGEST_ERROR = 1 << 16
_INFO = "PromQL info:"
"""How an annotation begins that does not touch the result; Prometheus 2.48 to 2.53 puts these into `warnings`."""


class Failed(Exception):
    """The exchange gave no answer that can be used."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(english().text(failure.detail))
        self.failure = failure


@dataclass(frozen=True, slots=True)
class PromAnswer:
    """`data` of a successful answer; `warnings` say why it may be partial, and are empty for a whole one."""

    result_type: str
    result: list[Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one exchange may take: `timeout` in seconds, `max_bytes` of body."""

    timeout: float
    max_bytes: int


class BoundedSession(requests.Session):
    """For one exchange. `answer` is what the last `send` was given; `send` raises `Failed` for everything else."""

    def __init__(
        self,
        line: Line,
        bounds: Bounds,
        *,
        now: Callable[[], datetime],
        ca_file: str | None,
        proxy: str | None,
        skew: ClockSkew,
    ) -> None:
        super().__init__()
        for name in ("urllib3", "requests", "prometheus_api_client"):  # they log addresses and queries
            logging.getLogger(name).setLevel(logging.ERROR)
        self.trust_env = False
        self.verify = ca_file or True
        self.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self.headers["User-Agent"] = f"logcaster-guard/{__version__}"
        self.headers["Connection"] = "close"
        self.answer: PromAnswer | None = None
        self._line = line
        self._bounds = bounds
        self._now = now
        self._skew = skew
        self._deadline = time.monotonic() + bounds.timeout

    def adapter(self) -> HTTPAdapter:
        """An adapter without retries whose connections `line` can cut; to be mounted over the client library's own."""
        return _CuttableAdapter(self._line)

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - requests' signature
        """No redirect is followed; requests would read the whole body of one even so."""
        return

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - requests' signature
        """The checked answer as a response with `json()` only; raises `Failed`."""
        kwargs |= {"stream": True, "allow_redirects": False, "timeout": self._bounds.timeout}
        sent = self._now().timestamp()
        try:
            response = super().send(request, **kwargs)
            self._skew.note(response.headers, sent, self._now().timestamp())
            with response:
                document = self._document(response)
        except requests.exceptions.ChunkedEncodingError as error:
            raise Failed(Failure(Fault.TRUNCATED, CutShort())) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Failed(failure_of(error)) from error
        self.answer = _answer(document)
        return _CheckedResponse(document)

    def _document(self, response: requests.Response) -> Any:  # noqa: ANN401 - JSON
        ok = response.status_code == 200
        body = self._body(response, self._bounds.max_bytes if ok else LARGEST_ERROR)
        failure = status_failure(
            response.status_code,
            response.headers.get("Retry-After"),
            self._now(),
            "" if ok else _error_text(body),
        )
        if failure is not None:
            raise Failed(failure)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Failed(Failure(Fault.MALFORMED, AnswerNotJson())) from error

    def _body(self, response: requests.Response, limit: int) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(CHUNK):
            body += chunk
            if len(body) > limit or response.raw.tell() > limit:
                if response.status_code != 200:
                    return b""
                raise Failed(Failure(Fault.TOO_LARGE, AnswerTooLarge(limit)))
            if time.monotonic() > self._deadline:
                raise TimeoutError
        return bytes(body)


class _CheckedResponse(requests.Response):
    """Status 200 and a document that was read within bounds."""

    def __init__(self, document: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__()
        self.status_code = 200
        self._document = document

    def json(self, **_: Any) -> Any:  # noqa: ANN401 - requests' signature
        return self._document


class _CuttableAdapter(HTTPAdapter):
    """Its connections are attached to a line as soon as they stand, before TLS begins."""

    def __init__(self, line: Line) -> None:
        self._line = line
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' signature
        super().init_poolmanager(*args, **kwargs)
        _watch(self.poolmanager, self._line)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - requests' signature
        manager = super().proxy_manager_for(*args, **kwargs)
        _watch(manager, self._line)
        return manager


def _watch(manager: PoolManager, line: Line) -> None:
    def attached(connection: socket.socket) -> socket.socket:
        try:
            line.attach(connection)
        except OSError:
            connection.close()
            raise
        return connection

    def checked(connection: HTTPConnection, connect: Callable[[], socket.socket]) -> socket.socket:
        check_resolved(connection.host, connection.port or 0)
        made = connect()
        try:
            check_peer(connection.host, made)
        except AddressRefused:
            made.close()
            raise
        return attached(made)

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return checked(self, super()._new_conn)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return checked(self, super()._new_conn)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _error_text(body: bytes) -> str:
    """The server's own sentence in an answer that is not 200 (a parse error names the position in the query).

    What stands before Prometheus, or its port that expects TLS, answers in plain text; of a page nothing is told.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    return str(document.get("error", "")) if isinstance(document, Mapping) else ""


def _answer(document: Any) -> PromAnswer:  # noqa: ANN401 - JSON
    if not isinstance(document, Mapping) or document.get("status") not in {"success", "error"}:
        raise Failed(Failure(Fault.MALFORMED, AnswerNotOfApi()))
    if document["status"] == "error":
        raise Failed(Failure(Fault.MALFORMED, AnsweredError(plain(str(document.get("error", ""))))))
    data = document.get("data")
    warnings = document.get("warnings") or []
    if (
        not isinstance(data, Mapping)
        or not isinstance(data.get("resultType"), str)
        or not isinstance(data.get("result"), list)
        or not isinstance(warnings, list)
    ):
        raise Failed(Failure(Fault.MALFORMED, AnswerWithoutResult()))
    return PromAnswer(plain(data["resultType"]), data["result"], _partial(document, warnings))


def _partial(document: Mapping[str, Any], warnings: Sequence[object]) -> tuple[str, ...]:
    """Why the answer may be partial. VictoriaMetrics says so in a key, Thanos in a warning."""
    said = ["the backend says isPartial"] if document.get("isPartial") else []
    return tuple([*said, *(plain(str(w)) for w in warnings if not str(w).startswith(_INFO))][:10])
