"""Triggers over a dense timeline: what fires had its duration, by an account that knows no state machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from logcaster_guard.domain import triggers
from logcaster_guard.domain.conditions import Judgement, Verdict
from logcaster_guard.domain.triggers import Change, Phase, Sample, TriggerState
from tests.domain.build import rule

DURATION, POLL, STALENESS, STEP = 120.0, 30.0, 60.0, 6.0
RULE = rule(duration=DURATION)
MET, QUIET = Judgement(Verdict.MET), Judgement(Verdict.NOT_MET)
BLIND = Judgement(Verdict.UNKNOWN, blind=("error_rate",))
EMPTY = Judgement(Verdict.UNKNOWN, missing=("error_rate",))
JUDGED = {"+": MET, "-": QUIET, "!": BLIND, "?": EMPTY}
SAMPLED = {"+": Verdict.MET, "-": Verdict.NOT_MET, "!": Verdict.UNKNOWN, "?": Verdict.UNKNOWN}

stretches = st.lists(st.tuples(st.sampled_from("+++-!?"), st.integers(1, 150)), min_size=1, max_size=10)
polls = st.lists(st.sampled_from([1, 7, 30, 30, 30, 45, 75, 200]), min_size=5, max_size=60)
happenings = st.lists(st.tuples(st.integers(0, 59), st.sampled_from(["restart", "release"])), max_size=6).map(dict)


@dataclass(slots=True)
class Account:
    """All that was ever said of the condition: readings and samples, each with its second.

    `floor` is before which nothing counts: the last that was not met, or somebody's release.
    """

    readings: list[tuple[float, str]] = field(default_factory=list)
    known: list[tuple[float, float]] = field(default_factory=list)
    floor: float = float("-inf")

    def read(self, at: float, word: str) -> None:
        if self.readings:
            before, what = self.readings[-1]
            if what == word == "+" and at - before <= STALENESS:
                self.known.append((before, at))
        if word == "-":
            self.floor = at
        self.readings.append((at, word))

    def sampled(self, samples: Sequence[Sample]) -> None:
        last: Sample | None = None
        for sample in samples:
            if sample.verdict is Verdict.NOT_MET:
                self.floor = max(self.floor, sample.at)
            both = last is not None and last.verdict is sample.verdict is Verdict.MET
            if both and last is not None and sample.at - last.at <= STEP * 1.5:
                self.known.append((last.at, sample.at))
            last = sample

    def proven(self) -> float:
        total, reached = 0.0, self.floor
        for start, end in sorted(self.known):
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total


@dataclass(slots=True)
class Guarded:
    """A rule's loop as the engine has it, over a timeline of seconds; `past`: range data can be had."""

    timeline: str
    past: bool
    state: TriggerState = field(default_factory=TriggerState)
    account: Account = field(default_factory=Account)
    released: float = float("-inf")
    fired_at: float | None = None

    def at(self, second: float) -> str:
        return self.timeline[min(max(int(second), 0), len(self.timeline) - 1)]

    def samples(self, start: float, end: float) -> list[Sample]:
        """From `start` to `end`, both included, at most `STEP` apart."""
        count = max(1, math.ceil((end - start) / STEP))
        step = (end - start) / count
        found = [Sample(end - step * i, SAMPLED[self.at(end - step * i)]) for i in reversed(range(count + 1))]
        self.account.sampled(found if self.past else [])
        return found if self.past else []

    def evaluate(self, now: float) -> Change | None:
        word = self.at(now)
        self.account.read(now, word)
        judgement, state = JUDGED[word], self.state
        if judgement is MET:
            since = state.unproven_since(now, STALENESS)
            if since is not None:
                state = triggers.backfill(state, self.samples(since, now), step=STEP)
        state, change = triggers.advance(state, RULE, judgement, now=now, staleness=STALENESS, fresh=True)
        if change is Change.PENDING:
            samples = self.samples(max(now - DURATION, state.quiet_at or float("-inf")), now)
            state = triggers.refine(
                state, samples, step=STEP, now=now, hole=STALENESS, credit_from=self.released
            )  # fmt: skip
            state, change = triggers.advance(state, RULE, judgement, now=now, staleness=STALENESS, fresh=True)
        if change is Change.FIRED:
            self.fired_at = now
        self.state = state
        return change

    def restart(self) -> None:
        """A new process: what the journal told is all that is left."""
        state, fired = self.state, self.state.phase is Phase.FIRING
        self.state = TriggerState()
        if state.phase is not Phase.INACTIVE and state.onset is not None:
            self.state = triggers.restored(RULE, onset=state.onset, fired_at=self.fired_at if fired else None)
            if (self.fired_at if fired and self.fired_at is not None else state.onset) < self.released:
                self.state = triggers.restart_clock(self.state, self.released)

    def release(self, now: float) -> None:
        """Somebody changed the template."""
        self.released = now
        self.account.floor = max(self.account.floor, now)
        self.state = triggers.restart_clock(self.state, now)


@given(stretches, polls, happenings, st.booleans())
@example([("+", 1), ("!", 1), ("+", 1)], [7, 1, 1, 1, 200], {0: "release"}, True)
def test_what_fires_was_met_for_its_whole_duration(
    pieces: Sequence[tuple[str, int]], waits: Sequence[int], happens: Mapping[int, str], past: bool
) -> None:
    guarded, now = Guarded("".join(word * seconds for word, seconds in pieces), past), 0.0
    for turn, wait in enumerate(waits):
        due = guarded.state.due_at(RULE)
        now = now + wait if due is None else min(now + wait, max(due, now + 0.01))
        if happens.get(turn) == "restart":
            guarded.restart()
        elif happens.get(turn) == "release":
            guarded.release(now - 0.5)
        if guarded.evaluate(now) is Change.FIRED:
            assert guarded.at(now) == "+"
            assert guarded.account.proven() >= DURATION - 1e-3
        if guarded.state.phase is not Phase.INACTIVE:
            assert guarded.state.onset is not None
            assert guarded.state.onset <= now


@given(st.integers(0, 29), st.integers(0, 200), st.booleans())
def test_what_is_met_throughout_fires_when_its_duration_is_full(phase: int, quiet: int, past: bool) -> None:
    guarded, now, fired = Guarded("-" * (quiet + 1) + "+" * 1_000, past), float(phase), None
    for _ in range(100):
        if guarded.evaluate(now) is Change.FIRED:
            fired = now
            break
        due = guarded.state.due_at(RULE)
        now = min(now + POLL, now + POLL if due is None else max(due, now + 0.01))
    assert fired is not None
    began = quiet + 1
    assert began + DURATION - 1.0 <= fired <= began + DURATION + (STEP + 1.0 if past else POLL + 1.0)
