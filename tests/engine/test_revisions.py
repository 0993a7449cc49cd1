from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from logcaster_guard.domain.conditions import NoDataPolicy
from logcaster_guard.domain.events import (
    PodsReplaced,
    RevisionBad,
    RevisionGood,
    RevisionLive,
    RevisionNumbered,
    RevisionSeeded,
    RunOpened,
)
from logcaster_guard.domain.ledger import ReleaseStatus
from logcaster_guard.domain.rules import Action, LedgerPolicy
from logcaster_guard.messages.texts import Language, Texts
from logcaster_guard.ports import Json, Kind
from tests.engine.bench import ERRORS, FIRES, HEALTH, KEY, PROD, PROVEN, Bench, bench, wall

DAY = 86_400.0


@pytest.fixture
async def made() -> AsyncIterator[Bench]:
    async with bench() as found:
        yield found


def release_statuses(made: Bench) -> dict[str, ReleaseStatus]:
    records = made.guard.state.ledger(KEY).records.values()
    return {r.images[0]: r.status(LedgerPolicy()) for r in records}


async def test_good_is_earned_in_ten_quiet_minutes(made: Bench) -> None:
    await made.start()
    await made.pass_(599.0)
    assert made.told(RevisionGood) == []
    await made.pass_(60.0)
    assert len(made.told(RevisionGood)) == 1


async def test_good_is_not_earned_in_the_middle_of_a_breach(made: Bench) -> None:
    await made.start()
    await made.pass_(560.0)
    made.prometheus.set(PROD, "error_rate", 0.3)
    await made.pass_(35.0)
    made.prometheus.set(PROD, "error_rate", 0.0)
    await made.pass_(10.0)
    assert made.told(RevisionGood) == []
    await made.pass_(30.0)
    assert len(made.told(RevisionGood)) == 1


@pytest.mark.parametrize("signal", ["error_rate", "health_check_fails"])
async def test_good_is_not_earned_without_values_of_every_signal_once_seen(made: Bench, signal: str) -> None:
    await made.start()
    await made.pass_(60.0)
    (made.prometheus if signal == "error_rate" else made.http).set(PROD, signal, None)
    await made.pass_(2_000.0)
    assert made.told(RevisionGood) == []


async def test_good_is_not_earned_without_a_pod(made: Bench) -> None:
    await made.start()
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=0))
    await made.pass_(2 * PROVEN)
    assert release_statuses(made) == {"v1": ReleaseStatus.UNPROVEN}
    made.cluster.change(Kind.DEPLOYMENT, PROD, lambda d: d["spec"].update(replicas=3))
    await made.pass_(PROVEN)
    assert release_statuses(made) == {"v1": ReleaseStatus.GOOD}


async def test_a_release_that_a_rule_never_saw_is_good_by_the_others_alone_until_it_does(made: Bench) -> None:
    made.prometheus.set(PROD, "error_rate", None)
    await made.good_v1()
    assert [e.unmeasured for e in made.told(RevisionGood)] == [("high_error_rate",)]
    assert release_statuses(made) == {"v1": ReleaseStatus.UNMEASURED}
    made.prometheus.set(PROD, "error_rate", 0.0)
    await made.pass_(500.0)
    assert release_statuses(made) == {"v1": ReleaseStatus.UNMEASURED}
    await made.pass_(90.0)
    assert release_statuses(made) == {"v1": ReleaseStatus.GOOD}
    made.prometheus.set(PROD, "error_rate", None)
    await made.pass_(2_000.0)
    assert release_statuses(made) == {"v1": ReleaseStatus.GOOD}


async def test_a_release_that_no_rule_saw_earns_nothing(made: Bench) -> None:
    made.prometheus.set(PROD, "error_rate", None)
    made.http.set(PROD, "health_check_fails", None)
    await made.start()
    await made.pass_(2_000.0)
    assert release_statuses(made) == {"v1": ReleaseStatus.UNPROVEN}


async def test_a_release_that_every_rule_saw_is_gone_back_to_rather_than_a_newer_one(made: Bench) -> None:
    made.errors["v2"] = None
    await made.bad_v2()
    await made.pass_(PROVEN)
    assert release_statuses(made) == {"v1": ReleaseStatus.GOOD, "v2": ReleaseStatus.UNMEASURED}
    made.cluster.roll(PROD, "v3")
    made.http.set(PROD, "health_check_fails", 9)
    await made.pass_(200.0)
    assert [run.plan.to_images for run in made.told(RunOpened)] == [("v1",)]


async def test_a_release_that_one_rule_never_saw_is_gone_back_to_where_none_is_better() -> None:
    async with bench() as made:
        made.prometheus.set(PROD, "error_rate", None)
        made.errors["v2"] = None
        await made.bad_v2()
        assert release_statuses(made)["v1"] is ReleaseStatus.UNMEASURED
        made.http.set(PROD, "health_check_fails", 9)
        await made.pass_(200.0)
        assert [run.plan.to_images for run in made.told(RunOpened)] == [("v1",)]


@pytest.mark.parametrize(
    ("policy", "ever", "release_status"),
    [
        (NoDataPolicy.HOLD, True, ReleaseStatus.UNPROVEN),  # a value, and then none: nothing proves it quiet
        (NoDataPolicy.OK, True, ReleaseStatus.GOOD),  # it has been seen to give values: that it gives none is fine
        (NoDataPolicy.OK, False, ReleaseStatus.UNMEASURED),  # it may be misspelt
        (NoDataPolicy.BREACH, False, ReleaseStatus.UNPROVEN),  # it is met
    ],
)
async def test_what_missing_data_counts_as_counts_for_good_too(
    policy: NoDataPolicy, *, ever: bool, release_status: ReleaseStatus
) -> None:
    quiet_rule = replace(ERRORS, no_data=policy, action=Action.ALERT_ONLY)
    async with bench(rules=[quiet_rule, HEALTH]) as made:
        if not ever:
            made.errors["v1"] = None
            made.prometheus.set(PROD, "error_rate", None)
        await made.start()
        await made.pass_(60.0)
        made.prometheus.set(PROD, "error_rate", None)
        await made.pass_(PROVEN)
        assert release_statuses(made) == {"v1": release_status}


async def test_revisions_of_before_the_guard_are_presumed_good_where_they_stood_for_a_day(made: Bench) -> None:
    made.clock.skip(2 * DAY)
    made.cluster.roll(PROD, "v2")
    made.clock.skip(3_600.0)
    made.errors["v4"] = 0.3
    made.cluster.roll(PROD, "v3")
    await made.start()
    assert release_statuses(made) == {
        "v1": ReleaseStatus.PRESUMED_GOOD,
        "v2": ReleaseStatus.UNPROVEN,
        "v3": ReleaseStatus.UNPROVEN,
    }
    assert [s.order for s in made.told(RevisionSeeded)] == [1, 2]


async def test_a_revision_that_an_undo_left_before_the_guard_is_bad(made: Bench) -> None:
    made.clock.skip(2 * DAY)
    made.cluster.roll(PROD, "v2")
    made.clock.skip(2 * DAY)
    made.cluster.roll(PROD, "v1")
    made.clock.skip(2 * DAY)
    made.cluster.roll(PROD, "v3")
    await made.start()
    assert release_statuses(made) == {
        "v1": ReleaseStatus.UNPROVEN,
        "v2": ReleaseStatus.BAD,
        "v3": ReleaseStatus.UNPROVEN,
    }


async def test_several_replica_sets_of_one_release_are_one_release_that_was_live_with_the_newest(made: Bench) -> None:
    made.clock.skip(2 * DAY)
    made.cluster.roll(PROD, "v2")
    made.clock.skip(2 * DAY)
    # A restarted v1: a ReplicaSet of its own, for the sake of an annotation.
    name = f"{PROD}-3"
    first = made.cluster.object(Kind.REPLICA_SET, f"{PROD}-1")
    made.cluster.add(Kind.REPLICA_SET, name, spec=first["spec"], owner=PROD)
    restarted: Json = made.cluster.object(Kind.REPLICA_SET, name)
    restarted["metadata"] |= {
        "annotations": {"deployment.kubernetes.io/revision": "3"},
        "creationTimestamp": made.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ownerReferences": first["metadata"]["ownerReferences"],
    }
    made.clock.skip(60.0)
    made.cluster.roll(PROD, "v3")
    await made.start()
    destination = made.guard.state.ledger(KEY).destination(LedgerPolicy())
    assert destination is not None
    assert destination.images == ("v1",)


async def test_an_undo_by_a_person_leaves_a_bad_release(made: Bench) -> None:
    made.errors["v2"] = 0.01
    await made.good_v1()
    made.cluster.roll(PROD, "v2")
    await made.pass_(60.0)
    made.cluster.roll(PROD, "v1")
    await made.pass_(60.0)
    assert release_statuses(made) == {"v1": ReleaseStatus.GOOD, "v2": ReleaseStatus.BAD}
    assert made.told(RevisionLive)[-1].undo_of == made.told(RevisionLive)[1].template


async def test_the_instant_of_a_rollout_comes_from_its_replica_set(made: Bench) -> None:
    await made.good_v1()
    await made.pass_(13.0)
    made.cluster.roll(PROD, "v2")
    rolled = made.clock.monotonic()
    await made.pass_(30.0)
    assert made.told(RevisionLive)[-1].earliest == wall(rolled).replace(microsecond=0)


@pytest.mark.parametrize("skew", [8.0, 30.0, -8.0, -60.0, 3_600.0])
@pytest.mark.parametrize("told", [True, False], ids=["measured", "not measured"])
async def test_an_api_server_whose_clock_differs_dates_no_rollout_after_its_breach(
    made: Bench, skew: float, told: bool
) -> None:
    made.cluster.skew, made.cluster.told_skew = skew, told
    await made.good_v1()
    await made.pass_(13.0)
    looked, rolled = made.clock.monotonic() - 23.0, made.clock.monotonic()
    made.cluster.roll(PROD, "v2")
    await made.pass_(FIRES + 30.0)
    earliest = made.told(RevisionLive)[1].earliest
    assert earliest is not None
    assert wall(looked) <= earliest
    if told:
        assert wall(rolled - 1.0) <= earliest <= wall(rolled)
    # What is not measured shows where its time is still to come; else a breach may seem older than the rollout.
    if told or skew != 8.0:
        assert len(made.told(RunOpened)) == 1


async def test_an_old_release_that_is_live_again_changed_after_the_last_look(made: Bench) -> None:
    made.errors["v2"] = 0.0
    await made.good_v1()
    made.cluster.roll(PROD, "v2")
    await made.pass_(60.0)
    looked = made.clock.monotonic() - made.clock.monotonic() % 30.0
    made.cluster.roll(PROD, "v1")
    await made.pass_(30.0)
    earliest = made.told(RevisionLive)[-1].earliest
    assert earliest is not None
    assert wall(looked - 30.0) <= earliest <= made.told(RevisionLive)[-1].at


async def test_a_bad_release_that_a_person_rolls_out_again_can_earn_good(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(1_000.0)
    assert release_statuses(made)["v2"] is ReleaseStatus.BAD
    made.errors["v2"] = 0.0
    made.cluster.roll(PROD, "v2")
    await made.pass_(400.0)
    assert release_statuses(made)["v2"] is ReleaseStatus.BAD
    await made.pass_(400.0)
    assert release_statuses(made)["v2"] is ReleaseStatus.GOOD
    assert len(made.told(RunOpened)) == 1
    assert made.told(RevisionBad) == []


async def test_a_missing_target_is_no_reason_to_stop(made: Bench) -> None:
    await made.good_v1()
    made.cluster.remove(Kind.DEPLOYMENT, PROD)
    await made.pass_(120.0)
    made.cluster.add_deployment(PROD, "v1")
    await made.pass_(60.0)
    assert len({live.uid for live in made.told(RevisionLive)}) == 2


CHECKSUM = {"checksum/config": "b"}


async def replaced_with_a_bad_configuration(made: Bench) -> float:
    """v1, then v2, both good; then v2's pods are replaced for the sake of a ConfigMap, which is bad. Returns when."""
    made.errors["v2"] = 0.0
    await made.good_v1()
    made.cluster.roll(PROD, "v2")
    await made.pass_(PROVEN)
    made.cluster.restart(PROD, **CHECKSUM)
    made.prometheus.set(PROD, "error_rate", 0.3)
    return made.clock.monotonic()


@pytest.mark.parametrize("when", ["at once", "after a restart", "while it was away"])
async def test_pods_that_were_replaced_without_a_new_release_are_not_its_rollout(made: Bench, when: str) -> None:
    if when == "while it was away":
        made.errors["v2"] = 0.0
        await made.good_v1()
        made.cluster.roll(PROD, "v2")
        await made.pass_(PROVEN)
        await made.stop()
        made.cluster.restart(PROD, **CHECKSUM)
        made.prometheus.set(PROD, "error_rate", 0.3)
        at = made.clock.monotonic()
        await made.start()
    else:
        at = await replaced_with_a_bad_configuration(made)
        await made.pass_(60.0)
    if when == "after a restart":
        await made.restart()
    await made.pass_(400.0)
    [replaced] = made.told(PodsReplaced)
    assert (replaced.changed, replaced.earliest) == (("checksum/config",), wall(at).replace(microsecond=0))
    [notice] = made.notices("trigger.refused")
    assert notice.facts["guardrails"] == "pods_replaced"
    assert "(checksum/config)" in notice.text
    assert "checksum/config" in Texts(Language.KOREAN).notice(notice).text
    assert "cause" not in notice.facts
    assert release_statuses(made) == {"v1": ReleaseStatus.GOOD, "v2": ReleaseStatus.GOOD}
    assert (made.cluster.writes, made.told(RunOpened)) == ([], [])


async def test_a_restart_acquits_no_release_that_was_never_well_nor_a_breach_that_was_there_before(made: Bench) -> None:
    await made.bad_v2()
    await made.pass_(60.0)
    made.cluster.restart(PROD, **{"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"})
    await made.pass_(FIRES)
    assert len(made.told(RunOpened)) == len(made.told(PodsReplaced)) == 1
    assert made.cluster.image(PROD) == "v1"


async def test_a_new_release_after_pods_were_replaced_is_judged_by_its_own_rollout(made: Bench) -> None:
    await replaced_with_a_bad_configuration(made)
    made.prometheus.set(PROD, "error_rate", 0.0)
    await made.pass_(60.0)
    made.cluster.roll(PROD, "v3")
    await made.pass_(FIRES + 30.0)
    [run] = made.told(RunOpened)
    assert run.plan.to_images == ("v2",)
    template = made.cluster.object(Kind.DEPLOYMENT, PROD)["spec"]["template"]
    assert template["metadata"]["annotations"] == CHECKSUM


@pytest.mark.parametrize("seen", [1, 3])
async def test_the_number_is_read_again_once_the_controller_has_given_one(made: Bench, seen: int) -> None:
    """The Deployment shows the last revision's number until its controller has looked at the new one."""
    await made.good_v1()

    def early(deployment: Json) -> None:
        deployment["status"]["observedGeneration"] -= 1

    made.cluster.roll(PROD, "v2")
    deployment = made.cluster.object(Kind.DEPLOYMENT, PROD)
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    early(deployment)
    await made.pass_(30.0 * seen)
    assert [r.revision for r in made.told(RevisionLive)] == ["1", ""]
    ledger = made.guard.state.ledger(KEY)
    assert [r.images for r in ledger.named("1")] == [("v1",)]
    assert ledger.records[ledger.present or ""].name == made.told(RevisionLive)[1].template[:8]

    def late(deployment: Json) -> None:
        deployment["status"]["observedGeneration"] += 1
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"

    made.cluster.change(Kind.DEPLOYMENT, PROD, late)
    await made.pass_(30.0)
    [numbered] = made.told(RevisionNumbered)
    assert numbered.revision == "2"
    assert [[r.images for r in made.guard.state.ledger(KEY).named(n)] for n in ("1", "2")] == [[("v1",)], [("v2",)]]
