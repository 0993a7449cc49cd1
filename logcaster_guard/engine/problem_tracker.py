"""Keeps what is wrong now, and tells people of it: once when it has lasted, and once when it is over.

What comes back before people were told that it is over is the same problem still. Its end is told at once the
first time, and with a growing delay if it keeps coming back: what comes and goes all night is told a few times.

It is kept by this process alone: one that is started again tells what still lasts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from logcaster_guard import messages
from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import NoticeQueued
from logcaster_guard.domain.message import Reason
from logcaster_guard.domain.notices import Notice
from logcaster_guard.domain.problems import Problem, ProblemKind
from logcaster_guard.domain.signals import Target
from logcaster_guard.domain.state import GUARD
from logcaster_guard.engine.journal_state import JournalState, target_stream
from logcaster_guard.engine.recurring_log import RecurringLog
from logcaster_guard.engine.tasks import until
from logcaster_guard.ports import Clock

LASTS = 60.0
"""Seconds after which people are told."""

_SETTLED, _LONGEST = 600.0, 3_600.0
"""Seconds that what came back within an hour must be away before people are told that it is over; they double."""

_RETRY = 5.0


class Problems:
    """Those of all targets, by a key of the caller's: one cause is one problem, in however many places it shows."""

    def __init__(self, state: JournalState, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._problems: dict[str, Problem] = {}
        self._over: dict[str, tuple[Problem, float, float]] = {}
        self._ended: dict[str, tuple[float, float]] = {}
        self._changed = asyncio.Event()
        self._lines = RecurringLog(clock)

    def note(
        self,
        kind: ProblemKind,
        key: str,
        target: Target,
        name: str,
        *,
        what: Reason,
        cause: Reason,
        tell_after: float = LASTS,
    ) -> bool:
        """It shows at `name` of `target`; people are told `tell_after` seconds from now. Whether that is news."""
        now = self._clock.monotonic()
        known = self._problems.get(key)
        problem = known or self._back(key) or Problem(kind, what, cause, now, self._clock.now())
        self._problems[key] = problem
        problem.cause = cause
        problem.places.setdefault((target.key, name), now + tell_after)
        problem.targets[target.key] = target
        self._changed.set()
        return known is None

    def clear(self, key: str, target: Target, name: str) -> float | None:
        """It does not show there; the seconds that it lasted if it is over with that, else None."""
        problem = self._problems.get(key)
        if problem is None or (target.key, name) not in problem.places:
            return None
        now = self._clock.monotonic()
        if len(problem.places) > 1:
            del problem.places[target.key, name]
            return None
        del self._problems[key]
        self._changed.set()
        if problem.told:
            self._over[key] = (problem, now - problem.since, now + self._settling(key, now))
        return now - problem.since

    def _back(self, key: str) -> Problem | None:
        """The problem of this key whose end people were not told yet; None if there is none."""
        if key not in self._over:
            return None
        problem, _, _ = self._over.pop(key)
        problem.places.clear()
        return problem

    def _settling(self, key: str, now: float) -> float:
        """For how many seconds it must stay away before people are told."""
        self._ended = {k: ended for k, ended in self._ended.items() if now - ended[0] <= _LONGEST}
        before = self._ended.get(key)
        settling = 0.0 if before is None else min(max(_SETTLED, 2 * before[1]), _LONGEST)
        self._ended[key] = now, settling
        return settling

    def keys_at(self, kind: ProblemKind, target: Target, name: str) -> Sequence[str]:
        """The problems of this kind that show at `name` of `target`."""
        return [k for k, p in self._problems.items() if p.kind is kind and (target.key, name) in p.places]

    def keep(self, kind: ProblemKind, target: Target, names: Collection[str]) -> None:
        """Clear the target's problems of this kind at every name not among `names`: nobody looks there any more."""
        for key, problem in list(self._problems.items()):
            for place, name in list(problem.places):
                if problem.kind is kind and place == target.key and name not in names:
                    self.clear(key, target, name)

    def current(self) -> Sequence[Problem]:
        """What is wrong now, the oldest first; a rule counts once it has seen nothing for its whole duration."""
        now = self._clock.monotonic()
        found = [p for p in self._problems.values() if p.kind is not ProblemKind.RULE or p.due <= now]
        return sorted(found, key=lambda p: p.since)

    async def run(self) -> None:
        """Tell people, until cancelled."""
        while True:
            self._changed.clear()
            waiting = self._waiting() if self._state.available else []
            over = self._over.values() if self._state.available else []
            due = [*(p.due for p in waiting), *(at for _, _, at in over)]
            await until(self._clock, self._changed, min(due, default=None))
            try:
                await self._tell()
            except JournalUnavailable as error:
                self._lines.error("journal.unavailable", detail=str(error))
                await self._clock.sleep_until(self._clock.monotonic() + _RETRY)
                self._changed.set()

    def _waiting(self) -> Sequence[Problem]:
        """Those that people are still to be told of."""
        return [p for p in self._problems.values() if not p.told and not self._explained(p)]

    async def _tell(self) -> None:
        if not self._state.available:
            return
        now, at = self._clock.monotonic(), self._clock.now()
        for problem in self._waiting():
            if problem.due <= now:
                await self._queue(messages.problem_lasts(problem, at))
                problem.told = True
        for key, (problem, lasted, due) in list(self._over.items()):
            if due <= now:
                problem.told = False  # What comes back from now on is news.
                await self._queue(messages.problem_over(problem, lasted, at))
                self._over.pop(key, None)

    def _explained(self, problem: Problem) -> bool:
        """Whether a missing workload explains it: then people are told of that alone."""
        if problem.kind is not ProblemKind.RULE:
            return False
        unseen = {key for p in self._problems.values() if p.kind is ProblemKind.WORKLOAD for key, _ in p.places}
        return all(key in unseen for key, _ in problem.places)

    async def _queue(self, notice: Notice) -> None:
        stream = target_stream(notice.target) if notice.target else GUARD
        await self._state.tell(stream, NoticeQueued(notice.at, notice))
