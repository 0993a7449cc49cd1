"""Holds the lease, or waits for it; `domain.leadership` decides, this asks and writes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from logcaster_guard.domain import leadership as rules
from logcaster_guard.domain.errors import ClusterError, Conflict, NoAuthority, NotFound, Unavailable
from logcaster_guard.domain.guard_reasons import LeaseUnasked, NotUnderLease
from logcaster_guard.domain.leadership import Holding, Record, Role, Standby, State, Terms
from logcaster_guard.messages.texts import failure
from logcaster_guard.ports import Clock, Lease

_RELEASE_TRIES = 3

T = TypeVar("T")


class LeaderElector:
    """Contends for the lease as `identity`, which no other process ever has, and renews it while it is held."""

    def __init__(self, lease: Lease, clock: Clock, terms: Terms, identity: str) -> None:
        self._lease = lease
        self._clock = clock
        self._identity = identity
        self._state: State = Standby()
        self._failing = False
        self._told: str | None = None
        self._not_before = float("-inf")
        self._next_renewal = float("-inf")
        self._asking = asyncio.Lock()
        self._taken, self._lost = asyncio.Event(), asyncio.Event()
        self.terms = terms
        self._log = structlog.get_logger().bind(lease=lease.name, identity=identity)

    @property
    def lease(self) -> str:
        """The lease's name."""
        return self._lease.name

    @property
    def identity(self) -> str:
        """This guard's name on it."""
        return self._identity

    @property
    def role(self) -> Role:
        """What this guard is now."""
        return rules.role(self._state, self._clock.monotonic())

    @property
    def holder(self) -> str:
        """Who held the lease when it was last looked at; empty for nobody, or not known."""
        return "" if self._state.record is None else self._state.record.holder

    @property
    def epoch(self) -> int:
        """How often the lease had been taken when it was last looked at."""
        return 0 if self._state.record is None else self._state.record.epoch

    def term(self) -> LeadershipTerm:
        """This holder's time, from now to the loss of the lease; one that is over from the beginning if it has none."""
        return LeadershipTerm(self, self.epoch if isinstance(self._state, Holding) else None)

    def check(self, epoch: int | None, lasting: float) -> None:
        """Raise `NoAuthority` unless something that may take `lasting` seconds may be begun under `epoch`."""
        if epoch is not None and epoch == self.epoch and rules.may_act(self._state, self._clock.monotonic(), lasting):
            return
        raise failure(NoAuthority, NotUnderLease(self.lease, self.holder, own=self.holder == self._identity))

    async def run(self) -> None:
        """Contend, and renew, until cancelled."""
        while True:
            async with self._asking:
                if isinstance(self._state, Standby):
                    await self._stand_by()
                else:
                    await self._hold(self._state)
            await self._clock.sleep_until(self._next_turn())

    async def taken(self) -> None:
        """Return when the lease is held."""
        await self._taken.wait()

    async def lost(self) -> None:
        """Return when it is not, or no longer."""
        await self._lost.wait()

    async def release(self, *, abstain: float = 0.0) -> None:
        """Give the lease back if it is held, so that another guard takes over at once.

        It is not taken again for `abstain` seconds.
        """
        async with self._asking:
            self._not_before = self._clock.monotonic() + abstain
            for _ in range(_RELEASE_TRIES):
                if not isinstance(self._state, Holding) or not await self._give_back(self._state):
                    return

    async def _give_back(self, state: Holding) -> bool:
        """Write it once; whether it has to be tried again."""
        try:
            record = await self._within(self._lease.write(rules.release(state, self._clock.now())))
        except Conflict:
            await self._look()
            return True
        except ClusterError as error:
            self._log.warning("authority.not_released", detail=str(error))
        else:
            self._become(Standby(record, self._clock.monotonic(), record.epoch), "")
        return False

    def _next_turn(self) -> float:
        state, now = self._state, self._clock.monotonic()
        if isinstance(state, Holding):
            return min(self._next_renewal, state.until)
        return rules.next_look(state, now, self._identity, self.terms)

    async def _stand_by(self) -> None:
        await self._look()
        if rules.is_missing(self._state):
            await self._write(rules.placeholder(self._state, self._clock.now(), self.terms))
        state, now = self._state, self._clock.monotonic()
        free = now >= self._not_before and rules.may_take(state, now, self._identity, self.terms)
        if free and isinstance(state, Standby):
            await self._write(rules.claim(state, self._identity, self._clock.now(), self.terms))

    async def _hold(self, state: Holding) -> None:
        now = self._clock.monotonic()
        self._become(rules.stepped_down(state, now), "it could not be renewed in time")
        if isinstance(self._state, Holding):
            self._next_renewal = now + self.terms.retry_every
            await self._write(rules.renewal(state, self._clock.now(), self.terms))

    async def _look(self) -> None:
        try:
            record = await self._within(self._lease.read())
        except ClusterError as error:
            self._complain(error)
        else:
            self._failing = False
            self._saw(record)

    async def _write(self, record: Record) -> None:
        sent = self._clock.monotonic()
        try:
            written = await self._within(self._lease.write(record))
        except Conflict:
            # Somebody else was first, or this is what became of a write whose answer was lost.
            await self._look()
        except NotFound:
            self._saw(None)
        except ClusterError as error:
            self._complain(error)
        else:
            self._failing = False
            if not record.holder:
                self._saw(written)
                return
            self._next_renewal = sent + self.terms.renew_every
            self._become(rules.held(written, sent, self.terms), "")

    def _saw(self, record: Record | None) -> None:
        who = "it is gone" if record is None else f"{record.holder or 'nobody'} holds it"
        self._become(rules.seen(self._state, record, self._clock.monotonic(), self._identity), who)
        if isinstance(self._state, Standby) and self._told != who:
            self._told = who
            self._log.info("authority.standby", holder=self.holder, epoch=self.epoch)

    def _become(self, state: State, reason: str) -> None:
        """Go over to `state`; `reason` is why the lease was lost, empty where it was given back."""
        before, self._state = self._state, state
        if isinstance(state, Holding) and isinstance(before, Standby):
            self._told = None
            self._lost.clear()
            self._taken.set()
            self._log.info("authority.taken", epoch=state.record.epoch, before=self._holder_of(before))
        elif isinstance(state, Standby) and isinstance(before, Holding):
            self._taken.clear()
            self._lost.set()
            if reason:
                self._log.warning("authority.lost", reason=reason, epoch=before.record.epoch)
            else:
                self._log.info("authority.released", epoch=before.record.epoch)

    def _holder_of(self, state: Standby) -> str:
        return "" if state.record is None else state.record.holder

    def _complain(self, error: ClusterError) -> None:
        """Tell of the first failure in a row."""
        if not self._failing:
            self._failing = True
            self._log.warning("authority.unclear", detail=str(error), role=self.role)

    async def _within(self, request: Coroutine[Any, Any, T]) -> T:
        """The answer, within the time of a request and that of the lease."""
        end = self._clock.monotonic() + self.terms.timeout
        if isinstance(self._state, Holding):
            end = min(end, self._state.until)
        asking, alarm = asyncio.ensure_future(request), asyncio.ensure_future(self._clock.sleep_until(end))
        try:
            await asyncio.wait({asking, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise failure(Unavailable, LeaseUnasked(self.lease))
            return asking.result()
        finally:
            asking.cancel()
            alarm.cancel()
            await asyncio.gather(asking, alarm, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class LeadershipTerm:
    """`ports.Authority` for one taking of the lease: it does not come back when the lease does."""

    elector: LeaderElector
    epoch: int | None

    @property
    def timeout(self) -> float:
        """Seconds that a request which changes something may take."""
        return self.elector.terms.timeout

    @property
    def over(self) -> bool:
        """Whether nothing may be begun under it any more."""
        try:
            self.check()
        except NoAuthority:
            return True
        return False

    @property
    def stamp(self) -> str:
        """What this term writes on the objects that it takes over: no other ever writes the same."""
        return f"{self.epoch}/{self.elector.identity}"

    def check(self, lasting: float = 0.0) -> None:
        """Raise `NoAuthority` unless something that may take `lasting` seconds may be begun."""
        self.elector.check(self.epoch, lasting)


async def during(work: Coroutine[Any, Any, None], end: Coroutine[Any, Any, None]) -> None:
    """Do the work until `end` returns, or the work does; the work is over when this is."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(end)
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        ending.cancel()
        failures = await asyncio.gather(working, ending, return_exceptions=True)
    for error in failures:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error
