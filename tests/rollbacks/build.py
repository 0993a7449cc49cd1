"""What ways back are asked in these tests, and what was seen of a workload's requests."""

from __future__ import annotations

from logcaster_guard.domain.ledger import Record
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import Gap, NoData, Target, Value
from logcaster_guard.domain.workload import Workload
from logcaster_guard.messages.texts import english
from logcaster_guard.rollbacks.not_applicable import NotApplicable
from logcaster_guard.rollbacks.way_back import Request
from logcaster_guard.steps.step_services import Inspection
from tests.domain.build import rule

TARGET = Target("logcaster", "default", "logcaster-prod", service="svc")


def request(
    workload: Workload,
    *destinations: Record,
    target: Target = TARGET,
    asked: Rule | None = None,
    policy: Policy | None = None,
) -> Request:
    return Request(target, workload, destinations, rule() if asked is None else asked, policy or Policy())


def seen(requests: float | None, error_rate: float = 0.0) -> Inspection:
    """How the pods fared; None: nobody knows."""
    if requests is None:
        return Inspection(NoData(0.0, Gap.EMPTY), NoData(0.0, Gap.EMPTY))
    return Inspection(error_rate=Value(0.0, error_rate), requests=Value(0.0, requests))


def told(found: object) -> str:
    """Why there is no plan, as people are told it: each sentence has all its names and numbers."""
    assert isinstance(found, NotApplicable), found
    words = " ".join(map(english().text, found.reasons))
    assert "None" not in words
    return words
