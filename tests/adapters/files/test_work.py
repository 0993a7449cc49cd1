"""Long work tells how far it is, can be ended between two entries, and says what varied while it was read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import pytest

from logcaster_guard.adapters.files import stepwise
from logcaster_guard.adapters.files.build import build
from logcaster_guard.adapters.files.compare import compare
from logcaster_guard.adapters.files.trees import LocalTrees
from logcaster_guard.domain.errors import NotExchangeable, TreeRefused
from logcaster_guard.file_trees import (
    Aspect,
    Built,
    Comparison,
    Difference,
    Doing,
    Exchange,
    FileTrees,
    Progress,
    Pruned,
    UnpackPolicy,
)
from tests.adapters.files.archives import member, packed
from tests.adapters.files.samples import FIRST, MIB, NOW, Site, finished, small

T = TypeVar("T")


@pytest.fixture
def trees() -> FileTrees:
    return LocalTrees()


@pytest.fixture
def each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the work tells comes out of it."""
    monkeypatch.setattr(stepwise, "SLICE", 0.0)


async def result(work: AsyncGenerator[Progress | T, None]) -> tuple[list[Progress], T]:
    told: list[Progress] = []
    async with aclosing(work):
        async for found in work:
            if not isinstance(found, Progress):
                return told, found
            told.append(found)
    raise AssertionError("no result")


@pytest.mark.usefixtures("each_step")
async def test_a_tree_goes_all_the_way(trees: FileTrees, quick_site: Site) -> None:
    small(quick_site.source)
    told, built = await result(trees.build(quick_site.source, quick_site.production, FIRST))
    assert isinstance(built, Built)
    assert [doing for n, doing in enumerate(t.doing for t in told) if n == 0 or told[n - 1].doing != doing] == [
        *(Doing.MEASURING, Doing.COPYING, Doing.SYNCING),
    ]
    copying = [t for t in told if t.doing == Doing.COPYING]
    assert (copying[-1].entries, copying[-1].of_entries) == (built.entries, built.entries)
    _, compared = await result(trees.compare(quick_site.source, quick_site.folder / built.beside))
    assert isinstance(compared, Comparison)
    assert compared.same
    await trees.fence(quick_site.production, 3)
    wanted = Exchange(built.beside, compared.second.sha256)
    done = await trees.exchange(quick_site.production, wanted, FIRST, NOW)
    assert (await trees.look(quick_site.production)).done
    _, pruned = await result(trees.prune(quick_site.production, 3, NOW.replace(year=2027)))
    assert pruned == Pruned([done.replaced])


@pytest.mark.usefixtures("each_step")
async def test_work_that_is_closed_leaves_nothing(trees: FileTrees, quick_site: Site) -> None:
    small(quick_site.source)
    archive = quick_site.folder / "archive.tar.gz"
    archive.write_bytes(packed(*(member(b"%d" % n) for n in range(20))))
    for work, doing in (
        (trees.build(quick_site.source, quick_site.production, FIRST), Doing.COPYING),
        (trees.unpack(archive, quick_site.production, FIRST, UnpackPolicy()), Doing.UNPACKING),
    ):
        async with aclosing(work):
            async for told in work:
                if isinstance(told, Progress) and told.doing == doing and told.entries == 9:
                    assert len(quick_site.others) == 2
                    break
        assert quick_site.others == {"archive.tar.gz"}


@pytest.mark.usefixtures("each_step")
async def test_work_that_is_cancelled_leaves_nothing(trees: FileTrees, quick_site: Site) -> None:
    for n in range(300):
        (quick_site.source / str(n)).touch()
    task = asyncio.ensure_future(result(trees.build(quick_site.source, quick_site.production, FIRST)))
    while not quick_site.others:  # noqa: ASYNC110 - what a thread does
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert quick_site.others == set()


async def test_failures_arrive(trees: FileTrees, quick_site: Site) -> None:
    os.mkfifo(quick_site.source / "fifo")
    with pytest.raises(TreeRefused, match="fifo is a FIFO"):
        await result(trees.build(quick_site.source, quick_site.production, FIRST))
    with pytest.raises(NotExchangeable):
        await trees.look(quick_site.folder / "nowhere")


def test_a_file_that_is_written_while_it_is_copied_is_named(quick_site: Site) -> None:
    (quick_site.source / "log").write_bytes(bytes(20 * MIB))
    work = build(quick_site.source, quick_site.production, FIRST)
    while (at := next(work)).doing != Doing.COPYING or at.size == 0:
        pass
    with (quick_site.source / "log").open("ab") as file:
        file.write(b"one more line")
    built = finished(work)
    assert (built.varied, built.beside) == (["log"], ".data.guard-ready.first")


def test_a_file_that_is_written_while_it_is_read_is_said_to_vary(quick_site: Site) -> None:
    for tree in (quick_site.source, quick_site.production):
        (tree / "log").write_bytes(bytes(20 * MIB))
        (tree / "present").touch()
        for path in (tree / "log", tree / "present", tree):
            os.utime(path, (0, 0))
    (quick_site.production / "present").write_bytes(b"")
    os.utime(quick_site.production / "present", (0, 0))
    work = compare(quick_site.source, quick_site.production)
    while next(work).size == 0:
        pass
    with (quick_site.source / "log").open("r+b") as file:
        file.write(bytes(1))
    found = finished(work)
    assert Difference("log", Aspect.VARYING) in found.differences
    assert not found.same
