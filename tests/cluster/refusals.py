"""Calls that are refused for good in mid-run, and how a run has to end then: nothing goes on as if it were an accident.

Somebody edits the guard's Role: the verb on that kind is gone from one call on. Or a policy refuses one very write
whenever it is tried, and lets every other pass. In the end somebody mends it, which a guard that waits has to notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from structlog.contextvars import get_contextvars

from logcaster_guard.adapters.clock import SystemClock
from logcaster_guard.domain import runs
from logcaster_guard.domain.rules import Action
from logcaster_guard.messages.texts import english
from logcaster_guard.ports import Entry, Kind
from logcaster_guard.sandbox import objects
from logcaster_guard.steps.ask_people import AskPeople
from logcaster_guard.steps.restore_later import SHARED
from tests.cluster import environments
from tests.cluster.api_faults import WORDS, WRITES, Call, Failing, Failures, Fault, error_of
from tests.cluster.case import BAD, REPLICAS, WITHIN, Case, ImageSource
from tests.cluster.crashes import Effect, Tape
from tests.cluster.ending import Facts, Undisturbed, ending, refusal_told, told
from tests.cluster.scene import Scene
from tests.cluster.stores import Onlooker
from tests.real.waiting import until

T = TypeVar("T")
SKIP = 45.0
"""Seconds by which the clock is put forward at a time: once alone ends no wait."""
STANDS = 0.25
"""Seconds without an append after which it is."""
ENOUGH = 4
"""Refusals of the journal's own writes or reads after which it is clear that the guard goes on trying."""
HINDERED = "hindered"
NEEDS = {"apply": "patch"}
"""What RBAC calls it."""
HASTENS = frozenset({("list", Kind.POD), ("list", Kind.REPLICA_SET), ("get", Kind.SECRET)})
"""Reads that may only show sooner that a step fails, or what to tell at the end; without them it can go on as well."""
NO_DECISION = frozenset({Kind.REPLICA_SET})
"""What a decision can do without: a release goes without its number, and steps know a helper's pods by their owners."""


def no_step(*, in_cluster: bool) -> frozenset[Kind]:
    """What a run can do without, or, where its journal is refused, waits for as long as that takes."""
    return frozenset({Kind.EVENT, Kind.SECRET} if in_cluster else {Kind.EVENT})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was refused. `mine`: it was a run's own; `ending`: that run was giving back what it had borrowed."""

    call: Call
    content: object
    mine: bool
    ending: bool

    @property
    def writes(self) -> bool:
        return self.call.verb in WRITES


@dataclass
class Refusals(Failures):
    """A guard's life in which a call is refused from one point on, until somebody mends that.

    `stood` tells what the guard was doing when it was mended. `in_cluster`: its journal is kept in Secrets.
    """

    in_cluster: bool = False
    denied: list[Refusal] = field(default_factory=list)
    mended: bool = False
    stood: str = ""
    _ending: bool = False
    _content: object = None

    def waited_for(self, *, running: bool) -> int:
        """How often what somebody waits for was refused: a run where one is open, else whoever decides."""
        spared = no_step(in_cluster=self.in_cluster)
        return sum(
            self._is_journals(r)
            or (r.mine and r.call.kind not in spared)
            or (not running and r.call.kind not in spared | NO_DECISION)
            for r in self.denied
        )

    @property
    def journal_refused(self) -> str:
        """In words, if it was so often that the guard is seen to go on trying."""
        return "without a journal" if sum(map(self._is_journals, self.denied)) >= ENOUGH else ""

    def _is_journals(self, refused: Refusal) -> bool:
        return self.in_cluster and refused.call.kind is Kind.SECRET

    async def fails(self, cell: Failing, call: Call, effect: Effect[T], content: object) -> T:
        self._ending = self._ending or "RunEnding" in self.phase
        if not self.struck and call == cell.call:
            self.struck, self._content = True, _kept(call, content)
        if self.mended or not self.struck or not self._hits(cell, call, content):
            return await effect()
        self.denied.append(Refusal(call, content, "run" in get_contextvars(), self._ending))
        await asyncio.sleep(0)
        raise error_of(cell.fault)

    def _hits(self, cell: Failing, call: Call, content: object) -> bool:
        if call.kind is not cell.call.kind or _needed(call) != _needed(cell.call):
            return False
        return cell.fault is Fault.FORBIDDEN or _kept(call, content) == self._content


def _needed(call: Call) -> str:
    return NEEDS.get(call.verb, call.verb)


def _kept(call: Call, content: object) -> object:
    """What a policy would tell the write by; each append to a journal in the cluster differs from the one before."""
    return content[0] if call.kind is Kind.SECRET and isinstance(content, tuple) else content


class Hurried(SystemClock):
    """A clock that can be put forward: whoever sleeps until then wakes."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._skipped = asyncio.Event()

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._ahead)

    async def sleep_until(self, at: float) -> None:
        while (left := at - self.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._skipped.wait()

    def skip(self, seconds: float) -> None:
        self._ahead += seconds
        self._skipped.set()
        self._skipped = asyncio.Event()


class RefusedScene(Scene):
    """A scene in which somebody mends what the guard is refused, once it stands still or has ended.

    While it does nothing but ask for what it is refused, its clock is put forward: each time once it was refused again,
    so that nothing else ever takes too long by that.
    """

    async def _ended(self, task: asyncio.Task[None], tape: Tape, onlooker: Onlooker, source: ImageSource) -> None:
        assert isinstance(tape, Refusals)
        assert isinstance(self.clock, Hurried)
        watch = _Watch(tape, self.clock, self._standing)

        async def stands() -> str:
            return "gone" if task.done() else watch.look(await onlooker.entries())

        tape.stood = await until(stands, WITHIN)
        tape.mended = True
        await super()._ended(task, tape, onlooker, source)

    def _standing(self, entries: Sequence[Entry]) -> str:
        if self.over(entries):
            return "over"
        found, _, queued, settled = told(entries)
        run = next((r for r in found if r.closed is None), None)
        if run is None:
            said = "postponed" if found or not refusal_told(entries) else "refused"
        elif run.ending is not None:
            said = "held_up"
        elif isinstance(run.present, AskPeople):
            said = HINDERED
        else:
            return ""
        return said if any(said in q.split("/") for q in queued & settled) else ""


@dataclass
class _Watch:
    """Tells in words why a guard stands still; empty while it does not, or not for long enough by its own clock."""

    tape: Refusals
    clock: Hurried
    described: Callable[[Sequence[Entry]], str]
    words: str = ""
    _seen: Sequence[Entry] | None = None
    _running: bool = False
    _denied: int = 0
    _since: float = 0.0

    def look(self, entries: Sequence[Entry]) -> str:
        now = time.monotonic()
        if entries is not self._seen:
            self._seen, self._since, self.words = entries, now, self.described(entries)
            self._running = any(r.closed is None for r in told(entries)[0])
            self._denied = self.tape.waited_for(running=self._running)
        elif now - self._since >= STANDS and self.tape.waited_for(running=self._running) > self._denied:
            self.clock.skip(SKIP)
            self._since, self._denied = now, self.tape.waited_for(running=self._running)
        return self.words or self.tape.journal_refused


def judged(  # noqa: PLR0917 - everything that has a say in it
    facts: Facts, tape: Refusals, writes: Counter[str], known: Undisturbed, case: Case, minimum: int | None
) -> tuple[str, list[str]]:
    """How it ended, and everything that is wrong with that."""
    assert tape.cell is not None
    spared = no_step(in_cluster=case.in_cluster)
    own = [r for r in tape.denied if r.mine and (r.call.kind not in spared or _reads_a_release(r.call))]
    forward = [r for r in own if not r.ending]
    faults = _repeated(forward)
    closed = [r.closed for r in facts.runs if r.closed is not None]
    if len(facts.runs) != 1 or not closed:
        return "never closed", [
            *faults,
            f"{len(closed)} of {len(facts.runs)} runs closed, it stood still: {tape.stood}",
        ]
    outcome, reason = closed[0].outcome, closed[0].reason
    undisturbed = runs.DESTINATION_BAD if case.beside else runs.RECOVERED
    due = {undisturbed}
    if any(r.writes for r in forward):
        due = {runs.FAILED}
    elif forward and tape.stood != HINDERED:
        # An autoscaler that is pinned may have done what the guard was not let look at.
        also = due if case.action is Action.GRADUAL and minimum is not None else set[str]()
        due = {*also, runs.FAILED, runs.INCONCLUSIVE, runs.NOT_APPROVED}
        if all((r.call.verb, r.call.kind) in HASTENS for r in forward):
            due.add(undisturbed)
    faults += [] if outcome in due else [f"{outcome} where {' or '.join(sorted(due))} was due: {reason}"]
    if forward and outcome in {runs.FAILED, runs.INCONCLUSIVE} and WORDS[tape.cell.fault] not in english().text(reason):
        faults.append(f"nobody is told what was refused: {reason}")
    kept = {q.partition("/not_given_back/")[2] for q in facts.queued if "/not_given_back/" in q}
    left = replace(case, beside=1.0) if case.missing and facts.image == objects.image(BAD) else case
    forgiven = _forgiven(facts, kept, known, outcome, minimum, left)
    idle = forgiven.sizes.get(environments.BLUE)
    if case.switches and outcome != runs.DESTINATION_BAD and facts.image == objects.image(BAD):
        faults += [] if idle in {None, minimum or environments.IDLE} else [f"{idle} pods idle"]
    if any(r.call.kind is Kind.EVENT for r in tape.denied):
        forgiven = replace(forgiven, reasons=Counter(RunOpened=1, RunClosed=1))
    # What is told beyond that depends on how long it stands still.
    writes = writes + Counter(events=max(0, known.writes["events"] - writes["events"]))
    writes["events"] = known.writes["events"]
    for kind, resource in ((Kind.CONFIG_MAP, "configmaps"), (Kind.SECRET, "secrets")):
        if any(r.call.kind is kind and not r.mine for r in tape.denied) and writes[resource] == 0:
            # What it was not let look at when it planned stays as it is, and the plan says so.
            held, secret = (None, facts.secret) if kind is Kind.CONFIG_MAP else (facts.held, None)
            forgiven = replace(forgiven, mixed=(), held=held, secret=secret)
            writes[resource] = known.writes[resource]
            if case.switches:
                # Then no pod starts anew, and nothing is promised.
                forgiven = replace(forgiven, changes=known.changes, deferred=(SHARED,))
                writes["deployments"] = known.writes["deployments"]
    either = bool(kept) or (case.action is Action.GRADUAL and minimum is not None)
    # That a field goes back to its former manager may be refused: the value is back all the same, by one write less.
    kept_fields = any("/metadata/managedFields" in repr(r.content) for r in tape.denied)
    _, wrong = ending(forgiven, writes, minimum, known, case=left, shared=either, cut_off=kept_fields)
    stood = "" if tape.stood == "over" else f", mended while it stood still ({tape.stood})"
    return f"{outcome}{', some kept and told' if kept else ''}{stood}", [*faults, *wrong]


def _reads_a_release(call: Call) -> bool:
    """Whether it reads a blob that is kept in the cluster; a journal there is listed."""
    return (call.verb, call.kind) == ("get", Kind.SECRET)


def _repeated(forward: Sequence[Refusal]) -> list[str]:
    """What was tried again although it had been refused for good."""
    tried = Counter((r.call.verb, r.call.kind, repr(r.content)) for r in forward if r.writes)
    return [f"{count} times {verb} {where}" for (verb, where, _), count in tried.items() if count > 1]


def _forgiven(  # noqa: PLR0917 - everything that has a say in it
    facts: Facts, kept: Set[str], known: Undisturbed, outcome: str, minimum: int | None, case: Case
) -> Facts:
    """The facts as they would be had the guard been let give back what people were told is still out."""
    raised = any(hold.startswith("autoscaler/") for hold in kept)
    if minimum is not None and raised:
        facts = replace(facts, bounds=(minimum, REPLICAS * 2))
    if "replicas" in kept:
        facts = replace(facts, replicas=REPLICAS)
    if any(hold.startswith("helper/") or hold == "environment" for hold in kept):
        facts = replace(facts, deployments=case.left)
    if raised or kept & {"selector", "environment_size"}:
        image = objects.image(BAD) if "selector" in kept else facts.image
        facts = replace(facts, image=image, sizes={**facts.sizes, environments.BLUE: minimum or environments.IDLE})
    if any(hold.startswith(("config_copy/", "secret_copy/")) for hold in kept):
        facts = replace(facts, copies=())
    if kept:
        facts = replace(facts, changes=known.changes)
    if any(hold.startswith("owner/") for hold in kept) or facts.owner == (True, True, True):
        stays = outcome == runs.RECOVERED
        facts = replace(facts, owner=(stays, stays, stays))
    return facts
