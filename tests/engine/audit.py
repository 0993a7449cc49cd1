"""Judges what a guard did in a `World`, from the journal and the cluster's own record alone.

Nothing of the ledger, the guardrails or the folding of runs is used here: what they promise is counted anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from logcaster_guard.domain.events import (
    Event,
    HoldReleased,
    NoticeQueued,
    RevisionBad,
    RevisionGood,
    RevisionLive,
    RevisionMarked,
    RevisionSeeded,
    RunClosed,
    RunEnding,
    RunOpened,
    StepDone,
    StepIntended,
    StepStarted,
    TargetFrozen,
    TargetThawed,
    TriggerFired,
)
from logcaster_guard.domain.inbox.commands import Mark
from logcaster_guard.domain.provenance import RUN
from logcaster_guard.domain.rules import Rule
from logcaster_guard.domain.workload import template_hash
from logcaster_guard.ports import Json, Kind
from tests.engine.world import HPA, Answer, World, entries
from tests.fakes.clock import START

DAY, HOUR = 86_400.0, 3_600.0
SWEPT = 62.0
"""Seconds after which a helper that a dead guard made late is cleared away."""


@dataclass(slots=True)
class Opened:
    """A run, with the seconds at which it opened and closed, and how often people had released before it did."""

    event: RunOpened
    at: float
    rolls: int
    closed: float | None = None
    closed_at: datetime = START
    outcome: str = ""
    touched: bool = False
    ending: bool = False
    intents: int = 0
    spent: int = 0
    """Of its intents, those that a write has followed."""


@dataclass(slots=True)
class _Seen:
    """What the journal told of one target: templates that were `left` by a rollback, or are bad; a freeze."""

    bad: set[str] = field(default_factory=set)
    called_bad: set[str] = field(default_factory=set)
    """By people, and not lifted, nor good anew."""

    known: list[str] = field(default_factory=list)
    live: str | None = None
    frozen: bool = False
    kept_out: bool = False


class Auditor:
    """Every method raises `AssertionError` where a promise is broken; `look` goes on from where it stopped."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._count = 0
        self.runs: dict[str, Opened] = {}
        self._targets = {name: _Seen() for name in world.names}
        self._rules = {r.name: r for r in world.rules}
        self._notices: dict[str, int] = {}
        self._closed_since = float("-inf")
        self._broken: AssertionError | None = None
        world.cluster.on_write = self._on_write

    def look(self) -> None:
        """Judge everything that the journal tells since the last look."""
        if self._broken is not None:
            raise self._broken
        for second, entry in entries(self.world.journal, self._count):
            self._count += 1
            try:
                self._event(second, entry.stream, entry.event)
            except AssertionError as error:
                self._broken = error
                raise

    def frozen(self, name: str) -> bool:
        """Whether the journal tells of a freeze that was not lifted."""
        self.look()
        return self._targets[name].frozen

    def open_run(self, name: str) -> Opened | None:
        """The open run of this Deployment; there is never a second one."""
        found = [r for r in self.runs.values() if r.closed is None and r.event.plan.deployment == name]
        assert len(found) <= 1, f"two open runs of {name}: {[r.event.run for r in found]}"
        return found[0] if found else None

    # Events

    def _event(self, second: float, stream: str, event: Event) -> None:
        match event:
            case RunOpened():
                self._opened(second, event)
            case StepIntended():
                run = self.runs[event.run]
                self._goes_on(run)
                run.touched, run.intents = True, run.intents + 1
            case StepStarted() | StepDone():
                self._goes_on(self.runs[event.run])
            case RunEnding():
                assert not self.runs[event.run].ending, "a run ends once"
                self.runs[event.run].ending = True
            case HoldReleased(kept_out=True):
                self._targets[self.runs[event.run].event.plan.deployment].kept_out = True
            case RunClosed():
                self._closed(second, event)
            case NoticeQueued(notice=notice):
                self._notices[notice.id] = self._notices.get(notice.id, 0) + 1
            case _ if stream.startswith("target/"):
                self._of_target(second, stream.removeprefix("target/default/"), event)
            case RevisionBad():
                self._targets[self.runs[event.run].event.plan.deployment].bad.add(event.template)

    def _of_target(self, second: float, name: str, event: Event) -> None:
        seen, theirs = self._targets[name], self.world.theirs[name]
        match event:
            case TriggerFired():
                self._fired(second, name, self._rules[event.rule])
            case RevisionBad():
                self._mark_bad(name, event.template)
            case RevisionLive():
                if event.undo_of is not None:
                    self._mark_bad(name, event.undo_of)
                if event.by_guard is not None and seen.live not in {None, event.template}:
                    self._mark_bad(name, str(seen.live))
                seen.live = event.template
                seen.known += [event.template] if event.template not in seen.known else []
            case RevisionSeeded():
                seen.known.append(event.template)
            case RevisionMarked():
                self._marked(name, event)
            case RevisionGood():
                assert event.template == seen.live, "only what is live earns good"
                again = event.template in theirs.again
                assert event.template not in seen.bad or again, "bad is lifted only by a person's rollout"
                seen.bad.discard(event.template)
                seen.called_bad.discard(event.template)
            case TargetFrozen():
                seen.frozen = True
            case TargetThawed():
                seen.frozen = False

    def _goes_on(self, run: Opened) -> None:
        plan = run.event.plan
        assert plan.to_template not in self._targets[plan.deployment].called_bad, f"people called {plan.to_images} bad"

    def _marked(self, name: str, event: RevisionMarked) -> None:
        seen = self._targets[name]
        assert event.template in seen.known, "only what is known can be marked"
        if event.mark is Mark.BAD:
            seen.called_bad.add(event.template)
            self._mark_bad(name, event.template)
            return
        run = self.open_run(name)
        assert run is None or run.event.plan.from_template != event.template, "a run leaves what is not bad"
        seen.called_bad.discard(event.template)
        seen.bad.discard(event.template)

    def known(self, name: str) -> list[str]:
        """The templates that the journal tells of this Deployment."""
        self.look()
        return self._targets[name].known

    def _mark_bad(self, name: str, template: str) -> None:
        self._targets[name].bad.add(template)
        self.world.theirs[name].again.discard(template)

    def _opened(self, second: float, event: RunOpened) -> None:
        name, plan = event.plan.deployment, event.plan
        seen, theirs = self._targets[name], self.world.theirs[name]
        assert self.open_run(name) is None, f"a second run of {name}: {event.run}"
        assert plan.to_template not in seen.bad, f"{plan.to_images} is bad"
        assert plan.to_template != plan.from_template
        assert not seen.frozen, f"{name} is frozen"
        assert not theirs.frozen, f"{name} is frozen by a person"
        parent = None if event.parent is None else self.runs[event.parent]
        if parent is None:
            self._cooled_down(event, second, name)
        if parent is None or parent.outcome != "escalated":
            self._within_budgets(event, second, name)
        if parent is None or parent.outcome == "escalated":
            self._had_its_duration(second, name, self._rules[event.rule])
        self.runs[event.run] = Opened(event, second, theirs.rolls)
        if event.attributed:
            self._mark_bad(name, plan.from_template)

    def _ago(self, event: RunOpened, second: float, then: float, instant: datetime) -> float:
        """How long ago a guard can know something was: across its restarts there is nothing but the wall clock."""
        by_the_wall = (event.at - instant).total_seconds()
        restarted = any(then <= start <= second for start in self.world.starts)
        return max(second - then, by_the_wall) if restarted else second - then

    def _cooled_down(self, event: RunOpened, second: float, name: str) -> None:
        ends = [
            self._ago(event, second, r.closed, r.closed_at)
            for r in self.runs.values()
            if r.event.plan.deployment == name and r.closed is not None and r.outcome not in {"subsided", "escalated"}
        ]
        assert min(ends, default=DAY) >= self.world.policy.limits.cooldown - 1e-6, f"{min(ends):.0f} s after a run"

    def _within_budgets(self, event: RunOpened, second: float, name: str) -> None:
        limits = self.world.policy.limits
        counted = [
            (r.event.plan.deployment, self._ago(event, second, r.at, r.event.at))
            for r in self.runs.values()
            if (r.closed is None or r.touched) and r.outcome != "escalated"
        ]
        day = [n for n, ago in counted if n == name and ago < DAY - 1e-6]
        hour = [n for n, ago in counted if ago < HOUR - 1e-6]
        assert len(day) < limits.per_target_per_day, f"run {len(day) + 1} of {name} in a day"
        assert len(hour) < limits.per_cluster_per_hour, f"run {len(hour) + 1} in an hour"

    def _had_its_duration(self, second: float, name: str, rule: Rule) -> None:
        """What people released last had the rule's whole duration, up to one look of the guard at the workload."""
        rolled = self.world.theirs[name].rolled
        if any(s >= rolled for s in self.world.starts) and any(j >= rolled for j in self.world.jumps):
            return  # how long ago it was, a process that was started since cannot know
        slack = self.world.policy.polling.interval + 1.0 + self.world.blind_for(rolled)
        assert second - rolled >= rule.duration - slack, f"{second - rolled:.0f} s after somebody released"

    def _closed(self, second: float, event: RunClosed) -> None:
        run = self.runs[event.run]
        assert run.closed is None, "a run closes once"
        run.closed, run.closed_at, run.outcome = second, event.at, event.outcome
        self._closed_since = second
        if event.freeze:
            self._targets[run.event.plan.deployment].frozen = True

    # Firing

    def _fired(self, second: float, name: str, rule: Rule) -> None:
        [signal] = rule.signals
        source = self.world.prometheus if signal == "error_rate" else self.world.http
        answers = _last_of_each_instant([a for a in source.answers[name, signal] if a.came <= second + 1e-6])
        limit = self._limit(rule)
        fresh = [a for a in answers if not a.step and a.came >= second - 1e-6 and a.at >= second - self._staleness]
        assert fresh, f"{rule.name} fired without a fresh reading"
        assert all(a.number is not None and a.number > limit for a in fresh), f"{rule.name} fired on {fresh}"
        quiet = [a.at for a in answers if a.number is not None and a.number <= limit]
        proven = _length(_proven(answers, limit, self._staleness), max(quiet, default=float("-inf")))
        assert proven >= rule.duration - 1e-3, f"{rule.name} fired after {proven:.1f} proven seconds"

    @property
    def _staleness(self) -> float:
        polling = self.world.policy.polling
        return max(polling.staleness, 2 * polling.interval)

    def _limit(self, rule: Rule) -> float:
        return float(rule.text.rpartition(" ")[2])

    # Writes

    def _on_write(self, verb: str, kind: Kind, name: str, before: Json | None, after: Json | None) -> None:
        # The guard, whose call this is, would take it for a defect of its own and go on.
        try:
            self._written(verb, kind, name, before, after)
        except AssertionError as error:
            self._broken = error

    def _written(self, verb: str, kind: Kind, name: str, before: Json | None, after: Json | None) -> None:
        self.look()
        shown = after or before
        assert shown is not None
        production = self._production(kind, name, shown)
        run = self.open_run(production)
        if run is None:
            late = verb == "delete" and shown["metadata"]["annotations"].get(RUN) in self.runs
            assert late, f"{verb} of {kind} {name} without a run"
            return
        self._enough_serve(production, run)
        if not run.ending:
            self._allowed(verb, kind, name, production, run)
        if kind is Kind.DEPLOYMENT and name == production:
            assert verb == "patch"
            assert before is not None
            assert after is not None
            self._template_kept(production, run, before, after)

    def _enough_serve(self, name: str, run: Opened) -> None:
        """Every pod is Ready at once, so that there are as many as are wanted, of production and of helpers."""
        if self.world.there(name):
            wanted = min(run.event.plan.floor, self.world.theirs[name].replicas)
            helpers = set(self.world.cluster.names(Kind.DEPLOYMENT)) - set(self.world.names)
            mine = [n for n in helpers if self._production(Kind.DEPLOYMENT, n, self.world.deployment(n)) == name]
            serving = sum(self.world.deployment(n)["spec"]["replicas"] for n in (name, *mine))
            assert serving >= wanted, f"{serving} pods serve, and {wanted} are needed"

    def _production(self, kind: Kind, name: str, shown: Json) -> str:
        if kind is Kind.AUTOSCALER:
            return str(shown["spec"]["scaleTargetRef"]["name"])
        made_by = shown["metadata"]["annotations"].get(RUN)
        return name if made_by is None else self.runs[made_by].event.plan.deployment

    def _allowed(self, verb: str, kind: Kind, name: str, production: str, run: Opened) -> None:
        what = f"{verb} of {kind} {name}"
        assert self.world.journal.fault is None, f"{what} without a journal"
        assert run.spent < run.intents, f"{what} without an intent of its own"
        run.spent = run.intents
        assert not self.world.theirs[production].frozen, f"{what} while a person has frozen it"
        assert self.world.there(production), f"{what} when {production} is gone"
        found = self.world.deployment(production)
        assert not found["spec"].get("paused"), f"{what} while it is paused"
        assert "deletionTimestamp" not in found["metadata"], f"{what} while it is being deleted"

    def _template_kept(self, name: str, run: Opened, before: Json, after: Json) -> None:
        old, new = (template_hash(d["spec"]["template"]) for d in (before, after))
        if old == new:
            return
        plan = run.event.plan
        assert not run.ending, "a run that ends leaves the template alone"
        assert run.rolls == self.world.theirs[name].rolls, "somebody's rollout is overwritten"
        assert (old, new) == (plan.from_template, plan.to_template)

    # State

    def state(self) -> None:
        """What must hold whenever the world stands still."""
        self.look()
        for name in self.world.names:
            if self.open_run(name) is None and not self._targets[name].kept_out:
                self._given_back(name)
        for run in self.runs.values():
            if run.closed is not None:
                told = self._notices.get(f"{run.event.run}/closed", 0)
                assert told == 1 or (run.outcome == "escalated" and told == 0), f"{run.event.run} told {told} times"

    def _given_back(self, name: str) -> None:
        theirs = self.world.theirs[name]
        if theirs.bounds is not None:
            spec = self.world.cluster.object(Kind.AUTOSCALER, HPA)["spec"]
            bounds = (spec["minReplicas"], spec["maxReplicas"])
            assert bounds == theirs.bounds, f"the autoscaler has {bounds}, not {theirs.bounds}"
        if self.world.there(name):
            replicas = self.world.deployment(name)["spec"]["replicas"]
            assert replicas == theirs.replicas, f"{name} has {replicas} pods, not {theirs.replicas}"
        if self.world.clock.monotonic() - self._closed_since > SWEPT:
            left = set(self.world.cluster.names(Kind.DEPLOYMENT)) - set(self.world.names)
            left = {n for n in left if self._production(Kind.DEPLOYMENT, n, self.world.deployment(n)) == name}
            assert not left, f"left behind: {left}"

    def over(self) -> None:
        """What must hold after a long calm."""
        self.state()
        for name in self.world.names:
            run = self.open_run(name)
            assert run is None, f"{run.event.run} is still open"


def _last_of_each_instant(answers: list[Answer]) -> list[Answer]:
    """Of several readings at one instant, by processes that began at it, the last is all that can be seen again."""
    last = {a.at: a for a in answers if not a.step}
    return [a for a in answers if a.step or last[a.at] is a]


def _proven(answers: list[Answer], limit: float, staleness: float) -> Iterator[tuple[float, float]]:
    """The stretches over which the answers show the signal above its limit."""
    reads = [a for a in answers if not a.step]
    # What a reading shows is taken for the instant at which it comes.
    yield from ((a.at, a.came) for a in reads if a.number is not None and a.number > limit)
    for one, two in itertools.pairwise(reads):
        both = all(a.number is not None and a.number > limit for a in (one, two))
        if both and two.at - one.at <= staleness + 1e-6:
            yield one.at, two.at
    for answer in (a for a in answers if a.step):
        for (start, low), (end, high) in itertools.pairwise(answer.past):
            if low > limit and high > limit and end - start <= answer.step * 1.5 + 1e-6:
                yield start, end


def _length(stretches: Iterator[tuple[float, float]], since: float) -> float:
    """How long they are together after `since`, what they share counted once."""
    total, reached = 0.0, since
    for start, end in sorted(stretches):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
