"""The facts that a notice carries: what channels show of it beside its words."""

from __future__ import annotations

import pytest

from logcaster_guard.domain import narration
from logcaster_guard.domain.events import HoldReleased, RevisionMarked, RunOpened
from logcaster_guard.domain.guardrails import Guardrail, Refusal
from logcaster_guard.domain.inbox import Mark
from logcaster_guard.domain.ledger import Record, Standing
from logcaster_guard.domain.notices import Severity
from logcaster_guard.domain.runs import Run
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.steps import Hold, Plan, SwitchService
from logcaster_guard.domain.translation import Language, state, translated
from logcaster_guard.domain.workload import Workload
from tests.domain.build import at, rule

TARGET = Target(name="web", namespace="shop", deployment="web")
CONTAINERS = {"containers": [{"image": "web:2"}]}
WORKLOAD = Workload({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"template": {"spec": CONTAINERS}}})


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


@pytest.mark.parametrize(
    ("mark", "standing", "title", "follows"),
    [
        (Mark.BAD, Standing.BAD, "Somebody marked revision 3 (web:3) of shop/web bad", "It is never gone back to"),
        (Mark.NOT_BAD, Standing.GOOD, "Somebody marked revision 3 (web:3) of shop/web not bad any more", "good again"),
        (Mark.NOT_BAD, Standing.UNPROVEN, "of shop/web not bad any more", "has to earn good before"),
        (Mark.NOT_BAD, Standing.PRESUMED_GOOD, "of shop/web not bad any more", "presumed good again"),
    ],
)
def test_a_mark_tells_what_was_said_and_what_follows(mark: Mark, standing: Standing, title: str, follows: str) -> None:
    record = Record("aaaa", "3", "blob", ("web:3",), 3, 3)
    event = RevisionMarked(at(0), "aaaa", mark, "digest", "by alice: it loses data")
    notice = narration.marked("shop/web", WORKLOAD, record, event, standing=standing)
    assert title in notice.title
    assert notice.text.startswith("By alice: it loses data. ")
    assert follows in notice.text
    korean = translated(notice, Language.KOREAN)
    assert "by alice: it loses data" in korean.text
    assert ("해제" in korean.title) is (mark is Mark.NOT_BAD)
    assert "{" not in korean.title + korean.text + state(notice, Language.KOREAN)
    assert state(notice, Language.ENGLISH) == standing


PLAN = Plan(
    strategy="blue_green",
    namespace="shop",
    deployment="web",
    uid="u",
    from_template="bad",
    to_template="good",
    from_images=("web:2",),
    to_images=("web:1",),
    replicas=4,
    autoscaled=False,
    service="web",
    selector={"color": "green"},
    steps=(SwitchService("color", "green", "blue"),),
)


@pytest.mark.parametrize(
    ("hold", "remedy"),
    [
        (Hold("h", "autoscaler_minimum", "web", "u", 2, 4), "autoscaler minimum of web back from 4 to 2 by hand"),
        (
            Hold("h", "autoscaler_bounds", "web", "u", 4, 4, original_maximum=8),
            "autoscaler bounds (minReplicas-maxReplicas) of web back from 4-4 to 4-8 by hand",
        ),
        (Hold("h", "replicas", "web", "u", 4, 2), "replicas of web back from 2 to 4 by hand"),
        (Hold("h", "environment_size", "web", "u", 1, 4), "replicas of web back from 4 to 1 by hand"),
        (Hold("h", "helper", "web-rollback", "u", None, 0), "Delete Deployment web-rollback, which the guard made"),
        (Hold("h", "environment", "web-blue", "u", None, 0), "Delete Deployment web-blue, which the guard made"),
        (Hold("h", "selector", "web", "u", None, 0), "selector of web back from color=blue to color=green by hand"),
    ],
    ids=lambda value: value.kind if isinstance(value, Hold) else "",
)
def test_what_was_not_put_back_is_told_with_what_a_person_has_to_do(hold: Hold, remedy: str) -> None:
    run = Run(RunOpened(at(0), "r", "shop/web", "slow", "because", PLAN), holds={"h": hold})
    notice = narration.not_given_back(run, HoldReleased(at(9), "r", "h", "the change was refused", kept_out=True))
    assert notice.text.startswith("The change was refused. ")
    assert remedy in notice.text
