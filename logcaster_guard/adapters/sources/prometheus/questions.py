"""A signal's query as it is asked for one target, and what is made of the answer's series; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from logcaster_guard.adapters.failures import Failure
from logcaster_guard.domain.fold import Enough, PodSeries, Scope, folded
from logcaster_guard.domain.ownership import PodGroup, Roster
from logcaster_guard.domain.promql import ANY_POD, PODS, TemplateFault, names_workload, placeholders, render
from logcaster_guard.domain.signals import Fault, Gap, NoData, Signal, SourceError, Target, Value
from logcaster_guard.messages.reading_faults import NoQuery, QueryNamesNoPods

_JOINED = frozenset({PODS, "namespace", "lookback"})

Unasked = Failure | NoData | SourceError
"""Why a question cannot be asked; the instant is not known yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """A signal of a target as `promql`; `roster` tells the pods that are the target's.

    `joint`: the query finds pods of several targets.
    """

    target: Target
    signal: Signal
    roster: Roster
    promql: str
    joint: bool = False

    @property
    def example(self) -> str:
        """PromQL that answers with one series as it was scraped."""
        query = self.signal.by_pod.example if self.signal.by_pod else ""
        return render(query, self.target, self.signal.lookback, self.roster.pattern or ANY_POD)

    def numbers(
        self, series: Sequence[PodSeries], group: PodGroup | None = None
    ) -> Sequence[Value | NoData]:  # fmt: skip
        """The signal at each instant of the series, of the pods of `group` alone unless that is None."""
        if self.signal.by_pod is None:
            return []
        if self.joint:
            series = [one for one in series if self.finds(one.pod)]
        whole = group is None and (not self.signal.apart or names_workload(self.signal.query or ""))
        scope = Scope(self.target.namespace, self.roster, group, whole=whole)
        return folded(self.signal.by_pod, series, scope, Enough(self.signal.min_requests, self.signal.lookback))

    def finds(self, pod: str) -> bool:
        """Whether it would find the pod if it were asked for the target alone."""
        return _compiled(self.roster.pattern or ANY_POD).fullmatch(pod) is not None


def joins(signal: Signal) -> bool:
    """Whether the signal can be asked for several targets of a namespace in one query: it names nothing but pods."""
    names = placeholders(signal.query or "")
    return signal.by_pod is not None and not signal.apart and PODS in names and names <= _JOINED


def joined(questions: Sequence[Question]) -> Sequence[Question]:
    """These questions, which can be joined, with queries that find the pods of all their targets."""
    pattern = "|".join(dict.fromkeys(asked.roster.pattern or ANY_POD for asked in questions))
    return [
        replace(
            asked, promql=render(asked.signal.query or "", asked.target, asked.signal.lookback, pattern), joint=True
        )
        for asked in questions
    ]


@lru_cache(maxsize=16_384)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def needs_roster(signal: Signal) -> bool:
    """Whether the signal can be asked for only if it is known who owns which pods."""
    return signal.by_pod is not None or PODS in placeholders(signal.query or "")


def question(target: Target, signal: Signal, roster: Roster | NoData | SourceError) -> Question | Unasked:
    """The signal's question for the target, or why it cannot be asked."""
    if not signal.query:
        return Failure(Fault.CLIENT_ERROR, NoQuery(signal.name), local=True)
    if signal.apart and signal.by_pod is None and not names_workload(signal.query):
        return NoData(0.0, Gap.NOT_BY_POD, QueryNamesNoPods(signal.name))
    if not isinstance(roster, Roster):
        if needs_roster(signal):
            return roster
        roster = Roster()
    try:
        promql = render(signal.query, target, signal.lookback, roster.pattern or ANY_POD)
    except TemplateFault as fault:
        return Failure(Fault.CLIENT_ERROR, fault.reason, local=True)
    return Question(target, signal, roster, promql)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of monotonic seconds with a point each `step`; `offset` makes them of seconds since the epoch."""

    start: float
    end: float
    step: float
    offset: float

    def halves(self) -> tuple[Span, Span]:
        """The same points in two ranges."""
        points = math.floor((self.end - self.start) / self.step + 1e-9) + 1
        middle = self.start + self.step * (points // 2)
        return replace(self, end=middle - self.step), replace(self, start=middle)
