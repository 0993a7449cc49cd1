"""What the guard's account may not do is found before a run is opened, and not by its first write."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.capacity import helper_name
from logcaster_guard.domain.errors import ClusterError, Rejected, Unavailable
from logcaster_guard.domain.events import RunClosed, RunOpened
from logcaster_guard.domain.inbox.commands import Wish
from logcaster_guard.domain.rules import Action, GradualPolicy, Policy
from logcaster_guard.engine.manual_runs import Preview
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from tests.engine.bench import FIRES, HEALTH, KEY, PROD, Bench, bench, hpa, rule
from tests.fakes.pods import PopulatedCluster

STEPS = (0.5, 1.0)
STRICT = Policy(gradual=GradualPolicy(steps=STEPS, otherwise=Action.ALERT_ONLY))
LENIENT = Policy(gradual=GradualPolicy(steps=STEPS, otherwise=Action.IMMEDIATE))
BY_STEPS = rule(action=Action.GRADUAL)
CREATE, DELETE, PATCH = ("create", "deployments"), ("delete", "deployments"), ("patch", "deployments")
AUTOSCALER = ("patch", "horizontalpodautoscalers")
SENTENCE = (
    "The guard cannot create deployments.apps in namespace default, so it cannot carry out gradual_rollback: grant its "
    "account the verb create on deployments.apps there, as deploy/components/gradual does."
)


class Account:
    """Answers by verb and resource; what is not among them is allowed."""

    def __init__(self, answers: Mapping[tuple[str, str], bool | ClusterError | None]) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, str, str, str, str]] = []

    async def may(self, verb: str, group: str, resource: str, namespace: str, name: str = "") -> bool | None:
        self.asked.append((verb, group, resource, namespace, name))
        answer = self.answers.get((verb, resource), True)
        if isinstance(answer, ClusterError):
            raise answer
        return answer


def lacking(*rights: tuple[str, str]) -> Account:
    return Account(dict.fromkeys(rights, False))


def strategies(made: Bench) -> list[str]:
    return [o.plan.strategy for o in made.told(RunOpened)]


def outcomes(made: Bench) -> list[str]:
    return [c.outcome for c in made.told(RunClosed)]


async def test_a_gradual_rollback_that_may_not_create_its_helper_is_refused_and_told() -> None:
    account = lacking(CREATE)
    async with bench(rules=[BY_STEPS], policy=STRICT, cluster=PopulatedCluster, rights=account) as made:
        await made.bad_v2()
        await made.pass_(1_000.0)
        assert made.told(RunOpened) == []
        assert made.writes() == 0
        [notice] = made.notices("trigger.refused")
        assert notice.facts["guardrails"] == "strategy_unfit"
        assert SENTENCE in notice.text
        assert made.guard.state.ledger(KEY).freeze is None
        assert made.cluster.names(Kind.DEPLOYMENT) == [PROD]


async def test_what_is_configured_otherwise_is_done_where_something_has_the_helpers_name() -> None:
    async with bench(rules=[BY_STEPS], policy=LENIENT, cluster=PopulatedCluster) as made:
        await made.bad_v2()
        made.cluster.add_deployment(helper_name(PROD), "v1")
        await made.pass_(1_000.0)
        assert strategies(made) == ["immediate"]
        assert outcomes(made) == ["recovered"]
        assert made.cluster.names(Kind.DEPLOYMENT) == [PROD, helper_name(PROD)]


async def test_what_is_configured_otherwise_is_done_where_it_is_allowed() -> None:
    async with bench(rules=[BY_STEPS], policy=LENIENT, cluster=PopulatedCluster, rights=lacking(CREATE)) as made:
        await made.bad_v2()
        with capture_logs() as logs:
            await made.pass_(1_000.0)
        assert strategies(made) == ["immediate"]
        assert outcomes(made) == ["recovered"]
        [line] = [line for line in logs if line["event"] == "strategy.unfit"]
        assert line["reasons"] == (SENTENCE,)
        assert made.notices("trigger.refused") == []


async def test_where_the_other_way_is_forbidden_too_everything_that_is_missing_is_told() -> None:
    async with bench(
        rules=[BY_STEPS], policy=LENIENT, cluster=PopulatedCluster, rights=lacking(CREATE, PATCH)
    ) as made:  # fmt: skip
        await made.bad_v2()
        await made.pass_(1_000.0)
        assert made.told(RunOpened) == []
        [notice] = made.notices("trigger.refused")
        assert SENTENCE in notice.text
        assert f"cannot patch deployments.apps {PROD} in namespace default" in notice.text


async def test_rights_that_come_back_are_seen_at_the_next_decision() -> None:
    account = lacking(CREATE)
    async with bench(rules=[BY_STEPS], policy=STRICT, cluster=PopulatedCluster, rights=account) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 100.0)
        assert made.told(RunOpened) == []
        account.answers.clear()
        await made.pass_(60.0)
        assert strategies(made) == ["gradual"]


@pytest.mark.parametrize("answer", [None, Unavailable("no answer"), Rejected("Unauthorized", status=401)], ids=str)
async def test_where_nobody_can_tell_the_run_is_opened(answer: ClusterError | None) -> None:
    account = Account(dict.fromkeys((CREATE, DELETE, PATCH), answer))
    async with bench(rules=[BY_STEPS], policy=STRICT, cluster=PopulatedCluster, rights=account) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        assert strategies(made) == ["gradual"]
        assert len(made.cluster.names(Kind.DEPLOYMENT)) == 2


@pytest.mark.parametrize(
    ("action", "missing", "scaled"),
    [
        (Action.IMMEDIATE, PATCH, False),
        (Action.IMMEDIATE, AUTOSCALER, True),
        (Action.ALERT_THEN, PATCH, False),
        (Action.GRADUAL, DELETE, False),
        (Action.GRADUAL, AUTOSCALER, True),
    ],
)
async def test_each_action_is_refused_without_what_its_plan_writes(
    action: Action, missing: tuple[str, str], scaled: bool
) -> None:
    async with bench(
        rules=[rule(action=action)], policy=STRICT, cluster=PopulatedCluster, rights=lacking(missing)
    ) as made:  # fmt: skip
        if scaled:
            made.cluster.add(Kind.AUTOSCALER, "hpa", spec=hpa(2))
        await made.bad_v2()
        await made.pass_(500.0)
        assert made.told(RunOpened) == []
        [notice] = made.notices("trigger.refused")
        verb, resource = missing
        assert f"cannot {verb} {resource}" in notice.text
        assert f"so it cannot carry out {action}:" in notice.text


async def test_nothing_is_asked_for_that_the_plan_does_not_write() -> None:
    account = lacking(CREATE, DELETE, AUTOSCALER, ("patch", "services"))
    async with bench(cluster=PopulatedCluster, rights=account) as made:
        await made.bad_v2()
        await made.pass_(1_000.0)
        assert outcomes(made) == ["recovered"]
        assert set(account.asked) == {("patch", "apps", "deployments", "default", PROD)}


@pytest.mark.parametrize("policy", [Policy(dry_run=True), Policy()], ids=["dry run", "alert only"])
async def test_a_plan_that_is_only_shown_needs_no_rights(policy: Policy) -> None:
    action = Action.IMMEDIATE if policy.dry_run else Action.ALERT_ONLY
    async with bench(rules=[rule(action=action)], policy=policy, rights=lacking(PATCH)) as made:
        await made.bad_v2()
        await made.pass_(500.0)
        [notice] = made.notices("trigger.refused")
        assert "would" in notice.text
        assert "cannot patch" not in notice.text


async def test_a_run_that_is_under_way_goes_on_and_may_be_taken_over() -> None:
    account = lacking()
    async with bench(rules=[BY_STEPS, HEALTH], policy=STRICT, cluster=PopulatedCluster, rights=account) as made:
        await made.bad_v2()
        await made.pass_(FIRES + 10.0)
        account.answers |= {CREATE: False, DELETE: False}
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(150.0)
        made.http.set(PROD, "health_check_fails", 0)
        await made.pass_(1_000.0)
        assert strategies(made) == ["gradual", "immediate"]
        assert outcomes(made) == ["escalated", "recovered"]


async def test_a_person_who_asks_is_told_what_is_missing() -> None:
    account = lacking(CREATE)
    async with bench(cluster=PopulatedCluster, rights=account) as made:
        await made.bad_v2()
        await made.pass_(30.0)
        manual = made.guard.watches[KEY].manual
        told = await manual.preview(Wish(Action.GRADUAL))
        assert not isinstance(told, Preview)
        assert [english().text(reason) for reason in told] == [SENTENCE]
        assert isinstance(await manual.preview(Wish(Action.IMMEDIATE)), Preview)
