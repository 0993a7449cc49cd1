"""What people are told of what keeps the guard from seeing, when it has lasted and when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from logcaster_guard.domain.message import Headline
from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.problems import Problem, ProblemKind
from logcaster_guard.messages.guard_headlines import (
    ClockAgrees,
    ClockSkewed,
    PollsKept,
    PollsMissed,
    RulesBlind,
    RulesSeeing,
    SourceCaughtUp,
    SourceFailing,
    SourceLagging,
    SourceRecovered,
    WorkloadSeen,
    WorkloadUnseen,
)
from logcaster_guard.messages.texts import english
from logcaster_guard.messages.words import told


def problem_lasts(problem: Problem, at: datetime) -> Notice:
    """It has lasted long enough for people to know."""
    return _told(_lasting(problem), Severity.WARNING, problem, at)


def problem_over(problem: Problem, lasted: float, at: datetime) -> Notice:
    """What people were told of is over, after `lasted` seconds."""
    return _told(_over(problem, lasted), Severity.INFO, problem, at)


def _lasting(problem: Problem) -> Headline:
    what, cause, where = problem.what, problem.cause, problem.where
    match problem.kind:
        case ProblemKind.SOURCE:
            return SourceFailing(what, cause, where)
        case ProblemKind.WORKLOAD:
            return WorkloadUnseen(_name(problem), cause)
        case ProblemKind.RULE:
            return RulesBlind(_name(problem), cause, where)
        case ProblemKind.POLLS:
            return PollsMissed(cause, where)
        case ProblemKind.LAG:
            return SourceLagging(what, cause, where)
        case ProblemKind.CLOCK:
            return ClockSkewed(what, cause)


def _over(problem: Problem, lasted: float) -> Headline:
    match problem.kind:
        case ProblemKind.SOURCE:
            return SourceRecovered(problem.what, lasted)
        case ProblemKind.WORKLOAD:
            return WorkloadSeen(_name(problem), lasted)
        case ProblemKind.RULE:
            return RulesSeeing(_name(problem), tuple(sorted(problem.targets)), lasted)
        case ProblemKind.POLLS:
            return PollsKept(lasted)
        case ProblemKind.LAG:
            return SourceCaughtUp(problem.what, lasted)
        case ProblemKind.CLOCK:
            return ClockAgrees(problem.what, lasted)


def _name(problem: Problem) -> str:
    return english().text(problem.what)


def _told(message: Headline, severity: Severity, problem: Problem, at: datetime) -> Notice:
    target = problem.target
    facts = _facts(problem)
    return told(
        message,
        severity,
        id=f"{message.kind}/{facts['source']}/{facts['detail'][:40]}/{problem.at.isoformat()}",
        at=at,
        target="" if target is None else target.key,
        namespace="" if target is None else target.namespace,
        deployment="" if target is None else target.deployment,
        facts=facts,
    )


def _facts(problem: Problem) -> Mapping[str, str]:
    text = english().text
    return {
        "source": text(problem.what),
        "detail": text(problem.cause),
        "where": text(problem.where),
        "since": problem.at.isoformat(),
    }
