"""Whether an edit of a ConfigMap is blamed for a breach, over a whole guard."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from logcaster_guard.domain.events import RevisionLive, RunOpened
from logcaster_guard.domain.guardrails import Guardrail
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.rules import ConfigPolicy, EditAttribution, LedgerPolicy, Policy
from logcaster_guard.domain.signals import Gap, NoData, Reading, Signal, SourceName, Target, Value
from logcaster_guard.ports import Clock
from tests.engine.bench import ERRORS, FIRES, HEALTH, KEY, PROD, PROVEN
from tests.engine.configured import POLL, Configured
from tests.fakes.source import FakeSource

AGAIN = 60.0
"""Seconds after which the restart of a container is in order with what was seen before."""


class SourceByPod(FakeSource):
    """`shares` are error rates by pod; a group of pods has the highest. Without any it tells no pods apart."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(SourceName.PROMETHEUS, clock, past=True)
        self.shares: dict[str, float] = {}
        self.groups: list[PodGroup] = []

    async def portion(self, target: Target, signal: Signal, group: PodGroup, start: float, end: float) -> Reading:
        del target
        self.groups.append(group)
        if signal.name == "request_rate":
            return Value(end, 1_000.0 / (end - start))
        found = [share for pod, share in self.shares.items() if group.has(pod, None)]
        return Value(end, max(found)) if found else NoData(end, Gap.NOT_BY_POD)


class Blamed(Configured):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy=policy, rules=[replace(ERRORS, rollout_window=PROVEN), HEALTH])
        self.source = SourceByPod(self.clock)
        self.prometheus = self.source
        self.source.set(PROD, "error_rate", 0.0)

    def fail(self, **shares: float) -> None:
        """The target breaches; these pods have these error rates."""
        self.source.shares = shares
        self.source.set(PROD, "error_rate", 0.3)

    async def decided(self) -> list[str]:
        """The guardrails that were told, once the rule has fired; none where a run was opened."""
        await self.pass_(FIRES + POLL)
        notices = self.notices("trigger.refused")
        return [name.strip() for n in notices for name in n.facts["guardrails"].split(",")]


@contextlib.asynccontextmanager
async def well(attribution: EditAttribution = EditAttribution.ALERT) -> AsyncIterator[Blamed]:
    """Pods a and b have read k=1, which has earned good; somebody has just set it to 2."""
    made = Blamed(Policy(config=ConfigPolicy(attribution=attribution)))
    try:
        made.configure(k="1")
        made.refer()
        await made.start()
        await made.pass_(POLL)
        made.pods("a", "b")
        await made.pass_(PROVEN)
        made.configure(k="2")
        await made.pass_(AGAIN)
        yield made
    finally:
        await made.stop()


def newest(made: Configured) -> ReleaseStatus:
    """What is known of the release that somebody rolled out last."""
    rolled_out = [event.release.key for event in made.told(RevisionLive) if event.by_guard is None]
    ledger = made.guard.state.ledger(KEY)
    found = ledger.records.get(rolled_out[-1]) or ledger.live
    assert found is not None
    return found.status(LedgerPolicy())


async def test_an_edit_that_no_pod_has_read_is_blamed_for_nothing_and_people_are_told_so() -> None:
    async with well() as made:
        made.fail(a=0.3, b=0.3)
        assert await made.decided() == [Guardrail.NOT_CAUSED_BY_A_ROLLOUT, Guardrail.NO_GOOD_REVISION]
        (notice,) = made.notices("trigger.refused")
        assert notice.facts["pending"] == (
            "no pod has read ConfigMap default/app as it is now: the edit is blamed for nothing"
        )
        assert len(made.told(RevisionLive)) == 1
        assert newest(made) is ReleaseStatus.GOOD


@pytest.mark.parametrize(
    ("shares", "attribution", "guardrails"),
    [
        ({"a": 0.6, "b": 0.0}, EditAttribution.ALERT, []),
        ({"a": 0.3, "b": 0.3}, EditAttribution.ROLLBACK, [Guardrail.SHARED_CAUSE]),  # old and new suffer alike
        ({}, EditAttribution.ALERT, [Guardrail.PODS_INDISTINCT]),
        ({}, EditAttribution.ROLLBACK, []),
    ],
    ids=["worse on the new ones", "alike", "not by pod", "not by pod, and to be rolled back"],
)
async def test_pods_that_have_read_it_are_compared_with_those_that_have_not(
    shares: dict[str, float], attribution: EditAttribution, guardrails: list[Guardrail]
) -> None:
    async with well(attribution) as made:
        made.restart_container("a")
        await made.pass_(AGAIN)
        made.fail(**shares)
        assert await made.decided() == guardrails
        assert len(made.told(RunOpened)) == (0 if guardrails else 1)
        bad = not guardrails
        assert newest(made) is (ReleaseStatus.BAD if bad else ReleaseStatus.UNPROVEN)


async def test_a_container_that_crashes_for_what_it_has_read_is_blamed() -> None:
    async with well() as made:
        made.pods("c", ready=False)
        await made.pass_(AGAIN)
        made.fail(a=0.0, b=0.0, c=1.0)
        assert await made.decided() == []
        (run,) = made.told(RunOpened)
        assert "Edits of ConfigMap default/app: 1 pods have read them, 2 have not." in str(
            made.notices("run.opened")[0].facts["attribution"]
        )
        assert run.attributed


async def test_when_all_pods_have_read_it_before_and_after_are_compared() -> None:
    async with well() as made:
        made.restart_container("a")
        made.restart_container("b")
        await made.pass_(AGAIN)
        made.fail()
        assert await made.decided() == []
        assert len(made.told(RunOpened)) == 1


async def test_a_breach_from_before_anybody_read_it_is_not_blamed_on_it() -> None:
    async with well() as made:
        made.fail(a=0.6, b=0.0)
        await made.pass_(120.0)
        made.restart_container("a")
        assert await made.decided() == [Guardrail.NOT_CAUSED_BY_A_ROLLOUT]
        assert made.told(RunOpened) == []


@pytest.mark.parametrize(
    ("replaced", "guardrails"),
    [(True, []), (False, [Guardrail.PODS_INDISTINCT])],  # when a container was started again only this guard has seen
    ids=["a new pod", "the container of an old one"],
)
async def test_after_a_restart_of_the_guard_what_is_still_known_is_compared(
    guardrails: list[Guardrail], *, replaced: bool
) -> None:
    async with well() as made:
        if replaced:
            made.remove_pods("a")
            made.pods("c")
        else:
            made.restart_container("a")
        await made.pass_(AGAIN)
        made.fail(a=0.6, b=0.0, c=0.6)
        await made.pass_(POLL)
        await made.restart()
        assert await made.decided() == guardrails
        assert len(made.told(RunOpened)) == (0 if guardrails else 1)


async def test_a_checksum_that_changed_while_nothing_readable_did_is_opaque_and_not_rolled_back() -> None:
    made = Blamed(Policy())
    one, two = {"checksum/secret": "1"}, {"checksum/secret": "2"}
    try:
        made.configure(k="1")
        made.refer(None, **one)
        await made.start()
        await made.pass_(POLL)
        made.pods("a", "b", annotations=one)
        await made.pass_(PROVEN)
        made.refer(None, **two)
        await made.pass_(POLL)
        made.remove_pods("a", "b")
        made.pods("c", "d", annotations=two)
        await made.pass_(AGAIN)
        made.fail()
        assert await made.decided() == [Guardrail.PODS_REPLACED, Guardrail.NO_GOOD_REVISION]
        (notice,) = made.notices("trigger.refused")
        assert "this part of the release is opaque to it" in notice.text
        assert len(made.told(RevisionLive)) == 1
        assert made.told(RunOpened) == []
    finally:
        await made.stop()


async def test_after_a_rollout_of_a_template_its_pods_are_compared_with_those_of_the_one_before() -> None:
    async with well() as made:
        made.errors["v2"] = 0.0
        made.cluster.stuck = True
        made.cluster.roll(PROD, "v2")
        await made.pass_(POLL)
        made.pods("c")
        await made.pass_(AGAIN)
        ledger = made.guard.state.ledger(KEY)
        assert ledger.live is not None
        assert ledger.live.configuration
        made.fail()
        await made.decided()
        new, old = made.source.groups[:2]
        assert new == PodGroup(frozenset({ledger.live.template}))
        assert {record.template for record in ledger.records.values()} - new.releases == old.releases
