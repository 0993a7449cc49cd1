"""The journal in the cluster against what happens to requests and objects."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.adapters.kubernetes import journal as under_test
from logcaster_guard.adapters.kubernetes.journal import KubernetesJournal
from logcaster_guard.adapters.kubernetes.segments import LIMIT, SEGMENT, name_of
from logcaster_guard.adapters.kubernetes.stored import Place
from logcaster_guard.domain.errors import JournalConflict, JournalOutOfReach, JournalUnavailable
from logcaster_guard.domain.events import Event, SignalSeen
from logcaster_guard.ports import Json, Kind
from logcaster_guard.stores import CODEC
from tests.fakes.secrets import Fate, Secrets

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place("guards", "logcaster-guard")
UNKNOWN = (Fate.CUT_BEFORE, Fate.CUT_AFTER, Fate.LATE, Fate.FAILED, Fate.BUSY)


def seen(*signals: str) -> list[Event]:
    return [SignalSeen(NOW, name) for name in signals]


def journal_on(secrets: Secrets, place: Place = PLACE) -> KubernetesJournal:
    return KubernetesJournal(CODEC, secrets, place)


async def content(secrets: Secrets, stream: str = "run/1") -> list[str]:
    """What a guard that comes later reads, once every request has arrived."""
    secrets.fate = lambda _: Fate.WELL
    secrets.arrive(everything=True)
    return [e.event.signal for e in await journal_on(secrets).read(stream) if isinstance(e.event, SignalSeen)]


def once(*fates: Fate, of: frozenset[str] = frozenset({"create", "patch"})) -> Callable[[str], Fate]:
    """These fates for the next such requests; the rest goes well."""
    coming: Iterator[Fate] = iter(fates)
    return lambda verb: next(coming, Fate.WELL) if verb in of else Fate.WELL


async def test_an_append_is_one_request() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    await journal.read_all()
    secrets.calls.clear()
    for n in range(5):
        await journal.append("run/1", seen("a", "b"), 2 * n)
    assert secrets.calls == {"create": 1, "patch": 4}


async def test_a_journal_that_was_read_goes_on_with_one_request_and_its_positions_rise() -> None:
    secrets = Secrets()
    clock = count(1_000)
    first = KubernetesJournal(CODEC, secrets, PLACE, now=lambda: next(clock))
    await first.append("run/1", seen("a"), 0)
    # The wall clock of the next one is behind.
    second = KubernetesJournal(CODEC, secrets, PLACE, now=lambda: 1)
    await second.read_all()
    secrets.calls.clear()
    await second.append("run/2", seen("b"), 0)
    await second.append("run/1", seen("c"), 1)
    assert secrets.calls == {"create": 1, "patch": 1}
    assert [(e.stream, e.seq) for e in await second.read_all()] == [("run/1", 1), ("run/2", 1), ("run/1", 2)]


async def test_a_long_stream_is_cut_into_objects_of_a_bounded_size() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    text = "x" * 20_000
    for n in range(20):
        await journal.append("run/1", seen(f"{n} {text}"), n)
    sizes = [sum(len(base64.b64decode(v)) for v in s["data"].values()) for s in secrets.objects.values()]
    assert len(sizes) == 4
    assert max(sizes) < SEGMENT + 2_000
    assert list(secrets.objects) == [name_of(PLACE, "run/1", n) for n in range(1, 5)]
    assert await content(secrets) == [f"{n} {text}" for n in range(20)]


async def test_an_append_of_any_size_that_the_api_takes_is_one_object_and_a_larger_one_is_refused() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    await journal.append("run/1", seen("small"), 0)
    await journal.append("run/1", seen("x" * 500_000), 1)
    with pytest.raises(JournalUnavailable, match=f"the limit is {LIMIT}"):
        await journal.append("run/1", seen("x" * LIMIT), 2)
    await journal.append("run/1", seen("small"), 2)
    assert [len(s) for s in await content(secrets)] == [5, 500_000, 5]


@pytest.mark.parametrize("begun", [0, 1], ids=["create", "patch"])
@pytest.mark.parametrize("fate", [*UNKNOWN, Fate.TWICE, Fate.STALE])
@pytest.mark.parametrize("lag", [1, 2, 5])
async def test_one_mishap_on_the_way_is_settled_and_the_append_happens_once(fate: Fate, begun: int, lag: int) -> None:
    secrets = Secrets()
    secrets.lag = lag
    journal = journal_on(secrets)
    if begun:
        await journal.append("run/1", seen("first"), 0)
    secrets.fate = once(fate)
    assert await journal.append("run/1", seen("a", "b"), begun) == begun + 2
    assert await journal.append("run/1", seen("c"), begun + 2) == begun + 3
    assert await content(secrets) == [*["first"][:begun], "a", "b", "c"]


@pytest.mark.parametrize("begun", [0, 1], ids=["create", "patch"])
@pytest.mark.parametrize("fate", UNKNOWN)
async def test_while_nothing_is_answered_the_append_is_out_of_reach_and_then_told_as_it_is(
    fate: Fate, begun: int
) -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    if begun:
        await journal.append("run/1", seen("first"), 0)
    down = iter([fate])
    secrets.fate = lambda _: next(down, Fate.CUT_BEFORE)
    with pytest.raises(JournalOutOfReach):
        await journal.append("run/1", seen("a"), begun)
    with pytest.raises(JournalOutOfReach, match="cannot be told"):
        await journal.read("run/1")
    with pytest.raises(JournalOutOfReach):
        await journal.append("run/1", seen("other"), begun)
    secrets.fate = lambda _: Fate.WELL
    told = [e.event for e in await journal.read("run/1")]
    # What it tells now stays so, whatever still arrives.
    assert await content(secrets) == [e.signal for e in told if isinstance(e, SignalSeen)]
    if len(told) == begun:
        await journal.append("run/1", seen("a"), begun)
    else:
        with pytest.raises(JournalConflict):
            await journal.append("run/1", seen("a"), begun)
    assert await content(secrets) == [*["first"][:begun], "a"]


@pytest.mark.parametrize("begun", [0, 1], ids=["create", "patch"])
async def test_a_refused_append_says_why_and_did_not_happen(begun: int) -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    if begun:
        await journal.append("run/1", seen("first"), 0)
    secrets.fate = once(Fate.FORBIDDEN)
    with pytest.raises(JournalUnavailable, match=r"guards/logcaster-guard cannot be written: .*403") as it:
        await journal.append("run/1", seen("a"), begun)
    assert not isinstance(it.value, JournalOutOfReach)
    await journal.append("run/1", seen("b"), begun)
    assert await content(secrets) == [*["first"][:begun], "b"]


async def test_an_api_that_never_answers_a_write_leaves_nothing_behind() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    await journal.append("run/1", seen("first"), 0)
    secrets.fate = lambda verb: Fate.CUT_BEFORE if verb == "patch" else Fate.WELL
    with pytest.raises(JournalOutOfReach):
        await journal.append("run/1", seen("a"), 1)
    assert await content(secrets) == ["first"]


async def test_a_cancelled_append_is_settled_before_the_next_one() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    await journal.append("run/1", seen("first"), 0)

    def cancelled(verb: str) -> Fate:
        if verb == "patch":
            raise asyncio.CancelledError
        return Fate.WELL

    secrets.fate = cancelled
    with pytest.raises(asyncio.CancelledError):
        await journal.append("run/1", seen("a"), 1)
    secrets.fate = lambda _: Fate.WELL
    secrets.calls.clear()
    await journal.append("run/1", seen("b"), 1)
    assert secrets.calls == {"list": 1, "patch": 2}
    assert await content(secrets) == ["first", "b"]


async def test_an_edit_of_an_objects_metadata_is_no_conflict() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    await journal.append("run/1", seen("a"), 0)
    secrets.edit(name_of(PLACE, "run/1", 1), lambda item: item["metadata"].update(annotations={}))
    await journal.append("run/1", seen("b"), 1)
    secrets.edit(name_of(PLACE, "run/1", 1), lambda item: item["metadata"].pop("annotations"))
    secrets.fate = once(Fate.CUT_BEFORE)
    await journal.append("run/1", seen("c"), 2)
    assert await content(secrets) == ["a", "b", "c"]


# Damage

Change = Callable[[Secrets, str], None]


def value(key: str, change: Callable[[Json], object]) -> Change:
    """Another value of the stream's middle object."""

    def damage(secrets: Secrets, name: str) -> None:
        def edit(item: Json) -> None:
            found = json.loads(base64.b64decode(item["data"][key]))
            change(found)
            item["data"][key] = base64.b64encode(json.dumps(found).encode()).decode()

        secrets.edit(name, edit)

    return damage


def field(change: Callable[[Json], object]) -> Change:
    def damage(secrets: Secrets, name: str) -> None:
        def edit(item: Json) -> None:
            change(item)

        secrets.edit(name, edit)

    return damage


def middle_gone(secrets: Secrets, name: str) -> None:
    del secrets.objects[name]


def garbage(secrets: Secrets, name: str) -> None:
    secrets.edit(name, lambda item: item.update(data={"x": base64.b64encode(b"\xff\xfe").decode()}))


def truncated(secrets: Secrets, name: str) -> None:
    def cut(item: Json) -> None:
        item["data"]["0000000004"] = item["data"]["0000000004"][: len(item["data"]["0000000004"]) // 2 // 4 * 4]

    secrets.edit(name, cut)


def copied(secrets: Secrets, name: str) -> None:
    """The middle object's content under the name of the last one."""
    last = name.replace("000002", "000003")
    secrets.edit(last, lambda item: item.update(data=copy.deepcopy(secrets.objects[name]["data"])))


DAMAGES: Sequence[tuple[str, Change, str]] = [
    ("a middle object is missing", middle_gone, r"-000002 is damaged \(it is missing"),
    ("garbage", garbage, "was not written by a guard"),
    ("no data at all", field(lambda item: item.pop("data")), "was not written by a guard"),
    ("a value cut short", truncated, "not in the form that a guard writes"),
    ("the last record is missing", field(lambda i: i["data"].pop("0000000004")), "ends at seq 3 and should end at 4"),
    ("the first record is missing", field(lambda i: i["data"].pop("0000000003")), "seq 3"),
    ("the tip is missing", field(lambda i: i["data"].pop("tip")), "not in the form"),
    ("something else is in it", field(lambda i: i["data"].update(notes="bm90ZXM=")), "not in the form"),
    ("no base64", field(lambda i: i["data"].update(tip="%%%")), "was not written by a guard"),
    ("a changed event", value("0000000003", lambda r: r.update(body=r["body"].replace("c", "d"))), "seq 3"),
    ("a changed position", value("0000000003", lambda r: r.update(position=1)), "seq 3"),
    ("a changed header", value("header", lambda h: h.update(after=1)), "is damaged"),
    ("another object's content", copied, "it holds part 2"),
    ("another guard", value("header", lambda h: h.update(journal="other")), r"belongs to another guard \(other in"),
    ("another namespace", value("header", lambda h: h.update(namespace="prod")), "belongs to another guard"),
    ("another kind of object", field(lambda i: i.update(type="Opaque")), "belongs to another guard"),
    ("a newer format", value("header", lambda h: h.update(format=2)), "a newer version of LogCaster Guard"),
    ("an older format", value("header", lambda h: h.update(format=0)), "an older version of LogCaster Guard"),
]


@pytest.mark.parametrize(("damage", "says"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
async def test_what_cannot_be_trusted_is_refused_untouched(
    damage: Change, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SEGMENT", 400)
    secrets = Secrets()
    journal = journal_on(secrets)
    for n, letters in enumerate(("ab", "cd", "ef")):
        await journal.append("run/1", seen(*letters), 2 * n)
    assert len(secrets.objects) == 3
    damage(secrets, name_of(PLACE, "run/1", 2))
    before = copy.deepcopy(secrets.objects)
    for reading in (journal_on(secrets).read_all(), journal_on(secrets).read("run/1")):
        with pytest.raises(JournalUnavailable, match=says) as caught:
            await reading
        assert not isinstance(caught.value, JournalOutOfReach)
    with pytest.raises(JournalUnavailable, match=says):
        await journal_on(secrets).append("run/1", seen("g"), 6)
    assert secrets.objects == before


async def test_a_running_guard_notices_that_its_journal_is_shorter_than_it_was() -> None:
    secrets = Secrets()
    journal = journal_on(secrets)
    await journal.append("run/1", seen("a"), 0)
    await journal.append("run/2", seen("b"), 0)
    secrets.objects.clear()
    with pytest.raises(JournalUnavailable, match=r"has lost what it held \(stream run/1, from seq 1\)"):
        await journal.read_all()
    with pytest.raises(JournalUnavailable, match="has lost what it held"):
        await journal.append("run/1", seen("c"), 1)


async def test_an_object_that_is_in_the_way_is_named() -> None:
    secrets = Secrets()
    name = name_of(PLACE, "run/1", 1)
    await secrets.create(Kind.SECRET, "guards", {"kind": "Secret", "metadata": {"name": name, "namespace": "guards"}})
    with pytest.raises(JournalUnavailable, match=f"Secret {name} in namespace guards is in the way"):
        await journal_on(secrets).append("run/1", seen("a"), 0)


async def test_guards_of_different_names_share_a_namespace() -> None:
    secrets = Secrets()
    other = Place("guards", "other")
    await journal_on(secrets).append("run/1", seen("mine"), 0)
    await journal_on(secrets, other).append("run/1", seen("theirs"), 0)
    assert await content(secrets) == ["mine"]
    (entry,) = await journal_on(secrets, other).read_all()
    assert entry.event == seen("theirs")[0]


async def test_an_event_of_an_unknown_type_is_named_by_stream_and_seq(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Secrets()
    with monkeypatch.context() as patched:
        patched.setattr(
            "logcaster_guard.adapters.journal_codec.EventCodec.encode", lambda *_: '{"type":"FromTheFuture"}'
        )
        await journal_on(secrets).append("run/7", seen("a"), 0)
    with pytest.raises(JournalUnavailable, match=r"stream run/7, seq 1: 'FromTheFuture' is no event type"):
        await journal_on(secrets).read("run/7")


# Races

FATES = st.sampled_from([Fate.WELL, Fate.WELL, *UNKNOWN, Fate.TWICE, Fate.FORBIDDEN, Fate.STALE])


@given(
    turns=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3)), min_size=1, max_size=12),
    fates=st.lists(FATES, max_size=60),
    lag=st.integers(1, 6),
    size=st.sampled_from([300, SEGMENT]),
)
def test_whatever_happens_to_two_writers_each_event_is_there_once_and_only_if_it_was_not_refused(
    turns: list[tuple[int, int]], fates: list[Fate], lag: int, size: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(under_test, "SEGMENT", size)
        asyncio.run(_raced(turns, fates, lag))


async def _raced(turns: list[tuple[int, int]], fates: list[Fate], lag: int) -> None:
    """Two guards append by turns, each from where it knows the stream to be, as the engine does it."""
    secrets = Secrets()
    secrets.lag = lag
    coming = iter(fates)
    secrets.fate = lambda _: next(coming, Fate.WELL)
    writers = [journal_on(secrets), journal_on(secrets)]
    known = [0, 0]
    accepted: set[str] = set()
    refused: set[str] = set()
    for number, (writer, length) in enumerate(turns):
        names = [f"{number}.{part}" for part in range(length)]
        try:
            known[writer] = await writers[writer].append("run/1", seen(*names), known[writer])
            accepted |= set(names)
        except JournalOutOfReach as error:
            refused |= set(names) if "nothing was" in str(error) else set()
        except JournalUnavailable:
            refused |= set(names)
        except JournalConflict:
            refused |= set(names)
            try:
                known[writer] = len(await writers[writer].read("run/1"))
            except JournalUnavailable:
                continue
    there = await content(secrets)
    assert len(there) == len(set(there))
    assert accepted <= set(there)
    assert not refused & set(there)
    numbers = [int(name.partition(".")[0]) for name in there]
    assert numbers == sorted(numbers)
    for number, (_, length) in enumerate(turns):
        assert sum(name.startswith(f"{number}.") for name in there) in {0, length}


async def test_of_two_guards_that_append_at_once_one_wins_each_time() -> None:
    secrets = Secrets()
    writers = [journal_on(secrets), journal_on(secrets)]
    for n in range(30):
        results = await asyncio.gather(*(w.append("run/1", seen(f"{n}"), n) for w in writers), return_exceptions=True)
        assert sorted(map(str, map(type, results))) == sorted([str(int), str(JournalConflict)])
        for writer in writers:
            await writer.read("run/1")
    assert await content(secrets) == [str(n) for n in range(30)]


async def filled(secrets: Secrets, count: int = 12) -> KubernetesJournal:
    """A stream of several objects."""
    journal = journal_on(secrets)
    with unittest.mock.patch.object(under_test, "SEGMENT", 1_000):
        for n in range(count):
            await journal.append("run/1", seen(f"{n}" + "x" * 100), n)
    assert len(secrets.objects) > 3
    return journal


def names(signals: Sequence[str]) -> list[str]:
    return [signal.rstrip("x") for signal in signals]


SUPERFLUOUS = {("run/1", seq) for seq in (1, 2, 3, 5, 8)}
STAYS = ["3", "5", "6", "8", "9", "10", "11"]


async def test_a_compacted_stream_is_one_object_that_is_appended_to() -> None:
    secrets = Secrets()
    journal = await filled(secrets)
    await journal.compact(SUPERFLUOUS)
    [only] = secrets.objects
    assert await journal.append("run/1", seen("12"), 12) == 13
    assert list(secrets.objects) == [only]
    assert names(await content(secrets)) == [*STAYS, "12"]


@given(st.lists(st.sampled_from(list(Fate)), max_size=14), st.integers(0, 3))
def test_a_compaction_that_is_cut_anywhere_leaves_the_stream_whole(fates: list[Fate], lag: int) -> None:
    async def scenario() -> None:
        secrets = Secrets()
        secrets.lag = lag
        journal = await filled(secrets)
        secrets.fate = once(*fates, of=frozenset({"create", "patch", "delete", "list"}))
        with contextlib.suppress(JournalUnavailable):
            await journal.compact(SUPERFLUOUS)
        every = names(await content(secrets))
        assert every in ([str(n) for n in range(12)], STAYS)
        following = journal_on(secrets)
        await following.read_all()
        await following.append("run/1", seen("12"), 12)
        await following.compact(SUPERFLUOUS)
        assert names(await content(secrets)) == [*STAYS, "12"]
        assert len(secrets.objects) <= 2

    asyncio.run(scenario())


async def test_a_compaction_that_comes_when_another_guard_has_appended_loses_nothing() -> None:
    secrets = Secrets()
    stale = await filled(secrets)
    secrets.fate = once(Fate.LATE, of=frozenset({"create"}))
    fresh = journal_on(secrets)
    await fresh.read_all()
    with pytest.raises(JournalUnavailable):
        await stale.compact(SUPERFLUOUS)
    await fresh.append("run/1", seen("12"), 12)
    secrets.arrive(everything=True)
    expected = [*(str(n) for n in range(12)), "12"]
    assert names(await content(secrets)) == expected
    # The void object is in nobody's way, neither for what follows nor for the next compaction.
    for n in (13, 14, 15, 16):
        await fresh.append("run/1", seen(f"{n}" + "x" * 40_000), n)
    await fresh.compact(SUPERFLUOUS)
    assert names(await content(secrets)) == [*STAYS, "12", "13", "14", "15", "16"]
    assert len(secrets.objects) == 1


async def test_a_guard_goes_on_with_a_stream_that_another_has_compacted() -> None:
    secrets = Secrets()
    mine = await filled(secrets)
    theirs = journal_on(secrets)
    await theirs.read_all()
    await theirs.compact(SUPERFLUOUS)
    assert await mine.append("run/1", seen("12"), 12) == 13
    assert names(await content(secrets)) == [*STAYS, "12"]


async def test_a_changed_summary_is_refused() -> None:
    secrets = Secrets()
    journal = await filled(secrets)
    await journal.compact(SUPERFLUOUS)
    [name] = secrets.objects

    def cut(item: Json) -> None:
        value = base64.b64decode(item["data"]["summary"])
        item["data"]["summary"] = base64.b64encode(value[:-9]).decode()

    secrets.edit(name, cut)
    with pytest.raises(JournalUnavailable, match="damaged"):
        await journal_on(secrets).read("run/1")
