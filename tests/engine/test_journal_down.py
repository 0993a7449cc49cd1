"""A journal that is not there, or takes nothing: what the journal itself cannot tell people."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.capacity import HELPER_LABEL
from logcaster_guard.domain.configuration.copies import COPY_LABEL
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.events import NoticeQueued, NoticeSettled, RunClosed
from logcaster_guard.domain.leadership import Terms
from logcaster_guard.domain.notices import Severity
from logcaster_guard.domain.provenance import MANAGED, RUN
from logcaster_guard.engine.leader_elector import LeaderElector
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from tests.engine.bench import KEY, PROD, Bench, bench, in_mid_run
from tests.fakes.lease import MemoryLease, Shelf

HELPER = f"{PROD}-rollback-1a2b3c4d"


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    async with bench() as found:
        yield found


def leave_helper(made: Bench) -> None:
    """What a gradual rollback has made, and nobody has cleared away."""
    made.cluster.add_deployment(HELPER, "v1", replicas=2)

    def own(helper: dict[str, dict[str, object]]) -> None:
        helper["metadata"] |= {"labels": {**MANAGED, HELPER_LABEL: HELPER}, "annotations": {RUN: "run-7"}}

    made.cluster.change(Kind.DEPLOYMENT, HELPER, own)


async def test_a_journal_that_takes_nothing_for_a_minute_is_told_once_and_so_is_its_return(made: Bench) -> None:
    assert made.journal is not None
    await in_mid_run(made)
    made.journal.fault = "the disk is full"
    made.cluster.stuck = False
    made.cluster.finish()
    await made.pass_(50.0)
    assert made.notices("journal.failing") == []
    await made.pass_(300.0)
    [failing] = made.notices("journal.failing")
    assert (failing.severity, "the disk is full" in failing.text.lower()) == (Severity.CRITICAL, True)
    assert made.notices("journal.recovered") == []
    made.journal.fault = None
    await made.pass_(60.0)
    assert len(made.notices("journal.recovered")) == 1
    made.journal.fault = "the disk is full again"
    made.cluster.roll(PROD, "v3")
    await made.pass_(200.0)
    assert len(made.notices("journal.failing")) == 2


async def test_where_no_release_can_be_saved_the_bad_one_is_rolled_back_and_people_are_told(made: Bench) -> None:
    await made.good_v1()
    made.blobs.full = True
    made.cluster.roll(PROD, "v2")
    await made.pass_(900.0)
    (closed,) = made.told(RunClosed)
    assert (closed.outcome, made.cluster.image(PROD)) == ("recovered", "v1")
    (failing,) = made.notices("blobs.failing")
    assert (failing.severity, "no space left" in failing.text.lower()) == (Severity.CRITICAL, True)
    assert made.guard.blobs.failures > 0
    assert any("no space left" in english().text(m) for m in made.guard.read_model.missing())


async def test_a_release_that_could_not_be_saved_earns_good_and_is_gone_back_to_once_it_could(made: Bench) -> None:
    await made.good_v1()
    made.blobs.full, made.errors["v5"] = True, 0.0
    made.cluster.roll(PROD, "v5")
    await made.pass_(900.0)
    ledger = made.guard.state.ledger(KEY)
    present = ledger.records[ledger.present or ""]
    assert (present.images, present.good_at, present.blob) == (("v5",), None, "")
    made.blobs.full = False
    await made.pass_(900.0)
    assert len(made.notices("blobs.recovered")) == 1
    assert made.guard.read_model.missing() == []
    made.cluster.roll(PROD, "v2")
    await made.pass_(900.0)
    assert made.cluster.image(PROD) == "v5"


async def test_a_hiccup_of_the_journal_is_no_alarm(made: Bench) -> None:
    assert made.journal is not None
    await in_mid_run(made)
    made.cluster.stuck = False
    made.cluster.finish()
    for _ in range(5):
        made.journal.fault = "the disk is busy"
        await made.pass_(30.0)
        made.journal.fault = None
        await made.pass_(30.0)
    assert [n for n in made.inbox.notices if n.event.startswith("journal.")] == []


async def test_without_a_journal_people_are_told_what_a_run_has_left(made: Bench) -> None:
    leave_helper(made)
    made.journal, made.journal_fault = None, "it is damaged"
    with capture_logs() as logs:
        await made.start()
        await made.pass_(400.0)
    [lost] = made.notices("journal.lost")
    sentence = f"Deployment default/{HELPER} with 2 pods is the helper of run run-7."
    assert (lost.severity, sentence in lost.text) == (Severity.CRITICAL, True)
    assert [english().text(left) for left in made.guard.journal_down.stranded] == [sentence]
    assert [e["detail"] for e in logs if e["event"] == "run.stranded"] == [sentence]
    assert made.cluster.writes == []
    made.cluster.remove(Kind.DEPLOYMENT, HELPER)
    await made.pass_(70.0)
    assert not made.guard.journal_down.stranded


async def test_copies_of_configuration_are_told_with_it(made: Bench) -> None:
    made.cluster.add(Kind.CONFIG_MAP, "app-1234", data={})
    metadata = made.cluster.object(Kind.CONFIG_MAP, "app-1234")["metadata"]
    metadata |= {"labels": {COPY_LABEL: "true"}, "annotations": {RUN: "run-7"}}
    made.journal, made.journal_fault = None, "it is damaged"
    refused = Rejected("forbidden", status=403)
    made.cluster.fault = lambda verb, kind, _: refused if (verb, kind) == ("list", Kind.CONFIG_MAP) else None
    await made.start()
    await made.pass_(10.0)
    # A guard that may list none says nothing of them.
    [lost] = made.notices("journal.lost")
    assert not made.guard.journal_down.stranded
    assert "could not be seen" not in lost.text
    made.cluster.fault = lambda *_: None
    await made.pass_(70.0)
    [left] = map(english().text, made.guard.journal_down.stranded)
    assert left == "ConfigMap default/app-1234 is a copy of configuration that run run-7 made."
    assert made.cluster.writes == []


async def test_with_a_journal_a_helper_is_nobodys_alarm(made: Bench) -> None:
    leave_helper(made)
    await made.good_v1()
    assert not made.guard.journal_down.stranded
    assert made.notices("journal.lost") == []


async def test_people_are_told_though_the_cluster_does_not_show_what_is_left(made: Bench) -> None:
    leave_helper(made)

    def away(verb: str, kind: Kind, name: str) -> ClusterError | None:
        del kind, name
        return Unavailable("the server is away") if verb == "list" else None

    made.cluster.fault = away
    made.journal, made.journal_fault = None, "it is damaged"
    await made.start()
    await made.pass_(10.0)
    [lost] = made.notices("journal.lost")
    assert "could not be seen: the server is away" in lost.text
    made.cluster.fault = lambda *_: None
    await made.pass_(70.0)
    assert len(made.guard.journal_down.stranded) == 1


async def test_a_journal_that_was_given_up_is_told_and_takes_and_tells_nothing_later(made: Bench) -> None:
    assert made.journal is not None
    await in_mid_run(made)
    await made.stop()
    # As if nothing had been delivered: what is owed would be sent at once.
    made.journal._entries = [e for e in made.journal.entries if not isinstance(e.event, NoticeSettled)]
    assert [e for e in made.journal.entries if isinstance(e.event, NoticeQueued)]
    before = made.journal.entries
    made.inbox.notices.clear()
    made.journal.fault = "it is damaged"
    await made.start()
    made.journal.fault = None
    await made.pass_(900.0)
    assert [n.event for n in made.inbox.notices] == ["journal.lost"]
    assert "It is damaged." in made.inbox.notices[0].text
    assert made.journal.entries == before


async def test_under_a_lease_too_people_are_told(made: Bench) -> None:
    terms = Terms(duration=30.0, renew_every=5.0, timeout=10.0)
    made.authority = LeaderElector(MemoryLease(Shelf()), made.clock, terms, "only")
    made.journal, made.journal_fault = None, "it is damaged"
    await made.start()
    await made.pass_(300.0)
    assert len(made.notices("journal.lost")) == 1
