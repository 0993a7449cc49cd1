"""Who may act: the states, and that no two guards ever may at once, whatever their clocks and their requests do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logcaster_guard.domain import leadership
from logcaster_guard.domain.leadership import Holding, Record, Role, Standby, State, Terms

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(microseconds=1)
TERMS = Terms(duration=30.0, renew_every=5.0, timeout=10.0)
THEIRS = Record("other", 4, 30.0, acquired=NOW, renewed=NOW, version="7")


def waiting(record: Record | None, since: float = 100.0) -> State:
    return leadership.seen(Standby(), record, since, "me")


@pytest.mark.parametrize(
    ("record", "waited", "free"),
    [
        (THEIRS, 29.9, False),
        (THEIRS, 30.0, True),
        (replace(THEIRS, duration=60.0), 59.9, False),
        (replace(THEIRS, duration=60.0), 60.0, True),
        (replace(THEIRS, duration=0.0), 29.9, False),
        (replace(THEIRS, duration=1.0), 1.0, True),
        (replace(THEIRS, holder=""), 0.0, True),
        (replace(THEIRS, holder="me"), 0.0, True),
        (Record("", 0, 30.0), 29.9, False),
        (Record("", 0, 30.0), 30.0, True),
        (None, 1e9, False),
    ],
)
def test_a_lease_is_free_when_it_stood_unchanged_for_its_own_time(
    record: Record | None, waited: float, free: bool
) -> None:
    assert leadership.may_take(waiting(record), 100.0 + waited, "me", TERMS) is free


@pytest.mark.parametrize(
    ("state", "now", "then"),
    [
        (Standby(), 100.0, 100.0 + TERMS.retry_every),
        (waiting(None), 100.0, 100.0 + TERMS.retry_every),
        (leadership.held(THEIRS, 100.0, TERMS), 100.0, 100.0 + TERMS.retry_every),
        (waiting(replace(THEIRS, holder="")), 101.0, 101.0 + TERMS.retry_every),
        (waiting(THEIRS), 105.0, 110.0),
        (waiting(THEIRS), 127.0, 130.0),  # when the wait is over
        (waiting(THEIRS), 129.9, 129.9 + TERMS.retry_every),
        (waiting(replace(THEIRS, duration=60.0)), 127.0, 132.0),
        (waiting(replace(THEIRS, duration=0.0)), 127.0, 130.0),
        (waiting(replace(THEIRS, holder="me")), 101.0, 101.0 + TERMS.retry_every),
    ],
)
def test_who_stands_by_looks_again_soon_and_when_its_wait_is_over(state: State, now: float, then: float) -> None:
    assert leadership.next_look(state, now, "me", TERMS) == then


def test_nothing_is_taken_unseen() -> None:
    assert not leadership.may_take(Standby(), 1e9, "me", TERMS)
    assert not leadership.may_take(leadership.held(THEIRS, 100.0, TERMS), 1e9, "me", TERMS)


def test_every_change_of_the_record_begins_the_wait_anew() -> None:
    state = leadership.seen(waiting(THEIRS), replace(THEIRS, version="8"), 120.0, "me")
    assert not leadership.may_take(state, 149.9, "me", TERMS)
    assert leadership.may_take(leadership.seen(state, replace(THEIRS, version="8"), 149.9, "me"), 150.0, "me", TERMS)


def test_what_their_wall_clock_says_counts_for_nothing() -> None:
    long_ago = replace(THEIRS, renewed=NOW - timedelta(days=400), acquired=NOW - timedelta(days=400))
    assert not leadership.may_take(waiting(long_ago), 129.9, "me", TERMS)


def test_each_taking_is_an_epoch_of_its_own() -> None:
    state = waiting(THEIRS)
    assert isinstance(state, Standby)
    claim = leadership.claim(state, "me", NOW, TERMS)
    assert claim == Record("me", 5, 30.0, acquired=LATER, renewed=LATER, version="7")
    own = waiting(replace(claim, version="8"))
    assert isinstance(own, Standby)
    assert leadership.claim(own, "me", NOW, TERMS).epoch == 6
    for first in (Standby(), Standby(Record("", 0, 30.0))):
        assert leadership.claim(first, "me", NOW, TERMS) == Record("me", 1, 30.0, acquired=NOW, renewed=NOW)


def test_a_lease_that_was_deleted_does_not_begin_the_epochs_again() -> None:
    gone = leadership.seen(waiting(THEIRS), None, 200.0, "me")
    assert leadership.is_missing(gone)
    assert not leadership.is_missing(Standby())
    assert not leadership.is_missing(leadership.held(THEIRS, 200.0, TERMS))
    made = leadership.placeholder(gone, NOW, TERMS)
    assert made == Record("", 4, 30.0, renewed=NOW)
    assert waiting(None) == Standby(None, 100.0, 0)
    there = leadership.seen(gone, replace(made, version="9"), 201.0, "me")
    assert isinstance(there, Standby)
    claim = leadership.claim(there, "me", NOW, TERMS)
    assert (claim.epoch, claim.version) == (5, "9")


def test_the_holders_time_is_counted_from_when_it_sent() -> None:
    state = leadership.held(THEIRS, 100.0, TERMS)
    assert leadership.may_act(state, 126.9, 0.0)
    assert not leadership.may_act(state, 127.0, 0.0)
    assert leadership.may_act(state, 116.9, 10.0)
    assert not leadership.may_act(state, 117.0, 10.0)
    assert [leadership.role(state, at) for at in (126.9, 127.0)] == [Role.HOLDING, Role.LOST]
    assert leadership.stepped_down(state, 126.9) == state
    assert leadership.stepped_down(state, 127.0) == Standby(THEIRS, 127.0, 4)


@pytest.mark.parametrize("wall", [timedelta(0), timedelta(hours=-1), timedelta(seconds=1)])
def test_a_renewal_always_changes_the_record(wall: timedelta) -> None:
    state = leadership.held(THEIRS, 100.0, TERMS)
    renewed = leadership.renewal(state, NOW + wall, TERMS).renewed
    assert renewed is not None
    assert renewed > NOW
    given_back = leadership.release(state, NOW + wall)
    assert given_back == replace(THEIRS, holder="", renewed=renewed)


def test_a_renewal_tells_the_duration_that_holds_from_now_on() -> None:
    state = leadership.held(replace(THEIRS, duration=60.0), 100.0, TERMS)
    assert leadership.renewal(state, NOW, TERMS).duration == 30.0


@pytest.mark.parametrize(
    "record", [None, replace(THEIRS, holder=""), replace(THEIRS, epoch=5), replace(THEIRS, holder="third", epoch=5)]
)
def test_a_holder_that_sees_another_record_holds_no_longer(record: Record | None) -> None:
    state = leadership.held(THEIRS, 100.0, TERMS)
    found = leadership.seen(state, record, 101.0, "other")
    assert found == Standby(record, 101.0, 4 if record is None else record.epoch)


def test_a_holder_that_sees_its_own_renewal_goes_on_but_no_longer_than_it_knows() -> None:
    before = leadership.held(THEIRS, 100.0, TERMS)
    state = leadership.seen(before, replace(THEIRS, version="8", renewed=NOW + timedelta(seconds=5)), 106.0, "other")
    assert isinstance(state, Holding)
    assert (state.record.version, state.until) == ("8", 127.0)


@dataclass
class Actor:
    """A guard whose clock starts anywhere and runs at its own rate.

    `unheard` is a look whose answer is on its way, `sent` a write, `accepted` the answer to one.
    """

    name: str
    offset: float
    rate: float
    state: State = field(default_factory=Standby)
    unheard: tuple[Record | None] | None = None
    sent: tuple[Record, float] | None = None
    accepted: tuple[Record, float] | None = None

    def clock(self, at: float) -> float:
        return self.offset + at * self.rate


@dataclass
class Server:
    """Where the record lies."""

    record: Record | None = None
    writes: int = 0

    def look(self, actor: Actor, _: float) -> None:
        actor.unheard = (self.record,)

    def hear(self, actor: Actor, clock: float) -> None:
        if actor.unheard is not None:
            # The record was so when it was answered; it is learnt later.
            actor.state = leadership.seen(actor.state, actor.unheard[0], clock, actor.name)
            actor.unheard = None

    def send(self, actor: Actor, clock: float) -> None:
        if actor.sent is not None or actor.accepted is not None:
            return
        actor.state = leadership.stepped_down(actor.state, clock)
        if isinstance(actor.state, Holding):
            actor.sent = (leadership.renewal(actor.state, NOW, TERMS), clock)
        elif leadership.is_missing(actor.state):
            actor.sent = (leadership.placeholder(actor.state, NOW, TERMS), clock)
        elif leadership.may_take(actor.state, clock, actor.name, TERMS):
            actor.sent = (leadership.claim(actor.state, actor.name, NOW, TERMS), clock)

    def release(self, actor: Actor, clock: float) -> None:
        if isinstance(actor.state, Holding) and actor.sent is None and actor.accepted is None:
            actor.sent = (leadership.release(actor.state, NOW), clock)
            actor.state = Standby()

    def arrive(self, actor: Actor, _: float) -> None:
        if actor.sent is None:
            return
        (record, sent), actor.sent = actor.sent, None
        if ("" if self.record is None else self.record.version) == record.version:
            self.writes += 1
            self.record = replace(record, version=f"v{self.writes}")
            actor.accepted = (self.record, sent)

    def learn(self, actor: Actor, _: float) -> None:
        if actor.accepted is not None:
            (record, sent), actor.accepted = actor.accepted, None
            if record.holder:
                actor.state = leadership.held(record, sent, TERMS)

    def delete(self, *_: object) -> None:
        self.record = None

    def turn(self, actor: Actor, clock: float) -> None:
        for part in (self.look, self.hear, self.send, self.arrive, self.learn):
            part(actor, clock)


PARTS = ("turn", "turn", "turn", "look", "hear", "send", "arrive", "learn", "release", "delete")
STEPS = st.lists(
    st.tuples(st.sampled_from(PARTS), st.integers(0, 1), st.sampled_from([0.0, 0.5, 2.0, 12.0, 24.0, 26.0, 28.5])),
    max_size=25,
)
RATES = st.sampled_from([1.0, 1.04, 1.09])
"""The margin is a tenth."""


@pytest.mark.timeout(300)
@settings(max_examples=500, deadline=None)
@given(STEPS, st.tuples(RATES, RATES), st.tuples(*[st.sampled_from([-1e4, 0.0, 1e4])] * 2))
@example(
    # Between two looks of the second it is made, taken and deleted.
    [("turn", 0, 2.0), ("turn", 1, 28.5), ("turn", 0, 0.0), ("delete", 0, 2.0), ("turn", 1, 0.0)],
    (1.0, 1.0),
    (0.0, 0.0),
)
def test_no_two_ever_may_act(
    steps: list[tuple[str, int, float]], rates: tuple[float, float], offsets: tuple[float, float]
) -> None:
    actors = [Actor(f"g{n}", offsets[n], rates[n]) for n in range(2)]
    server, now = Server(), 0.0
    for part, index, then in steps:
        actor = actors[index]
        getattr(server, part)(actor, actor.clock(now))
        for at in (now, now + then):
            acting = [a.name for a in actors if leadership.may_act(a.state, a.clock(at), 0.0)]
            assert len(acting) <= 1
        now += then
