"""What keeps the guard from seeing: rules without values, sources and workloads that are away, late data, clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.conditions import NoDataPolicy
from logcaster_guard.domain.errors import ClusterError, NotFound, Rejected, Unavailable
from logcaster_guard.domain.events import RunOpened
from logcaster_guard.domain.notices import Severity
from logcaster_guard.domain.rules import Action
from logcaster_guard.domain.signals import Fault
from logcaster_guard.domain.triggers import Phase
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Kind
from logcaster_guard.web import rendering
from logcaster_guard.web.metrics import registry
from tests.engine.bench import ANOTHER, ERRORS, HEALTH, KEY, PROD, Bench, bench, in_mid_run, rule

TRAFFIC = rule("no_traffic", "request_rate", 1e9, 600.0)
BLIND, SEEING = "trigger.blind", "trigger.seeing"


def phase(made: Bench, name: str = ERRORS.name) -> Phase:
    return made.guard.read_model.target(KEY).rule(name).phase


def sentences(made: Bench) -> list[str]:
    return [english().text(p.summary) for p in made.guard.read_model.problems()]


async def test_a_rule_that_never_had_a_value_is_blind_after_its_duration_and_people_are_told_once() -> None:
    async with bench(rules=[ERRORS, TRAFFIC, HEALTH]) as made:
        made.prometheus.set(PROD, "error_rate", None)
        with capture_logs() as logs:
            await made.start()
            await made.pass_(290.0)
            assert phase(made) is Phase.INACTIVE
            assert made.notices(BLIND) == []
            await made.pass_(60.0)
            assert phase(made) is Phase.BLIND
            assert phase(made, HEALTH.name) is Phase.INACTIVE
            await made.pass_(1_200.0)
            # Both rules lack the same source's values: that is one message.
            assert [(n.target, n.deployment) for n in made.notices(BLIND)] == [(KEY, PROD)]
            assert "high_error_rate, no_traffic of default/logcaster-prod" in made.notices(BLIND)[0].text
            assert sentences(made) == [
                "high_error_rate, no_traffic of default/logcaster-prod: no value from prometheus (no data: empty)."
            ]
            made.prometheus.set(PROD, "error_rate", 0.0)
            await made.pass_(60.0)
            assert phase(made) is Phase.INACTIVE
            assert made.notices(SEEING) == []
            made.prometheus.set(PROD, "request_rate", 5.0)
            await made.pass_(60.0)
            assert len(made.notices(SEEING)) == 1
            assert len(made.notices(BLIND)) == 1
        assert sentences(made) == []
        told = [(e["event"], e["rule"]) for e in logs if e["event"] in {BLIND, SEEING}]
        assert told == [(BLIND, ERRORS.name), (BLIND, TRAFFIC.name), (SEEING, ERRORS.name), (SEEING, TRAFFIC.name)]


async def test_what_comes_and_goes_all_night_is_told_a_few_times() -> None:
    """Traffic at the least number of requests: there is no error rate for 8 minutes, then one for 2."""
    async with bench(rules=[ERRORS, HEALTH]) as made:
        await made.good_v1()
        for _ in range(18):
            made.prometheus.set(PROD, "error_rate", None)
            await made.pass_(480.0)
            made.prometheus.set(PROD, "error_rate", 0.0)
            await made.pass_(120.0)
        assert [len(made.notices(BLIND)), len(made.notices(SEEING))] == [2, 1]
        await made.pass_(700.0)
        assert [len(made.notices(BLIND)), len(made.notices(SEEING))] == [2, 1]
        await made.pass_(2_900.0)
        assert [len(made.notices(BLIND)), len(made.notices(SEEING))] == [2, 2]


async def test_traffic_that_stops_for_ever_makes_the_rule_blind() -> None:
    async with bench() as made:
        await made.good_v1()
        made.prometheus.set(PROD, "error_rate", None)
        await made.pass_(280.0)
        assert phase(made) is Phase.INACTIVE
        await made.pass_(60.0)
        assert phase(made) is Phase.BLIND
        assert len(made.notices(BLIND)) == 1


@pytest.mark.parametrize(
    ("policy", "ever", "expected"),
    [
        (NoDataPolicy.OK, True, Phase.INACTIVE),
        (NoDataPolicy.OK, False, Phase.BLIND),
        (NoDataPolicy.BREACH, False, Phase.FIRING),
    ],
)
async def test_a_rule_that_missing_data_means_something_to_is_blind_only_without_any_value_ever(
    policy: NoDataPolicy, *, ever: bool, expected: Phase
) -> None:
    async with bench(rules=[replace(ERRORS, no_data=policy, action=Action.ALERT_ONLY)]) as made:
        made.prometheus.set(PROD, "error_rate", 0.0 if ever else None)
        await made.start()
        await made.pass_(60.0)
        made.prometheus.set(PROD, "error_rate", None)
        await made.pass_(400.0)
        assert phase(made) is expected
        assert len(made.notices(BLIND)) == (expected is Phase.BLIND)


async def test_a_source_that_fails_is_told_after_a_minute_and_its_blind_rules_are_not() -> None:
    async with bench(rules=[ERRORS, TRAFFIC, HEALTH], deployments=[PROD, ANOTHER]) as made:
        for name in (PROD, ANOTHER):
            made.prometheus.set(name, "request_rate", 5.0)
        await made.good_v1()
        made.prometheus.fault = Fault.REFUSED
        await made.pass_(55.0)
        assert made.notices("source.failing") == []
        assert len(sentences(made)) == 1
        await made.pass_(400.0)
        [notice] = made.notices("source.failing")
        assert "error_rate, request_rate of default/logcaster-prod; error_rate, request_rate of default/another" in (
            notice.text
        )
        assert phase(made) is Phase.BLIND
        assert made.notices(BLIND) == []
        made.prometheus.fault = None
        await made.pass_(60.0)
        assert len(made.notices("source.recovered")) == 1


async def test_a_refusal_is_told_once_for_all_that_it_refuses_in_the_words_of_the_answer() -> None:
    async with bench(rules=[ERRORS, TRAFFIC, HEALTH], deployments=[PROD, ANOTHER]) as made:
        await made.start()
        made.prometheus.fault = Fault.CLIENT_ERROR
        made.prometheus.detail = "answered 400: Client sent an HTTP request to an HTTPS server."
        await made.pass_(700.0)
        [notice] = made.notices("source.failing")
        assert "Client sent an HTTP request to an HTTPS server." in notice.text
        assert made.notices(BLIND) == []


async def test_a_source_that_fails_for_a_moment_is_logged_and_nobody_is_told() -> None:
    async with bench() as made:
        await made.good_v1()
        with capture_logs() as logs:
            for _ in range(20):
                made.prometheus.fault = Fault.REFUSED
                await made.pass_(30.0)
                made.prometheus.fault = None
                await made.pass_(60.0)
        assert made.notices("source.failing") == made.notices("source.recovered") == []
        assert 1 <= len([e for e in logs if e["event"] == "source.failing"]) <= 20


MISSING = NotFound(f'deployments.apps "{PROD}" not found', status=404)
DENIED = Rejected(f'deployments.apps "{PROD}" is forbidden', status=403)


@pytest.mark.parametrize(
    ("error", "event", "cause"),
    [
        (MISSING, "target.missing", f"Deployment {KEY} does not exist"),
        (DENIED, "workload.unread", str(DENIED)),
    ],
)
async def test_a_workload_that_is_missing_or_may_not_be_read_is_told_once(
    error: ClusterError, event: str, cause: str
) -> None:
    def refuse(verb: str, kind: Kind, _: str) -> ClusterError | None:
        return error if (verb, kind) == ("get", Kind.DEPLOYMENT) else None

    async with bench() as made:
        made.cluster.fault = refuse
        made.prometheus.set(PROD, "error_rate", None)
        with capture_logs() as logs:
            await made.start()
            await made.pass_(50.0)
            assert made.notices("workload.unseen") == []
            assert sentences(made) == [f"{KEY}: {cause}."]
            await made.pass_(1_200.0)
        assert len([e for e in logs if e["event"] == event]) <= 8
        [notice] = made.notices("workload.unseen")
        assert notice.facts["detail"] == cause
        # Of what is not there nothing can be read: that is no news of its own.
        assert made.notices(BLIND) == []
        made.cluster.fault = lambda *_: None
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(60.0)
        assert len(made.notices("workload.seen")) == 1
        assert sentences(made) == []


async def test_an_api_server_that_is_away_is_one_problem_for_all_targets() -> None:
    async with bench(deployments=[PROD, ANOTHER]) as made:
        await made.good_v1()
        made.cluster.fault = lambda *_: Unavailable("connection refused")
        with capture_logs() as logs:
            await made.pass_(1_200.0)
        assert len([e for e in logs if e["event"] == "workload.unread"]) <= 2 * 8
        [notice] = made.notices("source.failing")
        assert notice.facts["source"] == "source kubernetes"
        made.cluster.fault = lambda *_: None
        await made.pass_(60.0)
        assert len(made.notices("source.recovered")) == 1


async def test_a_run_that_cannot_be_looked_at_is_logged_at_growing_intervals() -> None:
    async with bench() as made:
        await in_mid_run(made)
        assert len(made.told(RunOpened)) == 1
        made.cluster.fault = lambda *_: Unavailable("connection refused")
        with capture_logs() as logs:
            await made.pass_(240.0)
        lines = [e for e in logs if e["event"] == "step.unclear"]
        assert 1 <= len(lines) <= 4
        assert sum(e.get("times", 1) for e in lines) > len(lines)


async def test_missed_polls_are_told_once_and_summed() -> None:
    async with bench(deployments=[PROD, ANOTHER]) as made:
        await made.good_v1()
        made.prometheus.delay = 70.0
        with capture_logs() as logs:
            await made.pass_(1_800.0)
        lines = [e for e in logs if e["event"] == "poll.missed"]
        assert 2 <= len(lines) <= 2 * 8
        assert lines[-1]["total"] > 20
        assert len(made.notices("polls.missed")) == 1
        assert "prometheus of default/logcaster-prod" in made.notices("polls.missed")[0].text
        made.prometheus.delay = 0.0
        await made.pass_(240.0)
        assert len(made.notices("polls.kept")) == 1
        assert sentences(made) == []


@pytest.mark.parametrize(
    ("kind", "event", "over", "cause"),
    [
        ("clock", "clock.skewed", "clock.agrees", "clock of the API server: 30 s ahead of the guard's."),
        ("clock", "clock.skewed", "clock.agrees", "clock of prometheus: 7 s behind the guard's."),
        (
            "lag",
            "source.lagging",
            "source.caught_up",
            (
                "source prometheus: the newest sample is 95 s old. It concerns error_rate, request_rate of "
                "default/logcaster-prod; error_rate, request_rate of default/another."
            ),
        ),
    ],
    ids=["API server", "Prometheus", "lag"],
)
async def test_what_is_wrong_with_time_is_told_once_and_shown_while_it_lasts(
    kind: str, event: str, over: str, cause: str
) -> None:
    async with bench(rules=[ERRORS, TRAFFIC, HEALTH], deployments=[PROD, ANOTHER]) as made:
        for name in (PROD, ANOTHER):
            made.prometheus.set(name, "request_rate", 5.0)
        await made.good_v1()

        def shown() -> list[float | None]:
            metrics = registry(made.guard.read_model.status)
            return [
                metrics.get_sample_value("logcaster_guard_problems", {"target": key, "kind": kind})
                for key in (KEY, f"default/{ANOTHER}")
            ]

        with capture_logs() as logs:
            made.cluster.skew = 30.0 if "API server" in cause else 0.0
            made.prometheus.skew = -7.0 if "prometheus: 7 s" in cause else 0.0
            made.prometheus.behind = 95.0 if kind == "lag" else 0.0
            await made.pass_(50.0)
            assert (sentences(made), shown(), made.notices(event)) == ([cause], [1.0, 1.0], [])
            told = rendering.status(made.guard.read_model.status(), english())["problems"]
            assert [(p["kind"], p["targets"]) for p in told] == [(kind, ["default/another", KEY])]
            await made.pass_(1_200.0)
            [notice] = made.notices(event)
            assert notice.severity is Severity.WARNING
            assert notice.facts["detail"] in cause
            assert sentences(made) == [cause]
            # Data that comes late is told as such, and not as a rule without data.
            assert made.notices(BLIND) == []
            made.cluster.skew = made.prometheus.skew = made.prometheus.behind = 0.0
            await made.pass_(60.0)
        assert (sentences(made), shown()) == ([], [0.0, 0.0])
        assert [len(made.notices(e)) for e in (event, over)] == [1, 1]
        assert [e["event"] for e in logs if e["event"] in {event, over}] == [event, over]


async def test_a_difference_that_an_answer_may_take_is_no_problem() -> None:
    async with bench() as made:
        made.cluster.skew = 1.9
        await made.good_v1()
        assert sentences(made) == []


async def test_data_that_comes_late_is_neither_good_nor_bad() -> None:
    async with bench() as made:
        await made.bad_v2()
        made.prometheus.behind = 95.0
        await made.pass_(900.0)
        assert made.told(RunOpened) == []
        assert phase(made) is Phase.BLIND
        made.prometheus.behind = 0.0
        await made.pass_(330.0)
        assert len(made.told(RunOpened)) == 1


async def test_what_a_rule_that_is_gone_lacked_is_no_problem_any_more() -> None:
    async with bench(rules=[ERRORS, TRAFFIC, HEALTH]) as made:
        made.prometheus.fault = Fault.REFUSED
        await made.start()
        await made.pass_(100.0)
        assert len(sentences(made)) == 1
        await made.guard.reload([HEALTH])
        assert sentences(made) == []
