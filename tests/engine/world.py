"""A world around a guard that people, faults and the end of its process may act on at any moment.

What the guard does is recorded here by means of its own: every write as the cluster saw it, every event with the second
at which it came, every answer of a source. `audit` judges by this record alone.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from logcaster_guard.domain.errors import JournalUnavailable
from logcaster_guard.domain.events import Event
from logcaster_guard.domain.rules import Policy, Rule
from logcaster_guard.domain.signals import History, Reading, Series, Signal, SourceName, Target, Unit, Value
from logcaster_guard.domain.workload import template_hash
from logcaster_guard.engine.guard import Guard
from logcaster_guard.engine.services import Configuration, GuardPorts
from logcaster_guard.ports import Entry, Json, Kind
from tests.engine.bench import Inbox
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import NAMESPACE
from tests.fakes.connection import ConnectedCluster, ConnectedInbox, ConnectedJournal, ConnectedSource, Connection
from tests.fakes.journal import MemoryJournal
from tests.fakes.pods import PopulatedCluster
from tests.fakes.services import view_of
from tests.fakes.source import FakeSource

HPA = "hpa"
SIGNALS = {
    "error_rate": Signal("error_rate", Unit.RATIO, SourceName.PROMETHEUS),
    "request_rate": Signal("request_rate", Unit.PER_SECOND, SourceName.PROMETHEUS),
    "health_check_fails": Signal("health_check_fails", Unit.COUNT, SourceName.HTTP),
}
RELEASES = {"v1": 0.0, "v2": 0.3, "v3": 0.3, "v4": 0.0}
"""The error rate that each release begins with."""
_PIECE = 5.0
_ROUNDS = 400


class EagerClock(FakeClock):
    """Lets everything that is woken come to rest before time goes on."""

    async def advance(self, seconds: float) -> None:
        end = self._monotonic + seconds
        await rest()
        while (wake := self.next_wake) is not None and wake <= end:
            self.skip(max(0.0, wake - self._monotonic))
            await self._wake()
        self.skip(max(0.0, end - self._monotonic))

    async def _wake(self) -> None:
        self._sleepers[0][2].set_result(None)
        self._drop_cancelled()
        await rest()


async def rest() -> None:
    """Until nothing is ready to run; bounded, for what goes on for ever without time to pass is a defect."""
    ready: Any = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("something goes on and on without time to pass")


class RecordedJournal(MemoryJournal):
    """Keeps the second at which each entry came. While `lost` is set, what was appended is not confirmed."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds: list[float] = []
        self.lost = False

    async def append(self, stream: str, events: Sequence[Event], expected_seq: int) -> int:
        seq = await super().append(stream, events, expected_seq)
        self.seconds += [self._clock.monotonic()] * len(events)
        if self.lost:
            raise JournalUnavailable("the answer was lost")
        return seq


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source said of a signal of a target; `past` is range data at each `step` seconds (0: a reading).

    It was asked for at second `at` and came at `came`: a source may hang.
    """

    at: float
    came: float
    number: float | None
    past: tuple[tuple[float, float], ...] = ()
    step: float = 0.0


class RecordedSource(FakeSource):
    """Keeps every answer by Deployment and signal."""

    def __init__(self, name: SourceName, clock: FakeClock, *, past: bool) -> None:
        super().__init__(name, clock, past=past)
        self.answers: dict[tuple[str, str], list[Answer]] = {}

    async def of_target(self, target: Target, signals: Sequence[Signal]) -> Mapping[str, Reading]:
        found = await super().of_target(target, signals)
        for name, reading in found.items():
            number = reading.number if isinstance(reading, Value) else None
            self._keep(target, name, Answer(reading.at, self._clock.monotonic(), number))
        return found

    async def history(self, target: Target, signal: Signal, start: float, end: float, step: float) -> History:
        found = await super().history(target, signal, start, end, step)
        if isinstance(found, Series):
            at = self._clock.monotonic()
            self._keep(target, signal.name, Answer(at, at, None, past=found.points, step=found.step))
        return found

    def _keep(self, target: Target, signal: str, answer: Answer) -> None:
        self.answers.setdefault((target.deployment, signal), []).append(answer)


@dataclass(slots=True)
class Theirs:
    """What people want of a target. `rolls` counts their changes of the template, `rolled` is the last one's second."""

    replicas: int
    bounds: tuple[int, int] | None = None
    frozen: bool = False
    rolls: int = 0
    rolled: float = float("-inf")
    stood: tuple[str, int, float] = ("", 0, float("-inf"))
    """Template, `rolls` and `rolled` before the last instant at which it was changed."""
    again: set[str] = field(default_factory=set)


class World:
    """`theirs` is what people want, by Deployment; `errors` is the error rate of each release."""

    def __init__(self, names: Sequence[str], rules: Sequence[Rule], policy: Policy) -> None:
        self.clock = EagerClock()
        self.cluster = PopulatedCluster(self.clock)
        self.journal = RecordedJournal(self.clock)
        self.blobs = MemoryBlobs()
        self.inbox = Inbox()
        self.prometheus = RecordedSource(SourceName.PROMETHEUS, self.clock, past=True)
        self.http = RecordedSource(SourceName.HTTP, self.clock, past=False)
        self.errors = dict(RELEASES)
        self.names, self.rules, self.policy = names, rules, policy
        self.line = Connection()
        self.theirs: dict[str, Theirs] = {}
        self._blind_from: float | None = None
        self._blind: list[tuple[float, float]] = []
        self.starts: list[float] = []
        self.jumps: list[float] = []
        self._task: asyncio.Task[None] | None = None
        self.cluster.on_rolled = self._rolled
        for name in names:
            self.http.set(name, "health_check_fails", 0.0)
            self.cluster.add_deployment(name, "v1")
            self.cluster.add(Kind.SERVICE, name, spec={"selector": {"app": name}})
            self.theirs[name] = Theirs(replicas=3)

    def _rolled(self, name: str, image: str) -> None:
        self.prometheus.set(name, "error_rate", self.errors[image])
        self.prometheus.set(name, "request_rate", 50.0)

    def lose_sight(self) -> None:
        """From now on the guard may not see the cluster."""
        self._blind_from = self.clock.monotonic()

    def see_again(self) -> None:
        if self._blind_from is not None:
            self._blind.append((self._blind_from, self.clock.monotonic()))
            self._blind_from = None

    def blind_for(self, at: float) -> float:
        """For how many seconds before `at` the guard may not have seen the cluster."""
        spans = [*self._blind, *([] if self._blind_from is None else [(self._blind_from, self.clock.monotonic())])]
        grace = 2 * self.policy.polling.interval
        return next((at - start for start, end in spans if start <= at <= end + grace), 0.0)

    # The process

    @property
    def alive(self) -> bool:
        return self._task is not None and not self.line.cut

    async def start(self) -> None:
        await self.end()
        self.line = line = Connection()
        self.starts.append(self.clock.monotonic())
        cluster = ConnectedCluster(line, self.cluster)
        guard = Guard(
            Configuration([Target(n, "default", n, service=n) for n in self.names], SIGNALS, self.rules, self.policy),
            GuardPorts(
                cluster=cluster,
                view=view_of(cluster, self.clock, NAMESPACE),
                sources={s.name: ConnectedSource(line, s) for s in (self.prometheus, self.http)},
                journal=ConnectedJournal(line, self.journal),
                blobs=self.blobs,
                channels=[ConnectedInbox(line, self.inbox)],
                clock=self.clock,
            ),
        )
        self._task = asyncio.create_task(guard.run())
        await rest()

    async def end(self) -> None:
        """Kill the process: nothing that it does at its end gets through."""
        self.line.cut = True
        for _ in range(50):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if not others:
                break
            for task in others:
                task.cancel()
            await asyncio.sleep(0)
        assert asyncio.all_tasks() <= {asyncio.current_task()}
        self._task = None

    async def pass_(self, seconds: float) -> None:
        """Let time pass; a process that is killed meanwhile is cleared away."""
        left = seconds
        while left > 1e-9:
            piece = min(_PIECE, left)
            await self.clock.advance(piece)
            left -= piece
            if self.line.cut and self._task is not None:
                await self.end()
            if self._task is not None and self._task.done():
                raise AssertionError(f"the guard ended by itself: {self._task.exception()!r}")

    def set_the_clock(self, seconds: float) -> None:
        self.clock.jump_wall(seconds)
        self.jumps.append(self.clock.monotonic())

    # People

    def there(self, name: str) -> bool:
        return name in self.cluster.names(Kind.DEPLOYMENT)

    def deployment(self, name: str) -> Json:
        return self.cluster.object(Kind.DEPLOYMENT, name)

    def template(self, name: str) -> str:
        return template_hash(self.deployment(name)["spec"]["template"])

    def roll(self, name: str, image: str) -> None:
        before = self.template(name)
        self.cluster.roll(name, image)
        if self.template(name) != before:
            self._released(name, before)

    def undo(self, name: str, number: int) -> None:
        """As `kubectl rollout undo`: an older ReplicaSet's template, and its annotations in place of all others."""
        older = [o for o in self.cluster._objects.items() if o[0][0] is Kind.REPLICA_SET and o[1].get("owner") == name]
        template = copy.deepcopy(older[number % len(older)][1]["spec"]["template"])
        before = self.template(name)

        def edit(deployment: Json) -> None:
            deployment["spec"]["template"] = template
            deployment["metadata"]["annotations"] = {}

        if template_hash(template) != before:
            self.cluster.change(Kind.DEPLOYMENT, name, edit)
            self._released(name, before)

    def scale(self, name: str, replicas: int) -> None:
        theirs = self.theirs[name]
        if theirs.bounds is None and self.deployment(name)["spec"]["replicas"] != replicas:
            self.cluster.change(Kind.DEPLOYMENT, name, lambda d: d["spec"].update(replicas=replicas))
            theirs.replicas = replicas

    def bind(self, name: str, minimum: int, maximum: int) -> None:
        """Somebody makes, or edits, the autoscaler of this Deployment."""
        theirs, meant = self.theirs[name], (minimum, maximum)
        if theirs.bounds is None:
            reference = {"kind": "Deployment", "name": name}
            spec = {"scaleTargetRef": reference, "minReplicas": minimum, "maxReplicas": maximum}
            self.cluster.add(Kind.AUTOSCALER, HPA, spec=spec)
        else:
            edit = {"minReplicas": minimum, "maxReplicas": maximum}
            before = self.cluster.object(Kind.AUTOSCALER, HPA)["spec"]
            # Who leaves a bound as it stands has not spoken of it, and does not become its field's manager either.
            kept = tuple(
                old if before[key] == new else new for (key, new), old in zip(edit.items(), theirs.bounds, strict=True)
            )
            meant = (kept[0], kept[1]) if kept[0] <= kept[1] else meant
            self.cluster.change(Kind.AUTOSCALER, HPA, lambda h: h["spec"].update(edit))
        theirs.bounds = meant
        theirs.replicas = max(minimum, min(theirs.replicas, maximum))

    def pause(self, name: str, *, paused: bool) -> None:
        self.cluster.change(Kind.DEPLOYMENT, name, lambda d: d["spec"].update(paused=paused))

    def delete(self, name: str) -> None:
        self.cluster.remove(Kind.DEPLOYMENT, name)
        self.theirs[name].frozen = False

    def create(self, name: str, image: str) -> None:
        self.cluster.add_deployment(name, image, replicas=self.theirs[name].replicas)
        self._released(name, "")

    def freeze(self, name: str, words: str) -> None:
        self.cluster.annotate(name, freeze=words)
        self.theirs[name].frozen = True

    def thaw(self, name: str, words: str | None) -> None:
        self.cluster.annotate(name, freeze=words)
        self.theirs[name].frozen = False

    def _released(self, name: str, before: str) -> None:
        theirs, now, template = self.theirs[name], self.clock.monotonic(), self.template(name)
        if theirs.rolled != now:
            theirs.stood = (before, theirs.rolls, theirs.rolled)
        theirs.rolls += 1
        theirs.rolled = now
        theirs.again.add(template)
        if template == theirs.stood[0]:
            # There and back at one instant is nothing that anybody could see.
            _, theirs.rolls, theirs.rolled = theirs.stood


def entries(journal: RecordedJournal, since: int) -> Sequence[tuple[float, Entry]]:
    """The entries from the `since`-th on, each with the second at which it came."""
    return list(zip(journal.seconds, journal.entries, strict=True))[since:]
