"""A helper is judged by readings that are asked for no oftener than a source that fails can bear."""

from __future__ import annotations

import pytest

from logcaster_guard.domain.events import RunClosed
from logcaster_guard.domain.rules import Action, GradualPolicy, Policy
from logcaster_guard.domain.signals import Fault
from tests.engine.bench import FIRES, bench, rule
from tests.fakes.pods import PopulatedCluster

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
