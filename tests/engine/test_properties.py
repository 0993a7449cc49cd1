"""Whatever the readings, the people, the faults and the ends of the process: what a guard must never do, it does not.

`LOGCASTER_GUARD_SEARCH=10000` searches that many examples instead of the few that every run of the tests tries.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logcaster_guard.domain.errors import ClusterError, Conflict, Rejected, Unavailable
from logcaster_guard.domain.inbox.commands import Mark, MarkRelease, value_of
from logcaster_guard.domain.rules import (
    Action,
    AlertPolicy,
    FallbackPolicy,
    GradualPolicy,
    LedgerPolicy,
    Limits,
    Policy,
    Polling,
    RolloutPolicy,
    VerifyPolicy,
)
from logcaster_guard.domain.signals import Fault
from logcaster_guard.ports import Kind
from tests.engine.audit import Auditor
from tests.engine.bench import ANOTHER, PROD
from tests.engine.bench import rule as trigger
from tests.engine.world import RELEASES, World

SEARCH = int(os.environ.get("LOGCASTER_GUARD_SEARCH", "0"))
NAMES = (PROD, ANOTHER)
POLICY = Policy(
    polling=Polling(interval=10.0, staleness=20.0),
    limits=Limits(cooldown=300.0, per_target_per_day=3, per_cluster_per_hour=4),
    ledger=LedgerPolicy(good_after=100.0),
    verify=VerifyPolicy(stable_for=40.0, timeout=200.0),
    rollout=RolloutPolicy(timeout=150.0),
    gradual=GradualPolicy(steps=(0.5, 1.0), wait=15.0, window=15.0, hold=60.0),
    alert=AlertPolicy(grace=40.0, approval_timeout=120.0, remind_every=20.0),
)
CALM = 2_400.0
"""Seconds in which every run comes to its end once nothing is in its way."""
ERRORS: dict[str, ClusterError] = {
    "conflict": Conflict("the object has been modified", status=409),
    "away": Unavailable("the server is away", status=503),
    "defect": Unavailable("internal error", status=500, retry_after=3.0),
    "forbidden": Rejected("forbidden", status=403),
}
names = st.sampled_from(NAMES)
releases = st.sampled_from(sorted(RELEASES))
sources = st.sampled_from(["prometheus", "http"])
whiles = st.sampled_from([0.0, 15.0, 15.0, 65.0, 65.0, 350.0, None])
"""For how many seconds something lasts; None: until something else ends it."""


class Defects:
    """Counts what no log may ever tell."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, _: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if str(event.get("event")).endswith(".crashed"):
            self.found.append(repr(event.get("exc_info") or event))
        raise structlog.DropEvent


class GuardMachine(RuleBasedStateMachine):
    """A guard over two targets, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.defects = Defects()
        structlog.configure(processors=[self.defects], cache_logger_on_first_use=False)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(coroutine)

    @initialize(
        action=st.sampled_from([Action.IMMEDIATE, Action.GRADUAL, Action.ALERT_THEN]),
        urgent=st.sampled_from([Action.IMMEDIATE, Action.ALERT_ONLY]),
        rungs=st.integers(0, 1),
        approval=st.booleans(),
        bounds=st.sampled_from([None, (2, 8), (1, 9)]),
        older=st.booleans(),
        bad=st.sampled_from([None, 50.0, 61.0, 70.0, 110.0]),
    )
    def begin(
        self,
        action: Action,
        urgent: Action,
        rungs: int,
        *,
        approval: bool,
        bounds: tuple[int, int] | None,
        older: bool,
        bad: float | None,
    ) -> None:
        rules = [
            trigger(duration=60.0, action=action),
            trigger("health_check_failure", "health_check_fails", 3, 30.0, action=urgent),
        ]
        policy = replace(
            POLICY,
            alert=replace(POLICY.alert, require_approval=approval),
            fallback=FallbackPolicy(destination_bad=1, not_recovered=rungs),
        )
        self.world = World(NAMES, rules, policy)
        self.audit = Auditor(self.world)
        if bounds is not None:
            self.world.bind(PROD, *bounds)
        self.do(self.world.start())
        self.do(self.world.pass_(130.0))
        if older:
            self.world.roll(PROD, "v4")
            self.do(self.world.pass_(130.0))
        if bad is not None:
            self.world.roll(PROD, "v2")
            self.do(self.world.pass_(bad))

    # Time

    @rule(seconds=st.sampled_from([1.0, 7.0, 30.0, 65.0, 65.0, 130.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(self.world.pass_(seconds))

    @rule(hours=st.sampled_from([-1.0, 1.0]))
    def the_wall_clock_jumps(self, hours: float) -> None:
        self.world.set_the_clock(hours * 3_600.0)

    # Readings

    @rule(name=names, number=st.sampled_from([0.0, 0.3, 0.3, None]))
    def errors_become(self, name: str, number: float | None) -> None:
        self.world.prometheus.set(name, "error_rate", number)

    @rule(name=names, number=st.sampled_from([0.0, 9.0, 9.0, None]))
    def health_becomes(self, name: str, number: float | None) -> None:
        self.world.http.set(name, "health_check_fails", number)

    @rule(release=releases, rate=st.sampled_from([0.0, 0.3]))
    def a_release_turns(self, release: str, rate: float) -> None:
        self.world.errors[release] = rate

    @rule(source=sources, seconds=whiles)
    def a_source_fails(self, source: str, seconds: float | None) -> None:
        getattr(self.world, source).fault = Fault.TIMED_OUT
        if self._lasted(seconds):
            getattr(self.world, source).fault = None

    @rule(source=sources, seconds=whiles)
    def a_source_hangs(self, source: str, seconds: float | None) -> None:
        getattr(self.world, source).gate.clear()
        if self._lasted(seconds):
            getattr(self.world, source).gate.set()

    @rule()
    def the_sources_are_back(self) -> None:
        for source in (self.world.prometheus, self.world.http):
            source.fault = None
            source.gate.set()

    def _lasted(self, seconds: float | None) -> bool:
        """Let so much time pass; False if what began is to stay."""
        self.do(self.world.pass_(seconds or 0.0))
        return seconds is not None

    @rule(name=names, number=st.sampled_from([0.0, 0.3]), health=st.sampled_from([0.0, 9.0]))
    def a_breach_comes_and_lasts(self, name: str, number: float, health: float) -> None:
        self.world.prometheus.set(name, "error_rate", number)
        self.world.http.set(name, "health_check_fails", health)
        self.do(self.world.pass_(65.0))

    # People

    def _there(self, name: str) -> bool:
        return self.world.there(name)

    @rule(name=names, release=releases, seconds=st.sampled_from([0.0, 65.0]))
    def somebody_rolls_out(self, name: str, release: str, seconds: float) -> None:
        if self._there(name):
            self.world.roll(name, release)
            self.do(self.world.pass_(seconds))

    @rule(name=names, number=st.integers(0, 5))
    def somebody_undoes(self, name: str, number: int) -> None:
        if self._there(name):
            lost = self.world.theirs[name].frozen and not self.audit.frozen(name)
            self.world.undo(name, number)
            if lost:
                # The annotation is gone before anybody saw it.
                self.world.theirs[name].frozen = "guard.logcaster.io/freeze" in self._notes(name)

    def _notes(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.world.deployment(name)["metadata"]["annotations"]
        return found

    @rule(name=names)
    def somebody_restarts(self, name: str) -> None:
        if self._there(name):
            stamp = {"restartedAt": str(self.world.clock.monotonic())}
            self.world.cluster.change(
                Kind.DEPLOYMENT, name, lambda d: d["spec"]["template"]["metadata"].update(annotations=stamp)
            )

    @rule(name=names, replicas=st.sampled_from([3, 7, 8, 9]))
    def somebody_scales(self, name: str, replicas: int) -> None:
        if self._there(name):
            self.world.scale(name, replicas)

    @rule(bounds=st.sampled_from([(2, 8), (1, 9), (1, 8)]))
    def somebody_edits_the_autoscaler(self, bounds: tuple[int, int]) -> None:
        if self.world.theirs[PROD].bounds not in {None, bounds}:
            self.world.bind(PROD, *bounds)

    @rule(name=names, paused=st.booleans())
    def somebody_pauses(self, name: str, *, paused: bool) -> None:
        if self._there(name):
            self.world.pause(name, paused=paused)

    @rule(name=names, release=releases)
    def somebody_deletes_or_creates(self, name: str, release: str) -> None:
        if self._there(name):
            self.world.delete(name)
        else:
            self.world.create(name, release)

    @rule(name=names, words=st.sampled_from(["hands off", "database move"]))
    def somebody_freezes(self, name: str, words: str) -> None:
        if self._there(name):
            self.world.freeze(name, words)

    @rule(name=names, gone=st.booleans())
    def somebody_thaws(self, name: str, *, gone: bool) -> None:
        if self._there(name):
            words = None if gone else f"false: {self.world.clock.monotonic()}"
            self.world.thaw(name, words)

    @rule(name=names, word=st.sampled_from(["veto", "approve", "approve"]), wrong=st.booleans())
    def somebody_answers(self, name: str, word: str, *, wrong: bool) -> None:
        self.audit.look()
        run = self.audit.open_run(name)
        if run is not None and self._there(name):
            expiry = self.world.clock.now() + timedelta(seconds=600)
            token = "0" * 16 if wrong else run.event.approval_token
            self.world.cluster.annotate(name, **{word: f"{token} {expiry:%Y-%m-%dT%H:%M:%SZ} by me"})

    @rule(name=names, number=st.integers(0, 5), mark=st.sampled_from(Mark), seconds=st.sampled_from([0.0, 1.0, 15.0]))
    def somebody_marks(self, name: str, number: int, mark: Mark, seconds: float) -> None:
        known = self.audit.known(name)
        if known and self._there(name):
            self._mark(name, known[number % len(known)], mark)
            self.do(self.world.pass_(seconds))

    @rule(name=names, leaving=st.booleans(), seconds=st.sampled_from([0.0, 1.0, 15.0, 65.0]))
    def somebody_marks_what_a_run_is_about(self, name: str, seconds: float, *, leaving: bool) -> None:
        self.audit.look()
        run = self.audit.open_run(name)
        if run is not None and self._there(name):
            plan = run.event.plan
            template, mark = (plan.from_template, Mark.NOT_BAD) if leaving else (plan.to_template, Mark.BAD)
            self._mark(name, template, mark)
            self.do(self.world.pass_(seconds))

    def _mark(self, name: str, template: str, mark: Mark) -> None:
        expiry = self.world.clock.now() + timedelta(seconds=600)
        self.world.cluster.annotate(name, mark=value_of(MarkRelease(template, expiry, mark, "by me")))

    # Faults

    @rule(
        verbs=st.sampled_from([("get",), ("list",), ("patch", "create", "delete"), ("get", "list", "patch")]),
        kind=st.sampled_from([None, Kind.DEPLOYMENT, Kind.AUTOSCALER]),
        what=st.sampled_from(sorted(ERRORS)),
        late=st.booleans(),
        seconds=whiles,
    )
    def the_api_fails(
        self, verbs: tuple[str, ...], kind: Kind | None, what: str, seconds: float | None, *, late: bool
    ) -> None:
        def fault(verb: str, of: Kind, _: str) -> ClusterError | None:
            return ERRORS[what] if verb in verbs and kind in {None, of} else None

        self._mend()
        if late:
            self.world.cluster.late = fault
        else:
            self.world.cluster.fault = fault
            self.world.lose_sight()
        if self._lasted(seconds):
            self._mend()

    @rule()
    def the_api_is_back(self) -> None:
        self._mend()

    def _mend(self) -> None:
        self.world.cluster.fault = self.world.cluster.late = lambda *_: None
        self.world.see_again()

    @rule(lost=st.booleans(), seconds=whiles)
    def the_journal_fails(self, seconds: float | None, *, lost: bool) -> None:
        self.world.journal.lost = lost
        self.world.journal.fault = None if lost else "the disk is full"
        if self._lasted(seconds):
            self.the_journal_is_back()

    @rule()
    def the_journal_is_back(self) -> None:
        self.world.journal.fault, self.world.journal.lost = None, False

    @rule(seconds=whiles)
    def rollouts_get_stuck(self, seconds: float | None) -> None:
        self.world.cluster.stuck = True
        if self._lasted(seconds):
            self.rollouts_go_on()

    @rule()
    def rollouts_go_on(self) -> None:
        self.world.cluster.stuck = False
        self.world.cluster.finish()

    @precondition(lambda self: self.world.alive)
    @rule(writes=st.integers(0, 12), in_vain=st.booleans(), seconds=st.sampled_from([0.0, 15.0, 65.0]))
    def the_process_is_killed_at_a_write(self, writes: int, seconds: float, *, in_vain: bool) -> None:
        self.world.line.writes_left, self.world.line.in_vain = writes, in_vain
        self.do(self.world.pass_(seconds))
        if seconds and not self.world.alive:
            self.do(self.world.start())

    @rule(seconds=whiles)
    def the_process_is_killed(self, seconds: float | None) -> None:
        self.do(self.world.end())
        if self._lasted(seconds):
            self.do(self.world.start())

    @rule()
    def the_process_is_started(self) -> None:
        self.do(self.world.start())

    # What must hold

    @invariant()
    def promises_are_kept(self) -> None:
        if hasattr(self, "world"):
            self.audit.state()
            assert not self.defects.found, self.defects.found

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._calm_down()
        finally:
            if hasattr(self, "world"):
                self.do(self.world.end())
            self.loop.close()
            structlog.reset_defaults()

    def _calm_down(self) -> None:
        self._mend()
        self.world.journal.fault, self.world.journal.lost, self.world.cluster.stuck = None, False, False
        self.world.cluster.finish()
        self.the_sources_are_back()
        for name in NAMES:
            self.world.prometheus.set(name, "error_rate", 0.0)
            self.world.http.set(name, "health_check_fails", 0.0)
        self.world.errors = dict.fromkeys(RELEASES, 0.0)
        self.do(self.world.start())
        self.do(self.world.pass_(CALM))
        self.audit.over()
        assert not self.defects.found, self.defects.found


GuardMachine.TestCase.settings = settings(
    max_examples=SEARCH or 60,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    print_blob=True,
)
TestGuard = pytest.mark.timeout(0 if SEARCH else 300)(GuardMachine.TestCase)
