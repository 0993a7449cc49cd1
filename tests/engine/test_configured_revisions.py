"""The ledger where what pods have read of ConfigMaps belongs to a release."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from logcaster_guard.domain.configuration.live_configuration import ConfigurationChange
from logcaster_guard.domain.configuration.references import ConfigKind, ConfigObject
from logcaster_guard.domain.configuration.release_configuration import ConfigurationState, InTransition, Known, Unknown
from logcaster_guard.domain.events import (
    PodsReplaced,
    RevisionConfigured,
    RevisionGood,
    RevisionLive,
    RunOpened,
    StepIntended,
    StepStarted,
)
from logcaster_guard.domain.ledger import Ledger, Record, ReleaseStatus
from logcaster_guard.domain.releases import Release
from logcaster_guard.domain.rules import LedgerPolicy
from logcaster_guard.domain.runs import fold
from logcaster_guard.domain.steps import Plan, Step
from logcaster_guard.engine.configuration_changes import ConfigurationChanges, put_there_by
from logcaster_guard.engine.target_configuration import NotFollowed
from logcaster_guard.ports import Json
from logcaster_guard.steps.restore_config_map import RestoreConfigMap
from logcaster_guard.steps.restore_template import RestoreTemplate
from tests.engine.bench import KEY, PROVEN
from tests.engine.configured import POLL, Configured
from tests.fakes.clock import START as NOW

ONE: Json = {"checksum/config": "one"}
TWO: Json = {"checksum/config": "two"}
LATER = 60.0
"""Seconds after which the restart of a container is in order with what was seen before."""


@contextlib.asynccontextmanager
async def rolled_out(*, seconds: float = POLL) -> AsyncIterator[Configured]:
    """Pods a and b, which have read k=1, as the guard has seen from the beginning."""
    made = Configured()
    try:
        made.configure(k="1")
        made.refer()
        await made.start()
        await made.pass_(POLL)
        made.pods("a", "b")
        await made.pass_(seconds)
        yield made
    finally:
        await made.stop()


def ledger(made: Configured) -> Ledger:
    return made.guard.state.ledger(KEY)


def present(made: Configured) -> str:
    """The value of k that the present release's pods have read; empty while that is unknown."""
    live = ledger(made).live
    assert live is not None
    [blob] = live.contents.values() or [""]
    found = [content for content in made.blobs.contents if hashlib.sha256(content).hexdigest() == blob]
    return str(json.loads(found[0])["data"]["k"]) if found else ""


def release_statuses(made: Configured) -> list[ReleaseStatus]:
    """Of all releases since the guard began."""
    return [r.status(LedgerPolicy()) for r in ledger(made).records.values() if r.revision != "1"]


async def test_what_the_pods_have_read_belongs_to_the_release_since_its_rollout() -> None:
    async with rolled_out() as made:
        assert [len(made.told(RevisionLive)), len(made.told(RevisionConfigured))] == [1, 1]
        assert (present(made), len(release_statuses(made))) == ("1", 1)
        [began] = made.told(RevisionLive)
        assert [(r.key, r.earliest) for r in ledger(made).rollouts] == [(ledger(made).present, began.earliest)]
        await made.pass_(PROVEN)
        assert [good.release.key for good in made.told(RevisionGood)] == [ledger(made).present]


async def test_an_edit_is_a_rollout_from_the_first_container_on_that_has_read_it() -> None:
    async with rolled_out(seconds=PROVEN) as made:
        first = ledger(made).present
        made.configure(k="2")
        await made.pass_(PROVEN)
        assert (len(made.told(RevisionLive)), present(made)) == (1, "1"), "a pending edit changes nothing"
        before = made.clock.now()
        made.restart_container("a")
        await made.pass_(POLL)
        assert present(made) == "2"
        edited = made.told(RevisionLive)[-1]
        assert edited.earliest is not None
        assert before.timestamp() - LATER <= edited.earliest.timestamp() <= made.clock.now().timestamp()
        assert (edited.undo_of, edited.by_guard, edited.revision) == (None, None, "2")
        assert [r.previous for r in ledger(made).rollouts] == [first]
        goal = ledger(made).destination(LedgerPolicy())
        assert goal is not None
        assert goal.release.key == first


async def test_a_release_earns_nothing_while_its_pods_have_not_all_read_the_same() -> None:
    async with rolled_out(seconds=PROVEN) as made:
        made.configure(k="2")
        await made.pass_(LATER)
        made.restart_container("a")
        await made.pass_(2 * PROVEN)
        assert len(made.told(RevisionGood)) == 1
        made.restart_container("b")
        await made.pass_(PROVEN - 2 * POLL - 100.0)
        assert len(made.told(RevisionGood)) == 1, "and then for as long as any other"
        await made.pass_(200.0)
        assert made.told(RevisionGood)[-1].release.key == ledger(made).present
        assert release_statuses(made) == [ReleaseStatus.GOOD, ReleaseStatus.GOOD]


async def test_an_edit_that_is_put_back_before_anybody_read_it_leaves_no_trace() -> None:
    async with rolled_out() as made:
        before = ledger(made)
        made.configure(k="2")
        await made.pass_(LATER)
        made.configure(k="1")
        await made.pass_(LATER)
        made.restart_container("a")
        await made.pass_(LATER)
        assert ledger(made) == replace(before, signals_seen=ledger(made).signals_seen, length=ledger(made).length)


async def test_a_pod_that_crashes_for_what_it_has_read_and_is_never_ready_begins_the_rollout() -> None:
    async with rolled_out() as made:
        made.configure(k="2")
        await made.pass_(LATER)
        made.pods("c", ready=False)
        await made.pass_(LATER)
        assert present(made) == "2"
        made.configure(k="1")
        await made.pass_(LATER)
        assert (present(made), made.told(RevisionLive)[-1].undo_of) == ("1", made.told(RevisionLive)[-2].release.key)
        assert sorted(release_statuses(made)) == [ReleaseStatus.BAD, ReleaseStatus.UNPROVEN]


async def test_another_template_begins_with_a_configuration_that_nobody_knows_and_keeps_its_rollout() -> None:
    async with rolled_out(seconds=PROVEN) as made:
        first = ledger(made).present
        made.configure(k="2")
        made.cluster.roll("logcaster-prod", "v3")
        await made.pass_(POLL)
        live = ledger(made).live
        assert live is not None
        assert live.configuration == ""
        made.remove_pods("a", "b")
        made.pods("c", "d")
        await made.pass_(POLL)
        assert present(made) == "2"
        assert [r.previous for r in ledger(made).rollouts] == [first]
        assert len(release_statuses(made)) == 2
        assert [r.key for r in ledger(made).rollouts] == [ledger(made).present]


async def test_nothing_is_told_anew_after_a_restart() -> None:
    async with rolled_out() as made:
        made.configure(k="2")
        await made.pass_(LATER)
        made.restart_container("a")
        await made.pass_(POLL)
        told = (len(made.told(RevisionLive)), len(made.told(RevisionConfigured)))
        await made.restart()
        await made.pass_(PROVEN)
        assert (len(made.told(RevisionLive)), len(made.told(RevisionConfigured))) == told
        assert present(made) == "2"


async def test_a_checksum_is_saved_with_the_configuration_that_it_belongs_to() -> None:
    async with rolled_out() as made:
        made.refer(**ONE)
        made.remove_pods("a", "b")
        made.pods("c", "d", annotations=ONE)
        await made.pass_(LATER)
        old = ledger(made).live
        made.refer(**TWO)
        await made.pass_(POLL)
        made.remove_pods("c", "d")
        made.pods("e", "f", annotations=TWO)
        await made.pass_(LATER)
        new = ledger(made).live
        assert old is not None
        assert new is not None
        assert (new.template, new.restorable, new.contents) == (old.template, old.restorable, old.contents)
        assert new.configuration != old.configuration
        saved = [
            Release.from_bytes(await made.blobs.get(ledger(made).records[r.release.key].blob)).template["metadata"]
            for r in (old, new)
        ]
        assert [m["annotations"]["checksum/config"] for m in saved] == ["one", "two"]
        assert len(made.told(PodsReplaced)) == 2
        assert len(made.told(RevisionLive)) == 1


async def test_a_release_is_named_by_its_revision_and_its_configuration() -> None:
    async with rolled_out(seconds=PROVEN) as made:
        made.configure(k="2")
        await made.pass_(LATER)
        made.restart_container("a")
        await made.pass_(POLL)
        found = [summary for summary in made.guard.read_model.releases(KEY) if summary.record.revision == "2"]
        assert [summary.present for summary in found] == [False, True]
        names = [summary.record.name for summary in found]
        assert [name.partition("+")[0] for name in names] == ["2", "2"]
        assert [ledger(made).named(name)[0].name for name in names] == names
        assert len(ledger(made).named("2")) == 2


APP = ConfigObject(ConfigKind.CONFIG_MAP, "default", "app")


@pytest.mark.parametrize(
    ("configuration", "state", "template", "whole", "earns"),
    [
        ("c", Known("c"), "t", True, True),
        ("c", Known("d"), "t", False, False),  # all pods have read another one
        ("c", InTransition((APP,)), "t", False, False),
        ("c", Unknown(()), "t", True, False),  # no pod is known to have read another one
        ("", Known("d"), "t", True, False),  # nobody knows the release's own, so that none is another one
        ("", InTransition((APP,)), "t", True, False),
        ("", Unknown(()), "t", True, True),
        ("c", Known("c"), "another", False, False),  # what was looked at last was of another template
        ("c", Known("c"), "", True, True),
        ("", Unknown(()), "another", True, False),
    ],
)
def test_a_release_is_whole_while_no_pod_is_known_to_have_read_another_configuration(
    configuration: str, state: ConfigurationState, template: str, *, whole: bool, earns: bool
) -> None:
    live = Record("t", "1", "blob", (), 0, 0, configuration=configuration)
    changes = ConfigurationChanges(NotFollowed(template, state=state))
    assert (changes.is_whole(live), changes.earns(live)) == (whole, earns)


CHANGE = ConfigurationChange(Known("good"), rollout=True, objects=frozenset({APP}))


@pytest.mark.parametrize(
    ("template", "change", "touched", "expected"),
    [
        ("to", CHANGE, True, True),  # its destination
        ("from", CHANGE, True, True),  # what it has written, before the template
        ("from", replace(CHANGE, objects=frozenset({replace(APP, name="other")})), True, False),
        ("from", replace(CHANGE, objects=frozenset()), True, False),
        ("from", CHANGE, False, False),  # it has written nothing yet
    ],
)
def test_the_guards_own_writes_are_known_as_its_own(
    template: str, change: ConfigurationChange, *, touched: bool, expected: bool
) -> None:
    steps: tuple[Step, ...] = (RestoreConfigMap("app", "u", "blob", ()), RestoreTemplate("blob"))
    plan = Plan(
        "immediate", "default", "d", "u", "from", "to", (), (), 1, False, None, None, steps, to_configuration="good"
    )  # fmt: skip
    opened = RunOpened(NOW, "r", KEY, "rule", "reason", plan)
    run = fold([opened, StepStarted(NOW, "r", 0), *([StepIntended(NOW, "r", 0, 1)] if touched else [])])["r"]
    assert put_there_by(run, change, template) == ("r" if expected else None)
    assert put_there_by(None, change, template) is None
