"""The facts that a notice carries: what channels show of it beside its words."""

from __future__ import annotations

from logcaster_guard.domain import narration
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.notices import Severity
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.workload import Workload
from tests.domain.build import at, rule

TARGET = Target(name="web", namespace="shop", deployment="web")
CONTAINERS = {"containers": [{"image": "web:2"}]}
WORKLOAD = Workload({"metadata": {"name": "web"}, "spec": {"template": {"spec": CONTAINERS}}})


def test_a_refusal_tells_rule_condition_readings_version_and_onset() -> None:
    evidence = {"error_rate": "30%", "rule": "a signal of that name does not hide the rule"}
    notice = narration.refused(
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
    notice = narration.refused(TARGET, rule(), reasons, {}, None, id="i", at=at(9), onset=at(3))
    assert notice.severity is Severity.WARNING
    assert notice.facts["version"] == "no image"


def test_a_notice_of_the_guard_itself_carries_the_facts_it_is_given() -> None:
    made = narration.guard_notice("source.failing", Severity.WARNING, "t", "x", id="i", at=at(0), facts={"source": "s"})
    assert made.facts == {"source": "s"}
    assert narration.guard_notice("run.crashed", Severity.CRITICAL, "t", "x", id="i", at=at(0)).facts == {}
