"""The facts that a notice carries: what channels show of it beside its words."""

from __future__ import annotations

import pytest

from logcaster_guard import messages
from logcaster_guard.domain.events import HoldReleased, RevisionMarked, RunOpened
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.ledger import Record, ReleaseStatus
from logcaster_guard.domain.notices import Severity
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Compensation, Plan
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import Language, Texts
from logcaster_guard.steps.step_kinds import KINDS
from logcaster_guard.steps.step_services import compensations_of
from tests.domain.build import at, rule

TARGET = Target(name="web", namespace="shop", deployment="web")
CONTAINERS = {"containers": [{"image": "web:2"}]}
WORKLOAD = Workload({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"template": {"spec": CONTAINERS}}})


def test_a_refusal_tells_rule_condition_readings_version_and_onset() -> None:
    evidence = {"error_rate": "30%", "rule": "a signal of that name does not hide the rule"}
    notice = messages.refused(
        TARGET,
        rule(),
        [Refusal(Guardrail.COOLDOWN, "Wait."), Refusal(Guardrail.FROZEN, "Lift it.")],
        evidence,
        WORKLOAD,
        id="i",
        at=at(9),
        onset=at(3),
    )
    assert notice.facts == {
        "error_rate": "30%",
        "rule": "high_error_rate",
        "condition": "error_rate > 0.05",
        "version": "web:2",
        "since": at(3).isoformat(),
        "guardrails": "cooldown, frozen",
    }
    assert (notice.text, notice.severity) == ("Wait. Lift it.", Severity.CRITICAL)


def test_a_refusal_because_only_an_alert_was_asked_for_is_no_alarm() -> None:
    reasons = [Refusal(Guardrail.ALERT_ONLY, "Alert.")]
    notice = messages.refused(TARGET, rule(), reasons, {}, None, id="i", at=at(9), onset=at(3))
    assert notice.severity is Severity.WARNING
    assert notice.facts["version"] == "no image"


@pytest.mark.parametrize(
    ("mark", "release_status", "title", "follows"),
    [
        (Mark.BAD, ReleaseStatus.BAD, "Somebody marked revision 3 (web:3) of shop/web bad", "It is never gone back to"),
        (
            Mark.NOT_BAD,
            ReleaseStatus.GOOD,
            "Somebody marked revision 3 (web:3) of shop/web not bad any more",
            "good again",
        ),
        (Mark.NOT_BAD, ReleaseStatus.UNPROVEN, "of shop/web not bad any more", "has to earn good before"),
        (Mark.NOT_BAD, ReleaseStatus.PRESUMED_GOOD, "of shop/web not bad any more", "presumed good again"),
    ],
)
def test_a_mark_tells_what_was_said_and_what_follows(
    mark: Mark, release_status: ReleaseStatus, title: str, follows: str
) -> None:
    record = Record("aaaa", "3", "blob", ("web:3",), 3, 3)
    event = RevisionMarked(at(0), "aaaa", mark, "digest", "by alice: it loses data")
    notice = messages.marked("shop/web", WORKLOAD, record, event, release_status=release_status)
    assert title in notice.title
    assert notice.text.startswith("By alice: it loses data. ")
    assert follows in notice.text
    korean = Texts(Language.KOREAN).notice(notice)
    assert "by alice: it loses data" in korean.text
    assert ("해제" in korean.title) is (mark is Mark.NOT_BAD)
    assert "{" not in korean.title + korean.text + Texts(Language.KOREAN).state(notice)
    assert Texts(Language.ENGLISH).state(notice) == release_status


@pytest.mark.parametrize(
    ("owed", "command"),
    [
        (
            Compensation("autoscaler/hpa", "autoscaler_bounds", "hpa", "u", 2, 4, original_maximum=6),
            """kubectl -n shop patch hpa hpa --type merge -p '{"spec": {"minReplicas": 2, "maxReplicas": 6}}'""",
        ),
        (
            Compensation("autoscaler/hpa", "autoscaler_minimum", "hpa", "u", 2, 4),
            """kubectl -n shop patch hpa hpa --type merge -p '{"spec": {"minReplicas": 2}}'""",
        ),
        (Compensation("replicas", "replicas", "web", "u", 4, 2), "kubectl -n shop scale deployment web --replicas 4"),
        (Compensation("environment_size", "environment_size", "blue", "u", 1, 4), "scale deployment blue --replicas 1"),
        (Compensation("helper/h", "helper", "h", "", None, 0), "kubectl -n shop delete deployment h"),
        (Compensation("environment", "environment", "blue", "", None, 0), "kubectl -n shop delete deployment blue"),
        (
            Compensation("selector", "selector", "active", "u", None, 0),
            """kubectl -n shop patch service active --type merge -p '{"spec": {"selector": {"env": "green"}}}'""",
        ),
        (
            Compensation("owner/k", "gitops_owner", "Kustomization flux-system/web", "u", None, 1),
            "flux resume kustomization web",
        ),
    ],
    ids=lambda v: v.kind if isinstance(v, Compensation) else "",
)
def test_what_a_person_has_to_put_back_is_told_with_the_command(owed: Compensation, command: str) -> None:
    plan = Plan("x", "shop", "web", "u", "bad", "good", ("b",), ("g",), 4, False, "active", {"env": "green"}, ())
    opened = RunOpened(at(0), "r", "shop/web", "high_error_rate", "reason", plan)
    run = Run(opened, compensations={owed.id: owed})
    remedy = compensations_of(KINDS)[owed.kind].remedy(plan, owed)
    notice = messages.not_given_back(
        run, HoldReleased(at(9), "r", owed.id, "patch is forbidden", kept_out=True), remedy
    )
    assert command in notice.facts["remedy"]
    assert notice.text.startswith("Patch is forbidden.")
    assert notice.text.endswith(f": {notice.facts['remedy']}.")
    assert notice.facts["remedy"] in Texts(Language.KOREAN).notice(notice).text
