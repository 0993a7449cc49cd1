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
        self.asked: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def call(*words: object, **named: object) -> dict[str, Any]:
            self.asked.append((verb, words, named))
            return {}

        return call


WRITES: dict[str, Callable[[FencedCluster], Awaitable[object]]] = {
    "json_patch": lambda c: c.json_patch(Kind.DEPLOYMENT, "n", "d", [{}], manager="m"),
    "apply": lambda c: c.apply(Kind.DEPLOYMENT, "n", "d", {}, manager="m", force=True),
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
    await WRITES[verb](sent)  # type: ignore[arg-type] # by its verbs
    through, direct = sent.asked
    assert (through, through[0]) == (direct, verb)


async def test_reading_needs_no_authority() -> None:
    sent = Recorder()
    cluster = FencedCluster(sent, Left(-1.0))  # type: ignore[arg-type] # by its verbs
    await cluster.get(Kind.DEPLOYMENT, "n", "d")
    await cluster.list(Kind.DEPLOYMENT, "n")
    await cluster.list(Kind.DEPLOYMENT, "n", "app=web")
    assert sent.asked == [
        ("get", (Kind.DEPLOYMENT, "n", "d"), {}),
        ("list", (Kind.DEPLOYMENT, "n", ""), {}),
        ("list", (Kind.DEPLOYMENT, "n", "app=web"), {}),
    ]


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
    await FencedJournal(journal, Left(TIMEOUT)).compact({("guard", 1)})
    assert [entry.seq for entry in await short.read("guard")] == [2]


async def test_only_the_holder_tells_people() -> None:
    inbox, notice = Inbox(), Notice("n", START, "run.opened", Severity.INFO, "title", "text")
    assert await FencedChannel(inbox, Left(-1.0)).deliver(notice) == TryLater("the lease ends before that")
    assert inbox.notices == []
    await FencedChannel(inbox, Left(0.0)).deliver(notice)
    assert inbox.notices == [notice]


def test_a_guard_that_is_alone_uses_its_ports_as_they_are() -> None:
    given = Recorder(), MemoryJournal(), [Inbox()]
    assert list(fenced(*given, None)) == list(given)  # type: ignore[arg-type] # as above
