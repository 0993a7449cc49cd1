"""What a reader of the logs may rely on: one line a fact, bound context, nothing secret, nothing that forges a line."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import string
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters import logs
from logcaster_guard.domain.notices import Severity


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging and structlog as they were before the test."""
    names = [None, "logcaster_guard", "aiohttp", "apscheduler", "asyncio", "httpcore", "httpx", "kubernetes_asyncio"]
    before = {name: logging.getLogger(name).level for name in [*names, "urllib3"]}
    handlers = list(logging.getLogger().handlers)
    monkeypatch.setattr(logs, "_literals", ())
    yield
    structlog.contextvars.clear_contextvars()
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().handlers[:] = handlers


class Sink(io.StringIO):
    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def one_json(**fields: Any) -> dict[str, Any]:
    sink = Sink()
    logs.configure("json", "info", sink)
    structlog.get_logger().info("trigger.fired", **fields)
    (line,) = sink.lines
    return line


def one_console(event: str = "trigger.fired", **fields: Any) -> str:
    sink = Sink()
    logs.configure("console", "info", sink)
    structlog.get_logger().info(event, **fields)
    return sink.getvalue()


def test_a_line_is_an_event_a_level_a_utc_instant_and_its_fields() -> None:
    line = one_json(rule="high_error_rate", value=0.3)
    assert (line["event"], line["level"], line["rule"], line["value"]) == (
        "trigger.fired",
        "info",
        "high_error_rate",
        0.3,
    )
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])) < timedelta(minutes=5)


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    piped, terminal = Sink(), Sink(terminal=True)
    logs.configure("auto", "info", piped)
    structlog.get_logger().info("guard.started")
    logs.configure("auto", "info", terminal)
    structlog.get_logger().info("guard.started")
    assert piped.lines[0]["event"] == "guard.started"
    assert "guard.started" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


async def test_bound_context_stays_in_its_own_task() -> None:
    sink = Sink()
    logs.configure("json", "info", sink)

    async def work(run: str) -> None:
        with structlog.contextvars.bound_contextvars(run=run, target="shop/api"):
            await asyncio.sleep(0)
            structlog.get_logger().info("step.done", of=run)

    await asyncio.gather(*(work(str(n)) for n in range(5)))
    assert len(sink.lines) == 5
    assert all(line["run"] == line["of"] and line["target"] == "shop/api" for line in sink.lines)


def test_levels_below_the_threshold_are_silent() -> None:
    sink = Sink()
    logs.configure("json", "warning", sink)
    structlog.get_logger().info("a.b")
    structlog.get_logger().warning("c.d")
    assert [line["event"] for line in sink.lines] == ["c.d"]


@pytest.mark.parametrize("name", ["httpx", "httpcore", "kubernetes_asyncio.client.rest", "apscheduler", "asyncio", "x"])
def test_libraries_speak_from_warning_up_through_the_same_renderer(name: str) -> None:
    sink = Sink()
    logs.configure("json", "debug", sink)
    logging.getLogger(name).info("GET https://user:pw@host/ 200")
    logging.getLogger(name).warning("GET %s failed", "https://user:pw@host/?token=t0k3n")
    (line,) = sink.lines
    assert (line["event"], line["level"], line["logger"]) == ("library.logged", "warning", name)
    assert line["message"] == "GET https://[redacted]@host/?token=[redacted] failed"


def test_configuring_again_replaces_the_first() -> None:
    first, second = Sink(), Sink()
    logs.configure("json", "info", first)
    logs.configure("json", "info", second)
    structlog.get_logger().info("a.b")
    assert (len(first.lines), len(second.lines)) == (0, 1)


@pytest.mark.parametrize(("format_", "level"), [("xml", "info"), ("json", "loud"), ("json", "notset")])
def test_unknown_words_are_refused_with_those_allowed(format_: Any, level: str) -> None:
    with pytest.raises(ValueError, match=r"use (auto, json or console|one of debug)"):
        logs.configure(format_, level, Sink())


def test_an_exception_is_fields_without_locals_and_redacted() -> None:
    sink = Sink()
    logs.configure("json", "info", sink)
    logs.redact("hunter22")
    password = "in-a-local"  # noqa: S105 # made up
    try:
        raise ValueError(f"cannot log in as hunter22, {len(password)}")  # noqa: TRY301 # to be logged from here
    except ValueError:
        structlog.get_logger().exception("login.failed")
    (line,) = sink.lines
    assert line["exception"][0]["exc_type"] == "ValueError"
    assert line["exception"][0]["exc_value"] == "cannot log in as [redacted], 10"
    assert line["exception"][0]["frames"][0]["name"] == "test_an_exception_is_fields_without_locals_and_redacted"
    assert "in-a-local" not in sink.getvalue()


@pytest.mark.parametrize(
    "key", ["token", "api_key", "apiKey", "API-Key", "db_password", "Authorization", "set-cookie", "client_secret"]
)
@pytest.mark.parametrize("value", ["s3cr3t-value", 12345678, ["s3cr3t-value"], {"a": "s3cr3t-value"}])
def test_values_under_a_telling_key_are_redacted(key: str, value: object) -> None:
    line = one_json(outer={"nested": [{key: value}]}, **{key: value})
    assert line[key] == "[redacted]"
    assert line["outer"] == {"nested": [{key: "[redacted]"}]}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: [redacted]"),
        ("sent bearer eyJhbGciOi.x.y", "sent bearer [redacted]"),
        ("Cookie: a=b; c=d", "Cookie: [redacted]"),
        ("https://bob:pw@host:1/x", "https://[redacted]@host:1/x"),
        ("postgresql://bob:p%40w@db/logcaster", "postgresql://[redacted]@db/logcaster"),
        ("GET /x?a=1&access_token=abc&b=2", "GET /x?a=1&access_token=[redacted]&b=2"),
        ("https://h/x?sig=abc#f", "https://h/x?sig=[redacted]#f"),
        ("host=db password=pw1 user=bob", "host=db password=[redacted] user=bob"),
        ('{"password": "pw1", "user": "bob"}', '{"password": "[redacted]", "user": "bob"}'),
        ("nothing to hide at http://host:9998/health", "nothing to hide at http://host:9998/health"),
        ("error_rate 12% > 5% for 5m", "error_rate 12% > 5% for 5m"),
    ],
)
def test_secrets_within_text_are_redacted_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert one_json(detail=text)["detail"] == shown
    assert logs.scrubbed(shown) == shown


secrets = st.text(string.ascii_letters + string.digits + "/+=&% -_", min_size=4, max_size=40).filter(
    lambda s: len(s.strip()) >= 4 and s.strip() not in "[redacted]" and len(set(s)) > 3
)


@given(secret=secrets, around=st.text(max_size=20))
def test_a_registered_secret_appears_nowhere(secret: str, around: str) -> None:
    kept = logs._literals
    try:
        logs._literals = ()
        logs.redact(f"{secret}\n")
        assert secret.strip() not in logs.scrubbed(f"{around}{secret.strip()}{around}").replace("[redacted]", "\0")
    finally:
        logs._literals = kept


def test_a_registered_secret_is_found_percent_encoded_and_in_keys() -> None:
    logs.redact("p@ss/w0rd")
    line = one_json(url="http://h/p%40ss%2Fw0rd", facts={"p@ss/w0rd": 1})
    assert line["url"] == "http://h/[redacted]"
    assert line["facts"] == {"[redacted]": 1}


@pytest.mark.parametrize("value", ["", " ", "abc"])
def test_a_secret_too_short_to_hide_is_ignored(value: str) -> None:
    logs.redact(value)
    assert one_json(detail="abc def")["detail"] == "abc def"


@pytest.mark.parametrize(
    "piece", ["a", "token", "password-", "bearer ", "://", "a:/", '"secret', "cookie : ", "a://b:"]
)
@pytest.mark.timeout(20)
def test_hostile_text_is_scrubbed_in_bounded_time(piece: str) -> None:
    assert len(logs.scrubbed(piece * 500_000)) < 2 * logs.LONGEST_TEXT


@dataclass(frozen=True)
class Login:
    user: str
    password: str


class Opaque:
    def __str__(self) -> str:
        return "password=pw1"


def test_every_value_becomes_plain_json() -> None:
    deep: dict[str, Any] = {}
    deep["self"] = deep
    line = one_json(
        number=math.nan,
        at=datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9))),
        severity=Severity.WARNING,
        path=Path("/tmp"),  # noqa: S108 # only a name
        login=Login("bob", "pw1"),
        opaque=Opaque(),
        flags=(True, None, 3),
        deep=deep,
        odd="\ud800",
    )
    assert line["number"] == "nan"
    assert line["at"] == "2026-01-01T00:00:00+00:00"
    assert line["severity"] == "warning"
    assert line["path"] == "/tmp"  # noqa: S108 # as above
    assert line["login"] == {"user": "bob", "password": "[redacted]"}
    assert line["opaque"] == "password=[redacted]"
    assert line["flags"] == [True, None, 3]
    assert "…" in json.dumps(line["deep"], ensure_ascii=False)


FORGERIES = ["\n", "\r", "\x1b[2K", "\x00", "\x9b31m", "\u2028", "\u202e", "\x85", "\x0b"]


@pytest.mark.parametrize("forgery", FORGERIES, ids=ascii)
def test_a_console_line_cannot_be_forged(forgery: str) -> None:
    evil = f"ok{forgery}2026 [info] run.closed"
    out = one_console(f"x.y{evil}", name=evil, facts={evil: [evil]}, **{f"key{forgery}": 1})
    assert forgery not in out.removesuffix("\n")
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("forgery", FORGERIES, ids=ascii)
def test_a_traceback_in_the_console_cannot_forge_a_line(forgery: str) -> None:
    sink = Sink()
    logs.configure("console", "info", sink)
    try:
        raise ValueError(f"bad{forgery}2026 [info] run.closed")  # noqa: TRY301 # to be logged from here
    except ValueError:
        structlog.get_logger().exception("x.y")
    first, *rest = sink.getvalue().removesuffix("\n").split("\n")
    assert "x.y" in first
    assert all(line.startswith("  ") for line in rest)
    assert "ValueError: bad" in rest[0]
    assert forgery == "\n" or forgery not in sink.getvalue()


def test_korean_is_readable_in_both_formats_and_survives_an_ascii_terminal() -> None:
    assert one_json(text="롤백")["text"] == "롤백"
    assert "롤백" in one_console(text="롤백")
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", write_through=True) as stream:
        logs.configure("console", "info", stream)
        structlog.get_logger().info("x.y", text="롤백")
        assert rb"\ub864\ubc31" in raw.getvalue()


UNREAD = """
import sys
import structlog
from logcaster_guard.adapters import log_stream, logs
log_stream.BOUND = 65_536
logs.configure("json", "info")
for number in range(1_000):
    structlog.get_logger().info("x.y", number=number, detail="d" * 200)
print(logs.dropped(), flush=True)
if sys.stdin.readline():
    structlog.get_logger().info("x.z")
"""


def test_nobody_waits_for_a_log_that_nobody_reads_and_what_is_lost_is_told() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        # It comes through although its standard error is full.
        dropped = int(process.stdout.readline())
        assert 0 < dropped < 1_000
        lines = []
        for text in process.stderr:
            lines.append(json.loads(text))
            if [line["event"] for line in lines].count("log.dropped") == 1 and lines[-1]["event"] == "log.dropped":
                process.stdin.write("go on\n")
                process.stdin.flush()
        assert process.wait() == 0
    numbers = [line["number"] for line in lines if line["event"] == "x.y"]
    # On a busy machine the writing thread may fall behind before the pipe is full, so that a gap comes earlier.
    assert numbers == sorted(set(numbers))
    assert len(numbers) + dropped == 1_000
    assert sum(line["lines"] for line in lines if line["event"] == "log.dropped") == dropped
    assert [line["event"] for line in lines].count("x.z") == 1


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    with subprocess.Popen([sys.executable, "-c", UNREAD], stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE) as process:
        assert process.wait(30) == 0


def test_a_full_disk_is_counted_and_ends_nothing() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        logs.configure("json", "info", full)
        structlog.get_logger().info("x.y")
        logging.getLogger().handlers[-1].retire()  # type: ignore[attr-defined] # the handler of this module
        assert logs.dropped() == 1


def test_a_broken_stream_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Sink()
    logs.configure("json", "info", sink)
    sink.close()
    structlog.get_logger().info("x.y", detail="hidden")
    assert "hidden" not in capsys.readouterr().err
