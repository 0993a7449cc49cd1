"""Whatever changes something is begun only if its whole time fits into the lease."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from logcaster_guard.domain.errors import NoAuthority
from logcaster_guard.domain.events import SignalSeen
from logcaster_guard.domain.notices import Notice, Severity, TryLater
from logcaster_guard.engine.fencing import FencedChannel, FencedCluster, FencedJournal, fenced
from logcaster_guard.ports import Kind
from tests.engine.bench import Inbox
from tests.fakes.clock import START
from tests.fakes.journal import MemoryJournal

TIMEOUT = 10.0


class Left:
    """An authority that lasts for `left` seconds more."""

    timeout = TIMEOUT

    def __init__(self, left: float) -> None:
        self.left = left

    def check(self, lasting: float = 0.0) -> None:
        if lasting > self.left:
            raise NoAuthority("the lease ends before that")


class Recorder:
    """A cluster that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def call(*_: object, **__: object) -> dict[str, Any]:
            self.asked.append(verb)
            return {}

        return call


WRITES: dict[str, Callable[[FencedCluster], Awaitable[object]]] = {
    "json_patch": lambda c: c.json_patch(Kind.DEPLOYMENT, "n", "d", []),
    "apply": lambda c: c.apply(Kind.DEPLOYMENT, "n", "d", {}, manager="m", force=False),
    "create": lambda c: c.create(Kind.DEPLOYMENT, "n", {}),
    "delete": lambda c: c.delete(Kind.DEPLOYMENT, "n", "d", uid="u", resource_version="1"),
}


@pytest.mark.parametrize("verb", WRITES)
async def test_a_write_that_may_outlast_the_lease_is_not_sent(verb: str) -> None:
    sent = Recorder()
    with pytest.raises(NoAuthority):
        await WRITES[verb](FencedCluster(sent, Left(TIMEOUT - 0.1)))  # type: ignore[arg-type] # by its verbs
    assert sent.asked == []
    await WRITES[verb](FencedCluster(sent, Left(TIMEOUT)))  # type: ignore[arg-type] # by its verbs
    assert sent.asked == [verb]


async def test_reading_needs_no_authority() -> None:
    sent = Recorder()
    cluster = FencedCluster(sent, Left(-1.0))  # type: ignore[arg-type] # by its verbs
    await cluster.get(Kind.DEPLOYMENT, "n", "d")
    await cluster.list(Kind.DEPLOYMENT, "n")
    assert sent.asked == ["get", "list"]


async def test_the_journal_takes_nothing_that_may_outlast_the_lease_and_is_read_without_one() -> None:
    journal, event = MemoryJournal(), SignalSeen(START, "s")
    short = FencedJournal(journal, Left(TIMEOUT - 0.1))
    with pytest.raises(NoAuthority):
        await short.append("guard", [event], 0)
    assert await FencedJournal(journal, Left(TIMEOUT)).append("guard", [event, event], 0) == 2
    with pytest.raises(NoAuthority):
        await short.compact({("guard", 1)})
    assert len(await short.read("guard")) == len(await short.read_all()) == 2
    assert len(await short.read("guard", 1)) == 1


async def test_only_the_holder_tells_people() -> None:
    inbox, notice = Inbox(), Notice("n", START, "run.opened", Severity.INFO, "title", "text")
    assert isinstance(await FencedChannel(inbox, Left(-1.0)).deliver(notice), TryLater)
    assert inbox.notices == []
    await FencedChannel(inbox, Left(0.0)).deliver(notice)
    assert inbox.notices == [notice]


def test_a_guard_that_is_alone_uses_its_ports_as_they_are() -> None:
    given = Recorder(), MemoryJournal(), [Inbox()]
    assert list(fenced(*given, None)) == list(given)  # type: ignore[arg-type] # as above
