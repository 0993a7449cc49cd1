"""Every secret that is read while the guard runs may go away: whoever reads it says so, and goes on once it is back."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from logcaster_guard.adapters.channels.slack import SlackApp, SlackSection
from logcaster_guard.adapters.token_gate import TokenGate
from logcaster_guard.domain.notices import Notice, Severity, TryLater
from logcaster_guard.domain.signals import Fault, Signal, SourceError, SourceName, Target, Unit
from logcaster_guard.engine.sampling import read_now
from logcaster_guard.fields.secrets import Secret
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Channel
from tests.fakes.clock import START, FakeClock
from tests.fakes.services import channel_services, prometheus, slack, webhook

UNREACHED = "http://127.0.0.1:9/"
NOTICE = Notice("n", START, "run.opened", Severity.INFO, "title", "text")


def gone(file: Path) -> None:
    file.unlink()


def emptied(file: Path) -> None:
    file.write_text("")


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def marked(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfhunter2")


LOST = (gone, emptied, folder, marked)


@pytest.mark.parametrize("lose", LOST)
async def test_a_source_names_the_file_of_its_token(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")
    source = prometheus(UNREACHED, FakeClock(), token=Secret(file=str(file)))
    signal = Signal("mine", Unit.COUNT, SourceName.PROMETHEUS, query="1")
    target = Target("shop", "prod", "web")
    lose(file)
    for reading in (await read_now(source, target, [signal]))["mine"], await source.history(target, signal, 0, 1, 1):
        assert isinstance(reading, SourceError)
        assert reading.fault is Fault.SECRET
        assert str(file) in english().text(reading.detail)
        assert "hunter2" not in english().text(reading.detail)
    shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    file.write_text("hunter2")
    reading = (await read_now(source, target, [signal]))["mine"]
    assert isinstance(reading, SourceError)
    assert reading.fault is Fault.REFUSED
    await source.aclose()


CHANNELS: Mapping[str, Callable[[Callable[[], str]], Channel]] = {
    "webhook url": lambda read: webhook("c", read),
    "webhook token": lambda read: webhook("c", lambda: UNREACHED, read),
    "slack url": lambda read: slack("c", read),
    "slack token": lambda read: SlackApp(
        SlackSection.model_construct(name="c", api=UNREACHED), read, "C1", channel_services()
    ),
}


@pytest.mark.parametrize("lose", LOST)
@pytest.mark.parametrize("kind", CHANNELS)
async def test_a_channel_names_the_file_and_tries_later(
    tmp_path: Path, kind: str, lose: Callable[[Path], None]
) -> None:  # fmt: skip
    file = tmp_path / "secret"
    file.write_text("hunter2")
    channel = CHANNELS[kind](Secret(file=str(file)).read)
    lose(file)
    delivery = await channel.deliver(NOTICE)
    await channel.aclose()
    assert isinstance(delivery, TryLater)
    assert str(file) in english().text(delivery.detail)
    assert "hunter2" not in english().text(delivery.detail)


@pytest.mark.parametrize("lose", LOST)
async def test_the_gate_of_the_api_lets_nobody_in(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")
    ask: Callable[[str], Awaitable[object]] = TokenGate(Secret(file=str(file)).read).caller
    assert await ask("hunter2") is not None
    lose(file)
    assert await ask("hunter2") is None
