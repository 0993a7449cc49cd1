from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from logcaster_guard.domain.errors import ClusterError, Conflict, Rejected, Unavailable
from logcaster_guard.domain.events import HoldReleased, NoticeQueued, RunClosed, RunEnding, RunOpened, StepIntended
from logcaster_guard.domain.rules import Action, GradualPolicy, Policy
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import FIRES, PROD, Bench, bench, hpa, in_mid_run, minimum, rule
from tests.fakes.pods import PopulatedCluster


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    async with bench() as found:
        yield found


@pytest.fixture
async def scaled() -> AsyncIterator[Bench]:
    async with bench() as found:
        found.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(2))
        yield found


async def test_the_autoscalers_minimum_is_raised_before_and_given_back_after(scaled: Bench) -> None:
    await scaled.bad_v2()
    await scaled.pass_(FIRES + 5)
    assert minimum(scaled) == 3
    assert [k for k, _, _ in scaled.cluster.writes] == [Kind.AUTOSCALER, Kind.DEPLOYMENT]
    await scaled.pass_(1_000.0)
    assert minimum(scaled) == 2
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]


async def test_a_minimum_that_somebody_else_changed_meanwhile_is_left_alone(scaled: Bench) -> None:
    await scaled.bad_v2()
    await scaled.pass_(FIRES + 5)
    scaled.cluster.change(Kind.AUTOSCALER, "hpa", lambda h: h["spec"].update(minReplicas=5))
    await scaled.pass_(1_000.0)
    assert minimum(scaled) == 5
    assert scaled.writes(Kind.AUTOSCALER) == 1
    assert "somebody else" in english().text(scaled.told(HoldReleased)[0].detail)


async def test_a_minimum_that_is_changed_between_look_and_write_is_given_back_as_it_was_then(scaled: Bench) -> None:
    looks = 0

    def interfere(verb: str, kind: Kind, _: str) -> ClusterError | None:
        nonlocal looks
        looks += (verb, kind) == ("get", Kind.AUTOSCALER)
        if looks == 2 and (verb, kind) == ("get", Kind.AUTOSCALER):
            scaled.cluster.object(Kind.AUTOSCALER, "hpa")["spec"]["minReplicas"] = 1
        return None

    scaled.cluster.fault = interfere
    await scaled.bad_v2()
    await scaled.pass_(1_400.0)
    assert minimum(scaled) == 1
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]


async def test_a_minimum_that_may_not_be_given_back_is_told(scaled: Bench) -> None:
    await scaled.bad_v2()
    await scaled.pass_(FIRES + 5)
    scaled.cluster.fault = lambda verb, kind, _: (
        Rejected("patch is forbidden", status=403) if (verb, kind) == ("patch", Kind.AUTOSCALER) else None
    )
    await scaled.pass_(1_000.0)
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]
    [notice] = scaled.notices("hold.not_given_back")
    assert "from 3 to 2" in notice.text


def _paused(deployment: Json) -> None:
    deployment["spec"]["paused"] = True


def _deleting(deployment: Json) -> None:
    deployment["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def _recreate(made: Bench) -> None:
    made.cluster.remove(Kind.DEPLOYMENT, PROD)
    made.cluster.add_deployment(PROD, "v1")


INTERFERENCE: dict[str, Callable[[Bench], None]] = {
    "rolled out": lambda b: b.cluster.roll(PROD, "v3"),
    "rolled the bad release out": lambda b: b.cluster.roll(PROD, "v2"),
    "paused": lambda b: b.cluster.change(Kind.DEPLOYMENT, PROD, _paused),
    "deleted.": lambda b: b.cluster.remove(Kind.DEPLOYMENT, PROD),
    "froze": lambda b: b.cluster.annotate(PROD, freeze="hands off"),
    "being deleted": lambda b: b.cluster.change(Kind.DEPLOYMENT, PROD, _deleting),
    "created again": _recreate,
    "selector": lambda b: b.cluster.change(Kind.SERVICE, PROD, lambda s: s["spec"].update(selector={"app": "x"})),
}


@pytest.mark.parametrize("what", INTERFERENCE)
async def test_people_win(scaled: Bench, what: str) -> None:
    await in_mid_run(scaled)
    assert minimum(scaled) == 3
    writes = scaled.writes()
    INTERFERENCE[what](scaled)
    await scaled.pass_(10.0)
    [closed] = scaled.told(RunClosed)
    assert (closed.outcome, closed.freeze) == ("abandoned", True)
    assert what in english().text(closed.reason)
    assert minimum(scaled) == 2
    assert len(scaled.notices("run.closed")) == 1
    await scaled.pass_(1_000.0)
    assert scaled.writes() == writes
    assert len(scaled.told(RunOpened)) == 1


async def test_nothing_more_is_written_once_a_person_has_frozen_it(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(290.0)
    made.cluster.fault = lambda verb, *_: Unavailable("503", status=503) if verb == "patch" else None
    await made.pass_(60.0)
    assert len(made.told(StepIntended)) > 0
    made.cluster.annotate(PROD, freeze="hands off")
    made.cluster.fault = lambda *_: None
    await made.pass_(60.0)
    assert made.writes() == 0
    [closed] = made.told(RunClosed)
    assert (closed.outcome, "hands off" in english().text(closed.reason)) == ("abandoned", True)


async def test_scaling_by_a_person_wins(made: Bench) -> None:
    await in_mid_run(made)
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=5))
    await made.pass_(10.0)
    [closed] = made.told(RunClosed)
    assert closed.outcome == "abandoned"
    assert "from 3 to 5" in english().text(closed.reason)


async def test_scaling_by_an_autoscaler_is_nobodys_interference(scaled: Bench) -> None:
    await in_mid_run(scaled)
    scaled.cluster.stuck = False
    scaled.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=5))
    await scaled.pass_(500.0)
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]


@pytest.mark.parametrize("change", ["pause", "roll"])
async def test_nothing_is_written_over_a_change_that_comes_just_before_the_write(made: Bench, change: str) -> None:
    gets = 0

    def interfere(verb: str, kind: Kind, _: str) -> ClusterError | None:
        nonlocal gets
        if made.told(StepIntended) and (verb, kind) == ("get", Kind.DEPLOYMENT):
            gets += 1
            if gets == 1 and change == "pause":
                made.cluster.change(Kind.DEPLOYMENT, PROD, _paused)
            elif gets == 1:
                made.cluster.roll(PROD, "v3")
        return None

    await made.bad_v2()
    made.cluster.fault = interfere
    await made.pass_(400.0)
    assert made.writes() == 0
    assert [c.outcome for c in made.told(RunClosed)] == ["abandoned"]


@pytest.mark.parametrize("by", ["a person", "the guard, once it may"])
async def test_a_helper_stays_until_production_has_its_size_back(by: str) -> None:
    policy = Policy(gradual=GradualPolicy(steps=(0.5, 1.0)))
    async with bench(rules=[rule(action=Action.GRADUAL)], policy=policy, cluster=PopulatedCluster) as made:
        made.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(1))
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        [helper] = set(made.cluster.names(Kind.DEPLOYMENT)) - {PROD}
        assert made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 2
        made.cluster.fault = lambda verb, kind, _: (
            Rejected("patch is forbidden", status=403) if (verb, kind) == ("patch", Kind.AUTOSCALER) else None
        )
        made.cluster.annotate(PROD, freeze="hands off")
        await made.pass_(2_000.0)
        assert helper in made.cluster.names(Kind.DEPLOYMENT)
        [notice] = made.notices("hold.held_up")
        assert "patch is forbidden" in notice.text
        if by == "a person":
            made.cluster.change(Kind.AUTOSCALER, "hpa", lambda h: h["spec"].update(minReplicas=3, maxReplicas=9))
        else:
            made.cluster.fault = lambda *_: None
        await made.pass_(100.0)
        assert made.cluster.names(Kind.DEPLOYMENT) == [PROD]
        assert made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 3
        assert [c.outcome for c in made.told(RunClosed)] == ["abandoned"]
        assert [h.hold for h in made.told(HoldReleased) if h.kept_out] == []


@pytest.mark.parametrize(
    ("verbs", "error"),
    [
        ({"get", "list", "patch"}, Unavailable("the API server is away", status=503)),
        ({"patch"}, Unavailable("a webhook does not answer", status=500)),
        ({"patch"}, Conflict("somebody writes it over and over", status=409)),
    ],
)
async def test_what_cannot_be_given_back_for_long_is_told_once(
    scaled: Bench, verbs: set[str], error: ClusterError
) -> None:
    await scaled.bad_v2()
    await scaled.pass_(FIRES)
    assert minimum(scaled) == 3
    await scaled.pass_(200.0)
    scaled.cluster.fault = lambda verb, kind, __: error if kind is Kind.AUTOSCALER and verb in verbs else None
    await scaled.pass_(2_000.0)
    [notice], [ending] = scaled.notices("hold.held_up"), scaled.told(RunEnding)
    assert timedelta(seconds=60) <= notice.at - ending.at < timedelta(seconds=80)
    assert [q.notice for q in scaled.told(NoticeQueued) if q.notice.event == "hold.held_up"] == [notice]
    assert notice.facts["object"] == "hpa"
    assert str(error)[1:] in notice.text
    scaled.cluster.fault = lambda *_: None
    await scaled.pass_(120.0)
    assert minimum(scaled) == 2
    assert [c.outcome for c in scaled.told(RunClosed)] == ["recovered"]
