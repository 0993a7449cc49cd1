"""What each refusal says: whose rollback it refuses, and the facts that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, time, timedelta
from typing import Any

import pytest

from logcaster_guard.domain.attribution import (
    Attribution,
    Before,
    Cause,
    Comparison,
    Level,
    Past,
    Space,
    Suspect,
)
from logcaster_guard.domain.evidence import Ranked, Ranking
from logcaster_guard.domain.gitops import TRACKING_ID, GitOps
from logcaster_guard.domain.guardrails import Guardrail, PastRun, Refusal, manual_refusals, refusals
from logcaster_guard.domain.guardrails.refusal_messages import (
    AnotherRunOpen,
    BeingDeleted,
    BreachBeforeRollout,
    BreachLongAfter,
    ClusterBudgetSpent,
    CoolingDown,
    Frozen,
    GuardPutItThere,
    InMaintenance,
    KnownRevision,
    NoGoodRevision,
    NoJournal,
    NoQuietPast,
    NotLookedAt,
    OnlyAlert,
    OthersBreach,
    OwnerWouldUndo,
    OwnWorkload,
    Paused,
    PodsAlike,
    PodsReplacedBefore,
    PodsReplacedLongAgo,
    ReleaseBeforeToo,
    ReleaseIsGood,
    RolloutUnknown,
    ScaledToZero,
    SeveralSuspects,
    SomebodyRollsOut,
    TargetBudgetSpent,
    TargetMissing,
    TooFewRequests,
    Vetoed,
)
from logcaster_guard.domain.inbox.annotations import FREEZE
from logcaster_guard.domain.inbox.freezes import LIFTED
from logcaster_guard.domain.ledger import Freeze, Ledger, Veto
from logcaster_guard.domain.maintenance import MaintenanceWindow
from logcaster_guard.domain.message import Message
from logcaster_guard.domain.planning_reasons import OwnerNamed
from logcaster_guard.domain.provenance_reasons import FieldManager
from logcaster_guard.domain.rules import Action, Limits
from logcaster_guard.domain.signals import Gap, NoData, Value
from logcaster_guard.domain.workload import Workload
from tests.domain.build import at, deployment, rule, template
from tests.domain.test_guardrails import (
    ALLOWED,
    BEGUN,
    HASH,
    KNOWN_GOOD,
    LEDGER,
    NAMELESS,
    NOW,
    OTHER,
    OWNED,
    POLICY,
    PRESENT,
    RESTARTED,
    RESTORED,
    TARGET,
    UNDATED,
    UNFINISHED,
    ended,
    seen_as,
)

WORKLOAD, HOUR, DAY = f"Deployment {TARGET}", 3_600.0, 86_400.0
OWNER = OwnerNamed("Flux", "Kustomization default/web", known=True)
GONE_BAD = {t: replace(r, bad_since=1) if t == HASH else r for t, r in LEDGER.records.items()}
BESIDE = Comparison("error_rate", "the old pods", Level(0.3), Level(0.3), 0.0, 0.1, Space.ALIKE)
TOGETHER = (Suspect(TARGET, 2.0, rolled=True), Suspect(OTHER, 0.0, rolled=False))
RANKING = Ranking((Ranked(TARGET, 2.0, True), Ranked(OTHER, 0.0, False)))


PRESUMED = replace(LEDGER, records={HASH: PRESENT, "good": replace(KNOWN_GOOD, good_at=None, stood=2 * DAY)})


def put_down_to(cause: Cause, ledger: Ledger = LEDGER, **found: Any) -> Mapping[str, Any]:
    past = Past(Before.BREACHED, 600.0, 0.5)
    return {"ledger": ledger, "attribution": Attribution(cause, past, suspects=TOGETHER, **found)}


def needing(rate: float, **seen: Any) -> Mapping[str, Any]:
    return {"rule": replace(rule(), min_request_rate=rate), **seen}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rule": rule(action=Action.ALERT_ONLY)}, OnlyAlert("high_error_rate")),
        ({"own": True}, OwnWorkload(WORKLOAD)),
        ({"workload": None}, TargetMissing(TARGET)),
        ({**BEGUN, "workload": None, "rule": rule(rollout_window=None)}, TargetMissing(TARGET)),
        ({"workload": seen_as({"deletionTimestamp": "2026-01-01T00:00:00Z"})}, BeingDeleted(TARGET)),
        ({"workload": seen_as({}, paused=True)}, Paused(TARGET)),
        ({"workload": seen_as({}, replicas=0)}, ScaledToZero(WORKLOAD)),
        ({"workload": seen_as({"uid": "another"})}, NotLookedAt(TARGET, changed=False, made_anew=True)),
        ({"workload": Workload(deployment(template("v3")))}, NotLookedAt(TARGET, changed=True, made_anew=False)),
        ({"ledger": UNDATED}, RolloutUnknown(TARGET, at(9_100))),
        ({"onset": at(8_999)}, BreachBeforeRollout(at(8_999), at(9_000))),
        ({"onset": at(9_001 + DAY)}, BreachLongAfter(at(9_001 + DAY), DAY, at(9_000))),
        ({"ledger": RESTORED}, ReleaseIsGood(TARGET, "run-1")),
        ({"ledger": replace(RESTORED, records=GONE_BAD)}, GuardPutItThere(TARGET, "run-1")),
        (
            {"ledger": RESTARTED, "onset": at(9_050 + HOUR)},
            PodsReplacedBefore(TARGET, at(9_050 + HOUR), at(9_050), ("checksum/config",), opaque=True),
        ),
        (
            {"ledger": RESTARTED, "onset": at(9_051 + HOUR)},
            PodsReplacedLongAgo(
                TARGET, at(9_051 + HOUR), HOUR + 1, at(9_050), ("checksum/config",), at(9_000), opaque=True
            ),
        ),
        (put_down_to(Cause.OLDER), ReleaseBeforeToo(TARGET, 0.5, 600.0)),
        (put_down_to(Cause.UNPROVEN), NoQuietPast(TARGET, 600.0)),
        (put_down_to(Cause.UNPROVEN, ledger=PRESUMED), NoQuietPast(TARGET, 600.0)),
        (put_down_to(Cause.SHARED, beside=BESIDE), PodsAlike(TARGET, "error_rate")),
        (put_down_to(Cause.SHARED, beside=replace(BESIDE, verdict=Space.INCONCLUSIVE)), OthersBreach(TARGET, RANKING)),
        (put_down_to(Cause.SHARED), OthersBreach(TARGET, RANKING)),
        (put_down_to(Cause.SEVERAL), SeveralSuspects(TARGET, RANKING)),
        (needing(5.0), TooFewRequests(TARGET, "", 5.0)),
        (needing(5.0, request_rate=NoData(0.0, Gap.EMPTY)), TooFewRequests(TARGET, "", 5.0)),
        (needing(5.0, request_rate=Value(0.0, 4.9)), TooFewRequests(TARGET, "4.9", 5.0)),
        (
            {**BEGUN, "rule": rule(rollout_window=None)},
            SomebodyRollsOut(TARGET, at(9_000), Workload(UNFINISHED).progress),
        ),
        (
            {"ledger": replace(LEDGER, freeze=Freeze(at(0), "annotation", "move", who=FieldManager("kubectl", None)))},
            Frozen(at(0), "annotation", FieldManager("kubectl", None), "move", FREEZE, LIFTED),
        ),
        (
            {"ledger": replace(LEDGER, veto=Veto(HASH, NOW + timedelta(seconds=1), "it is ours"))},
            Vetoed(TARGET, NOW + timedelta(seconds=1), "it is ours"),
        ),
        ({"runs": [PastRun("r", TARGET, NOW, None)]}, AnotherRunOpen(TARGET, "r")),
        (
            {"runs": [ended(1_700), ended(1_790)]},
            CoolingDown(TARGET, NOW - timedelta(seconds=1_700), NOW + timedelta(seconds=100)),
        ),
        ({"runs": [ended(40_000), ended(50_000)]}, TargetBudgetSpent(TARGET, 2, 2)),
        ({"runs": [ended(n, target=OTHER) for n in (2_000, 2_100, 2_200)]}, ClusterBudgetSpent(3, 3)),
        (
            {"ledger": replace(LEDGER, records={HASH: PRESENT, "good": replace(KNOWN_GOOD, bad_since=3)})},
            NoGoodRevision(TARGET, (KnownRevision("2", "unproven"), KnownRevision("1", "bad"))),
        ),
        (
            {
                "ledger": replace(
                    LEDGER,
                    records={
                        HASH: PRESENT,
                        f"{HASH}+c": replace(PRESENT, configuration="c"),
                        "was": replace(KNOWN_GOOD, template=HASH),
                    },
                    present=f"{HASH}+c",
                )
            },
            NoGoodRevision(
                TARGET,
                (
                    KnownRevision(PRESENT.name, "unproven"),
                    KnownRevision(replace(PRESENT, configuration="c").name, "unproven"),
                    KnownRevision("1", "good"),
                ),
                "1",
            ),
        ),
        ({"workload": OWNED}, OwnerWouldUndo(TARGET, OWNER, "", suspendable=True)),
        (
            {"workload": OWNED, "bad_commit": "revision c2"},
            OwnerWouldUndo(TARGET, OWNER, "revision c2", suspendable=True),
        ),
    ],
)
def test_a_refusal_tells_its_facts(change: Mapping[str, Any], reason: Message) -> None:
    found = refusals(replace(ALLOWED, **change), POLICY)
    assert reason in [r.reason for r in found if isinstance(r.guardrail, Guardrail)]


def test_an_application_is_looked_for_where_argo_cd_is() -> None:
    tracked = seen_as({"annotations": {TRACKING_ID: f"web:apps/Deployment:{TARGET}"}})
    [refusal] = refusals(replace(ALLOWED, workload=tracked), replace(POLICY, argocd_namespace="tools"))
    assert refusal.reason == OwnerWouldUndo(
        TARGET, OwnerNamed("Argo CD", "Application tools/web", known=True), "", suspendable=True
    )


def test_an_owner_of_no_name_cannot_be_suspended() -> None:
    [refusal] = refusals(replace(ALLOWED, workload=NAMELESS, gitops=GitOps.SUSPEND), POLICY)
    assert isinstance(refusal.reason, OwnerWouldUndo)
    assert not refusal.reason.suspendable


@pytest.mark.parametrize(
    "change",
    [
        needing(5.0, request_rate=Value(0.0, 5.0)),
        needing(5.0, follows="run-10", runs=[ended(10)]),  # the moment was right for the run that it follows
        {"ledger": replace(LEDGER, veto=Veto(HASH, NOW, "over"))},
        {"ledger": replace(LEDGER, veto=Veto("another", NOW + timedelta(days=1), "of another release"))},
    ],
)
def test_what_no_longer_holds_refuses_nothing(change: Mapping[str, Any]) -> None:
    assert refusals(replace(ALLOWED, **change), POLICY) == []


def test_the_rules_own_least_traffic_counts_before_the_policys() -> None:
    policy = replace(POLICY, limits=Limits(min_request_rate=5.0))
    assert refusals(ALLOWED, policy) == [Refusal(Guardrail.MINIMUM_REQUEST_RATE, TooFewRequests(TARGET, "", 5.0))]
    assert refusals(replace(ALLOWED, **needing(1.0, request_rate=Value(0.0, 2.0))), policy) == []


def test_each_window_that_is_open_for_the_target_is_told() -> None:
    def window(name: str, end: int, *targets: str) -> MaintenanceWindow:
        days, zone = frozenset(range(7)), UTC
        return MaintenanceWindow(name, days, time(0), time(end), zone, frozenset(targets) if targets else None)

    # It is 02:46 there.
    windows = (window("over", 2), window("theirs", 5, "another"), window("all", 4), window("mine", 5, "prod"))
    found = refusals(replace(ALLOWED, name="prod"), replace(POLICY, maintenance=windows))
    assert found == [
        Refusal(Guardrail.MAINTENANCE, InMaintenance(TARGET, "all", at(4 * HOUR))),
        Refusal(Guardrail.MAINTENANCE, InMaintenance(TARGET, "mine", at(5 * HOUR))),
    ]


def test_a_persons_freeze_refuses_a_persons_rollback_and_tells_whose_it_is() -> None:
    frozen = replace(ALLOWED, ledger=replace(LEDGER, freeze=Freeze(at(0), "annotation", "move")))
    assert [r.reason for r in manual_refusals(frozen, POLICY)] == [
        Frozen(at(0), "annotation", "", "move", FREEZE, LIFTED)
    ]
    hands_off = replace(ALLOWED, workload=seen_as({"annotations": {FREEZE: "hands off"}}))
    assert [r.reason for r in manual_refusals(hands_off, POLICY)] == [
        Frozen(NOW, "annotation", "", "hands off", FREEZE, LIFTED)
    ]


def test_without_a_journal_that_is_the_reason() -> None:
    blind = replace(ALLOWED, journal=False, ledger=Ledger(), rule=rule(action=Action.ALERT_ONLY))
    assert [r.reason for r in refusals(blind, POLICY)] == [OnlyAlert("high_error_rate"), NoJournal()]
