"""Which guard may act, told by one record that all of them see: a lease. Pure; time is an argument.

Invariant: of the guards that share a record, at most one may act at any instant. The holder acts only until `duration`
less a margin after it *sent* the last write of the record that was accepted. A contender takes the record only once it
has itself watched it stand unchanged for the whole duration that it names. The write came before anyone could see it:
a contender's wait begins after the holder's time did, and ends after it, as long as no clock runs faster than another
by more than the margin. Instants of one machine are never compared with those of another.

What was sent while there was authority and arrives after it is not this module's: see `engine.epoch_marker`.

The idea is that of Gray and Cheriton (Leases, SOSP 1989); Kubernetes' client-go keeps the same record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeGuard

MARGIN_SHARE = 0.1
"""Of the duration: how much earlier the holder stops than a contender may begin."""

MOST_RENEWAL_TRIES = 4.0
"""A renewal that failed is tried again after this part of the interval of renewals."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a record holds, how often it is renewed, and how long a request may take, in seconds."""

    duration: float
    renew_every: float
    timeout: float

    @property
    def margin(self) -> float:
        """How much earlier than the record's end the holder stops."""
        return self.duration * MARGIN_SHARE

    @property
    def retry_every(self) -> float:
        """Seconds between two tries of a renewal that fails."""
        return self.renew_every / MOST_RENEWAL_TRIES

    @property
    def least_duration(self) -> float:
        """A shorter duration would leave no time in which a write could be sent."""
        return (self.renew_every + self.timeout) / (1.0 - MARGIN_SHARE)


@dataclass(frozen=True, slots=True)
class Record:
    """What the record says. `holder` is empty for nobody; `epoch` rises with each taking; `duration` is in seconds.

    `version` is another one after each write of the record, whoever wrote it.
    """

    holder: str
    epoch: int
    duration: float
    acquired: datetime | None = None
    renewed: datetime | None = None
    version: str = ""


class Role(StrEnum):
    """What a guard is. `LOST`: its time is up, and it has yet to let go of what it was doing."""

    STANDBY = "standby"
    HOLDING = "holding"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Standby:
    """Not holding. `record` was first seen like this at monotonic second `since` (None: nobody has looked yet).

    `record` is None where there is none. `epoch` is the highest that was ever seen.
    """

    record: Record | None = None
    since: float | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Holding:
    """Holding; the guard acts before monotonic second `until`."""

    record: Record
    until: float


State = Standby | Holding


def role(state: State, now: float) -> Role:
    """What the guard is at `now`."""
    if isinstance(state, Standby):
        return Role.STANDBY
    return Role.HOLDING if now < state.until else Role.LOST


def may_act(state: State, now: float, lasting: float) -> bool:
    """Whether something that may take `lasting` seconds may be begun at `now`."""
    return isinstance(state, Holding) and now + lasting < state.until


def seen(state: State, record: Record | None, at: float, me: str) -> State:
    """After a look at the record that was answered at `at`: the record was like this at some time before."""
    if isinstance(state, Holding):
        own = record is not None and (record.holder, record.epoch) == (me, state.record.epoch)
        return replace(state, record=record) if own and record is not None else _standby(state.record.epoch, record, at)
    if state.since is not None and _version(record) == _version(state.record):
        return state
    return _standby(state.epoch, record, at)


def stepped_down(state: State, now: float) -> State:
    """A holder whose time is up is none; anything else stays what it is."""
    if role(state, now) is not Role.LOST or not isinstance(state, Holding):
        return state
    return _standby(state.record.epoch, state.record, now)


def may_take(state: State, now: float, me: str, terms: Terms) -> bool:
    """Whether the record is free for this guard: given back, its own, or watched unchanged for as long as it holds.

    One that was never held, as `placeholder` makes it, is waited for just as long: the one before it may have been
    deleted under a holder.
    """
    if isinstance(state, Holding) or state.since is None or state.record is None:
        return False
    record = state.record
    if record.holder == me or (not record.holder and record.acquired is not None):
        return True
    return now - state.since >= _lasts(record, terms)


def is_missing(state: State) -> TypeGuard[Standby]:
    """Whether there is no record: then a `placeholder` has to be made, as nobody can tell for how long there was none.

    Between two looks that find nothing a record may have been made, taken and deleted, and its holder acts on.
    """
    return isinstance(state, Standby) and state.since is not None and state.record is None


def placeholder(state: Standby, at: datetime, terms: Terms) -> Record:
    """A record that nobody holds: once it is seen, whoever held one before it cannot renew."""
    return Record("", state.epoch, terms.duration, renewed=at)


def claim(state: Standby, me: str, at: datetime, terms: Terms) -> Record:
    """The record by which this guard takes it."""
    version = "" if state.record is None else state.record.version
    renewed = _later(at, state.record)
    return Record(me, state.epoch + 1, terms.duration, acquired=renewed, renewed=renewed, version=version)


def renewal(state: Holding, at: datetime, terms: Terms) -> Record:
    """The record by which the holder holds on.

    Its instant is always another one: a write that changes nothing would not be seen by those who wait.
    """
    return replace(state.record, renewed=_later(at, state.record), duration=terms.duration)


def release(state: Holding, at: datetime) -> Record:
    """The record by which the holder gives it back, so that another takes it at once."""
    return replace(state.record, holder="", renewed=_later(at, state.record))


def held(record: Record, sent: float, terms: Terms) -> Holding:
    """After `record`, sent at monotonic second `sent`, was accepted."""
    return Holding(record, sent + terms.duration - terms.margin)


def next_look(state: State, now: float, me: str, terms: Terms) -> float:
    """The monotonic second at which a guard that stands by looks again: soon, and at once when its wait is over."""
    if isinstance(state, Holding) or state.since is None or may_take(state, now, me, terms):
        return now + terms.retry_every
    if state.record is None:
        return now + terms.retry_every
    over = state.since + _lasts(state.record, terms)
    return min(now + terms.renew_every, max(over, now + terms.retry_every))


def _lasts(record: Record, terms: Terms) -> float:
    return terms.duration if record.duration <= 0 else record.duration


def _standby(epoch: int, record: Record | None, since: float) -> Standby:
    return Standby(record, since, max(epoch, 0 if record is None else record.epoch))


def _version(record: Record | None) -> str | None:
    return None if record is None else record.version


def _later(at: datetime, record: Record | None) -> datetime:
    before = None if record is None else record.renewed
    return at if before is None or at > before else before + timedelta(microseconds=1)
