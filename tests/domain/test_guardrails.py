"""Each refusal: allowed, and refused in the same world with only that fact changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logcaster_guard.domain.attribution import Attribution, Before, Cause, EditsRead, Past
from logcaster_guard.domain.configuration.edits import Blame
from logcaster_guard.domain.gitops import GitOps
from logcaster_guard.domain.guardrails import DecisionContext, Guardrail, PastRun, manual_refusals, refusals, span
from logcaster_guard.domain.inbox.annotations import FREEZE
from logcaster_guard.domain.ledger import Freeze, Ledger, Record, Replacement, Rollout
from logcaster_guard.domain.rules import Action, Limits, Policy
from logcaster_guard.domain.runs import SUBSIDED, VETOED
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from tests.domain.build import UID, at, deployment, rule, template

BAD = deployment(template("logcaster/logcaster-c:2.0"))
BAD["status"] |= {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
HASH = Workload(BAD).hash
POLICY = Policy()
NOW = at(10_000)
TARGET, OTHER = "default/logcaster-prod", "default/another"

KNOWN_GOOD = Record("good", "1", "blob", ("logcaster/logcaster-c:1.0",), 0, 0, good_at=at(0))
PRESENT = Record(HASH, "2", "blob 2", ("logcaster/logcaster-c:2.0",), 1, 1)
ROLLOUT = Rollout(HASH, at(9_030), at(9_000), previous="good", previous_since=at(0))
LEDGER = Ledger(
    records={"good": KNOWN_GOOD, HASH: PRESENT},
    present=HASH,
    uid=UID,
    rollouts=(ROLLOUT,),
)
MADE = replace(LEDGER, rollouts=(replace(ROLLOUT, by_guard="run-1"),))
"""A run has made the present release of two others, and nobody knows how good it is."""
RESTORED = replace(MADE, records={**LEDGER.records, HASH: replace(PRESENT, good_at=at(0))})
UNDATED = replace(LEDGER, rollouts=(replace(ROLLOUT, earliest=None),))
ALLOWED = DecisionContext(
    rule=rule(), target=TARGET, onset=at(9_100), now=NOW, workload=Workload(BAD), ledger=LEDGER, runs=()
)


def ended(seconds_ago: float, *, target: str = TARGET, lasted: float = 60.0) -> PastRun:
    closed = NOW - timedelta(seconds=seconds_ago)
    return PastRun(f"run-{seconds_ago}", target, closed - timedelta(seconds=lasted), closed)


TWICE = [ended(10), ended(20)]


def found(situation: DecisionContext, policy: Policy = POLICY) -> list[Guardrail]:
    return [r.guardrail for r in refusals(situation, policy)]


def test_it_may_go_ahead() -> None:
    assert found(ALLOWED) == []


def seen_as(changes: Mapping[str, Any], **spec: Any) -> Workload:
    raw = deployment(template("logcaster/logcaster-c:2.0"), **spec)
    raw["metadata"].update(changes)
    return Workload(raw)


OWNED = seen_as({"labels": {"kustomize.toolkit.fluxcd.io/name": "web"}})
UNFINISHED = deployment(template("logcaster/logcaster-c:2.0"))
UNFINISHED["status"] |= {"replicas": 3, "updatedReplicas": 1, "availableReplicas": 3}
BEGUN: Mapping[str, Any] = {"workload": Workload(UNFINISHED), "onset": at(8_900)}
NAMELESS = seen_as({"managedFields": [{"manager": "argocd-controller", "fieldsV1": {"f:spec": {}}}]})


@pytest.mark.parametrize(
    ("change", "guardrail"),
    [
        ({"rule": rule(action=Action.ALERT_ONLY)}, Guardrail.ALERT_ONLY),
        ({"own": True}, Guardrail.OWN_WORKLOAD),
        ({"workload": None}, Guardrail.TARGET_MISSING),
        ({"workload": seen_as({"deletionTimestamp": "2026-01-01T00:00:00Z"})}, Guardrail.BEING_DELETED),
        ({"workload": seen_as({}, paused=True)}, Guardrail.PAUSED),
        ({"workload": seen_as({}, replicas=0)}, Guardrail.SCALED_TO_ZERO),
        ({"workload": seen_as({}, replicas=0), "follows": "r"}, Guardrail.SCALED_TO_ZERO),
        ({"workload": seen_as({"uid": "another"})}, Guardrail.NOT_YET_OBSERVED),
        ({"workload": Workload(deployment(template("v3")))}, Guardrail.NOT_YET_OBSERVED),
        ({"ledger": UNDATED}, Guardrail.ROLLOUT_UNKNOWN),
        ({"onset": at(8_999)}, Guardrail.NOT_CAUSED_BY_A_ROLLOUT),
        ({"onset": at(9_001 + 86_400)}, Guardrail.NOT_CAUSED_BY_A_ROLLOUT),
        ({"ledger": RESTORED}, Guardrail.NOT_CAUSED_BY_A_ROLLOUT),
        ({"ledger": MADE, "onset": at(8_999)}, Guardrail.NOT_CAUSED_BY_A_ROLLOUT),
        ({**BEGUN, "rule": rule(rollout_window=None)}, Guardrail.ROLLOUT_IN_PROGRESS),
        ({**BEGUN, "ledger": RESTORED}, Guardrail.NOT_CAUSED_BY_A_ROLLOUT),
        ({"ledger": replace(LEDGER, freeze=Freeze(at(0), "annotation", "move"))}, Guardrail.FROZEN),
        ({"runs": [PastRun("r", TARGET, NOW - timedelta(seconds=60), None)]}, Guardrail.ANOTHER_RUN),
        ({"runs": [ended(1_799)]}, Guardrail.COOLDOWN),
        ({"runs": [ended(40_000), ended(50_000)]}, Guardrail.TARGET_BUDGET),
        ({"runs": [ended(n, target=OTHER) for n in (2_000, 2_100, 2_200)]}, Guardrail.CLUSTER_BUDGET),
        ({"ledger": replace(LEDGER, records={HASH: PRESENT})}, Guardrail.NO_GOOD_REVISION),
        (
            {"ledger": replace(LEDGER, records={HASH: PRESENT, "good": replace(KNOWN_GOOD, bad_since=3)})},
            Guardrail.NO_GOOD_REVISION,
        ),
        ({"workload": OWNED}, Guardrail.GITOPS_OWNER),
        ({"workload": OWNED, "gitops": GitOps.REFUSE}, Guardrail.GITOPS_OWNER),
        ({"workload": NAMELESS, "gitops": GitOps.SUSPEND}, Guardrail.GITOPS_OWNER),
    ],
    ids=lambda value: str(value) if isinstance(value, Guardrail) else None,
)
def test_one_fact_is_enough_to_refuse(change: Mapping[str, Any], guardrail: Guardrail) -> None:
    situation = replace(ALLOWED, **change)
    assert found(situation) == [guardrail]
    [refusal] = refusals(situation, POLICY)
    assert english().text(refusal.reason).endswith(".")
    assert TARGET in english().text(refusal.reason) or guardrail in {
        *(Guardrail.ALERT_ONLY, Guardrail.FROZEN, Guardrail.CLUSTER_BUDGET),
        Guardrail.NOT_CAUSED_BY_A_ROLLOUT,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"onset": at(9_000)},
        {"onset": at(9_000 + 86_400)},
        {"rule": rule(rollout_window=None), "onset": at(0)},
        {"rule": rule(rollout_window=None), "ledger": UNDATED},
        {"rule": rule(rollout_window=None), "ledger": RESTORED},
        {"ledger": MADE},
        {"workload": OWNED, "gitops": GitOps.PROCEED},
        {"workload": OWNED, "gitops": GitOps.SUSPEND},
        {"workload": NAMELESS, "gitops": GitOps.PROCEED},
        {"workload": seen_as({"labels": {"app.kubernetes.io/instance": "web"}})},
        {"runs": [ended(1_801)]},
        {"runs": [ended(10, target=OTHER)]},
        {"runs": [PastRun("r", OTHER, NOW, None)]},
        {"runs": [ended(40_000), ended(86_401)]},
        {"runs": [ended(n, target=OTHER) for n in (2_000, 2_100, 3_540)]},  # one began an hour ago
        {"rule": rule(action=Action.GRADUAL)},
        {"runs": [replace(ended(10), touched=False, outcome=SUBSIDED)]},
        {"runs": [replace(ended(n), touched=False, outcome=VETOED) for n in (40_000, 50_000)]},
        {"runs": [ended(10)], "follows": "run-10"},
        {"onset": at(0), "follows": "run-10", "runs": [ended(10)]},
        {"runs": [PastRun("r", TARGET, NOW, None), ended(10), ended(20)], "follows": "r", "escalates": True},
        # A gradual run that is taken over has brought production down to no pod itself.
        {
            "workload": seen_as({}, replicas=0),
            "runs": [PastRun("r", TARGET, NOW, None)],
            "follows": "r",
            "escalates": True,
        },
    ],
)
def test_what_is_just_within_the_limits_is_allowed(change: Mapping[str, Any]) -> None:
    assert found(replace(ALLOWED, **change)) == []


@pytest.mark.parametrize(
    ("change", "guardrail"),
    [
        ({"runs": [replace(ended(10), touched=False, outcome=VETOED)]}, Guardrail.COOLDOWN),
        ({"runs": [ended(40_000), ended(10)], "follows": "run-10"}, Guardrail.TARGET_BUDGET),
        ({"runs": [PastRun("r", TARGET, NOW, None)], "follows": "another"}, Guardrail.ANOTHER_RUN),
        (
            {"runs": [PastRun("r", TARGET, NOW, None)], "follows": "r", "escalates": True, "onset": at(0)},
            Guardrail.NOT_CAUSED_BY_A_ROLLOUT,
        ),
    ],
)
def test_what_following_another_run_does_not_lift(change: Mapping[str, Any], guardrail: Guardrail) -> None:
    assert found(replace(ALLOWED, **change)) == [guardrail]


@pytest.mark.parametrize("ahead", [600.0, 7_200.0, 90_000.0])
def test_a_clock_set_back_and_a_restart_lift_no_limit(ahead: float) -> None:
    """What the journal tells of an instant to come was at least as long ago as this process has known it."""
    found_for = {
        known: found(replace(ALLOWED, runs=[replace(ended(-ahead), known_for=known), replace(ended(-ahead), run="r2")]))
        for known in (0.0, 1_801.0, 86_401.0)
    }
    both = [Guardrail.COOLDOWN, Guardrail.TARGET_BUDGET]
    assert found_for == {0.0: both, 1_801.0: both, 86_401.0: [Guardrail.COOLDOWN]}
    alone = replace(ALLOWED, runs=[replace(ended(-ahead), known_for=1_801.0)])
    assert found(alone) == []


@pytest.mark.parametrize("judged", [refusals, manual_refusals])
def test_without_a_journal_nothing_is_said_of_releases_and_runs(judged: Any) -> None:
    blind = replace(ALLOWED, journal=False, ledger=Ledger(), runs=[])
    [refusal] = judged(blind, POLICY)
    assert (refusal.guardrail, "journal" in english().text(refusal.reason)) == (Guardrail.NO_JOURNAL, True)
    gone = replace(blind, workload=None)
    assert [r.guardrail for r in judged(gone, POLICY)] == [Guardrail.TARGET_MISSING, Guardrail.NO_JOURNAL]


@pytest.mark.parametrize(
    ("ledger", "words"),
    [
        (Ledger(), "has not been looked at yet"),
        (replace(LEDGER, present="another"), "since its pod template changed a moment ago"),
        (replace(LEDGER, uid="another"), "since it was made anew a moment ago"),
    ],
)
def test_what_has_not_been_looked_at_is_told_as_it_is(ledger: Ledger, words: str) -> None:
    assert words in next(english().text(r.reason) for r in refusals(replace(ALLOWED, ledger=ledger), POLICY))


def test_a_clock_set_forward_lifts_no_limit_of_what_this_process_has_seen() -> None:
    day = timedelta(days=1)
    jumped = [replace(r, opened=r.opened - day, closed=NOW - day, opened_ago=9.0, closed_ago=5.0) for r in TWICE]
    assert found(replace(ALLOWED, runs=jumped)) == [Guardrail.COOLDOWN, Guardrail.TARGET_BUDGET]
    elsewhere = [replace(r, target=OTHER) for r in (*jumped, *jumped)]
    assert found(replace(ALLOWED, runs=elsewhere)) == [Guardrail.CLUSTER_BUDGET]
    past = [replace(r, opened_ago=86_400.0, closed_ago=1_800.0) for r in TWICE]
    assert found(replace(ALLOWED, runs=past)) == []


@pytest.mark.parametrize(
    ("commit", "words"),
    [(None, "revert the bad release in its source"), ("revision c2", "revert the bad release (revision c2) in its")],
)
def test_the_owner_and_its_bad_commit_are_named(commit: str | None, words: str) -> None:
    [refusal] = refusals(replace(ALLOWED, workload=OWNED, bad_commit=commit), POLICY)
    assert "Flux Kustomization default/web" in english().text(refusal.reason)
    assert words in english().text(refusal.reason)


def test_a_persons_freeze_is_seen_behind_the_guards_own() -> None:
    frozen = replace(ALLOWED, ledger=replace(LEDGER, freeze=Freeze(at(0), "guard", "a run failed")))
    assert manual_refusals(frozen, POLICY) == []
    hands_off = seen_as({"annotations": {FREEZE: "hands off"}})
    assert [r.guardrail for r in manual_refusals(replace(frozen, workload=hands_off), POLICY)] == [Guardrail.FROZEN]
    lifted = seen_as({"annotations": {FREEZE: "false: done"}})
    assert manual_refusals(replace(frozen, workload=lifted), POLICY) == []


def test_an_owner_undoes_a_persons_rollback_too() -> None:
    assert [r.guardrail for r in manual_refusals(replace(ALLOWED, workload=OWNED), POLICY)] == [Guardrail.GITOPS_OWNER]
    assert manual_refusals(replace(ALLOWED, workload=OWNED, gitops=GitOps.SUSPEND), POLICY) == []
    assert found(replace(ALLOWED, workload=OWNED), replace(POLICY, gitops=GitOps.PROCEED)) == []


def test_not_even_a_person_has_the_guard_roll_back_its_own_workload() -> None:
    assert [r.guardrail for r in manual_refusals(replace(ALLOWED, own=True), POLICY)] == [Guardrail.OWN_WORKLOAD]


def test_who_is_rolling_out_another_release_is_told_from_whose_rollout_has_ended() -> None:
    both = [Guardrail.NOT_CAUSED_BY_A_ROLLOUT, Guardrail.ROLLOUT_IN_PROGRESS]
    begun = replace(ALLOWED, **BEGUN)
    assert found(begun) == both
    assert "after the breach began (1 of 3 updated" in english().text(refusals(begun, POLICY)[1].reason)
    assert found(replace(begun, ledger=RESTORED, rule=rule(rollout_window=None))) == both[1:]
    for onset in (at(9_000), at(9_001), at(9_500)):
        assert found(replace(begun, onset=onset)) == []
    assert found(replace(begun, workload=Workload(BAD))) == both[:1]


HOUR, DAY = 3_600.0, 86_400.0
RESTARTED = replace(LEDGER, replacement=Replacement(at(9_050), ("checksum/config",)))
"""Its pods were all replaced 50 s after the rollout, which had earned good."""


@pytest.mark.parametrize(
    ("seconds", "says", "says_not"),
    [
        (HOUR, "its configuration first", "leaks"),
        (HOUR + 1, "from the release itself", "its configuration first"),
        (3 * HOUR, "3h after all pods", "had been well"),
        (DAY, "from the release itself", "well before"),
    ],
)
def test_what_begins_long_after_the_pods_were_replaced_is_put_down_to_nothing(
    seconds: float, says: str, says_not: str
) -> None:
    (refusal,) = refusals(replace(ALLOWED, ledger=RESTARTED, onset=at(9_050 + seconds)), POLICY)
    assert refusal.guardrail is Guardrail.PODS_REPLACED
    assert "(checksum/config)" in english().text(refusal.reason)
    assert says in english().text(refusal.reason)
    assert says_not not in english().text(refusal.reason)


def test_a_replacement_longer_ago_than_a_rollout_counts_is_not_spoken_of() -> None:
    (refusal,) = refusals(replace(ALLOWED, ledger=RESTARTED, onset=at(9_051 + DAY)), POLICY)
    assert refusal.guardrail is Guardrail.NOT_CAUSED_BY_A_ROLLOUT
    assert "replaced" not in english().text(refusal.reason)


def test_a_bad_release_that_the_guard_put_back_is_not_called_a_good_one() -> None:
    (good,) = refusals(replace(ALLOWED, ledger=RESTORED), POLICY)
    bad = {t: replace(r, bad_since=1) if t == ROLLOUT.key else r for t, r in LEDGER.records.items()}
    (left,) = refusals(replace(ALLOWED, ledger=replace(RESTORED, records=bad)), POLICY)
    assert ("the good one" in english().text(good.reason), "is bad" in english().text(left.reason)) == (True, True)


def test_every_reason_is_given() -> None:
    situation = replace(
        ALLOWED, workload=seen_as({}, paused=True), onset=at(0), runs=[ended(1)], ledger=replace(LEDGER, records={})
    )
    assert found(situation) == [
        Guardrail.PAUSED,
        Guardrail.NOT_CAUSED_BY_A_ROLLOUT,
        Guardrail.COOLDOWN,
        Guardrail.NO_GOOD_REVISION,
    ]


@given(
    st.lists(
        st.tuples(
            st.floats(1.0, 4_000.0),
            st.sampled_from([0.0, 0.0, 3_600.0, -3_600.0, 86_400.0]),
            st.booleans(),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_no_limit_is_passed_whatever_the_wall_clock_does(
    moments: Sequence[tuple[float, float, bool, bool]],
) -> None:
    """Each moment: seconds since the one before, a jump of the wall clock, whose turn it is, whether it touches."""
    policy = Policy(limits=Limits(cooldown=1_000.0, per_target_per_day=3, per_cluster_per_hour=4))
    now, wall, runs = 0.0, NOW, list[tuple[float, PastRun]]()
    for wait, jump, mine, touched in moments:
        now, wall = now + wait, wall + timedelta(seconds=wait + jump)
        known = [replace(r, opened_ago=now - at, closed_ago=now - at) for at, r in runs]
        target = TARGET if mine else OTHER
        situation = replace(ALLOWED, target=target, runs=known, now=wall)
        limits = {Guardrail.COOLDOWN, Guardrail.TARGET_BUDGET, Guardrail.CLUSTER_BUDGET}
        if limits & set(found(situation, policy)):
            continue
        counted = [(at, r.target) for at, r in runs if r.touched]
        assert all(now - at >= 1_000.0 for at, r in runs if r.target == target)
        assert sum(now - at < 86_400 and whose == target for at, whose in counted) < 3
        assert sum(now - at < 3_600 for at, _ in counted) < 4
        runs.append((now, PastRun(f"run {now}", target, wall, wall, touched=touched)))


@pytest.mark.parametrize(
    ("cause", "guardrails", "without_good"),
    [
        (Cause.ROLLOUT, [], []),
        (Cause.OLDER, [Guardrail.NOT_CAUSED_BY_A_ROLLOUT], [Guardrail.NOT_CAUSED_BY_A_ROLLOUT]),
        (Cause.UNPROVEN, [Guardrail.HISTORY_TOO_SHORT], []),
        (Cause.SHARED, [Guardrail.SHARED_CAUSE], [Guardrail.SHARED_CAUSE]),
        (Cause.SEVERAL, [Guardrail.SEVERAL_SUSPECTS], [Guardrail.SEVERAL_SUSPECTS]),
    ],
)
def test_a_missing_history_alone_goes_unsaid_where_there_is_no_good_release(
    cause: Cause, guardrails: list[Guardrail], without_good: list[Guardrail]
) -> None:
    put_down = replace(ALLOWED, attribution=Attribution(cause, Past(Before.UNKNOWN)))
    assert found(put_down) == guardrails
    unproven = replace(put_down, ledger=replace(LEDGER, records={HASH: PRESENT}))
    assert found(unproven) == [*without_good, Guardrail.NO_GOOD_REVISION]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({}, "(no revision is known)"),
        ({HASH: PRESENT, "good": replace(KNOWN_GOOD, bad_since=3)}, "(revision 2 unproven, revision 1 bad)"),
    ],
)
def test_how_each_revision_stands_is_told_where_none_is_good(records: Mapping[str, Record], words: str) -> None:
    [refusal] = refusals(replace(ALLOWED, ledger=replace(LEDGER, records=records)), POLICY)
    assert words in english().text(refusal.reason)


def test_limits_are_settings() -> None:
    policy = replace(POLICY, limits=Limits(cooldown=0.0, per_target_per_day=3, per_cluster_per_hour=3))
    assert found(replace(ALLOWED, runs=[ended(1), ended(2)]), policy) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45, "45s"),
        (0.25, "0.25s"),
        (300, "5m"),
        (5_400, "1h30m"),
        (86_400, "1d"),
        (90_061, "1d1h1m1s"),
        (172_799, "1d23h59m59s"),
    ],
)
def test_lengths_of_time_are_written_as_operators_write_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_an_instant_is_written_to_the_second() -> None:
    [refusal] = refusals(replace(ALLOWED, onset=at(8_999)), POLICY)
    assert "began at 2026-01-01 02:29:59Z, before the rollout of 2026-01-01 02:30:00Z" in english().text(refusal.reason)


EDITS = EditsRead(("ConfigMap default/app",), Blame.COMPARE, ("a",), ("b", "c"), ("d",))


@pytest.mark.parametrize(
    ("cause", "guardrail", "says"),
    [
        (Cause.UNREAD, Guardrail.NOT_CAUSED_BY_A_ROLLOUT, "has read ConfigMap default/app as it is now"),
        (Cause.INDISTINCT, Guardrail.PODS_INDISTINCT, "1 pods have read it, 2 have not and of 1 it is not known"),
    ],
)
def test_an_edit_is_not_blamed_where_its_readers_do_not_show_it(cause: Cause, guardrail: Guardrail, says: str) -> None:
    attribution = Attribution(cause, Past(Before.QUIET), edits=EDITS)
    (refusal,) = refusals(replace(ALLOWED, attribution=attribution), POLICY)
    assert refusal.guardrail is guardrail
    assert says in english().text(refusal.reason)


@pytest.mark.parametrize("recent", [POLICY.attribution.recent, 0.0])
@pytest.mark.parametrize(
    ("changed", "opaque"), [("checksum/secret", True), ("kubectl.kubernetes.io/restartedAt", False)]
)
def test_a_checksum_that_changed_alone_is_told_as_opaque(changed: str, recent: float, *, opaque: bool) -> None:
    ledger = replace(LEDGER, replacement=Replacement(at(9_050), (changed,)))
    policy = replace(POLICY, attribution=replace(POLICY.attribution, recent=recent))
    (refusal,) = refusals(replace(ALLOWED, ledger=ledger), policy)
    assert refusal.guardrail is Guardrail.PODS_REPLACED
    assert ("opaque" in english().text(refusal.reason)) is opaque


@pytest.mark.parametrize(
    ("configuration", "guardrails"),
    [("", [Guardrail.NOT_CAUSED_BY_A_ROLLOUT]), ("another", [])],
    ids=["its pods are still to tell", "they have told"],
)
def test_what_the_guard_put_there_is_good_by_its_template_until_its_pods_tell(
    configuration: str, guardrails: list[Guardrail]
) -> None:
    put_there = replace(PRESENT, configuration=configuration)
    restored = replace(PRESENT, configuration="one", good_at=at(0), first_live=0)
    records = {r.release.key: r for r in (KNOWN_GOOD, restored, put_there)}
    key = put_there.release.key
    rollout = replace(ROLLOUT, key=key, by_guard="run-1")
    ledger = replace(LEDGER, records=records, present=key, rollouts=(rollout,))
    assert found(replace(ALLOWED, ledger=ledger)) == guardrails
