"""What all rules of a target together say of it now: whether it is quiet, whether it has recovered."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from logcaster_guard.domain import manual
from logcaster_guard.domain.conditions import Verdict, judge
from logcaster_guard.domain.rules import Action, Rule
from logcaster_guard.domain.signals import Signal
from logcaster_guard.effects.verification import Assessment
from logcaster_guard.engine.board import Board, text


def quiet(rules: Collection[Rule], board: Board, *, seen: frozenset[str], now: float) -> bool:
    """Whether every rule that applies is quiet on values now.

    A rule applies once each of its signals has given a value (`seen`); if none does, nothing is known.
    """
    applying = [r for r in rules if r.signals <= seen]
    # Without the rules' policies: what no value shows is no proof.
    verdicts = [judge(r.condition, board.readings(r.signals, now)).verdict for r in applying]
    return bool(verdicts) and all(v is Verdict.NOT_MET for v in verdicts)


def assess(
    rules: Mapping[str, Rule], signals: Mapping[str, Signal], board: Board, *, fired: str, since: float, now: float
) -> Assessment:
    """What the rules say on values that reach back no further than `since` (monotonic seconds).

    After a rollback that no rule has asked for, any rule that is quiet on values will do. Their policies for missing
    data are left aside: neither recovery nor failure is taken for granted.
    """
    breached, verdict_of_fired, evidence = [], Verdict.UNKNOWN, f"rule {fired} is gone from the rules"
    for rule in rules.values():
        if rule.action is Action.ALERT_ONLY and rule.name != fired:
            continue
        readings = board.since([signals[n] for n in sorted(rule.signals)], now, since)
        verdict = judge(rule.condition, readings).verdict
        detail = ", ".join(f"{n} {text(r, signals[n])}" for n, r in readings.items())
        if verdict is Verdict.MET:
            breached.append(f"{rule.name}: {detail}")
        if rule.name == fired or (fired == manual.RULE and verdict is Verdict.NOT_MET):
            verdict_of_fired, evidence = verdict, detail
    return Assessment(Verdict.MET, "; ".join(breached)) if breached else Assessment(verdict_of_fired, evidence)
