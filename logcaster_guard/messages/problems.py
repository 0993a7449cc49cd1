"""What people are told of what keeps the guard from seeing, when it has lasted and when it is over."""

from __future__ import annotations

from datetime import datetime

from logcaster_guard.domain.notices import Notice, Severity
from logcaster_guard.domain.problems import Problem, ProblemKind
from logcaster_guard.messages.words import sentence


def problem_lasts(problem: Problem, at: datetime) -> Notice:
    """It has lasted long enough for people to know."""
    cause, where = sentence(problem.cause), problem.where
    match problem.kind:
        case ProblemKind.SOURCE:
            title = f"The guard is blind: {problem.what}"
            text = (
                f"{cause} It concerns {where}. The rules that need it are held: nothing fires and nothing is taken for "
                "recovered until it answers again."
            )
            return _of_problem("source.failing", problem, at, title, text)
        case ProblemKind.WORKLOAD:
            title = f"The guard cannot see {problem.what}"
            text = (
                f"{cause} Until it can, nothing is rolled back there. Check the target's kind, namespace and name in "
                "the settings, and what the guard's account may read."
            )
            return _of_problem("workload.unseen", problem, at, title, text)
        case ProblemKind.RULE:
            title = f"Rules see nothing: {where}"
            text = (
                f"{where}: no value from {problem.what} for the rule's duration ({problem.cause}). These rules cannot "
                "fire, and no release is good by them. Check that there is traffic, and the names of metric and "
                "labels: logcaster-guard explain RULE shows what is read."
            )
            return _of_problem("trigger.blind", problem, at, title, text)
        case ProblemKind.POLLS:
            title = "The guard does not keep up with its polls"
            text = (
                f"{cause} It concerns {where}. Rules are evaluated late. Raise polling.interval, give the guard more "
                "CPU, or mend the source that is slow."
            )
            return _of_problem("polls.missed", problem, at, title, text)
        case ProblemKind.LAG:
            title = f"Data comes late: {problem.what}"
            text = (
                f"{cause} It concerns {where}. Values that old are no data: the rules that need them are held until it "
                "catches up. Check what stores the metrics, and what sends them there."
            )
            return _of_problem("source.lagging", problem, at, title, text)
        case ProblemKind.CLOCK:
            title = f"The {problem.what} differs from the guard's"
            text = (
                f"The {problem.what} is {sentence(problem.cause)} Rollouts are dated by the guard's clock, and data is "
                "read at the time of its backend, so what is told of instants may be confusing. Set all clocks by the "
                "same source of time."
            )
            return _of_problem("clock.skewed", problem, at, title, text)


def problem_over(problem: Problem, lasted: float, at: datetime) -> Notice:
    """What people were told of is over, after `lasted` seconds."""
    text = f"After {lasted:.0f} s."
    match problem.kind:
        case ProblemKind.SOURCE:
            return _of_problem("source.recovered", problem, at, f"The guard sees again: {problem.what}", text)
        case ProblemKind.WORKLOAD:
            return _of_problem("workload.seen", problem, at, f"The guard can see {problem.what} again", text)
        case ProblemKind.RULE:
            title = "Rules see again: " + ", ".join(sorted(problem.targets))
            return _of_problem("trigger.seeing", problem, at, title, f"There are values from {problem.what}. {text}")
        case ProblemKind.POLLS:
            return _of_problem("polls.kept", problem, at, "The guard keeps up with its polls again", text)
        case ProblemKind.LAG:
            return _of_problem("source.caught_up", problem, at, f"Data comes in time again: {problem.what}", text)
        case ProblemKind.CLOCK:
            return _of_problem("clock.agrees", problem, at, f"The {problem.what} agrees with the guard's again", text)


_OVER = frozenset(
    {"source.recovered", "workload.seen", "trigger.seeing", "polls.kept", "source.caught_up", "clock.agrees"}
)


def _of_problem(event: str, problem: Problem, at: datetime, title: str, text: str) -> Notice:
    target = problem.target
    return Notice(
        id=f"{event}/{problem.what}/{problem.cause[:40]}/{problem.at.isoformat()}",
        at=at,
        event=event,
        severity=Severity.INFO if event in _OVER else Severity.WARNING,
        title=title,
        text=text,
        target="" if target is None else target.key,
        namespace="" if target is None else target.namespace,
        deployment="" if target is None else target.deployment,
        facts=problem.facts,
    )
