"""A helper is judged by readings that are asked for no oftener than a source that fails can bear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from logcaster_guard.domain.events import RunClosed, RunOpened
from logcaster_guard.domain.rules import Action, GradualPolicy, Policy
from logcaster_guard.domain.signals import Fault, Gap, NoData, Reading, Signal, SourceName, Target, Unit
from logcaster_guard.engine.deployment_signals import SignalInspector
from logcaster_guard.ports import Clock
from tests.engine.bench import FIRES, PROD, bench, rule
from tests.fakes.clock import FakeClock
from tests.fakes.pods import PopulatedCluster
from tests.fakes.source import FakeSource

POLICY = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))


@pytest.mark.parametrize(("retry_after", "most"), [(None, 24), (110.0, 12)])
async def test_a_source_that_fails_is_left_alone_between_two_judgements(retry_after: float | None, most: int) -> None:
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=POLICY, cluster=PopulatedCluster) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        made.prometheus.fault, made.prometheus.retry_after = Fault.SERVER_ERROR, retry_after
        await made.pass_(60.0)
        before = len(made.prometheus.reads)
        await made.pass_(120.0)
        assert 0 < len(made.prometheus.reads) - before <= most
        assert made.told(RunClosed) == []


class WholeService(FakeSource):
    """Its numbers are of a Service, whichever Deployment they are asked for; `signals` are those that are not to be."""

    def __init__(self, name: SourceName, clock: Clock, *, past: bool) -> None:
        super().__init__(name, clock, past=past)
        self.signals: list[Signal] = []

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        readings = await super().of_target(target, signals)
        now = self._clock.monotonic()
        apart = [s for s in signals if s.apart]
        self.signals += apart
        return {**readings, **{s.name: NoData(now, Gap.NOT_BY_POD, "of a Service") for s in apart}}


@pytest.mark.parametrize("otherwise", [Action.IMMEDIATE, Action.ALERT_ONLY])
async def test_a_good_release_is_not_run_beside_the_bad_one_where_it_cannot_be_read_apart(otherwise: Action) -> None:
    policy = replace(POLICY, gradual=replace(POLICY.gradual, otherwise=otherwise))
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=policy, cluster=PopulatedCluster) as made:
        whole = made.prometheus = WholeService(SourceName.PROMETHEUS, made.clock, past=True)
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        plans = [run.plan.strategy for run in made.told(RunOpened)]
        assert plans == (["immediate"] if otherwise is Action.IMMEDIATE else [])
        assert whole.signals != []
        if otherwise is Action.ALERT_ONLY:
            (notice,) = made.notices("trigger.refused")
            assert "The good release cannot be judged by its own pods: of a Service." in str(notice)


@pytest.mark.parametrize(("rate", "expected"), [(1.0, "immediate"), (40.0, "gradual"), (None, "gradual")])
async def test_a_service_with_too_few_requests_to_judge_a_step_is_rolled_back_otherwise(
    rate: float | None, expected: str
) -> None:
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=POLICY, cluster=PopulatedCluster) as made:
        made.prometheus.set(PROD, "request_rate", rate)
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        assert [run.plan.strategy for run in made.told(RunOpened)] == [expected]


async def test_a_judge_asks_for_the_deployments_own_pods_whatever_the_least_number_of_requests() -> None:
    clock = FakeClock()
    source = WholeService(SourceName.PROMETHEUS, clock, past=False)
    signals = {
        name: Signal(name, Unit.RATIO, SourceName.PROMETHEUS, 300.0, min_requests=100)
        for name in ("error_rate", "request_rate")
    }
    target = Target(PROD, "default", PROD)
    await SignalInspector([target], signals, {SourceName.PROMETHEUS: source}, clock)(target.key, "helper", 60.0)
    assert source.signals == [replace(s, lookback=60.0, min_requests=0, apart=True) for s in signals.values()]
