"""The shared view of the cluster has stopped, and shows for ever what it showed first: only watching goes by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from logcaster_guard.adapters.kubernetes.signals import KubernetesSource
from logcaster_guard.cluster_view import Look
from logcaster_guard.domain.events import RevisionLive, RunClosed, RunOpened, TargetFrozen, TriggerFired
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.signals import Signal, SourceError, SourceName, Unit
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import FIRES, PROD, Bench, bench, rule
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

STALLED = rule("stalled", "rollout_stalled", 0, 120.0)
SIGNAL = Signal("rollout_stalled", Unit.COUNT, SourceName.KUBERNETES)


class StoppedView:
    """A `ClusterView` that answers each question as it did the first time.

    It may tell the truth about how old that is; if it `lies`, all that it shows is said to be of now.
    """

    def __init__(self, cluster: FakeCluster, clock: FakeClock, *, lies: bool) -> None:
        self.cluster, self.clock, self.lies = cluster, clock, lies
        self.kept: dict[tuple[Kind, str], tuple[float, Sequence[Json]]] = {}

    def look(self) -> Look:
        return StoppedLook(self)

    def forget(self) -> None:
        """It goes on for a moment."""
        self.kept.clear()


class StoppedLook:
    def __init__(self, view: StoppedView) -> None:
        self._view = view
        self._at = float("inf")

    @property
    def proven(self) -> float:
        return self._view.clock.monotonic() if self._view.lies else self._at

    async def get(self, kind: Kind, namespace: str, name: str) -> Json:
        view = self._view
        at, [found] = view.kept.get((kind, name)) or (
            view.clock.monotonic(),
            [await view.cluster.get(kind, namespace, name)],
        )
        view.kept[kind, name] = at, [found]
        self._at = min(self._at, at)
        return found

    async def list(self, kind: Kind, namespace: str, selector: str = "") -> Sequence[Json]:
        view = self._view
        at, found = view.kept.get((kind, selector)) or (
            view.clock.monotonic(),
            await view.cluster.list(kind, namespace, selector),
        )
        view.kept[kind, selector] = at, found
        self._at = min(self._at, at)
        return found


def stopped(made: Bench, *, lies: bool = True) -> StoppedView:
    made.view = view = StoppedView(made.cluster, made.clock, lies=lies)
    made.more = {SourceName.KUBERNETES: (KubernetesSource(made.cluster, view, made.clock), SIGNAL)}
    return view


def stall(made: Bench, *, stalled: bool) -> None:
    conditions = [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}] if stalled else []
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["status"].update(conditions=conditions))


async def test_the_look_before_a_decision_sees_the_release_that_is_there() -> None:
    async with bench() as made:
        stopped(made, lies=False)
        await made.bad_v2()
        await made.pass_(FIRES - 5.0)
        # Watching alone has not noticed it.
        assert [r.images for r in made.told(RevisionLive)] == [("v1",)]
        await made.pass_(35.0)
        [run] = made.told(RunOpened)
        assert (run.plan.from_images, run.plan.to_images) == (("v2",), ("v1",))


async def test_a_freeze_counts_before_a_run_is_opened() -> None:
    async with bench() as made:
        stopped(made, lies=False)
        await made.bad_v2()
        made.cluster.annotate(PROD, freeze="true by the one on call")
        await made.pass_(FIRES + 5.0)
        assert made.told(RunOpened) == []
        assert len(made.told(TargetFrozen)) == 1


async def test_a_veto_is_heard() -> None:
    async with bench(rules=[rule(action=Action.ALERT_THEN)]) as made:
        view = stopped(made, lies=False)
        await made.bad_v2()
        view.forget()
        await made.pass_(FIRES)
        [opened] = made.told(RunOpened)
        expiry = made.clock.now() + timedelta(seconds=600)
        made.cluster.annotate(PROD, veto=f"{opened.approval_token} {expiry:%Y-%m-%dT%H:%M:%SZ} by the one on call")
        await made.pass_(300.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["vetoed"]


async def test_what_a_step_observes_is_what_is_there() -> None:
    async with bench() as made:
        view = stopped(made, lies=False)
        await made.bad_v2()
        view.forget()
        await made.pass_(290.0)
        made.cluster.stuck = True
        await made.pass_(20.0)
        assert made.writes() == 1
        made.cluster.roll(PROD, "v3")
        await made.pass_(30.0)
        [closed] = made.told(RunClosed)
        assert closed.freeze
        assert made.cluster.image(PROD) == "v3"
        assert made.writes() == 1


async def test_the_evaluation_at_the_end_of_a_duration_reads_for_itself() -> None:
    async with bench(rules=[STALLED]) as made:
        view = stopped(made)
        await made.bad_v2()
        stall(made, stalled=True)
        view.forget()
        await made.pass_(60.0)
        stall(made, stalled=False)
        await made.pass_(400.0)
        assert made.told(TriggerFired) == []


async def test_recovery_is_seen_while_a_run_is_open() -> None:
    async with bench(rules=[STALLED]) as made:
        view = stopped(made)
        await made.bad_v2()
        stall(made, stalled=True)
        view.forget()
        await made.pass_(1_500.0)
        assert [c.outcome for c in made.told(RunClosed)] == ["recovered"]


@pytest.mark.parametrize("age", [59.0, 61.0])
async def test_what_was_proven_too_long_ago_is_a_source_error(age: float) -> None:
    async with bench(rules=[STALLED]) as made:
        stopped(made, lies=False)
        await made.start()
        await made.pass_(age)
        [watch] = made.guard.watches.values()
        reading = watch.triggers.cache.readings([SIGNAL.name], made.clock.monotonic())[SIGNAL.name]
        assert isinstance(reading, SourceError) is (age > 60.0)
