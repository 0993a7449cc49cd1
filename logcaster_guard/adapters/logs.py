"""Structured logs: one event name per fact (dotted lower-case, `trigger.fired`), with run, target and rule bound.

Everything that is logged, by the guard through structlog or by a library through `logging`, passes one chain: bound
context, UTC time, exceptions as fields, redaction, then JSON lines or a console line. Libraries speak from WARNING up,
as the event `library.logged`: at lower levels some of them write whole URLs.

What has a file descriptor is written by a thread of its own (`log_stream`): nobody who logs waits for a reader.

Nothing happens at import; `configure` sets the process up, and may be called again.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

import structlog

from logcaster_guard.adapters.log_stream import LogStream

Format = Literal["auto", "json", "console"]

LEVELS = ("debug", "info", "warning", "error", "critical")
REDACTED = "[redacted]"
LONGEST_TEXT = 16_384
"""Characters of one logged text that are kept."""

SHORTEST_SECRET = 4
"""Characters below which a registered secret is ignored: hiding every "a" would hide the log, not the secret."""

_DEEPEST = 8
_OWN = "logcaster_guard"
_LIBRARIES = ("aiohttp", "apscheduler", "asyncio", "httpcore", "httpx", "kubernetes_asyncio", "urllib3")

_SENSITIVE = r"(?:token|secret|passw(?:or)?d|authorization|cookie|api[_-]?key|credential|private[_-]?key)"
_KEY = re.compile(_SENSITIVE, re.IGNORECASE)
# Every repetition before a fixed part is bounded, so that a long hostile text costs linear time.
_PATTERNS = (
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/?#@\"'<>]{1,512}@", re.IGNORECASE), rf"\1{REDACTED}@"),
    (re.compile(r"([?&](?:sig|signature|auth|key|code|access_key)=)[^&\s#\"'<>]+", re.IGNORECASE), rf"\1{REDACTED}"),
    (
        re.compile(rf"([\w-]{{0,40}}{_SENSITIVE}[\w-]{{0,40}}[\"']?=[\"']?)[^&\s#\"'<>,;]+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(
            rf"([\"'][\w-]{{0,40}}{_SENSITIVE}[\w-]{{0,40}}[\"']\s{{0,4}}:\s{{0,4}}[\"'])[^\"']+", re.IGNORECASE
        ),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(r"\b((?:proxy-)?authorization|(?:set-)?cookie)(\s{0,4}:\s{0,4})[^\r\n]+", re.IGNORECASE),
        rf"\1\2{REDACTED}",
    ),
)
_PART_OF_EACH = re.compile(r"[:=\s]")
"""Every pattern needs one of these: most texts are single words, and are not searched six times."""

_literals: tuple[str, ...] = ()


def configure(format: Format = "auto", level: str = "info", stream: TextIO | None = None) -> None:  # noqa: A002 # its name in the settings
    """Send every log line to `stream` (standard error) from `level` up.

    `auto` is `console` on a terminal and `json` elsewhere. Raises `ValueError` for an unknown format or level.
    """
    target = sys.stderr if stream is None else stream
    if format not in {"auto", "json", "console"}:
        raise ValueError(f"{format!r} is no log format: use auto, json or console")
    if level.lower() not in LEVELS:
        raise ValueError(f"{level!r} is no log level: use one of {', '.join(LEVELS)}")
    console = format == "console" or (format == "auto" and target.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    _install(_handler(target, console=console))
    logging.getLogger(_OWN).setLevel(threshold)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        # One name for all: a caller's module must not decide whether its lines are seen.
        logger_factory=lambda *_: logging.getLogger(_OWN),
        cache_logger_on_first_use=False,
    )


def redact(value: str) -> None:
    """From now on this text never appears in a log line, as it is or percent-encoded; see `SHORTEST_SECRET`."""
    global _literals  # noqa: PLW0603 # replaced whole, so that a thread that logs sees the old set or the new one
    text = value.strip()
    if len(text) >= SHORTEST_SECRET:
        found = {*_literals, text, quote(text, safe=""), quote_plus(text)}
        _literals = tuple(sorted(found, key=len, reverse=True))


def scrubbed(text: str) -> str:
    """The text without registered secrets, bearer tokens, and credentials in URLs, headers and assignments."""
    for literal in _literals:
        text = text.replace(literal, REDACTED)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text) - LONGEST_TEXT} more)"
    for pattern, replacement in _PATTERNS if _PART_OF_EACH.search(text) else ():
        text = pattern.sub(replacement, text)
    return text


def dropped() -> int:
    """How many lines were dropped since `configure`, because they could not be written."""
    return sum(h.stream.dropped for h in _handlers() if isinstance(h.stream, LogStream))


class _Handler(logging.Handler):
    """Never raises and never prints a record by itself: a broken stream must not stop the guard or leak what failed."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.stream = _behind_a_thread(stream)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")
            if isinstance(self.stream, LogStream):
                self.stream.put(line)
            else:
                self.stream.write(line.decode(self._encoding))
                self.stream.flush()
        except Exception:  # noqa: BLE001, S110 # a record that cannot be written must not stop whoever logs
            pass

    def retire(self) -> None:
        """Write what waits; not `flush`, which `logging` calls with a lock held that the writing thread may need."""
        if isinstance(self.stream, LogStream):
            self.stream.drain()


def _behind_a_thread(stream: TextIO) -> TextIO | LogStream:
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (OSError, ValueError):
        return stream
    return LogStream(descriptor, lambda lines: structlog.get_logger().warning("log.dropped", lines=lines))


def _handlers() -> Sequence[_Handler]:
    return [h for h in logging.getLogger().handlers if isinstance(h, _Handler)]


def _handler(stream: TextIO, *, console: bool) -> _Handler:
    handler = _Handler(stream)
    renderer: list[Any] = [structlog.processors.JSONRenderer(ensure_ascii=False, allow_nan=False)]
    if console:
        renderer = [_escape, structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=24)]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _library_line,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(
                    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20, use_rich=False)
                ),
                _redact_all,
                *renderer,
            ],
        )
    )
    return handler


def _install(handler: _Handler) -> None:
    root = logging.getLogger()
    for present in _handlers():
        root.removeHandler(present)
        present.retire()
        atexit.unregister(present.retire)
    root.addHandler(handler)
    atexit.register(handler.retire)


def _library_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["message"] = event["event"]
    event["event"] = "library.logged"
    return event


def _redact_all(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {scrubbed(str(key)): _clean(str(key), value, 0) for key, value in event.items()}


def _clean(key: str, value: Any, depth: int) -> Any:  # noqa: ANN401 # any logged value
    """The value as plain JSON, with nothing secret in it."""
    if isinstance(value, bool | int | None) and not isinstance(value, Enum):
        return REDACTED if isinstance(value, int) and not isinstance(value, bool) and _KEY.search(key) else value
    if _KEY.search(key):
        return REDACTED
    if depth >= _DEEPEST:
        return "…"
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case Enum():
            return _clean(key, value.value, depth + 1)
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
        case Mapping():
            return {scrubbed(str(k)): _clean(str(k), v, depth + 1) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(key, v, depth + 1) for v in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: _clean(f.name, getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)}
        case _:
            return scrubbed(str(value))


def _escape(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a terminal would obey or take for another line becomes visible; a traceback keeps its own line breaks."""
    exception = event.pop("exception", None)
    safe = {_visible(str(key)): _visible_value(value) for key, value in event.items()}
    if isinstance(exception, list):
        safe["exception"] = "\n".join(f"  {_visible(line)}" for line in _traceback_lines(exception))
    elif exception is not None:
        safe["exception"] = _visible(str(exception))
    return safe


def _visible_value(value: Any) -> Any:  # noqa: ANN401 # any cleaned value
    if isinstance(value, str):
        return _visible(value)
    # repr escapes what is inside a container, except for characters that are printable by its own rule.
    return value if isinstance(value, bool | int | float | None) else _visible(repr(value))


def _visible(text: str) -> str:
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else c
        for c in text
    )


def _traceback_lines(traces: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for trace in traces:
        yield f"{trace.get('exc_type')}: {trace.get('exc_value')}"
        for frame in trace.get("frames") or []:
            yield f"  at {frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}"
