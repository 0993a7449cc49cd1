"""Attribution over a whole guard: who is rolled back, who is not, and what people are told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from logcaster_guard.domain.events import RevisionBad, RunOpened
from logcaster_guard.domain.ownership import PodGroup
from logcaster_guard.domain.rules import Limits, Policy, Polling
from logcaster_guard.domain.signals import ByPod, Gap, Measure, NoData, Reading, Signal, SourceName, Target, Value
from logcaster_guard.domain.workload import template_hash
from logcaster_guard.messages.texts import Language, Texts, english
from logcaster_guard.ports import Clock, Kind
from logcaster_guard.web import rendering
from tests.engine.bench import ANOTHER, ERRORS, FIRES, KEY, PROD, Bench, bench, rule, wall
from tests.fakes.source import FakeSource

TEN = [PROD, *(f"service-{n}" for n in range(1, 10))]
# No budget may be what keeps the others from being rolled back.
GENEROUS = Policy(limits=Limits(per_target_per_day=100, per_cluster_per_hour=100))
SWIFT = replace(GENEROUS, polling=Polling(interval=1.0, staleness=60.0))


class DividingSource(FakeSource):
    """Also tells old and new pods apart: `shares` are error rates by release, the first of which is asked for."""

    def __init__(self, name: SourceName, clock: Clock) -> None:
        super().__init__(name, clock, past=True)
        self.shares: Mapping[str, float] = {}
        self.requests = 1_000.0
        self.windows: list[tuple[float, float]] = []

    async def portion(
        self, target: Target, signal: Signal, group: PodGroup, start: float, end: float
    ) -> Reading:  # fmt: skip
        if signal.name == "request_rate":
            return Value(end, self.requests / (end - start))
        self.windows.append((start, end))
        share = self.shares.get("old" if group.releases == {release(target.deployment, "v1")} else "new")
        return NoData(end, Gap.EMPTY) if share is None else Value(end, share)


def release(name: str, image: str) -> str:
    """What the ledger knows the fake cluster's template with this image by."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    return template_hash(template)


class HangingSource(FakeSource):
    """The next read of the Deployment `hangs` gets no answer."""

    hangs = ""

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        if target.deployment == self.hangs:
            self.hangs = ""
            await asyncio.Event().wait()
        return await super().of_target(target, signals)


def refusals(made: Bench) -> dict[str, list[str]]:
    """Guardrails of the notices, by target."""
    found: dict[str, list[str]] = {}
    for notice in made.notices("trigger.refused"):
        found.setdefault(notice.target, []).append(notice.facts["guardrails"])
    return found


def opened(made: Bench) -> list[str]:
    return [run.target for run in made.told(RunOpened)]


async def ten_are_rolled_out(made: Bench, *, bad: Mapping[str, float]) -> None:
    made.errors |= {"v4": 0.0}
    await made.good_v1()
    for name in TEN:
        made.cluster.roll(name, "v2" if name in bad else "v4")
        await made.pass_(1.0)
    for name, share in bad.items():
        made.prometheus.set(name, "error_rate", share)


async def test_of_ten_rolled_out_together_only_the_bad_one_goes_back() -> None:
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        await ten_are_rolled_out(made, bad={PROD: 0.3})
        await made.pass_(2 * FIRES)
        assert opened(made) == [KEY]
        assert made.cluster.image(PROD) == "v1"
        assert {made.cluster.image(n) for n in TEN[1:]} == {"v4"}
        assert refusals(made) == {}


async def test_a_dependency_that_fails_with_the_rollouts_rolls_nobody_back_and_each_is_told_once() -> None:
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        await ten_are_rolled_out(made, bad={})
        for name in TEN:
            made.prometheus.set(name, "error_rate", 0.4)
        with capture_logs() as logs:
            await made.pass_(3 * FIRES)
        assert opened(made) == []
        assert made.writes() == 0
        assert refusals(made) == {f"default/{n}": ["several_suspects"] for n in TEN}
        assert made.told(RevisionBad) == []
        [notice] = [n for n in made.notices("trigger.refused") if n.target == KEY]
        assert all(f"default/{n}" in notice.facts["suspects"] for n in TEN)
        [line] = [line for line in logs if line["event"] == "trigger.refused" and line["target"] == KEY]
        assert "error_rate" in line["evidence"]["attribution"], "the log tells in words what it was put down to"


async def test_a_bad_one_among_ten_that_a_dependency_fails_is_rolled_back_if_it_stands_out() -> None:
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        await ten_are_rolled_out(made, bad={PROD: 0.7})
        for name in TEN[1:]:
            made.prometheus.set(name, "error_rate", 0.2)
        made.errors["v1"] = 0.2  # the dependency fails the old release too
        await made.pass_(3 * FIRES)
        assert opened(made) == [KEY]
        assert {made.cluster.image(n) for n in TEN[1:]} == {"v4"}
        assert set(refusals(made)) == {f"default/{n}" for n in TEN[1:]}


async def test_it_is_not_if_it_does_not_stand_out() -> None:
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        await ten_are_rolled_out(made, bad={PROD: 0.28})
        for name in TEN[1:]:
            made.prometheus.set(name, "error_rate", 0.2)
        await made.pass_(2 * FIRES)
        assert opened(made) == []
        assert set(refusals(made)) == {f"default/{n}" for n in TEN}


@pytest.mark.parametrize("rolled", [True, False], ids=["after rollouts of their own", "without"])
async def test_the_last_to_recover_from_what_failed_them_all_is_not_blamed(*, rolled: bool) -> None:
    """The others are quiet already, and what is read of this one still shows the time of the outage."""
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        made.errors |= {"v4": 0.0}
        await made.good_v1()
        for name in TEN if rolled else [PROD]:
            made.cluster.roll(name, "v4")
        await made.pass_(1.0)
        for name in TEN:
            made.prometheus.set(name, "error_rate", 0.4)
        await made.pass_(FIRES + 30.0)
        for name in TEN[1:]:
            made.prometheus.set(name, "error_rate", 0.0)
        await made.pass_(45.0)
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(FIRES)
        assert opened(made) == []


async def test_who_goes_on_failing_once_all_others_are_well_is_blamed() -> None:
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        await ten_are_rolled_out(made, bad={})
        for name in TEN:
            made.prometheus.set(name, "error_rate", 0.4)
        await made.pass_(FIRES + 30.0)
        for name in TEN[1:]:
            made.prometheus.set(name, "error_rate", 0.0)
        await made.pass_(FIRES - 10.0)
        assert opened(made) == []
        await made.pass_(60.0)
        assert opened(made) == [KEY]


async def flapping(made: Bench, name: str, *, share: float, on: float, off: float, times: int) -> None:
    for _ in range(times):
        made.prometheus.set(name, "error_rate", share)
        await made.pass_(on)
        made.prometheus.set(name, "error_rate", 0.0)
        await made.pass_(off)


async def test_a_neighbours_blip_of_one_poll_holds_no_rollback_back() -> None:
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.bad_v2()
        await flapping(made, ANOTHER, share=0.3, on=30.0, off=60.0, times=3)
        await made.pass_(FIRES - 270.0)
        assert opened(made) == [KEY]


async def test_a_blip_after_a_breach_that_both_shared_takes_nothing_of_it_back() -> None:
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.bad_v2()
        made.prometheus.set(ANOTHER, "error_rate", 0.3)
        await made.pass_(180.0)
        made.prometheus.set(ANOTHER, "error_rate", 0.0)
        await made.pass_(60.0)
        await flapping(made, ANOTHER, share=0.3, on=30.0, off=FIRES - 270.0, times=1)
        assert opened(made) == []


async def test_a_neighbour_that_flaps_holds_a_rollback_back_for_the_rules_duration_at_most() -> None:
    """It is as bad as the bad release each time, and what comes last of it would count for minutes more."""
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.bad_v2()
        fired = made.clock.monotonic() + FIRES
        await flapping(made, ANOTHER, share=0.3, on=90.0, off=90.0, times=2)
        assert opened(made) == []
        await flapping(made, ANOTHER, share=0.3, on=90.0, off=90.0, times=2)
        await made.pass_(ERRORS.duration)
        [run] = made.told(RunOpened)
        assert run.target == KEY
        assert wall(fired) < run.at <= wall(fired + ERRORS.duration + 90.0)


async def test_who_goes_on_failing_beside_it_holds_a_rollback_back_for_longer() -> None:
    async with bench(deployments=[PROD, ANOTHER, "third"], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.bad_v2()
        made.prometheus.set("third", "error_rate", 0.3)
        await flapping(made, ANOTHER, share=0.3, on=90.0, off=90.0, times=4)
        assert opened(made) == []


async def test_who_is_clearly_worse_than_a_neighbour_at_its_worst_waits_for_nothing() -> None:
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.bad_v2()
        await flapping(made, ANOTHER, share=0.08, on=90.0, off=FIRES - 90.0, times=1)
        assert opened(made) == [KEY]


async def test_who_recovers_a_while_later_is_held_against_the_others_at_their_worst() -> None:
    """What the other shows on its way down is less than what is shown here, and no reason to blame anybody."""
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.bad_v2()
        for share, seconds in ((0.3, 180.0), (0.06, 90.0), (0.0, FIRES - 270.0)):
            made.prometheus.set(ANOTHER, "error_rate", share)
            await made.pass_(seconds)
        assert opened(made) == []
        assert refusals(made) == {KEY: ["several_suspects"]}


async def test_a_restarted_guard_looks_at_the_others_before_it_blames_one() -> None:
    """What range data proves lets the first target fire at its first reading, before the others are read at all."""
    async with bench(deployments=TEN, policy=GENEROUS, rules=[ERRORS]) as made:
        await ten_are_rolled_out(made, bad={})
        await made.stop()
        for name in TEN:
            made.prometheus.set(name, "error_rate", 0.4)
        await made.clock.advance(FIRES)
        await made.start()
        await made.pass_(60.0)
        assert opened(made) == []
        assert set(refusals(made)) == {f"default/{n}" for n in TEN}


async def test_the_blind_eye_of_another_target_acquits_nobody() -> None:
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        made.prometheus.set(ANOTHER, "error_rate", None)
        await made.pass_(FIRES)
        assert opened(made) == [KEY]


@pytest.mark.parametrize("missed", [40.0, 100.0], ids=["before its errors began", "for longer than a reading counts"])
async def test_another_target_whose_poll_hangs_is_read_anew_before_one_is_blamed(missed: float) -> None:
    """A poll that gets no answer, while everything that is asked afresh is answered."""
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        hanging = made.prometheus = HangingSource(SourceName.PROMETHEUS, made.clock, past=True)
        for name in (PROD, ANOTHER):
            hanging.set(name, "error_rate", 0.0)
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        await made.pass_(FIRES - missed)
        hanging.hangs = ANOTHER
        await made.pass_(missed - 20.0)
        made.prometheus.set(ANOTHER, "error_rate", 0.3)
        await made.pass_(60.0)
        assert opened(made) == []
        assert refusals(made)[KEY] == ["several_suspects"]


async def test_the_evidence_names_what_was_compared_though_looking_back_takes_long() -> None:
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        made.prometheus.set(ANOTHER, "error_rate", 0.3)
        await made.pass_(FIRES - 10.0)
        made.prometheus.history_gate.clear()
        await made.pass_(10.5)
        made.prometheus.gate.clear()
        await made.pass_(100.0)
        made.prometheus.history_gate.set()
        made.prometheus.gate.set()
        await made.pass_(1.0)
        assert refusals(made)[KEY] == ["several_suspects"]
        [notice] = [n for n in made.notices("trigger.refused") if n.target == KEY]
        assert "error_rate: 30% (before 0%) against 30% " in notice.facts["attribution"]


@pytest.mark.parametrize(
    ("shares", "requests", "expected"),
    [
        ({"new": 0.3, "old": 0.01}, 1_000.0, "rolled back"),
        ({"new": 0.3, "old": 0.3}, 1_000.0, "shared_cause"),
        ({"new": 0.3}, 1_000.0, "rolled back"),
        ({"new": 0.3, "old": 0.3}, 50.0, "rolled back"),
    ],
    ids=["stands out", "alike", "no old pods", "too few requests"],
)
async def test_old_pods_beside_the_new_ones_tell_whether_it_is_the_release(
    shares: Mapping[str, float], requests: float, expected: str
) -> None:
    async with bench(rules=[ERRORS]) as made:
        divided = made.prometheus = DividingSource(SourceName.PROMETHEUS, made.clock)
        divided.shares, divided.requests = shares, requests
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.good_v1()
        made.cluster.stuck = True
        began = made.clock.monotonic()
        made.cluster.roll(PROD, "v2")
        await made.pass_(FIRES)
        told = refusals(made).get(KEY) or (["rolled back"] if opened(made) == [KEY] else [])
        assert told == [expected]
        assert all(began <= start < end <= made.clock.monotonic() for start, end in divided.windows)


async def test_old_pods_single_a_release_out_although_others_breach_too() -> None:
    async with bench(deployments=[PROD, ANOTHER], rules=[ERRORS]) as made:
        divided = made.prometheus = DividingSource(SourceName.PROMETHEUS, made.clock)
        divided.shares = {"new": 0.3, "old": 0.0}
        for name in (PROD, ANOTHER):
            made.prometheus.set(name, "error_rate", 0.0)
        await made.good_v1()
        made.cluster.stuck = True
        made.cluster.roll(PROD, "v2")
        made.prometheus.set(ANOTHER, "error_rate", 0.3)
        await made.pass_(FIRES)
        assert opened(made) == [KEY]


async def test_the_evidence_is_in_the_run_the_notice_and_the_answer() -> None:
    async with bench(rules=[ERRORS]) as made:
        await made.bad_v2()
        await made.pass_(FIRES)
        [run] = made.told(RunOpened)
        assert run.evidence["cause"] == "rollout"
        assert "quiet on 600 s of values" in english().text(run.evidence["attribution"])
        [notice] = made.notices("run.opened")
        assert notice.facts["attribution"] == english().text(run.evidence["attribution"])
        korean = Texts(Language.KOREAN).notice(notice).facts["attribution"]
        assert korean.startswith("배포 전에는 정상이었으며")
        assert "600초 동안의 값에서" in korean


async def test_what_a_refusal_was_put_down_to_is_explained() -> None:
    async with bench(deployments=[PROD, ANOTHER], rules=[ERRORS]) as made:
        await made.good_v1()
        for name in (PROD, ANOTHER):
            made.cluster.roll(name, "v2")
        await made.pass_(FIRES + 60.0)
        [found] = rendering.explanations(made.guard.read_model.explain(ERRORS.name, KEY), english())["triggers"]
        assert found["attribution"]["cause"] == "several suspects"
        assert [s["target"] for s in found["attribution"]["suspects"]] == [f"default/{ANOTHER}", KEY]
        assert "several_suspects" in [g["guardrail"] for g in found["guardrails"]]
        assert made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["replicas"] == 3


async def test_the_others_are_decided_on_once_the_first_one_is_being_undone() -> None:
    """Two bad releases: the worse one goes back, and then the other breaches alone."""
    async with bench(deployments=[PROD, ANOTHER], policy=GENEROUS, rules=[ERRORS]) as made:
        made.errors["v3"] = 0.9
        await made.good_v1()
        made.cluster.roll(PROD, "v3")
        made.cluster.roll(ANOTHER, "v2")
        await made.pass_(FIRES)
        assert opened(made) == [KEY, f"default/{ANOTHER}"]


@pytest.mark.parametrize("between", [0.0, 0.3], ids=["good", "bad"])
async def test_releases_in_quick_succession_are_told_apart(between: float) -> None:
    """A release that stood for less than a reading looks back was quiet, or the breach began with it."""
    async with bench(rules=[ERRORS], policy=GENEROUS, lookback=200.0) as made:
        made.errors["v4"] = between
        await made.good_v1()
        made.cluster.roll(PROD, "v4")
        await made.pass_(120.0)
        made.cluster.roll(PROD, "v2")
        await made.pass_(FIRES)
        [run] = made.told(RunOpened)
        assert ("which never earned good" in english().text(run.evidence["attribution"])) is (between > 0)
        assert refusals(made) == {}


async def test_what_the_pods_of_the_release_before_last_showed_is_not_the_last_ones() -> None:
    """While its pods come one by one, a release that mends a breach still shows it."""
    async with bench(rules=[ERRORS], policy=GENEROUS) as made:
        made.errors["v4"] = 0.3
        await made.good_v1()
        made.cluster.roll(PROD, "v4")
        await made.pass_(60.0)
        made.prometheus.set(PROD, "error_rate", 0.0)
        await made.pass_(180.0)
        made.cluster.roll(PROD, "v2")
        await made.pass_(FIRES)
        assert opened(made) == [KEY]
        assert refusals(made) == {}


async def test_a_fix_that_does_not_mend_what_began_before_it_goes_back_to_the_good_release() -> None:
    """v1 good, v2 bad, and its fix bad as well: the fix gets its whole duration, and then v1 is put back."""
    async with bench(rules=[ERRORS]) as made:
        await made.bad_v2()
        await made.pass_(200.0)
        made.cluster.roll(PROD, "v3")
        rolled = made.clock.monotonic()
        await made.pass_(290.0)
        assert opened(made) == []
        await made.pass_(40.0)
        [run] = made.told(RunOpened)
        assert (run.plan.from_images, run.plan.to_images) == (("v3",), ("v1",))
        assert (run.at - wall(rolled)).total_seconds() >= ERRORS.duration
        assert "of revision 2, which never earned good, and goes on since" in english().text(
            run.evidence["attribution"]
        )
        records = made.guard.state.ledger(KEY).records.values()
        assert {r.images[0]: r.bad_since is not None for r in records} == {"v1": False, "v2": True, "v3": True}
        assert made.cluster.image(PROD) == "v1"


async def test_a_breach_that_began_with_the_good_release_is_not_the_fixs() -> None:
    async with bench(rules=[ERRORS]) as made:
        await made.good_v1()
        made.prometheus.set(PROD, "error_rate", 0.3)
        await made.pass_(60.0)
        made.cluster.roll(PROD, "v3")
        await made.pass_(2 * FIRES)
        assert opened(made) == []
        assert refusals(made) == {KEY: ["not_caused_by_a_rollout"]}


@pytest.mark.parametrize("by_hand", [False, True], ids=["by the guard", "by a person"])
async def test_a_target_whose_bad_release_is_being_undone_acquits_no_other(by_hand: bool) -> None:
    """Two services roll out bad releases 7 s apart; what the first one's readings look back to is still its own."""
    quick = rule(duration=6.0)
    async with bench(deployments=[PROD, ANOTHER], policy=SWIFT, rules=[quick], lookback=60.0) as made:
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        made.errors["v1"] = 0.3  # the lookback of the release that was put back
        await made.pass_(5.0)
        if by_hand:
            made.cluster.roll(PROD, "v1")
        await made.pass_(2.0)
        made.cluster.roll(ANOTHER, "v2")
        await made.pass_(30.0)
        assert opened(made) == ([f"default/{ANOTHER}"] if by_hand else [KEY, f"default/{ANOTHER}"])
        assert f"default/{ANOTHER}" not in refusals(made)


async def test_a_target_that_still_breaches_long_after_its_release_was_undone_is_a_witness() -> None:
    """What its new readings show cannot be the release's any more: something is wrong that both share."""
    async with bench(deployments=[PROD, ANOTHER], policy=SWIFT, rules=[rule(duration=10.0)], lookback=60.0) as made:
        await made.good_v1()
        made.errors["v1"] = 0.3
        made.cluster.roll(PROD, "v2")
        await made.pass_(100.0)
        assert opened(made) == [KEY]
        made.cluster.roll(ANOTHER, "v2")
        await made.pass_(30.0)
        assert opened(made) == [KEY]
        assert refusals(made)[f"default/{ANOTHER}"] == ["shared_cause"]


class TellingSource(FakeSource):
    """Tells how much of the error rate is 4xx."""

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        found = await super().of_target(target, signals)
        client = [s for s in signals if s.by_pod is not None and s.by_pod.failed == {"4"}]
        return {**found, **{s.name: Value(self._clock.monotonic(), 0.25) for s in client}}


async def test_what_is_told_of_an_error_rate_says_how_much_of_it_is_4xx() -> None:
    async with bench(rules=[ERRORS]) as made:
        made.prometheus = TellingSource(SourceName.PROMETHEUS, made.clock, past=True)
        made.prometheus.set(PROD, "error_rate", 0.0)
        by_pod = ByPod(Measure.FAILED_SHARE, "http_requests_total", "status", frozenset("45"))
        made._signals["error_rate"] = replace(made._signals["error_rate"], by_pod=by_pod)
        await made.bad_v2()
        await made.pass_(FIRES)
        [notice] = made.notices("run.opened")
        assert notice.facts["error_rate"] == "30% (4xx: 25%)"
